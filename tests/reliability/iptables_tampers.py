# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with the chains of iptables, by kind.

A tamper does one thing to the node with the node's own tools, and says what; None where the node has nothing of the
kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_network
from itertools import combinations
from random import Random

from tests.integration.pair_worker import KUBELET_CHAINS
from tests.reliability.scene import Scene, call

HOSTS = {"iptables": "192.0.2.99/32", "ip6tables": "2001:db8:2::99/128"}
BUILT_IN = {"nat": ("PREROUTING", "OUTPUT", "POSTROUTING"), "filter": ("INPUT", "FORWARD", "OUTPUT")}
MARK = "-m mark --mark 0x7e57"
# Chains of ours by name, as older rule sets and other modes leave them.
STALE = {"nat": ("KUBE-SVC-TAMPEREDTAMPERED", "KUBE-NODE-PORT"), "filter": ("KUBE-FORWARD", "KUBE-NODE-PORT")}


class Table:
    """One table of one program as it is now: rules by chain, without counters."""

    def __init__(self, scene: Scene, source: Random) -> None:
        self.program = source.choice(("iptables", "ip6tables"))
        self.name = source.choice(("nat", "filter"))
        self.source = source
        self._tool = f"{self.program}{scene.node.suffix}"
        self.chains: dict[str, list[str]] = {}
        for line in call(f"{self._tool}-save", "-t", self.name).splitlines():
            if line.startswith(":"):
                self.chains[line[1:].split()[0]] = []
            elif line.startswith("-A "):
                _word, chain, rule = line.split(" ", 2)
                self.chains[chain].append(rule)

    def own(self, at_least: int = 1) -> str | None:
        """A chain of ours with so many rules."""
        return self._one(name for name, rules in self.chains.items() if is_own(name) and len(rules) >= at_least)

    def jumping(self, at_least: int = 1) -> str | None:
        """A built-in chain with so many jumps of ours."""
        return self._one(name for name in BUILT_IN[self.name] if len(self.jumps(name)) >= at_least)

    def jumps(self, chain: str) -> list[int]:
        """Numbers of our jumps in a chain."""
        found = ((number, re.search(r"-j (\S+)$", rule)) for number, rule in enumerate(self.chains[chain], 1))
        return [number for number, target in found if target and is_own(target.group(1))]

    def restore(self, *lines: str) -> str:
        """Writes to the table; what it wrote."""
        text = "".join(f"{line}\n" for line in (f"*{self.name}", *lines, "COMMIT"))
        call(f"{self._tool}-restore", "--noflush", stdin=text)
        return f"{self._tool} -t {self.name}: {'; '.join(lines)}"

    def in_turn(self, *commands: str) -> str:
        """Writes one after the other: the numbers of a restore are those of before it."""
        for command in commands:
            call(self._tool, "-t", self.name, *command.split())
        return f"{self._tool} -t {self.name}: {'; '.join(commands)}"

    def move(self, chain: str, number: int, to: int) -> str:
        rule = self.chains[chain][number - 1]
        self.in_turn(f"-D {chain} {number}")
        return self.restore(f"-I {chain} {to} {rule}" if to < len(self.chains[chain]) else f"-A {chain} {rule}")

    def duplicate(self, chain: str, number: int) -> str:
        rule = self.chains[chain][number - 1]
        return self.restore(f"-I {chain} {self.source.randint(1, len(self.chains[chain]))} {rule}")

    def _one(self, names: Iterable[str]) -> str | None:
        found = sorted(names)
        return self.source.choice(found) if found else None


def is_own(chain: str) -> bool:
    return chain.startswith("KUBE-") and chain not in KUBELET_CHAINS


