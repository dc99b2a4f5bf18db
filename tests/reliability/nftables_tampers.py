# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with the tables of nftables mode, by kind. See :mod:`.iptables_tampers`."""

from __future__ import annotations

import re
from random import Random

from ansible_collections.kubenode.proxy.plugins.module_utils.state import nftables as state

from tests.reliability.scene import OWN_TABLES, Scene, call

MARK = "meta mark 0x00007e57"
HANDLE = re.compile(r"\t\t(.*) # handle (\d+)$")
BASE = re.compile(r"type (\S+) hook (\S+) priority ([^;]+);")


class Table:
    """One of our tables as it is now: by chain, texts and handles of the rules."""

    def __init__(self, source: Random) -> None:
        self.source = source
        self.name = source.choice(OWN_TABLES)
        self.host = "ip saddr 192.0.2.99" if self.name.startswith("ip ") else "ip6 saddr 2001:db8:2::99"
        listed = call("nft", "-s", "list", "table", *self.name.split())
        self.content = state.parse(listed)[self.name]
        self.rules: dict[str, list[tuple[str, str]]] = {}
        chain = ""
        for line in call("nft", "-s", "-a", "list", "table", *self.name.split()).splitlines():
            if line.startswith("\tchain "):
                chain = line.split()[1]
                self.rules[chain] = []
            elif line.startswith("\t}"):
                chain = ""
            elif chain and (found := HANDLE.match(line)):
                self.rules[chain].append((found.group(1), found.group(2)))

    def chain(self, at_least: int = 1) -> str | None:
        found = sorted(name for name, rules in self.rules.items() if len(rules) >= at_least)
        return self.source.choice(found) if found else None

    def run(self, *lines: str) -> str:
        """One transaction."""
        text = "\n".join(line.replace("TABLE", self.name) for line in lines)
        call("nft", "-f", "-", stdin=f"{text}\n")
        return f"nft {text}"

    def filled(self, kinds: tuple[str, ...] = ("set", "map")) -> str | None:
        """A set or map with elements."""
        names = [name for name, found in self.content.sets.items() if found.elements and found.kind in kinds]
        return self.source.choice(sorted(names)) if names else None


