# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Which rules name which sets, and the input of ``iptables-restore`` that makes them name others.

The text is that of ``iptables-save -c``. Rules are replaced by their text, never by number alone: were another program
to change the chain meanwhile, a number would mean its rule. So each is deleted as it is and inserted at its place, in
one restore, which the kernel takes as a whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Options after which the name of a set follows.
SET_OPTIONS = frozenset({"--match-set", "--add-set", "--del-set", "--map-set"})
RULE = re.compile(r"\[(\d+):(\d+)\] -A (\S+) ?(.*)")
WORD = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')


class Rule(NamedTuple):
    """One rule; ``number`` counts from 1, ``counters`` are packets and bytes, ``sets`` has a name once per use."""

    table: str
    chain: str
    number: int
    text: str
    counters: str
    sets: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.table} {self.chain} rule {self.number}"

    def naming(self, names: Mapping[str, str]) -> str:
        """Its text with other names of sets, by present name."""
        parts, position, before = [], 0, ""
        for word in WORD.finditer(self.text):
            if before in SET_OPTIONS:
                parts += [self.text[position : word.start()], names.get(word.group(), word.group())]
                position = word.end()
            before = word.group()
        return "".join([*parts, self.text[position:]])


def rules(saved: str) -> Iterator[Rule]:
    """All rules in the text of ``iptables-save -c``."""
    table = ""
    numbers: dict[str, int] = {}
    # Comments may hold what else str.splitlines takes for the end of a line.
    for line in saved.split("\n"):
        found = RULE.match(line)
        if found:
            packets, octets, chain, text = found.groups()
            numbers[chain] = numbers.get(chain, 0) + 1
            yield Rule(table, chain, numbers[chain], text, f"{packets} {octets}", _sets(text))
        elif line.startswith("*"):
            table, numbers = line[1:], {}


def switch_input(saved: str, names: Mapping[str, str]) -> str:
    """Input of ``iptables-restore --noflush`` that has rules name other sets, at their places and with their counters.

    ``names`` maps the present name of a set to the new one. "" where no rule names any of them.
    """
    found = list(rules(saved))
    lengths = {(rule.table, rule.chain): rule.number for rule in found}
    lines: dict[str, list[str]] = {}
    for rule in found:
        if any(name in names for name in rule.sets):
            # The place must be that of a rule which the kernel holds already: the nft back end finds no other.
            last = rule.number == lengths[rule.table, rule.chain]
            head = f"-A {rule.chain}" if last else f"-I {rule.chain} {rule.number}"
            lines.setdefault(rule.table, []).extend(
                (f"-D {rule.chain} {rule.text}", f"{head} -c {rule.counters} {rule.naming(names)}")
            )
    return "".join(f"*{table}\n{_joined(its_lines)}COMMIT\n" for table, its_lines in sorted(lines.items()))


def _sets(text: str) -> tuple[str, ...]:
    words = WORD.findall(text) if "-set " in text else []
    return tuple(word for before, word in zip(words, words[1:]) if before in SET_OPTIONS)


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
