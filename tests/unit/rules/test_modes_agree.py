# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All modes send packets to the same endpoints as iptables mode, and masquerade the same ones, but for DIFFERENCES.

Clusters are those of tests/clusters.py, with equal weights, as only IPVS mode has weights.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import PRIMARY, node_ip
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.selection import Selection, select
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import (
    Endpoint,
    ServiceData,
    ServicePort,
    effective_source_ranges,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.model.version import VERSIONS
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import node_port_addresses
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clusters import FACTS, SOURCE_RANGES, Cluster, Document, random_cluster
from tests.strategies import clusters
from tests.walker.outcome import (
    DELIVERED,
    DROPPED,
    PASSED,
    REACHED,
    REFUSED,
    Answer,
    Packet,
    endpoints,
    kinds,
    masqueraded,
    same,
)
from tests.walker.walk import Walker

# (source, interface); the node has neither.
CLIENTS = {
    "ipv4": (
        ("10.244.1.200", "cni0"),
        ("10.244.1.201", "cali1"),
        ("10.244.2.200", "eth1"),
        ("", ""),
        ("198.51.100.7", "eth0"),
        ("198.18.0.1", "eth0"),
    ),
    "ipv6": (
        ("fd00:244:1::ff", "cni0"),
        ("fd00:244:2::ff", "eth0"),
        ("", ""),
        ("2001:db8:51::7", "eth0"),
        ("2001:db8:99::1", "eth0"),
    ),
}
# What a packet is sent to
CLUSTER_IP, EXTERNAL_IP, LOAD_BALANCER, NODE_PORT, UNUSED = (
    "cluster IP",
    "external IP",
    "load balancer",
    "node port",
    "-",
)
UNUSED_PORT = 9


class Situation(NamedTuple):
    """A packet to a service port, and what becomes of it in iptables mode and in another."""

    packet: Packet
    source: str
    to: str
    port: ServicePort
    selection: Selection
    node: Node
    configuration: ProxyConfiguration
    iptables: Answer
    mode: str
    other: Answer

    @property
    def agrees(self) -> bool:
        return same(self.iptables, self.other)

    @property
    def from_node(self) -> bool:
        return not self.packet.interface

    @property
    def local_policy(self) -> bool:
        return self.port.internal_local if self.to == CLUSTER_IP else self.port.external_local

    @property
    def own(self) -> set[str]:
        """The endpoints that the client is; of one address, there may be several."""
        return {str(one) for one in self.selection.reachable if one.ip == self.source}

    @property
    def ranges(self) -> tuple[str, ...]:
        found = effective_source_ranges(self.port, VERSIONS[self.configuration.version].zero_cidr_is_any)
        balanced = self.to in (LOAD_BALANCER, EXTERNAL_IP) and self.packet.destination in self.port.load_balancer_ips
        return found if balanced else ()

    def in_ranges(self, address: str) -> bool:
        return any(ip_address(address) in ip_network(source) for source in self.ranges)

    def became(self, iptables: str, other: str) -> bool:
        return kinds(self.iptables) == {iptables} and kinds(self.other) == {other}

    def pod_network(self) -> str:
        chosen = self.configuration
        networks = self.node.pod_cidrs if chosen.detect_local_mode == "NodeCIDR" else chosen.cluster_cidrs
        return next((one for one in networks if (":" in one) == (self.port.family == "ipv6")), "")

    def tells_pods(self) -> bool:
        """Whether anything tells pods from the rest."""
        return bool(self.pod_network()) or self.configuration.detect_local_mode not in ("ClusterCIDR", "NodeCIDR")

    def from_pod(self) -> bool:
        """Whether the client counts as a pod."""
        if self.configuration.detect_local_mode == "BridgeInterface":
            return self.packet.interface == "cni0"
        if self.configuration.detect_local_mode == "InterfaceNamePrefix":
            return self.packet.interface.startswith("cali")
        return bool(self.pod_network()) and ip_address(self.source) in ip_network(self.pod_network())


def names(found: tuple[Endpoint, ...]) -> set[str]:
    return {str(one) for one in found}


def local_falls_back(s: Situation) -> bool:
    if not s.local_policy or s.selection.local or kinds(s.iptables) != {DROPPED}:
        return False
    served = {REACHED} if s.selection.cluster else {REFUSED}
    return kinds(s.other) == served and endpoints(s.other) == names(s.selection.cluster)


def takes_the_short_way(s: Situation) -> bool:
    known = s.from_node or s.from_pod()
    if not (known and s.to != CLUSTER_IP and s.port.external_local and s.became(REACHED, REACHED)):
        return False
    behind = s.selection.local or s.selection.cluster
    hidden = endpoints(s.iptables) if s.from_node else masqueraded(s.iptables) & s.own
    return (
        endpoints(s.iptables) == names(s.selection.cluster)
        and endpoints(s.other) == names(behind)
        and masqueraded(s.iptables) == hidden
        and masqueraded(s.other) <= s.own
    )


def reaches_itself_elsewhere(s: Situation) -> bool:
    hidden = masqueraded(s.iptables) - masqueraded(s.other)
    alike = endpoints(s.iptables) == endpoints(s.other) and masqueraded(s.other) <= masqueraded(s.iptables)
    return alike and bool(hidden) and hidden <= s.own - names(s.selection.on_node)


def is_the_service_s_own_address(s: Situation) -> bool:
    alike = endpoints(s.iptables) == endpoints(s.other) == masqueraded(s.other)
    return s.from_node and s.to == CLUSTER_IP and not s.tells_pods() and alike


def has_no_way_to_the_refusal(s: Situation) -> bool:
    external = s.to in (EXTERNAL_IP, LOAD_BALANCER)
    return s.from_node and external and not s.selection.has_endpoints and s.became(PASSED, REFUSED)


def is_not_let_in_anyway(s: Situation) -> bool:
    # Of what the node sends, iptables mode refuses nothing.
    let_go = s.from_node and s.became(PASSED, DROPPED)
    return bool(s.ranges) and not s.selection.has_endpoints and (let_go or s.became(REFUSED, DROPPED))


def is_judged_by_another_address(s: Situation) -> bool:
    own = node_ip(s.node, s.configuration, s.port.family)
    differs = s.from_node and s.in_ranges(s.source) != s.in_ranges(own)
    return differs and {DROPPED} in (kinds(s.iptables), kinds(s.other))


def is_external_as_well(s: Situation) -> bool:
    both = s.packet.destination in s.port.external_ips
    return both and bool(s.ranges) and not s.in_ranges(s.source) and kinds(s.other) == {DROPPED}


def is_to_loopback_or_link_local(s: Situation) -> bool:
    address = ip_address(s.packet.destination)
    special = address.is_link_local or (address.is_loopback and address.version == 4)
    return s.to == NODE_PORT and special and kinds(s.other) == {DELIVERED}


def is_refused_on_any_address(s: Situation) -> bool:
    nobody = s.became(REFUSED, DELIVERED) and not s.selection.has_endpoints
    nobody_here = s.became(DROPPED, DELIVERED) and s.port.external_local and not s.selection.local
    return s.to == NODE_PORT and (nobody or nobody_here)


def is_marked_on_any_address(s: Situation) -> bool:
    return s.to == NODE_PORT and s.from_node and s.became(DELIVERED, DELIVERED)


def is_to_an_unused_port(s: Situation) -> bool:
    return s.to == UNUSED and s.became(PASSED, REFUSED)


def is_to_another_port_of_a_cluster_ip(s: Situation) -> bool:
    return s.to == UNUSED and s.packet.destination == s.port.cluster_ip and s.became(PASSED, REFUSED)


def is_to_an_address_that_is_not_asked_for(s: Situation) -> bool:
    asked = s.configuration.node_port_addresses or (PRIMARY,)
    configuration = s.configuration._replace(node_port_addresses=asked)
    opened = node_port_addresses(s.node, configuration, FACTS, s.port.family)
    loopback = ip_address(s.packet.destination).is_loopback
    closed = loopback or s.packet.destination not in opened
    return s.to == NODE_PORT and closed and s.became(REACHED, DELIVERED)


class Difference(NamedTuple):
    """Where the modes differ, by design of kube-proxy: the reason, and what exactly it explains."""

    reason: str
    explains: Callable[[Situation], bool]


IPVS_DIFFERENCES = (
    # data-plane 1.17, 2
    Difference(
        "A Local policy without a local endpoint: iptables mode drops; IPVS mode serves from the other endpoints, or "
        "refuses where it knows none",
        local_falls_back,
    ),
    Difference(
        "externalTrafficPolicy Local, pods and the node: iptables mode takes them straight to all endpoints, and "
        "masquerades the node; IPVS mode cannot tell them apart, as one virtual server has one set of endpoints",
        takes_the_short_way,
    ),
    # data-plane 1.17, 1: the client is refused alike, but not everywhere.
    Difference(
        "The node itself, an external address without endpoints: no jump from OUTPUT leads to the REJECT rule of "
        "iptables mode; IPVS answers for the address",
        has_no_way_to_the_refusal,
    ),
    Difference(
        "Source ranges without endpoints: iptables mode refuses everybody, as it writes no KUBE-FW chain; IPVS mode "
        "drops those who are not let in",
        is_not_let_in_anyway,
    ),
    Difference(
        "A node port where nobody answers: iptables mode refuses or drops on every local address; IPVS mode has "
        "nothing on addresses that are not for node ports",
        is_refused_on_any_address,
    ),
    # data-plane 1.13
    Difference(
        "Node ports on loopback (localhost_node_ports) and link-local addresses: IPVS has no virtual server there",
        is_to_loopback_or_link_local,
    ),
    Difference(
        "Other ports of a service's address: it is local in IPVS mode, which refuses; iptables mode lets them pass",
        is_to_an_unused_port,
    ),
    # data-plane 1.17, 6
    Difference(
        "An endpoint of another node reaches itself through this node: iptables mode masquerades by the endpoint's "
        "chain; IPVS mode by KUBE-LOOP-BACK, which holds the endpoints of this node",
        reaches_itself_elsewhere,
    ),
    # data-plane 1.12, rule 14c
    Difference(
        "The node itself, where nothing tells pods: its source is the cluster IP in IPVS mode, which must be "
        "masqueraded; it is its own address in iptables mode",
        is_the_service_s_own_address,
    ),
    # data-plane 1.12, rule 23
    Difference(
        "Source ranges and the node itself: iptables mode looks at the source of the packet, IPVS mode at the node's "
        "IP; they differ on a node of several addresses",
        is_judged_by_another_address,
    ),
    Difference(
        "One address as external IP and as load balancer of one service: the rule for the external IP comes first in "
        "iptables mode, and knows no source ranges",
        is_external_as_well,
    ),
    # data-plane 1.12, rules 5 to 10 and 20
    Difference(
        "The node to itself, a node port's number on an address that is not for node ports: IPVS mode marks it all "
        "the same, so the node sees another of its addresses",
        is_marked_on_any_address,
    ),
)


NFTABLES_DIFFERENCES = (
    # data-plane 2.2, cluster-ips-check
    Difference(
        "A port of a cluster IP that no service has: nftables mode refuses it, as it knows the cluster IPs",
        is_to_another_port_of_a_cluster_ip,
    ),
    # data-plane 2.5, 1.31
    Difference(
        "Node ports on addresses that are not asked for: nftables mode opens the node's own IP by default, and none on "
        "loopback",
        is_to_an_address_that_is_not_asked_for,
    ),
    Difference(
        "Node ports without endpoints: the REJECT and DROP rules of iptables mode look for any local address, whatever "
        "the node port addresses; those of nftables mode for the same as node ports",
        is_refused_on_any_address,
    ),
    Difference(
        "The node itself, an external address without endpoints: no jump from OUTPUT leads to the REJECT rule of "
        "iptables mode; nftables mode looks at all that the node sends",
        has_no_way_to_the_refusal,
    ),
    Difference(
        "Source ranges without endpoints: iptables mode refuses all, as it writes no KUBE-FW chain; nftables mode "
        "drops those who are not let in",
        is_not_let_in_anyway,
    ),
    # data-plane 2.6, hairpin-connections
    Difference(
        "An endpoint of another node reaches itself through this node: iptables mode masquerades by the endpoint's "
        "chain; nftables mode by the set hairpin-connections, which holds the endpoints of this node",
        reaches_itself_elsewhere,
    ),
    Difference(
        "One address as external IP and as load balancer of one service: the rule for the external IP comes first in "
        "iptables mode, and knows no source ranges; nftables mode looks at the source before anything else",
        is_external_as_well,
    ),
)
DIFFERENCES = {"ipvs": IPVS_DIFFERENCES, "nftables": NFTABLES_DIFFERENCES}


def situations(cluster: Cluster) -> Iterator[Situation]:
    """Packets from everywhere to everything in a cluster."""
    alike = [
        {**service, "endpoints": [{**one, "weight": 1} for one in service["endpoints"]]} for service in cluster.services
    ]
    data = cluster._replace(services=alike).data()
    node, configuration = cluster.parsed_node(), cluster.parsed_configuration()
    walkers = {
        mode: Walker(render(data, node, configuration._replace(mode=mode), FACTS), FACTS)
        for mode in ("iptables", *DIFFERENCES)
    }
    for to, port, packet in packets(data, node):
        for mode in DIFFERENCES:
            yield Situation(
                packet,
                packet.source or walkers["iptables"].source_for(packet),
                to,
                port,
                select(port, node, VERSIONS[configuration.version]),
                node,
                configuration,
                walkers["iptables"].walk(packet),
                mode,
                walkers[mode].walk(packet),
            )


def packets(data: ServiceData, node: Node) -> Iterator[tuple[str, ServicePort, Packet]]:
    for port in data.service_ports:
        here = next((one.ip for one in port.endpoints if one.node == node.name), "")
        there = next((one.ip for one in port.endpoints if one.node != node.name), "")
        clients = [*CLIENTS[port.family], *([(here, "cni0")] if here else []), *([(there, "eth1")] if there else [])]
        for to, address, number in destinations(port):
            # From elsewhere, loopback is for the kernel to refuse, which the walker does not walk.
            loopback = ip_address(address).is_loopback
            for source, interface in [("", "")] if loopback else clients:
                yield to, port, Packet(address, number, port.protocol, source, interface)


def destinations(port: ServicePort) -> Iterator[tuple[str, str, int]]:
    """What may be reached, by its kind; the rest is nothing of the service's."""
    yield CLUSTER_IP, port.cluster_ip, port.port
    yield UNUSED, port.cluster_ip, UNUSED_PORT
    for address in port.external_ips:
        yield EXTERNAL_IP, address, port.port
        yield UNUSED, address, UNUSED_PORT
    for address in port.load_balancer_ips:
        yield LOAD_BALANCER, address, port.port
    locals_ = [one.address for one in FACTS.addresses if one.family == port.family]
    for address in locals_:
        if port.node_port:
            yield NODE_PORT, address, port.node_port
    yield UNUSED, locals_[0], UNUSED_PORT
    yield UNUSED, locals_[-1], port.health_check_node_port or UNUSED_PORT
    yield UNUSED, "2001:db8:77::1" if port.family == "ipv6" else "198.18.77.1", port.port


def with_ranges(cluster: Cluster, ranges: list[str]) -> Cluster:
    """The same with these source ranges, and an address to which they apply, on every service that may have them."""

    def of(service: Document, texts: list[str]) -> list[str]:
        families = {":" in address for address in service["cluster_ips"]}
        return [text for text in texts if (":" in text) in families]

    changed = [
        service
        | {
            "load_balancer_ips": of(service, ["203.0.113.9", "2001:db8:113::9"]),
            "load_balancer_source_ranges": of(service, ranges),
        }
        if service["type"] == "LoadBalancer"
        else service
        for service in cluster.services
    ]
    return cluster._replace(services=changed)


source_ranges = st.lists(st.sampled_from([*SOURCE_RANGES["ipv4"], *SOURCE_RANGES["ipv6"]]), max_size=3, unique=True)


@settings(max_examples=40, deadline=None)
@given(clusters(services=3) | st.builds(with_ranges, clusters(services=3), source_ranges))
def test_the_modes_agree_on_every_packet(cluster: Cluster) -> None:
    for situation in situations(cluster):
        explained = situation.agrees or any(one.explains(situation) for one in DIFFERENCES[situation.mode])
        assert explained, (
            f"{situation.packet} to {situation.to}: {situation.iptables}, in {situation.mode} mode {situation.other}"
        )


RARE = [
    {
        "name": "web",
        "cluster_ip": "10.96.0.1",
        "ports": [{"port": 80, "target_port": 8080}],
        "endpoints": [{"address": "10.244.1.1", "node": "node-a"}, {"address": "10.244.2.1", "node": "node-b"}],
        "load_balancer_source_ranges": ["198.51.100.0/24", "10.200.0.11/32"],
        **addresses,
    }
    for addresses in (
        # The second address of the node, which is the source of what the node sends there.
        {"load_balancer_ips": ["10.200.0.11"]},
        {"load_balancer_ips": ["203.0.113.1"], "external_ips": ["203.0.113.1"]},
    )
]


def some_clusters() -> Iterator[Cluster]:
    """One for each of the rare situations, and random ones."""
    node = {"name": "node-a", "addresses": ["192.168.100.11"]}
    for service in RARE:
        yield Cluster([service], node, {"mode": "ipvs", "cluster_cidrs": ["10.244.0.0/16"]})
    for seed in range(200):
        yield random_cluster(random.Random(seed), services=3)


def test_every_difference_is_real() -> None:
    """Each explains some packet that nothing else in the table does."""
    missing = {(mode, one.reason) for mode, differences in DIFFERENCES.items() for one in differences}
    for cluster in some_clusters():
        for situation in situations(cluster):
            if not situation.agrees:
                mode = situation.mode
                reasons = [(mode, one.reason) for one in DIFFERENCES[mode] if one.explains(situation)]
                missing.difference_update(reasons if len(reasons) == 1 else [])
        if not missing:
            break
    assert not missing
