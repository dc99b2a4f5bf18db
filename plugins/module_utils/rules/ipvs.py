# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""IPVS mode: (service ports, node, configuration) -> rule set (data-plane 1.10 to 1.13)."""

from __future__ import annotations

import functools
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from ..model.configuration import node_ip
from ..model.selection import Selection, select
from ..model.service import FAMILIES, effective_source_ranges
from ..model.version import VERSIONS
from ..state.ipset import IPSet
from ..state.ipvs import RealServer, RealServerKey, VirtualServer, VirtualServerKey
from ..state.node import Link
from ..state.rule_set import RuleSet
from .facts import NodeFacts, node_port_addresses
from .ipvs_chains import tables
from .ipvs_sets import SETS, SetDefinition, set_name
from .names import DEVICE
from .sysctls import ipvs_sysctls
from .udp import udp_endpoints

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration
    from ..model.service import Endpoint, ServiceData, ServicePort


class _Family:
    """Collects what the service ports of one family add up to."""

    def __init__(self, family: str, node: Node, configuration: ProxyConfiguration, facts: NodeFacts) -> None:
        self.family = family
        self.node = node
        self.configuration = configuration
        self.version = VERSIONS[configuration.version]
        self.node_ip = ip_address(node_ip(node, configuration, family))
        self.node_port_ips = node_port_addresses(node, configuration, facts, family)
        # kube-proxy does not count loopback as an address of the node
        self.elsewhere = {a for a in facts.local_addresses(family) if not ip_address(a).is_loopback}
        self.members: dict[str, dict[str, str]] = {key: {} for key in SETS}
        self.servers: dict[VirtualServerKey, VirtualServer] = {}
        self.addresses: set[str] = set()
        # virtual servers whose source ranges leave the node itself out
        self.closed_to_node: list[VirtualServerKey] = []

    def add(self, port: ServicePort) -> None:
        selection = select(port, self.node, self.version)
        for endpoint in selection.on_node:
            self._member("KUBE-LOOP-BACK", f"{endpoint.ip},{port.protocol}:{endpoint.port},{endpoint.ip}")
        self._member("KUBE-CLUSTER-IP", f"{port.cluster_ip},{port.protocol}:{port.port}")
        # bound even where another interface has it
        self.addresses.add(port.cluster_ip)
        self._serve(port, port.cluster_ip, port.port, _endpoints(selection, port.internal_local))
        outside = _endpoints(selection, port.external_local)
        for address in port.external_ips:
            name = "KUBE-EXTERNAL-IP-LOCAL" if port.external_local else "KUBE-EXTERNAL-IP"
            self._member(name, f"{address},{port.protocol}:{port.port}")
            self._bind(address)
            self._serve(port, address, port.port, outside)
        for address in port.load_balancer_ips:
            self._load_balancer(port, address)
            self._bind(address)
            self._serve(port, address, port.port, outside)
        self._node_port(port, outside)

    def _member(self, set_key: str, entry: str) -> None:
        self.members[set_key][entry] = ""

    def _bind(self, address: str) -> None:
        if address not in self.elsewhere:
            self.addresses.add(address)

    def _serve(self, port: ServicePort, address: str, number: int, endpoints: tuple[Endpoint, ...]) -> None:
        scheduler = port.scheduler or self.configuration.scheduler
        flags = set(port.scheduler_flags)
        if scheduler == "mh":
            # so that clients behind one address spread: kube-proxy sets mh-port with every mh
            flags.add("flag-2")
        real_servers = {RealServerKey(e.ip, e.port): _real_server(e.weight) for e in endpoints}
        self.servers[VirtualServerKey(self.family, port.protocol, address, number)] = VirtualServer(
            scheduler, tuple(sorted(flags)), port.affinity_timeout, 0, real_servers
        )

    def _load_balancer(self, port: ServicePort, address: str) -> None:
        entry = f"{address},{port.protocol}:{port.port}"
        self._member("KUBE-LOAD-BALANCER", entry)
        if port.external_local:
            self._member("KUBE-LOAD-BALANCER-LOCAL", entry)
        ranges = effective_source_ranges(port, self.version.zero_cidr_is_any)
        if not ranges:
            return
        self._member("KUBE-LOAD-BALANCER-FW", entry)
        for source in ranges:
            for network in _held(source):
                self._member("KUBE-LOAD-BALANCER-SOURCE-CIDR", f"{entry},{network}")
        if any(self.node_ip in ip_network(source) for source in ranges):
            self._member("KUBE-LOAD-BALANCER-SOURCE-IP", f"{entry},{address}")
        else:
            self.closed_to_node.append(VirtualServerKey(self.family, port.protocol, address, port.port))

    def _node_port(self, port: ServicePort, endpoints: tuple[Endpoint, ...]) -> None:
        if port.node_port and not self.node_port_ips:
            return
        if port.node_port:
            scopes = ("", "-LOCAL") if port.external_local else ("",)
            for scope in scopes:
                if port.protocol == "sctp":
                    for address in self.node_port_ips:
                        self._member(f"KUBE-NODE-PORT{scope}-SCTP-HASH", f"{address},sctp:{port.node_port}")
                else:
                    self._member(f"KUBE-NODE-PORT{scope}-{port.protocol.upper()}", str(port.node_port))
            for address in self.node_port_ips:
                self._serve(port, address, port.node_port, endpoints)
        if port.health_check_node_port:
            self._member("KUBE-HEALTH-CHECK-NODE-PORT", str(port.health_check_node_port))

    def sets(self) -> dict[str, IPSet]:
        self.members["KUBE-IPVS-IPS"] = dict.fromkeys(self.addresses, "")
        found = {}
        for key, definition in SETS.items():
            name = set_name(key, self.family)
            found[name] = IPSet(name, definition.type, _options(definition, self.family), self.members[key])
        return found


