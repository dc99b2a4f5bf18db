# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with tables of nftables."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import Set, Table, parse, render

from .recording import Recording
from .tamper import NOTHING, Object, Tamper, only

COMMAND = ["nft", "-f", "-"]
ADDED = {"ip": "ip saddr 192.0.2.9 return", "ip6": "ip6 saddr 2001:db8:2::9 return"}
# Type of a part of a key -> a value that no recording has.
PARTS = {"ipv4_addr": "192.0.2.5", "ipv6_addr": "2001:db8:2::5", "inet_proto": "tcp", "inet_service": "7"}
LEADS_TO = re.compile(r"(?:goto|jump) ([^\s,}]+)")
NAMES = re.compile(r"@(\S+)")


def tampers(recording: Recording, source: random.Random) -> Iterator[Tamper]:
    """One of each kind that the recording has an object for, of each family."""
    for name, table in sorted(parse(recording.files["ip.nft"] + recording.files["ip6.nft"]).items()):
        found = _Table(name, table, source)
        yield from found.of_elements()
        yield from found.of_rules()
        yield from found.of_chains()
        yield from found.of_sets()
        yield found.tamper("delete the table", [f"delete table {name}"], only("table", name))
    foreign = "table inet foreign {\n\tchain input {\n\t\ttype filter hook input priority filter;\n\t}\n}\n"
    yield Tamper("foreign table", COMMAND, foreign)


