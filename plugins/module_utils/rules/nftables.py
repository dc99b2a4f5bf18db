# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""nftables mode: (service ports, node, configuration) -> rule set (data-plane 2.1 to 2.6), in nft's listed form."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from ..model.configuration import PRIMARY, node_ip
from ..model.selection import Selection, select
from ..model.service import FAMILIES, effective_source_ranges
from ..model.version import VERSIONS
from ..state.nftables import Chain, Element, Set, Table, duration
from ..state.rule_set import RuleSet
from .facts import NodeFacts, node_port_addresses, node_port_networks
from .names import NFTABLES_FAMILIES, nftables_name, short_hash
from .nftables_static import address_set, local_match, mark, static_chains, static_sets
from .sysctls import conntrack_sysctls
from .udp import udp_endpoints

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration
    from ..model.service import Endpoint, ServiceData, ServicePort

HASH_LENGTH = 8
MAX_NAME_LENGTH = 240
# nft refuses a longer comment of an element, and the whole transaction with it.
MAX_COMMENT_LENGTH = 128
# What the kernel makes of a set to which packets add, without a size given.
DYNAMIC_SIZE = 65535


def render(service_data: ServiceData, node: Node, configuration: ProxyConfiguration, facts: NodeFacts) -> RuleSet:
    """The rule set of nftables mode, both families."""
    if not configuration.node_port_addresses:
        configuration = configuration._replace(node_port_addresses=(PRIMARY,))
    if not configuration.service_cidrs:
        configuration = configuration._replace(service_cidrs=service_data.service_cidrs)
    families = [
        _Family(family, [p for p in service_data.service_ports if p.family == family], node, configuration, facts)
        for family in FAMILIES
    ]
    return RuleSet.empty()._replace(
        sysctls=conntrack_sysctls(configuration, facts),
        nftables={nftables_name(family.family): family.table() for family in families},
        udp_endpoints=udp_endpoints(service_data.service_ports, {one.family: one.node_ports for one in families}),
    )


def service_name(port: ServicePort) -> str:
    """What the chains of one service port have in common: the end of their names (data-plane 2.1)."""
    return _hashed(_identity(port))


def endpoint_name(port: ServicePort, endpoint: Endpoint) -> str:
    """The end of the names of an endpoint's chain and set."""
    return _hashed(f"{_identity(port)}__{endpoint.ip.replace(':', '.')}/{endpoint.port}")


def _identity(port: ServicePort) -> str:
    return f"{port.namespace}/{port.name}/{port.protocol}/{port.port_name}"


def _hashed(text: str) -> str:
    name = f"{short_hash(text, HASH_LENGTH)}-{text}"
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 3]}..."


class _Family:
    """Collects the table of one family."""

    def __init__(
        self, family: str, ports: list[ServicePort], node: Node, configuration: ProxyConfiguration, facts: NodeFacts
    ) -> None:
        self.family = family
        # ``ip`` or ``ip6``, as nft calls the family and its header.
        self.ip = NFTABLES_FAMILIES[family]
        self.node = node
        self.configuration = configuration
        self.version = VERSIONS[configuration.version]
        self.node_ip = ip_address(node_ip(node, configuration, family))
        self.local = local_match(family, node, configuration)
        self.mark = mark(configuration)
        self.node_ports = node_port_addresses(node, configuration, facts, family)
        self.all_node_ports = node_port_networks(node, configuration, family) is None
        self.sets: dict[str, Set] = static_sets(family, None if self.all_node_ports else self.node_ports)
        self.chains: dict[str, Chain] = static_chains(family, node, configuration, self.all_node_ports)
        for port in ports:
            _ServicePort(self, port).write()

    def table(self) -> Table:
        return Table((("comment", '"rules for kube-proxy"'),), self.sets, self.chains, {})

    def add(self, set_name: str, key: str, data: str = "", comment: str = "") -> None:
        """Adds an element to a set or map."""
        self.sets[set_name].elements[key] = Element(data, comment)