def render(service_data: ServiceData, node: Node, configuration: ProxyConfiguration, facts: NodeFacts) -> RuleSet:
    """The rule set of IPVS mode, both families."""
    families = {family: _Family(family, node, configuration, facts) for family in FAMILIES}
    for port in service_data.service_ports:
        families[port.family].add(port)
    timeouts = {
        "tcp": configuration.tcp_timeout,
        "tcpfin": configuration.tcp_fin_timeout,
        "udp": configuration.udp_timeout,
    }
    addresses = {f"{a}/32" for a in families["ipv4"].addresses} | {f"{a}/128" for a in families["ipv6"].addresses}
    return RuleSet.empty()._replace(
        sysctls=ipvs_sysctls(configuration, facts),
        ipvs_timeouts={name: seconds for name, seconds in timeouts.items() if seconds},
        sets={name: ip_set for family in families.values() for name, ip_set in family.sets().items()},
        tables={
            name: tables(name, family.members, family.closed_to_node, node, configuration)
            for name, family in families.items()
        },
        virtual_servers={key: server for family in families.values() for key, server in family.servers.items()},
        link=Link(DEVICE, frozenset(addresses)),
        udp_endpoints=udp_endpoints(
            service_data.service_ports, {name: family.node_port_ips for name, family in families.items()}
        ),
    )


@functools.lru_cache(maxsize=64)
def _real_server(weight: int) -> RealServer:
    return RealServer("masquerade", weight)


def _endpoints(selection: Selection, local: bool) -> tuple[Endpoint, ...]:
    """Local endpoints fall back to all: on a node without one, IPVS mode still serves (kubernetes#97081)."""
    return (selection.local or selection.cluster) if local else selection.cluster


def _options(definition: SetDefinition, family: str) -> tuple[tuple[str, str], ...]:
    if definition.type == "bitmap:port":
        return (("range", "0-65535"),)
    return (("family", "inet6" if family == "ipv6" else "inet"), ("hashsize", "1024"), ("maxelem", "65536"))


def _held(network: str) -> list[str]:
    """A network as ipset holds it: one address without its prefix length, and everything as two halves."""
    address, _slash, length = network.partition("/")
    if length == "0":
        return [str(half) for half in ip_network(network).subnets()]
    return [address if length == ("128" if ":" in address else "32") else network]