def rule_edited(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    if not (chain := table.chain()):
        return None
    text, handle = source.choice(table.rules[chain])
    return table.run(f"replace rule TABLE {chain} handle {handle} {MARK} {text}")


def rule_removed(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    chain = table.chain()
    return chain and table.run(f"delete rule TABLE {chain} handle {source.choice(table.rules[chain])[1]}")


def rule_duplicated(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    if not (chain := table.chain()):
        return None
    text, _handle = source.choice(table.rules[chain])
    return table.run(f"insert rule TABLE {chain} handle {source.choice(table.rules[chain])[1]} {text}")


def rule_added(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    chain = table.chain(at_least=0)
    return chain and table.run(f"{source.choice(('add', 'insert'))} rule TABLE {chain} {table.host} accept")


def rules_reordered(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    if not (chain := table.chain(at_least=2)):
        return None
    (first, handle), (second, place) = source.sample(table.rules[chain], 2)
    if first == second:
        return None
    earlier = table.rules[chain].index((first, handle)) < table.rules[chain].index((second, place))
    verb = "add" if earlier else "insert"
    return table.run(f"{verb} rule TABLE {chain} handle {place} {first}", f"delete rule TABLE {chain} handle {handle}")


def chain_flushed(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    chain = table.chain()
    return chain and table.run(f"flush chain TABLE {chain}")


def chain_removed(scene: Scene, source: Random) -> str | None:
    """With the rules and elements that lead to it."""
    table = Table(source)
    if not (chain := table.chain(at_least=0)):
        return None
    leads = re.compile(rf"\b(?:jump|goto) {re.escape(chain)}(?![\w./-])")
    lines = [
        f"delete rule TABLE {name} handle {handle}"
        for name, rules in table.rules.items()
        for text, handle in rules
        if name != chain and leads.search(text)
    ]
    for name, found in table.content.sets.items():
        keys = [key for key, element in found.elements.items() if leads.search(element.data)]
        lines += [f"delete element TABLE {name} {{ {', '.join(keys)} }}"] if keys else []
    return table.run(*lines, f"flush chain TABLE {chain}", f"delete chain TABLE {chain}")


def chain_added(scene: Scene, source: Random) -> str:
    table = Table(source)
    return table.run(f"add chain TABLE tampered-{source.randrange(10**6)} {{ {table.host} drop; }}")


def chain_hooked_otherwise(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    hooks = {name: BASE.search(chain.hook) for name, chain in sorted(table.content.chains.items()) if chain.hook}
    name = source.choice(list(hooks))
    found = hooks[name]
    assert found, name
    rules = [f"add rule TABLE {name} {text}" for text, _handle in table.rules[name]]
    hook = f"type {found.group(1)} hook {found.group(2)} priority {source.randint(301, 399)};"
    return table.run(
        f"flush chain TABLE {name}", f"delete chain TABLE {name}", f"add chain TABLE {name} {{ {hook} }}", *rules
    )


def element_removed(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    if not (name := table.filled()):
        return None
    key = source.choice(sorted(table.content.sets[name].elements))
    return table.run(f"delete element TABLE {name} {{ {key} }}")


def element_changed(scene: Scene, source: Random) -> str | None:
    """Another verdict."""
    table = Table(source)
    if not (name := table.filled(("map",))):
        return None
    key = source.choice(sorted(table.content.sets[name].elements))
    return table.run(f"delete element TABLE {name} {{ {key} }}", f"add element TABLE {name} {{ {key} : drop }}")


def element_added(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    address = table.host.split()[-1]
    values = {"ipv4_addr": address, "ipv6_addr": address, "inet_proto": "tcp", "inet_service": "999"}
    found = [name for name, of in table.content.sets.items() if not of.dynamic]
    name = source.choice(sorted(found))
    key, _colon, data = table.content.sets[name].type.partition(" : ")
    element = " . ".join(values[part] for part in key.split(" . "))
    return table.run(f"add element TABLE {name} {{ {element}{' : drop' if data else ''} }}")


def set_flushed(scene: Scene, source: Random) -> str | None:
    table = Table(source)
    name = table.filled()
    return name and table.run(f"flush {table.content.sets[name].kind} TABLE {name}")


def set_added(scene: Scene, source: Random) -> str:
    table = Table(source)
    number = source.randrange(10**6)
    return table.run(f"add set TABLE tampered-{number} {{ type inet_service; elements = {{ 999 }}; }}")


def set_destroyed(scene: Scene, source: Random) -> str:
    """With the rules that name it."""
    table = Table(source)
    return _destroyed(table, source.choice(sorted(table.content.sets)))


def set_of_another_type(scene: Scene, source: Random) -> str:
    """Without the rules that name it: nft refuses these."""
    table = Table(source)
    name = source.choice(sorted(table.content.sets))
    return f"{_destroyed(table, name)}; {table.run(f'add set TABLE {name} {{ type ether_addr; }}')}"


def _destroyed(table: Table, name: str) -> str:
    names = re.compile(rf"@{re.escape(name)}(?![\w./-])")
    lines = [
        f"delete rule TABLE {chain} handle {handle}"
        for chain, rules in table.rules.items()
        for text, handle in rules
        if names.search(text)
    ]
    return table.run(*lines, f"delete {table.content.sets[name].kind} TABLE {name}")


def table_flushed(scene: Scene, source: Random) -> str:
    return Table(source).run("flush table TABLE")


def table_removed(scene: Scene, source: Random) -> str:
    return Table(source).run("delete table TABLE")


def table_dormant(scene: Scene, source: Random) -> str:
    """All of it there, and none of it in effect."""
    return Table(source).run("add table TABLE { flags dormant; }")


def ruleset_flushed(scene: Scene, source: Random) -> str:
    """With what is foreign, that of iptables-nft too."""
    return Table(source).run("flush ruleset")


def foreign_table_added(scene: Scene, source: Random) -> str:
    """It is to stay."""
    number = source.randrange(10**6)
    return Table(source).run(f"add table inet other-{number}", f"add chain inet other-{number} kube-proxy")