class _Table:
    """Chooses victims in one table."""

    def __init__(self, name: str, table: Table, source: random.Random) -> None:
        self.name = name
        self.table = table
        self.source = source

    def tamper(self, what: str, lines: list[str], finds: frozenset[Object] = NOTHING) -> Tamper:
        return Tamper(f"{what}: {lines[0]}", COMMAND, "".join(f"{line}\n" for line in lines), finds)

    def object(self, kind: str, *names: str) -> frozenset[Object]:
        return only(kind, " ".join([self.name, *names]))

    def write(self, chain: str, rules: list[str]) -> list[str]:
        """Lines that make these the rules of a chain."""
        return [f"flush chain {self.name} {chain}", *(f"add rule {self.name} {chain} {rule}" for rule in rules)]

    def of_elements(self) -> Iterator[Tamper]:
        fixed = {name: found for name, found in self.table.sets.items() if not found.dynamic}
        for kind in ("set", "map"):
            name = self.source.choice([name for name, found in fixed.items() if found.kind == kind])
            key, data = self._new_element(fixed[name])
            finds = self.object("element", name, key)
            yield self.tamper("add an element", [f"add element {self.name} {name} {{ {key}{data} }}"], finds)
            filled = [name for name, found in fixed.items() if found.kind == kind and found.elements]
            if filled:
                yield from self._of_elements(self.source.choice(filled))
        for name in [name for name, found in self.table.sets.items() if found.dynamic][:1]:
            key, _data = self._new_element(self.table.sets[name])
            yield self.tamper("what packets add", [f"add element {self.name} {name} {{ {key} timeout 1h }}"])

    def _new_element(self, found: Set) -> tuple[str, str]:
        keys, _colon, data = found.type.partition(" : ")
        return " . ".join(PARTS[part] for part in keys.split(" . ")), " : drop" if data else ""

    def _of_elements(self, name: str) -> Iterator[Tamper]:
        found = self.table.sets[name]
        key = self.source.choice(sorted(found.elements))
        finds = self.object("element", name, key)
        place = f"{self.name} {name}"
        yield self.tamper("remove an element", [f"delete element {place} {{ {key} }}"], finds)
        if found.kind == "map":
            data = "drop" if found.elements[key].data != "drop" else "accept"
            lines = [f"delete element {place} {{ {key} }}", f"add element {place} {{ {key} : {data} }}"]
            yield self.tamper("change an element", lines, finds)
        everything = frozenset(("element", f"{place} {key}") for key in found.elements)
        yield self.tamper("remove all elements", [f"flush {found.kind} {place}"], everything)

    def of_rules(self) -> Iterator[Tamper]:
        filled = sorted(name for name, chain in self.table.chains.items() if chain.rules)
        for what in ("remove a rule", "edit a rule", "duplicate a rule", "add a rule", "remove all rules"):
            name = self.source.choice(filled)
            rules = list(self.table.chains[name].rules)
            at = self.source.randrange(len(rules))
            changed = {
                "remove a rule": [*rules[:at], *rules[at + 1 :]],
                "edit a rule": [*rules[:at], f"meta mark != 0x5a5a5a {rules[at]}", *rules[at + 1 :]],
                "duplicate a rule": [*rules[:at], rules[at], *rules[at:]],
                "add a rule": [*rules[:at], ADDED[self.name.split()[0]], *rules[at:]],
                "remove all rules": [],
            }[what]
            yield self.tamper(what, self.write(name, changed), self.object("chain", name))
        several = [name for name in filled if len(set(self.table.chains[name].rules)) > 1]
        name = self.source.choice(several)
        rules = list(self.table.chains[name].rules)
        yield self.tamper("reverse the rules", self.write(name, rules[::-1]), self.object("chain", name))

    def of_chains(self) -> Iterator[Tamper]:
        yield self.tamper("add a chain", [f"add chain {self.name} added"], self.object("chain", "added"))
        base = self.source.choice(sorted(name for name, chain in self.table.chains.items() if chain.hook))
        finds = self.object("chain", base)
        yield self.tamper("change a policy", [f"add chain {self.name} {base} {{ policy drop ; }}"], finds)
        regular = sorted(name for name, chain in self.table.chains.items() if not chain.hook)
        name = self.source.choice(regular)
        yield self.tamper(f"delete chain {name}", *self._without(name))

    def _without(self, name: str) -> tuple[list[str], frozenset[Object]]:
        """A chain can only be deleted after what leads to it."""
        lines: list[str] = []
        finds = self.object("chain", name)
        for set_name, found in self.table.sets.items():
            for key, element in found.elements.items():
                if element.data.endswith(f" {name}"):
                    lines.append(f"delete element {self.name} {set_name} {{ {key} }}")
                    finds |= self.object("element", set_name, key)
        for other, chain in self.table.chains.items():
            rules = [rule for rule in chain.rules if name not in LEADS_TO.findall(rule)]
            if len(rules) < len(chain.rules):
                lines += self.write(other, rules)
                finds |= self.object("chain", other)
        return [*lines, f"flush chain {self.name} {name}", f"delete chain {self.name} {name}"], finds

    def of_sets(self) -> Iterator[Tamper]:
        added = f"add set {self.name} added {{ type inet_service ; }}"
        yield self.tamper("add a set", [added], self.object("set", "added"))
        yield self.tamper("add a counter", [f"add counter {self.name} added"], self.object("counter", "added"))
        name = self.source.choice(sorted(self.table.sets))
        found = self.table.sets[name]
        options = tuple(pair for pair in found.options if pair[0] not in ("comment", "size", "timeout"))
        remade = Table.empty()._replace(sets={name: found._replace(options=(*options, ("comment", '"tampered"')))})
        # Rules hold on to the set, so they go and come again; they are written anew with it.
        users = {
            other: chain.rules
            for other, chain in self.table.chains.items()
            if any(name in NAMES.findall(rule) for rule in chain.rules)
        }
        lines = [f"flush chain {self.name} {other}" for other in users]
        lines += [f"delete {found.kind} {self.name} {name}", render({self.name: remade})]
        lines += [line for other, rules in users.items() for line in self.write(other, list(rules))[1:]]
        finds = self.object(found.kind, name).union(*(self.object("chain", other) for other in users))
        yield self.tamper(f"make {name} with other options", lines, finds)
