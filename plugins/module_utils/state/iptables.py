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
from collections.abc import Iterator, Mapping
from typing import Any, Dict, NamedTuple

from .large_text import Change, first, spliced

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


def changed_pieces(text: str, start: int, end: int, before: Tables, after: Tables) -> Iterator[str]:
    """Pieces of a text of :func:`render`, which begins and ends there, with the user-defined chains of ``after`` in the
    place of those of ``before``.

    Raises ValueError where the text has no such table.
    """
    changes: list[Change] = []
    for table in {**before, **after}:
        chains: dict[str, Chain | None] = {**dict.fromkeys(before.get(table, {})), **after.get(table, {})}
        if chains:
            changes += _chain_changes(text, *_place_of_table(text, start, end, table), chains)
    return spliced(text, start, end, changes)


def _place_of_table(text: str, start: int, end: int, table: str) -> tuple[int, int]:
    """Where its declarations begin, and its rules end."""
    head = f"*{table}\n"
    found = start if text.startswith(head, start) else text.index(f"\n{head}", start, end) + 1
    return found + len(head), text.index("\nCOMMIT\n", found, end) + 1


def _chain_changes(text: str, low: int, high: int, chains: Mapping[str, Chain | None]) -> Iterator[Change]:
    """Those that put user-defined chains into the lines of a table, None for no chain."""
    built_in = []
    while low < high and text.startswith(":", low):
        line = text[low : text.index("\n", low)]
        if line.endswith(" -"):
            break
        built_in.append(_chain_of(line))
        low += len(line) + 1
    # The declarations of all chains stand before the first rule, and the rules of built-in chains before all others.
    rules = first(text, low, high, "\n", lambda line: not line.startswith(":"))
    own = first(text, rules, high, "\n", lambda line: _chain_of(line) not in built_in)
    for name, chain in sorted(chains.items()):
        yield _lines_of_chain(text, low, rules, name, [f":{name} -"] if chain else [])
    for name, chain in sorted(chains.items()):
        yield _lines_of_chain(text, own, high, name, _rule_lines(name, chain) if chain else [])


def _lines_of_chain(text: str, low: int, high: int, name: str, lines: list[str]) -> Change:
    start = first(text, low, high, "\n", lambda line: _chain_of(line) >= name)
    end = first(text, start, high, "\n", lambda line: _chain_of(line) > name)
    return Change(start, end, "".join([f"{line}\n" for line in lines]))


def _rule_lines(name: str, chain: Chain) -> list[str]:
    return [f"-A {name} {rule}" if rule else f"-A {name}" for rule in chain.rules]


def _chain_of(line: str) -> str:
    """The chain of a declaration or a rule."""
    return line[1:].partition(" ")[0] if line.startswith(":") else line.split(" ", 2)[1]
