# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The way of a service's traffic through the objects of a kernel or of a rule set, from addresses to endpoints.

The vertices of a path are texts: an address and port (``10.96.0.10:80``, or ``*:30080`` for a node port), a virtual
server (``tcp 10.96.0.10:80``), a chain, an endpoint (``10.244.1.5:8080``), ``refused`` or ``dropped``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..state.iptables_rule import target
from ..state.ipvs import endpoint
from .names import SERVICE_CHAIN_PREFIXES, nftables_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..model.service import ServicePort
    from ..state.iptables import Tables
    from ..state.ipvs import VirtualServerKey, VirtualServers
    from ..state.nftables import Table
    from ..state.rule_set import RuleSet

REFUSED = "refused"
DROPPED = "dropped"
# What becomes of a link between a rule set and a kernel.
LIVE, MISSING, EXTRA, CHANGED = "live", "missing", "extra", "changed"

_PROTOCOL = re.compile(r"(?:^| )-p (\w+)")
_PORT = re.compile(r" --dport (\d+)")
_ADDRESS = re.compile(r"(?:^| )-d ([^/ ]+)(?:/(\d+))?")
_PROBABILITY = re.compile(r" --probability ([\d.]+)")
_DESTINATION = re.compile(r" --to-destination (\S+)")
_HOST_LENGTHS = (None, "32", "128")
_VERDICTS = {"REJECT": REFUSED, "DROP": DROPPED}
_DISPATCH = (
    ("nat", "KUBE-SERVICES"),
    ("nat", "KUBE-NODEPORTS"),
    ("filter", "KUBE-SERVICES"),
    ("filter", "KUBE-EXTERNAL-SERVICES"),
)
_MAPS = ("service-ips", "service-nodeports", "no-endpoint-services", "no-endpoint-nodeports")
_GOTO = re.compile(r"goto ([^\s,]+)")
_SHARES = re.compile(r"mod (\d+) v?map \{ (.*) \}")
_DNAT = re.compile(r" dnat (?:ip6? )?to ([\d\[][^\s]*)$")


class Link(NamedTuple):
    """One step of a path. ``label`` says what is special: a share (``50 %``), a weight, a scheduler, or nothing."""

    source: str
    target: str
    label: str = ""


class Graph(NamedTuple):
    """All steps: from (protocol, address and port), and from further vertices."""

    entries: dict[tuple[str, str], list[Link]]
    links: dict[str, list[Link]]

    @classmethod
    def empty(cls) -> Graph:
        """A graph without a step."""
        return cls({}, {})


def entries(port: ServicePort) -> list[tuple[str, str]]:
    """Under which addresses clients find a service port, as (kind, address and port)."""
    found = [("cluster IP", endpoint(port.cluster_ip, port.port))]
    found += [("external IP", endpoint(address, port.port)) for address in port.external_ips]
    found += [("load balancer IP", endpoint(address, port.port)) for address in port.load_balancer_ips]
    return found + ([("node port", f"*:{port.node_port}")] if port.node_port else [])


def graph(rule_set: RuleSet, family: str, ports: Iterable[ServicePort]) -> Graph:
    """The steps of one family in a rule set, or in what a kernel holds of one. ``ports`` are those of the family."""
    mode = rule_set.settings.get("mode")
    if mode == "nftables":
        table = rule_set.nftables.get(nftables_name(family))
        return nftables_graph(table) if table else Graph.empty()
    if mode == "iptables":
        return iptables_graph(rule_set.tables.get(family, {}))
    return ipvs_graph({key: one for key, one in rule_set.virtual_servers.items() if key.family == family}, ports)


def path(found: Graph, port: ServicePort) -> list[Link]:
    """The steps from a service port's addresses on, each once."""
    links: dict[tuple[str, str], Link] = {}
    waiting = [link for _kind, address in entries(port) for link in found.entries.get((port.protocol, address), ())]
    while waiting:
        link = waiting.pop(0)
        if links.setdefault((link.source, link.target), link) is link:
            waiting += found.links.get(link.target, ())
    return list(links.values())


def compare(desired: Iterable[Link], live: Iterable[Link]) -> Iterator[dict[str, str]]:
    """All steps of both, with what became of each."""
    wanted = {(link.source, link.target): link.label for link in desired}
    there = {(link.source, link.target): link.label for link in live}
    for ends in {**wanted, **there}:
        status, label = LIVE, there.get(ends, "")
        if ends not in there:
            status, label = MISSING, wanted[ends]
        elif ends not in wanted:
            status = EXTRA
        elif wanted[ends] != label:
            status, label = CHANGED, f"{label}, not {wanted[ends]}"
        yield {"from": ends[0], "to": ends[1], "label": label, "status": status}


