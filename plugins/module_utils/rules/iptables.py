# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""iptables mode: (service ports, node, configuration) -> rule set (data-plane 1.3 to 1.8)."""

from __future__ import annotations

import functools
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from ..model.address import WHOLE_ADDRESS
from ..model.configuration import node_ip
from ..model.selection import Selection, select
from ..model.service import FAMILIES, effective_source_ranges
from ..model.version import VERSIONS
from ..state.rule_set import RuleSet
from .facts import NodeFacts, localhost_node_ports, node_port_networks
from .iptables_chains import static_tables
from .names import ACCEPTED_LOCALHOST, ACCOUNTING_OBJECTS, short_hash
from .sysctls import iptables_sysctls
from .traffic import Dispatch, comment, local_match, not_local_match, place
from .udp import udp_endpoints

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration
    from ..model.service import Endpoint, ServiceData, ServicePort
    from ..state.iptables import Tables

# With more endpoints than this in a family, rules of single services and endpoints carry no comments.
LARGE_CLUSTER_ENDPOINTS = 1000
HASH_LENGTH = 16
PROBABILITY_UNIT = 2**31


def render(service_data: ServiceData, node: Node, configuration: ProxyConfiguration, facts: NodeFacts) -> RuleSet:
    """The rule set of iptables mode, both families."""
    large = large_families(service_data)
    families = {
        family: _Family(
            family,
            [p for p in service_data.service_ports if p.family == family],
            family in large,
            node,
            configuration,
            facts,
        )
        for family in FAMILIES
    }
    counts = facts.accounting and VERSIONS[configuration.version].accounting
    return RuleSet.empty()._replace(
        sysctls=iptables_sysctls(node, configuration, facts),
        tables={name: family.tables() for name, family in families.items()},
        accounting_objects=ACCOUNTING_OBJECTS if counts else frozenset(),
        udp_endpoints=udp_endpoints(
            service_data.service_ports, {name: family.node_port_destinations() for name, family in families.items()}
        ),
    )


def large_families(data: ServiceData) -> list[str]:
    """Families in which the rules of single services and endpoints carry no comments."""
    return [family for family, count in data.endpoint_counts().items() if count > LARGE_CLUSTER_ENDPOINTS]


def service_hash(port: ServicePort) -> str:
    """What the chains of one service port have in common: the end of their names (data-plane 1.2)."""
    return short_hash(identity(port), HASH_LENGTH)


def endpoint_chain(port: str, endpoint: str) -> str:
    """The name of the chain of an endpoint, of which this is the endpoint string, and of its port's identity."""
    return f"KUBE-SEP-{short_hash(port + endpoint, HASH_LENGTH)}"


def identity(port: ServicePort) -> str:
    """What kube-proxy hashes of a service port."""
    return f"{port}{port.protocol}"


class _Family:
    """Collects the chains of one family."""

    def __init__(
        self,
        family: str,
        ports: list[ServicePort],
        large: bool,
        node: Node,
        configuration: ProxyConfiguration,
        facts: NodeFacts,
    ) -> None:
        self.family = family
        self.node = node
        self.configuration = configuration
        self.facts = facts
        self.version = VERSIONS[configuration.version]
        self.length = WHOLE_ADDRESS[family]
        self.node_ip = ip_address(node_ip(node, configuration, family))
        self.local = local_match(family, node, configuration)
        self.not_local = not_local_match(family, node, configuration)
        self.counts_localhost = (
            facts.accounting and self.version.accounting and localhost_node_ports(node, configuration, family)
        )
        self.nat: dict[str, list[str]] = {}
        self.dispatch = Dispatch()
        self.large = large
        for port in ports:
            _ServicePort(self, port).write()

    def tables(self) -> Tables:
        return static_tables(self.family, self.node, self.configuration, self.facts, self.dispatch, self.nat)

    def node_port_destinations(self) -> list[str]:
        """Addresses of this node on which a node port may be reached."""
        networks = node_port_networks(self.node, self.configuration, self.family)
        return [
            address
            for address in self.facts.local_addresses(self.family)
            if networks is None or any(ip_address(address) in network for network in networks)
        ]