def rule_edited(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    if not (chain := table.own()):
        return None
    number = source.randint(1, len(table.chains[chain]))
    rule = table.chains[chain][number - 1]
    without_comment = re.sub(r'-m comment --comment ("[^"]*"|\S+) ', "", rule)
    edited = without_comment if without_comment != rule and source.random() < 0.5 else f"{MARK} {rule}"
    return table.restore(f"-R {chain} {number} {edited}")


def rule_removed(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    chain = table.own()
    return chain and table.in_turn(f"-D {chain} {source.randint(1, len(table.chains[chain]))}")


def rule_duplicated(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    chain = table.own()
    return chain and table.duplicate(chain, source.randint(1, len(table.chains[chain])))


def rule_added(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    if not (chain := table.own()):
        return None
    number = source.randint(1, len(table.chains[chain]))
    return table.restore(f"-I {chain} {number} -s {HOSTS[table.program]} -j {source.choice(('RETURN', 'ACCEPT'))}")


def rules_reordered(scene: Scene, source: Random) -> str | None:
    """Two that one packet can match: the order of others says nothing, and differs from node to node."""
    table = Table(scene, source)
    if not (chain := table.own(at_least=2)):
        return None
    numbered = enumerate(table.chains[chain], 1)
    pairs = [(i, j) for (i, first), (j, second) in combinations(numbered, 2) if not exclusive(first, second)]
    pairs = [pair for pair in pairs if len({table.chains[chain][number - 1] for number in pair}) == 2]
    return table.move(chain, *source.choice(pairs)) if pairs else None


def exclusive(first: str, second: str) -> bool:
    """Whether no packet matches both rules."""
    for option in ("-s", "-d", "-p", "--dport"):
        found = [re.search(rf"(?<!! )(?<!\S){option} (\S+)", rule) for rule in (first, second)]
        values = [match.group(1) for match in found if match]
        if len(values) == 2 and values[0] != values[1]:
            if option in ("-p", "--dport"):
                return True
            one, other = (ip_network(value) for value in values)
            if not one.overlaps(other):
                return True
    return False


def chain_flushed(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    chain = table.own()
    return chain and table.in_turn(f"-F {chain}")


def chain_removed(scene: Scene, source: Random) -> str | None:
    """With the rules that jump to it."""
    table = Table(scene, source)
    if not (chain := table.own(at_least=0)):
        return None
    ends = re.compile(f"-[jg] {re.escape(chain)}$")
    referring = [f"-D {name} {rule}" for name, rules in table.chains.items() for rule in rules if ends.search(rule)]
    return table.restore(*referring, f"-F {chain}", f"-X {chain}")


def chain_renamed(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    chain = table.own(at_least=0)
    new = f"RENAMED-{source.randrange(10**6)}"
    return chain and table.in_turn(f"-E {chain} {new}")


def chain_added(scene: Scene, source: Random) -> str | None:
    """One of ours by name, as an older rule set leaves it; where it is wanted, a rule that is not."""
    table = Table(scene, source)
    chain = source.choice(STALE[table.name])
    declared = () if chain in table.chains else (f":{chain} - [0:0]",)
    return table.restore(*declared, f"-A {chain} -s {HOSTS[table.program]} -j RETURN")


def jump_removed(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    chain = table.jumping()
    return chain and table.in_turn(f"-D {chain} {source.choice(table.jumps(chain))}")


def jump_edited(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    if not (chain := table.jumping()):
        return None
    number = source.choice(table.jumps(chain))
    return table.restore(f"-R {chain} {number} {MARK} {table.chains[chain][number - 1]}")


def jump_duplicated(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    chain = table.jumping()
    return chain and table.duplicate(chain, source.choice(table.jumps(chain)))


def jumps_reordered(scene: Scene, source: Random) -> str | None:
    table = Table(scene, source)
    if not (chain := table.jumping(at_least=2)):
        return None
    return table.move(chain, *source.sample(table.jumps(chain), 2))


def jump_added(scene: Scene, source: Random) -> str | None:
    """To a chain of ours from where none leads to it."""
    table = Table(scene, source)
    chain = source.choice(("INPUT", "FORWARD") if table.name == "filter" else ("PREROUTING", "OUTPUT"))
    to = "KUBE-EXTERNAL-SERVICES" if table.name == "filter" else "KUBE-SERVICES"
    declared = () if to in table.chains else (f":{to} - [0:0]",)
    return table.restore(*declared, f"-A {chain} -s {HOSTS[table.program]} -j {to}")


def table_flushed(scene: Scene, source: Random) -> str:
    """With what is foreign in it."""
    return Table(scene, source).in_turn("-F")


def table_wiped(scene: Scene, source: Random) -> str:
    """Chains and all, with what is foreign in it."""
    return Table(scene, source).in_turn("-F", "-X")


def foreign_rule_added(scene: Scene, source: Random) -> str:
    """Somewhere in a built-in chain, between our jumps too: it is to stay."""
    table = Table(scene, source)
    chain = source.choice(BUILT_IN[table.name])
    number = source.randint(1, len(table.chains.get(chain, ())) or 1)
    return table.restore(f"-I {chain} {number} -s {HOSTS[table.program]} {MARK} -j RETURN")