def ipvs_entries(keys: Iterable[VirtualServerKey], ports: Iterable[ServicePort]) -> dict[VirtualServerKey, str]:
    """The address and port that each virtual server stands for: ``*:PORT`` for those of a node port."""
    known = {(port.protocol, address) for port in ports for _kind, address in entries(port)}
    found = {key: endpoint(key.address, key.port) for key in keys}
    return {key: one if (key.protocol, one) in known else f"*:{key.port}" for key, one in found.items()}


def ipvs_graph(servers: VirtualServers, ports: Iterable[ServicePort]) -> Graph:
    """Steps through virtual servers. Those of one node port count as one, whatever the node's addresses are."""
    found = Graph.empty()
    for key, entry in ipvs_entries(servers, ports).items():
        server = servers[key]
        name = f"{key.protocol} {entry}"
        found.entries[key.protocol, entry] = [Link(entry, name, server.scheduler)]
        links = found.links.setdefault(name, [])
        links += [Link(name, str(end), f"weight {real.weight}") for end, real in server.real_servers.items()]
    return found


def iptables_graph(tables: Tables) -> Graph:
    """Steps through the chains of iptables mode."""
    found = Graph.empty()
    for table, name in _DISPATCH:
        chain = tables.get(table, {}).get(name)
        for rule in chain.rules if chain else ():
            _dispatch(found, rule)
    for name, chain in tables.get("nat", {}).items():
        if name.startswith(SERVICE_CHAIN_PREFIXES):
            found.links[name] = list(_chain_links(name, chain.rules))
    return found


def _dispatch(found: Graph, rule: str) -> None:
    """Takes in a rule that leads to a service's chain, or refuses."""
    jump = target(rule)
    protocol, port = _PROTOCOL.search(rule), _PORT.search(rule)
    address = _ADDRESS.search(rule)
    # The rules for 127.0.0.0/8 only count.
    if not protocol or not port or (address and address.group(2) not in _HOST_LENGTHS):
        return
    if jump in _VERDICTS or jump.startswith(SERVICE_CHAIN_PREFIXES):
        entry = endpoint(address.group(1), int(port.group(1))) if address else f"*:{port.group(1)}"
        link = Link(entry, _VERDICTS.get(jump, jump))
        found.entries.setdefault((protocol.group(1), entry), []).append(link)


def _chain_links(name: str, rules: Iterable[str]) -> Iterator[Link]:
    left = 1.0
    for rule in rules:
        jump = target(rule)
        if jump == "DNAT":
            destination = _DESTINATION.search(rule)
            if destination:
                yield Link(name, destination.group(1))
        # Who came before goes to the same endpoint again: no share of its own.
        elif jump.startswith("KUBE-SEP-") and " --rcheck " not in rule:
            probability = _PROBABILITY.search(rule)
            share = left * float(probability.group(1)) if probability else left
            left -= share
            yield Link(name, jump, f"{share:.0%}".replace("%", " %"))
        elif jump.startswith(SERVICE_CHAIN_PREFIXES) and " --rcheck " not in rule:
            yield Link(name, jump)


def nftables_graph(table: Table) -> Graph:
    """Steps through the maps and chains of nftables mode."""
    found = Graph.empty()
    for name in _MAPS:
        for key, element in table.sets[name].elements.items() if name in table.sets else ():
            *address, protocol, port = key.split(" . ")
            entry = endpoint(address[0], int(port)) if address else f"*:{port}"
            link = Link(entry, _verdict(element.data))
            found.entries.setdefault((protocol, entry), []).append(link)
    for name, chain in table.chains.items():
        links = [link for rule in chain.rules for link in _rule_links(name, rule)]
        # Where a client stays, the rule that remembers it comes before the one that gives it a share.
        found.links[name] = list({link.target: link for link in links}.values())
    return found


def _verdict(data: str) -> str:
    if data == "drop":
        return DROPPED
    chain = data.replace("goto ", "", 1)
    return REFUSED if chain == "reject-chain" else chain


def _rule_links(name: str, rule: str) -> Iterator[Link]:
    shares = _SHARES.search(rule)
    if shares:
        for share in shares.group(2).split(", "):
            where = share.partition(" : ")[2]
            address, _dot, port = where.replace("goto ", "", 1).partition(" . ")
            label = f"{1 / int(shares.group(1)):.0%}".replace("%", " %")
            yield Link(name, endpoint(address, int(port)) if port else address, label)
        return
    destination = _DNAT.search(rule)
    goto = _GOTO.search(rule)
    if destination:
        yield Link(name, destination.group(1))
    elif goto:
        yield Link(name, goto.group(1))