class _ServicePort:
    """Writes what one service port needs, in the order of data-plane 2.3."""

    def __init__(self, family: _Family, port: ServicePort) -> None:
        self.family = family
        self.port = port
        self.selection: Selection = select(port, family.node, family.version)
        self.base = service_name(port)
        self.ranges = effective_source_ranges(port, family.version.zero_cidr_is_any)
        found = self.selection
        self.has_internal = found.has_endpoints and not (port.internal_local and not found.local)
        self.has_external = found.has_endpoints and not (port.external_local and not found.local)

    def write(self) -> None:
        """Adds elements and chains to the family's table."""
        port, family = self.port, self.family
        family.add("cluster-ips", port.cluster_ip)
        policy = "local" if port.internal_local else "service"
        self._dispatch(port.cluster_ip, self.has_internal, self.has_internal, self.chain(policy))
        for address in (*port.load_balancer_ips, *port.external_ips):
            self._dispatch(address, self.selection.has_endpoints, self.has_external, self.chain("external"))
        self._node_port()
        if port.load_balancer_ips and self.ranges:
            self._firewall()
        self._balance_chains()
        if self.selection.has_endpoints and port.externally_accessible:
            family.chains[self.chain("external")] = Chain("", "", tuple(self._external_rules()))

    def chain(self, kind: str) -> str:
        """The service port's chain of a kind: service, local, external or firewall."""
        return f"{kind}-{self.base}"

    def _key(self, address: str) -> str:
        return f"{address} . {self.port.protocol} . {self.port.port}"

    def _dispatch(self, address: str, leads_on: bool, answered: bool, chain: str) -> None:
        if leads_on:
            self.family.add("service-ips", self._key(address), f"goto {chain}")
        if not answered:
            self.family.add("no-endpoint-services", self._key(address), *self._verdict())

    def _verdict(self) -> tuple[str, str]:
        """-> (verdict, comment) where nobody can answer: refused, or dropped as another node may answer."""
        verdict = "drop" if self.selection.has_endpoints else "goto reject-chain"
        return verdict, str(self.port)[:MAX_COMMENT_LENGTH]

    def _node_port(self) -> None:
        if not self.port.node_port:
            return
        key = f"{self.port.protocol} . {self.port.node_port}"
        if self.selection.has_endpoints:
            self.family.add("service-nodeports", key, f"goto {self.chain('external')}")
        if not self.has_external:
            self.family.add("no-endpoint-nodeports", key, *self._verdict())

    def _firewall(self) -> None:
        sources = list(self.ranges)
        if any(self.family.node_ip in ip_network(source) for source in self.ranges):
            # The node itself may come with the address of the load balancer, which is local here.
            sources += self.port.load_balancer_ips
        rule = f"{self.family.ip} saddr != {address_set(sources)} drop"
        self.family.chains[self.chain("firewall")] = Chain("", "", (rule,))
        for address in self.port.load_balancer_ips:
            self.family.add("firewall-ips", self._key(address), f"goto {self.chain('firewall')}")

    def _external_rules(self) -> list[str]:
        rules = []
        masquerade = f"meta mark set meta mark | {self.family.mark}"
        to_all = f"goto {self.chain('service')}"
        if not self.port.external_local:
            rules.append(f'{masquerade} comment "masquerade"')
        else:
            if self.family.local:
                rules.append(f'{self.family.local} {to_all} comment "short-circuit pod traffic"')
            rules.append(f'fib saddr type local {masquerade} comment "masquerade local traffic"')
            rules.append(f'fib saddr type local {to_all} comment "short-circuit local traffic"')
        if self.has_external:
            rules.append(f"goto {self.chain('local' if self.port.external_local else 'service')}")
        return rules

    def _balance_chains(self) -> None:
        for kind, endpoints in (("service", self.selection.cluster), ("local", self.selection.local)):
            if endpoints:
                rules = self._sticky(endpoints) if self.port.affinity_timeout else [self._spread(endpoints)]
                self.family.chains[self.chain(kind)] = Chain("", "", tuple(rules))
        for endpoint in self.selection.reachable:
            if self.port.affinity_timeout:
                self._endpoint(endpoint)
            if endpoint.node == self.family.node.name:
                key = f"{endpoint.ip} . {endpoint.ip} . {self.port.protocol} . {endpoint.port}"
                self.family.add("hairpin-connections", key)

    def _spread(self, endpoints: tuple[Endpoint, ...]) -> str:
        """An equal share for each endpoint."""
        shares = ", ".join(f"{number} : {e.ip} . {e.port}" for number, e in enumerate(endpoints))
        numbers = f"numgen random mod {len(endpoints)}"
        return f"meta l4proto {self.port.protocol} dnat {self.family.ip} to {numbers} map {{ {shares} }}"

    def _sticky(self, endpoints: tuple[Endpoint, ...]) -> list[str]:
        """The endpoint that served the client last, else an equal share for each."""
        names = [endpoint_name(self.port, endpoint) for endpoint in endpoints]
        rules = [f"{self.family.ip} saddr @affinity-{name} goto endpoint-{name}" for name in names]
        shares = ", ".join(f"{number} : goto endpoint-{name}" for number, name in enumerate(names))
        return [*rules, f"numgen random mod {len(names)} vmap {{ {shares} }}"]

    def _endpoint(self, endpoint: Endpoint) -> None:
        name = endpoint_name(self.port, endpoint)
        options = (
            ("type", "ipv6_addr" if self.family.family == "ipv6" else "ipv4_addr"),
            ("size", str(DYNAMIC_SIZE)),
            ("flags", "dynamic,timeout"),
            ("timeout", duration(self.port.affinity_timeout)),
        )
        self.family.sets[f"affinity-{name}"] = Set("set", options, {})
        rules = (
            f"update @affinity-{name} {{ {self.family.ip} saddr }}",
            f"meta l4proto {self.port.protocol} dnat to {endpoint}",
        )
        self.family.chains[f"endpoint-{name}"] = Chain("", "", rules)
