# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Rules that may change places: no packet matches both, so their order says nothing.

kube-proxy writes the rules of services into its dispatch chains in a random order. Rules exclude each other by what
they name exactly: protocol and destination port, one destination address, or a virtual server of IPVS. A rule that
names none of these may match any packet: what stands before it stays before it, and what comes after it after.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

from ..state.iptables_rule import QUOTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    _Found = tuple["_Match", str]

COMMENT = re.compile(r'-m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+) ?')
HOST = re.compile(r"[0-9.]+/32|[0-9a-f:.]+/128")
PROTOCOLS = ("tcp", "udp", "sctp")
VIRTUAL_SERVER = ("--vproto", "--vaddr", "--vport")


class _Match(NamedTuple):
    """What a rule names exactly.

    Rules of one ``kind`` exclude each other if their ``key`` differs, or their ``address`` where both have one. Those
    of the kind "" exclude nothing.
    """

    kind: str
    key: tuple[str, ...]
    address: str


def in_normal_order(rules: Iterable[str]) -> list[str]:
    """Rules as ``iptables-save`` prints them, in an order that does not depend on that of rules that exclude each
    other."""
    found = [(_match(rule), rule) for rule in rules]
    ordered: list[str] = []
    for _kind, run in _runs(found, lambda match: match.kind):
        ordered += _by_destination(run)
    return ordered


def _runs(rules: Iterable[_Found], of: Callable[[_Match], str]) -> Iterator[tuple[str, list[_Found]]]:
    for value, run in itertools.groupby(rules, key=lambda found: of(found[0])):
        yield value, list(run)


def _by_destination(run: list[_Found]) -> Iterator[str]:
    groups: dict[tuple[str, ...], list[_Found]] = {}
    for match, rule in run:
        groups.setdefault(match.key, []).append((match, rule))
    for _key, group in sorted(groups.items()):
        for addressed, part in _runs(group, lambda match: match.address and "any"):
            if addressed:
                part.sort(key=lambda found: found[0].address)
            for _address, same in _runs(part, lambda match: match.address):
                yield from _same_destination([rule for _match, rule in same])


def _same_destination(rules: list[str]) -> list[str]:
    """Rules that do the same to the same packets, as those of two services with one external IP, in any order."""
    alike = len(rules) > 1 and len({COMMENT.sub("", rule) for rule in rules}) == 1
    return sorted(rules) if alike else rules


def _match(rule: str) -> _Match:
    words = QUOTED.sub("-", rule).split(" ")
    named = {
        flag: value for before, flag, value in zip(["", *words], words, words[1:]) if before not in ("!", "--comment")
    }
    address = named.get("-d", "")
    if not HOST.fullmatch(address):
        address = ""
    if named.get("-p") in PROTOCOLS and named.get("--dport", "").isdigit():
        return _Match("port", (named["-p"], named["--dport"]), address)
    if all(flag in named for flag in VIRTUAL_SERVER) and named["--vport"].isdigit() and "/" not in named["--vaddr"]:
        return _Match("virtual server", tuple(named[flag] for flag in VIRTUAL_SERVER), "")
    return _Match("address", (address,), "") if address else _Match("", (), "")
