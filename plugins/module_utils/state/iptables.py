# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Tables, chains and rules of one address family, in the text form of ``iptables-save``.

A rule is the text that ``iptables-save`` prints for it without ``-A CHAIN``: a string, which compares fast and needs no
parsing where both sides come from one place. Rules that people write go through :mod:`.iptables_rule` first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Dict, NamedTuple

COUNTERS = re.compile(r"^\[\d+:\d+\] ")
COUNTED_RULE = re.compile(r"^\[(\d+):\d+\] -A (\S+)", re.MULTILINE)


class Chain(NamedTuple):
    """One chain: its policy (None for a user-defined chain) and its rules in order."""

    policy: str | None
    rules: tuple[str, ...]


# Chains whose rules are one piece of text: a piece for each would take as long as the text.
PIECE_CHAINS = 100

# table name -> chain name -> chain
Tables = Dict[str, Dict[str, Chain]]


def parse(text: str) -> Tables:
    """``iptables-save`` text (with or without counters) -> tables. Counters are statistics and are dropped.

    Raises ValueError for a line that iptables-save does not print. Only a line feed ends a line: comments may hold what
    Python's splitlines() takes for one.
    """
    policies: dict[str, dict[str, str | None]] = {}
    rules: dict[str, dict[str, list[str]]] = {}
    table = ""
    for line in text.split("\n"):
        if line.startswith("["):
            line = COUNTERS.sub("", line)
        if line.startswith("-A "):
            chain, _space, rule = line[3:].partition(" ")
            rules[table][chain].append(rule)
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            policies[table][chain] = None if policy == "-" else policy
            rules[table][chain] = []
        elif line.startswith("*"):
            table = line[1:]
            policies[table], rules[table] = {}, {}
        elif line and not line.startswith("#") and line != "COMMIT":
            raise ValueError(f"not a line of iptables-save: {line!r}")
    return {
        table: {chain: Chain(policy, tuple(rules[table][chain])) for chain, policy in chains.items()}
        for table, chains in policies.items()
    }


def of_json(content: Any) -> Tables:
    """What JSON makes of tables -> tables. Raises ValueError, TypeError or AttributeError where it is none."""
    return {
        table: {name: _chain_of_json(policy, rules) for name, (policy, rules) in chains.items()}
        for table, chains in content.items()
    }


def _chain_of_json(policy: Any, rules: Any) -> Chain:
    if not isinstance(policy, (str, type(None))) or not isinstance(rules, list):
        raise TypeError("a chain has a policy or none, and a list of rules")
    if not all(isinstance(rule, str) for rule in rules):
        raise TypeError("a rule is text")
    return Chain(policy, tuple(rules))


def parse_counters(text: str) -> dict[str, list[int]]:
    """Text of one table from ``iptables-save -c`` -> packets that each rule has matched, by chain."""
    found: dict[str, list[int]] = {}
    for packets, chain in COUNTED_RULE.findall(text):
        found.setdefault(chain, []).append(int(packets))
    return found


def render(tables: Tables) -> str:
    """Tables -> ``iptables-save`` text without counters; built-in chains first, then by name."""
    return "".join(pieces(tables))


def pieces(tables: Tables) -> Iterator[str]:
    """That text piece by piece: the declarations of a table, then the rules of some chains at a time."""
    for table, chains in sorted(tables.items()):
        ordered = sorted(sorted(chains.items()), key=lambda item: item[1].policy is None)
        yield "".join([f"*{table}\n", *[f":{name} {chain.policy or '-'}\n" for name, chain in ordered]])
        for start in range(0, len(ordered), PIECE_CHAINS):
            some = ordered[start : start + PIECE_CHAINS]
            yield "\n".join([*(line for name, chain in some for line in _rule_lines(name, chain)), ""])
        yield "COMMIT\n"


def with_changes(text: str, before: Tables, after: Tables) -> str:
    """Text of :func:`render`, with the user-defined chains of ``after`` in the place of those of ``before``."""
    changed = sorted({(table, name) for side in (before, after) for table, chains in side.items() for name in chains})
    if not changed:
        return text
    lines = text.split("\n")
    for table, name in changed:
        _put_chain(lines, lines.index(f"*{table}") + 1, name, after.get(table, {}).get(name))
    return "\n".join(lines)


def _put_chain(lines: list[str], start: int, name: str, chain: Chain | None) -> None:
    """Replaces the lines of a user-defined chain in those of a table, None for no chain."""
    end = lines.index("COMMIT", start)
    built_in = []
    while start < end and lines[start].startswith(":") and not lines[start].endswith(" -"):
        built_in.append(_chain_of(lines[start]))
        start += 1
    # The declarations of all chains stand before the first rule.
    rules = _first(lines, start, end, lambda line: not line.startswith(":"))
    own = rules
    while own < end and _chain_of(lines[own]) in built_in:
        own += 1
    head, body = ([f":{name} -"], _rule_lines(name, chain)) if chain else ([], [])
    for low, high, new in ((own, end, body), (start, rules, head)):
        first = _first(lines, low, high, lambda line: _chain_of(line) >= name)
        last = _first(lines, first, high, lambda line: _chain_of(line) > name)
        lines[first:last] = new


def _rule_lines(name: str, chain: Chain) -> list[str]:
    return [f"-A {name} {rule}" if rule else f"-A {name}" for rule in chain.rules]


def _chain_of(line: str) -> str:
    """The chain of a declaration or a rule."""
    return line[1:].partition(" ")[0] if line.startswith(":") else line.split(" ", 2)[1]


def _first(lines: list[str], low: int, high: int, holds: Callable[[str], bool]) -> int:
    """The first line from low on for which a condition holds, that holds for all lines behind it; high for none."""
    while low < high:
        middle = (low + high) // 2
        if holds(lines[middle]):
            high = middle
        else:
            low = middle + 1
    return low
