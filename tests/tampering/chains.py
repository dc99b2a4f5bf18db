# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with chains, rules and jumps of iptables."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ansible_collections.kubenode.proxy.plugins.module_utils.plan.rule_order import in_normal_order
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import (
    is_dispatch_chain,
    is_own_chain,
    is_own_jump,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain, Tables, parse
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables_rule import target

from .recording import FAMILIES, Recording
from .tamper import NOTHING, Object, Tamper, only

# A match that every rule takes, wherever it stands in its text.
EDIT = "-m mark ! --mark 0x5a5a5a"
ADDED = {"ipv4": "-s 192.0.2.9/32 -j RETURN", "ipv6": "-s 2001:db8:2::9/128 -j RETURN"}
SHARED = "KUBE-FIREWALL"
CANARY = "KUBE-PROXY-CANARY"
STALE = "KUBE-SVC-AAAAAAAAAAAAAAAA"


def tampers(recording: Recording, source: random.Random) -> Iterator[Tamper]:
    """One of each kind that the recording has an object for, of each family."""
    for family, program in FAMILIES.items():
        tables = parse(recording.files[f"{program}.rules"])
        found = _Family(recording, family, tables, source)
        yield from found.of_rules()
        yield from found.of_order()
        yield from found.of_chains()
        yield from found.of_jumps()
        yield from found.of_others()


class _Family:
    """Chooses victims among the chains of one family."""

    def __init__(self, recording: Recording, family: str, tables: Tables, source: random.Random) -> None:
        self.command = [*recording.restore(family), "--noflush"]
        self.family = family
        self.tables = tables
        self.source = source

    def tamper(self, what: str, table: str, lines: list[str], finds: frozenset[Object] = NOTHING) -> Tamper:
        text = "".join(f"{line}\n" for line in [f"*{table}", *lines, "COMMIT"])
        return Tamper(f"{self.family}: {what}: {lines[0]}", self.command, text, finds)

    def chain(self, table: str, name: str) -> frozenset[Object]:
        return only("chain", f"{self.family} {table} {name}")

    def jump(self, table: str, built_in: str, to: str) -> frozenset[Object]:
        return only("jump", f"{self.family} {table} {built_in} -> {to}")

    def own(self) -> list[tuple[str, str, Chain]]:
        """(table, name, chain) of chains that are ours alone."""
        return [
            (table, name, chain)
            for table, chains in sorted(self.tables.items())
            for name, chain in sorted(chains.items())
            if is_own_chain(table, name)
        ]

    def of_rules(self) -> Iterator[Tamper]:
        filled = [(table, name, chain) for table, name, chain in self.own() if chain.rules]
        # Dispatch chains are compared in a way of their own.
        for among in (
            [found for found in filled if is_dispatch_chain(*found[:2])],
            [found for found in filled if not is_dispatch_chain(*found[:2])],
        ):
            for what in ("remove a rule", "edit a rule", "duplicate a rule", "add a rule", "flush a chain"):
                if among:
                    table, name, chain = self.source.choice(among)
                    lines = self._change(what, name, chain)
                    yield self.tamper(what, table, lines, self.chain(table, name))

    def _change(self, what: str, name: str, chain: Chain) -> list[str]:
        number = self.source.randint(1, len(chain.rules))
        rule = chain.rules[number - 1]
        return {
            "remove a rule": [f"-D {name} {number}"],
            "edit a rule": [f"-R {name} {number} {rule} {EDIT}"],
            "duplicate a rule": [f"-I {name} {self.source.randint(1, len(chain.rules))} {rule}"],
            "add a rule": [f"-I {name} {number} {ADDED[self.family]}"],
            "flush a chain": [f"-F {name}"],
        }[what]

    def of_order(self) -> Iterator[Tamper]:
        """Two neighbours change places: a difference, unless they exclude each other in a dispatch chain."""
        seen = set()
        neighbours = [
            (table, name, number, chain.rules[number - 1 : number + 1])
            for table, name, chain in self.own()
            for number in range(1, len(chain.rules))
            if chain.rules[number - 1] != chain.rules[number]
        ]
        self.source.shuffle(neighbours)
        for table, name, number, (first, second) in neighbours:
            free = is_dispatch_chain(table, name) and in_normal_order((first, second)) == in_normal_order(
                (second, first)
            )
            if (is_dispatch_chain(table, name), free) not in seen:
                seen.add((is_dispatch_chain(table, name), free))
                lines = [f"-D {name} {number}", f"-I {name} {number + 1} {first}"]
                finds = NOTHING if free else self.chain(table, name)
                yield self.tamper(f"swap neighbours {'that exclude each other' * free}", table, lines, finds)

    def of_chains(self) -> Iterator[Tamper]:
        deletable = [found for found in self.own() if is_own_chain(*found[:2])]
        for what, among in (
            ("delete a chain", [found for found in deletable if found[1].count("-") > 1]),
            ("delete a chain of a service", [found for found in deletable if found[1].startswith("KUBE-S")]),
        ):
            if among:
                table, name, _chain = self.source.choice(among)
                lines, finds = self._without(table, name)
                yield self.tamper(what, table, lines, finds)
        yield self.tamper("add a chain of ours", "nat", [f":{STALE} -"], self.chain("nat", STALE))
        for table, chains in self.tables.items():
            if CANARY in chains:
                yield self.tamper("delete a canary chain", table, [f"-X {CANARY}"])

    def _without(self, table: str, name: str) -> tuple[list[str], frozenset[Object]]:
        """A chain can only be deleted after the rules that lead to it."""
        lines, finds = [], set(self.chain(table, name))
        for other, chain in self.tables[table].items():
            for number in range(len(chain.rules), 0, -1):
                if target(chain.rules[number - 1]) == name:
                    lines.append(f"-D {other} {number}")
                    finds |= self.jump(table, other, name) if chain.policy else self.chain(table, other)
        if any(target(rule) == name for rule in self.tables[table][name].rules):
            raise AssertionError(f"{name} leads to itself")
        return [*lines, f"-F {name}", f"-X {name}"], frozenset(finds)

    def of_jumps(self) -> Iterator[Tamper]:
        jumps = [
            (table, built_in, number, rule)
            for table, chains in self.tables.items()
            for built_in, chain in chains.items()
            for number, rule in enumerate(chain.rules, 1)
            if chain.policy and (is_own_jump(table, built_in, target(rule)) or target(rule) == SHARED)
        ]
        for what in ("remove a jump", "edit a jump", "duplicate a jump"):
            # An edited jump to the shared chain is somebody else's, beside ours that is missing.
            table, built_in, number, rule = self.source.choice(jumps)
            lines = {
                "remove a jump": [f"-D {built_in} {number}"],
                "edit a jump": [f"-R {built_in} {number} {rule} {EDIT}"],
                "duplicate a jump": [f"-A {built_in} {rule}"],
            }[what]
            yield self.tamper(what, table, lines, self.jump(table, built_in, target(rule)))
        yield from self._moved(jumps)

    def _moved(self, jumps: list[tuple[str, str, int, str]]) -> Iterator[Tamper]:
        for table, built_in in sorted({jump[:2] for jump in jumps}):
            mine = [jump for jump in jumps if jump[:2] == (table, built_in)]
            own = [jump for jump in mine if target(jump[3]) != SHARED]
            # Of two that changed places nobody can tell which one moved.
            moved = [own[0]] if len(own) > 2 else []
            for _table, _chain, number, rule in [*moved, *(jump for jump in mine if target(jump[3]) == SHARED)]:
                lines = [f"-D {built_in} {number}", f"-A {built_in} {rule}"]
                finds = self.jump(table, built_in, target(rule)) if target(rule) != SHARED else NOTHING
                yield self.tamper("move a jump", table, lines, finds)

    def of_others(self) -> Iterator[Tamper]:
        """Foreign objects, and our rule in the chain that is shared."""
        rule = ADDED[self.family]
        yield self.tamper("foreign rule at the head", "filter", [f"-I INPUT 1 {rule}"])
        yield self.tamper("foreign rule at the end", "nat", [f"-A PREROUTING {rule}"])
        yield self.tamper(
            "foreign chain and jump", "filter", [":FOREIGN -", f"-A FOREIGN {rule}", "-A INPUT -j FOREIGN"]
        )
        yield self.tamper("chain of kubelet's", "filter", [":KUBE-KUBELET-CANARY -"])
        guard = self.tables["filter"].get(SHARED, Chain(None, ())).rules
        if guard:
            yield self.tamper("foreign rule in a shared chain", "filter", [f"-A {SHARED} {rule}"])
            finds = self.jump("filter", SHARED, target(guard[0]))
            yield self.tamper("remove ours from a shared chain", "filter", [f"-D {SHARED} 1"], finds)