class _ServicePort:
    """Writes the rules of one service port, in the order of data-plane 1.5."""

    def __init__(self, family: _Family, port: ServicePort) -> None:
        self.family = family
        self.port = port
        self.selection: Selection = select(port, family.node, family.version)
        self.name = str(port)
        self.hash = service_hash(port)
        self.ranges = effective_source_ranges(port, family.version.zero_cidr_is_any)
        found = self.selection
        name = identity(port)
        # endpoint -> (its endpoint string, name of its chain)
        self.targets = {e: (address := str(e), endpoint_chain(name, address)) for e in found.reachable}
        self.has_internal = found.has_endpoints and not (port.internal_local and not found.local)
        self.has_external = found.has_endpoints and not (port.external_local and not found.local)
        self.uses_firewall = bool(found.has_endpoints and port.load_balancer_ips and self.ranges)
        self.uses_external = found.has_endpoints and port.externally_accessible

    def write(self) -> None:
        """Adds the rules to the family's chains."""
        self._cluster_ip()
        for address in self.port.external_ips:
            self._external(address, "external IP", self.chain("EXT"))
        for address in self.port.load_balancer_ips:
            self._external(address, "loadbalancer IP", self.chain("FW" if self.uses_firewall else "EXT"))
            if self.uses_firewall:
                text = f"{self.name} traffic not accepted by {self.chain('FW')}"
                self.family.dispatch.firewall.append(f"{self._to(address, text)} -j DROP")
        self._node_port()
        if self.port.health_check_node_port:
            text = f"{self.name} health check node port"
            match = f"-p tcp {comment(text)} -m tcp --dport {self.port.health_check_node_port}"
            self.family.dispatch.health_checks.append(f"{match} -j ACCEPT")
        self._chains()

    def chain(self, kind: str) -> str:
        """The service port's chain of a kind: SVC, SVL, EXT or FW."""
        return f"KUBE-{kind}-{self.hash}"

    def _to(self, address: str, text: str, source: str = "") -> str:
        """The match of traffic to an address of the service port."""
        destination = f"-d {address}/{self.family.length}"
        protocol = self.port.protocol
        return f"{place(source, destination)} -p {protocol} {comment(text)} -m {protocol} --dport {self.port.port}"

    def _verdict(self) -> tuple[str, str]:
        """-> (comment, target) where nobody can answer: refused, or dropped as another node may answer."""
        if self.selection.has_endpoints:
            return f"{self.name} has no local endpoints", "DROP"
        kind = "icmp6-port-unreachable" if self.family.family == "ipv6" else "icmp-port-unreachable"
        return f"{self.name} has no endpoints", f"REJECT --reject-with {kind}"

    def _cluster_ip(self) -> None:
        if self.has_internal:
            chain = self.chain("SVL" if self.port.internal_local else "SVC")
            text = f"{self.name} cluster IP"
            self.family.dispatch.services.append(f"{self._to(self.port.cluster_ip, text)} -j {chain}")
            masquerade = self._masquerade(text)
            if masquerade:
                self.family.nat.setdefault(chain, []).append(masquerade)
        else:
            text, target = self._verdict()
            self.family.dispatch.no_endpoints.append(f"{self._to(self.port.cluster_ip, text)} -j {target}")

    def _masquerade(self, text: str) -> str | None:
        """The rule that masquerades traffic to the cluster IP from outside the cluster, or all of it."""
        if self.family.configuration.masquerade_all:
            return f"{self._to(self.port.cluster_ip, text)} -j KUBE-MARK-MASQ"
        if self.family.not_local:
            return f"{self._to(self.port.cluster_ip, text, self.family.not_local)} -j KUBE-MARK-MASQ"
        return None

    def _external(self, address: str, kind: str, chain: str) -> None:
        if self.selection.has_endpoints:
            self.family.dispatch.services.append(f"{self._to(address, f'{self.name} {kind}')} -j {chain}")
        if not self.has_external:
            text, target = self._verdict()
            self.family.dispatch.no_external_endpoints.append(f"{self._to(address, text)} -j {target}")

    def _node_port(self) -> None:
        number, protocol = self.port.node_port, self.port.protocol
        if number and self.selection.has_endpoints:
            match = f"-p {protocol} {comment(self.name)} -m {protocol} --dport {number}"
            jump = f"-j {self.chain('EXT')}"
            if self.family.counts_localhost:
                counted = f"-m nfacct --nfacct-name  {ACCEPTED_LOCALHOST}"
                self.family.dispatch.node_ports.append(f"-d 127.0.0.0/8 {match} {counted} {jump}")
            self.family.dispatch.node_ports.append(f"{match} {jump}")
        if number and not self.has_external:
            text, target = self._verdict()
            match = f"-p {protocol} {comment(text)} -m addrtype --dst-type LOCAL -m {protocol} --dport {number}"
            self.family.dispatch.no_external_endpoints.append(f"{match} -j {target}")

    def _chains(self) -> None:
        if self.uses_external:
            self.family.nat[self.chain("EXT")] = self._external_chain()
        if self.uses_firewall:
            self.family.nat[self.chain("FW")] = self._firewall_chain()
        for kind, endpoints in (("SVC", self.selection.cluster), ("SVL", self.selection.local)):
            if endpoints:
                self.family.nat.setdefault(self.chain(kind), []).extend(self._balance(endpoints))
        self._endpoint_chains()

    def _external_chain(self) -> list[str]:
        if not self.port.external_local:
            text = f"masquerade traffic for {self.name} external destinations"
            return [f"{comment(text)} -j KUBE-MARK-MASQ", f"-j {self.chain('SVC')}"]
        rules = []
        if self.family.local:
            text = f"pod traffic for {self.name} external destinations"
            rules.append(f"{self.family.local} {comment(text)} -j {self.chain('SVC')}")
        for verb, target in (("masquerade", "KUBE-MARK-MASQ"), ("route", self.chain("SVC"))):
            text = f"{verb} LOCAL traffic for {self.name} external destinations"
            rules.append(f"{comment(text)} -m addrtype --src-type LOCAL -j {target}")
        if self.has_external:
            rules.append(f"-j {self.chain('SVL')}")
        return rules

    def _firewall_chain(self) -> list[str]:
        text = comment(f"{self.name} loadbalancer IP")
        sources = list(self.ranges)
        if any(self.family.node_ip in ip_network(source) for source in self.ranges):
            # The node itself may come with the address of the load balancer, which is local here.
            sources += [f"{address}/{self.family.length}" for address in self.port.load_balancer_ips]
        rules = [f"-s {source} {text} -j {self.chain('EXT')}" for source in sources]
        dropped = f"other traffic to {self.name} will be dropped by KUBE-PROXY-FIREWALL"
        return [*rules, comment(dropped)]

    def _balance(self, endpoints: tuple[Endpoint, ...]) -> list[str]:
        """Affinity first, then an equal share for each endpoint."""
        targets = [self.targets[endpoint] for endpoint in endpoints]
        texts = [self._comment(f"{self.name} -> {address}") for address, _chain in targets]
        rules = []
        if self.port.affinity_timeout:
            for text, (_address, chain) in zip(texts, targets):
                seconds = f"--rcheck --seconds {self.port.affinity_timeout} --reap"
                rules.append(f"{text}-m recent {seconds} {self._recent(chain)} -j {chain}")
        left = len(endpoints)
        for text, (_address, chain) in zip(texts, targets):
            share = f"-m statistic --mode random --probability {probability(left)} " if left > 1 else ""
            rules.append(f"{text}{share}-j {chain}")
            left -= 1
        return rules

    def _endpoint_chains(self) -> None:
        nat, length, protocol = self.family.nat, self.family.length, self.port.protocol
        text = self._comment(self.name)
        for endpoint, (address, chain) in self.targets.items():
            affinity = f"-m recent --set {self._recent(chain)} " if self.port.affinity_timeout else ""
            nat[chain] = [
                f"-s {endpoint.ip}/{length} {text}-j KUBE-MARK-MASQ",
                f"-p {protocol} {text}{affinity}-m {protocol} -j DNAT --to-destination {address}",
            ]

    def _recent(self, chain: str) -> str:
        mask = ":".join(["ffff"] * 8) if self.family.family == "ipv6" else "255.255.255.255"
        return f"--name {chain} --mask {mask} --rsource"

    def _comment(self, text: str) -> str:
        return "" if self.family.large else f"{comment(text)} "


@functools.lru_cache(maxsize=None)
def probability(endpoints: int) -> str:
    """One of n, as the kernel stores it, in 2^31 parts, and iptables-save prints it.

    kube-proxy writes ten decimals, so those are what is rounded to parts.
    """
    written = round(1 / endpoints, 10)
    return f"{round(written * PROBABILITY_UNIT) / PROBABILITY_UNIT:.11f}"
