# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters for tests: random ones of every kind, and large regular ones. The same seed gives the same cluster.

node-a       192.168.100.11, fd00:100::11 (eth0), 10.200.0.11 (eth1): the node of the recordings
services     10.96.0.0/16, fd00:96::/32, ports 1000 to 9999, no two with the same
external     203.0.113.0/28, 2001:db8:113::/124, and the node's own addresses
node ports   30000 to 30999, health checks 32000 to 32099
endpoints    10.244.1.0/24, fd00:244:1::/64 on node-a; .2 on node-b, .3 on no node that is named
foreign      192.0.2.0/24, 2001:db8:2::/48: no cluster uses them
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import ServiceData
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress

Document = dict[str, Any]
T = TypeVar("T")

NODE = "node-a"
ADDRESSES = ("192.168.100.11", "10.200.0.11", "fd00:100::11")
FACTS = NodeFacts(
    kernel=(6, 1),
    addresses=(
        LocalAddress("lo", "127.0.0.1", 8),
        LocalAddress("lo", "::1", 128),
        LocalAddress("eth0", "192.168.100.11", 24),
        LocalAddress("eth0", "fd00:100::11", 64),
        LocalAddress("eth0", "fe80::1", 64),
        LocalAddress("eth1", "10.200.0.11", 24),
        LocalAddress("eth1", "fe80::2", 64),
    ),
)
FAMILIES = ("ipv4", "ipv6")
CLUSTER_IPS = {"ipv4": "10.96.0.{}", "ipv6": "fd00:96::{:x}"}
ENDPOINTS = {"ipv4": "10.244.{}.{}", "ipv6": "fd00:244:{}::{:x}"}
EXTERNAL = {
    "ipv4": [*(f"203.0.113.{number}" for number in range(1, 9)), "10.200.0.11", "192.168.100.11"],
    "ipv6": [*(f"2001:db8:113::{number}" for number in range(1, 9)), "fd00:100::11"],
}
# Single addresses, networks, the node itself, a network around it, and everything.
SOURCE_RANGES = {
    "ipv4": ["198.51.100.7/32", "198.51.100.0/24", "192.168.100.11/32", "192.168.0.0/16", "10.0.0.0/8", "0.0.0.0/0"],
    "ipv6": ["2001:db8:51::7/128", "2001:db8:51::/48", "fd00:100::11/128", "fd00::/8", "::/0"],
}
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sh", "mh", "sed")
FLAGS = {"sh": ("sh-port", "flag-3"), "mh": ("mh-fallback", "mh-port")}
NODE_PORT_ADDRESSES: tuple[list[str], ...] = (
    [],
    ["primary"],
    ["192.168.100.0/24"],
    ["10.200.0.11/32", "fd00:100::/64"],
    ["0.0.0.0/0"],
    ["10.200.0.0/16", "::/0"],
    ["127.0.0.0/8"],
    # Networks that also hold addresses of services
    ["10.0.0.0/8", "fd00::/16"],
    ["203.0.113.0/24"],
)
PRIVATE_LIMITS = {"conntrack_max_per_core": 0, "conntrack_min": 0}


class Cluster(NamedTuple):
    """Services in the native form, and node and configuration as a user gives them."""

    services: list[Document]
    node: Document
    configuration: Document

    def data(self) -> ServiceData:
        return native.parse(self.services)

    def objects(self) -> list[Document]:
        """The services as Kubernetes objects."""
        from tests.unit.model.test_equivalence import to_objects

        return [item for service in self.services for item in to_objects(service)]

    def parsed_node(self) -> Node:
        return parse_node(self.node)

    def parsed_configuration(self) -> ProxyConfiguration:
        return parse_configuration(self.configuration)


def random_cluster(source: random.Random, services: int = 6, mode: str = "ipvs") -> Cluster:
    """A cluster of up to so many services that uses everything there is, valid by construction."""
    count = source.randint(0, services)
    node = {
        "name": NODE,
        "addresses": list(ADDRESSES),
        "pod_cidrs": _choice(source, [], ["10.244.1.0/24"], ["10.244.1.0/24", "fd00:244:1::/64"]),
        "zone": _choice(source, "", "zone-a"),
    }
    # Some services are there in every cluster, with other endpoints and policies: what two clusters share matters.
    numbers = sorted(source.sample(range(12), count))
    return Cluster([_Service(source, number).document() for number in numbers], node, _configuration(source, mode))


def few_changes(source: random.Random, services: list[Document], mode: str = "ipvs") -> list[Document]:
    """The services of a random cluster with a few others, one less, or one that has an endpoint less."""
    found = {service["name"]: service for service in services}
    for service in random_cluster(source, 2, mode).services:
        found[service["name"]] = service
    if found and source.randrange(3) == 0:
        del found[source.choice(list(found))]
    sticky = [service for service in found.values() if service["session_affinity"] == "ClientIP"]
    if sticky and source.randrange(3) == 0:
        service = source.choice(sticky)
        found[service["name"]] = {**service, "session_affinity_timeout": source.randint(1, 86400)}
    with_endpoints = [service for service in found.values() if service["endpoints"]]
    if with_endpoints and source.randrange(2) == 0:
        service = source.choice(with_endpoints)
        found[service["name"]] = {**service, "endpoints": service["endpoints"][1:]}
    return list(found.values())


def regular_services(services: int, endpoints: int, node: str = NODE) -> list[Document]:
    """So many services, each with so many endpoints, one in four of them on the node; every tenth has a node port."""
    return [
        {
            "name": f"web-{number}",
            "namespace": "load",
            "cluster_ips": [f"10.{96 + number // 65536}.{number // 256 % 256}.{number % 256}"],
            "ports": [
                {"port": 80, "target_port": 8080, **({} if number % 10 else {"node_port": 30000 + number // 10})}
            ],
            "endpoints": [
                {"address": f"10.{128 + place // 65536}.{place // 256 % 256}.{place % 256}"}
                | ({"node": node} if place % 4 == 0 else {})
                for place in range(number * endpoints, (number + 1) * endpoints)
            ],
        }
        for number in range(services)
    ]


class _Service:
    """One random service. All that must be there only once is made from its number."""

    def __init__(self, source: random.Random, number: int) -> None:
        self.source = source
        self.number = number
        self.families = _choice(source, ("ipv4",), ("ipv6",), ("ipv4", "ipv6"), ("ipv6", "ipv4"))
        self.type = _choice(source, "ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer")
        self.external_ips = self._some_twice(EXTERNAL, 2) if self._chance(3) else []

    def document(self) -> Document:
        source, number = self.source, self.number
        scheduler = _choice(source, "", "", *SCHEDULERS)
        ports = self._ports()
        found: Document = {
            "name": f"web-{number}",
            "namespace": ("default", "shop")[number % 2],
            "type": self.type,
            "cluster_ips": [
                f"10.96.0.{number + 1}" if f == "ipv4" else f"fd00:96::{number + 1:x}" for f in self.families
            ],
            "external_ips": self.external_ips,
            "session_affinity": _choice(source, "None", "None", "ClientIP"),
            "internal_traffic_policy": _choice(source, "Cluster", "Cluster", "Local"),
            "scheduler": scheduler,
            "scheduler_flags": self._sample(FLAGS.get(scheduler, ()), 2),
            "topology_mode": _choice(source, "", "Auto", "disabled"),
            "ports": ports,
            "endpoints": [self._endpoint(ports) for _index in range(source.randint(0, 5))],
        }
        if found["session_affinity"] == "ClientIP":
            found["session_affinity_timeout"] = _choice(source, 1, 600, 10800, 86400)
        if self.type != "ClusterIP" or self.external_ips:
            found["external_traffic_policy"] = _choice(source, "Cluster", "Local")
        if self.type == "LoadBalancer":
            found["load_balancer_ips"] = self._some_twice(EXTERNAL, 2)
            found["load_balancer_source_ranges"] = self._some_twice(SOURCE_RANGES, 3) if self._chance(2) else []
            if found["external_traffic_policy"] == "Local":
                found["health_check_node_port"] = 32000 + number
        return found

    def _ports(self) -> list[Document]:
        """One port without a name, or several; one name may be there for two protocols."""
        names = _choice(self.source, ("",), ("http", "dns"), ("dns", "dns", "http"))
        if names == ("",) and self.type == "ClusterIP":
            protocols: Sequence[str] = [_choice(self.source, "tcp", "udp", "sctp")]
        else:
            protocols = self.source.sample(("tcp", "udp", "sctp"), len(names))
        return [
            {
                "name": name,
                "port": 1000 + 10 * self.number + index,
                "protocol": protocol,
                "target_port": _choice(self.source, 8080, 9090, 1000 + 10 * self.number),
                **({} if self.type == "ClusterIP" else {"node_port": 30000 + 10 * self.number + index}),
            }
            for index, (name, protocol) in enumerate(zip(names, protocols, strict=True))
        ]

    def _endpoint(self, ports: list[Document]) -> Document:
        """Addresses repeat: one address in two slices, as it happens while a pod moves."""
        place, host = self.source.randint(1, 3), self.source.randint(1, 12)
        zones = _choice(self.source, [], ["zone-a"], ["zone-a", "zone-b"], ["zone-b"])
        return {
            "address": ENDPOINTS[_choice(self.source, *self.families)].format(place, host),
            "node": (NODE, "node-b", "")[place - 1],
            "weight": _choice(self.source, 1, 1, 1, 0, 7, 65535),
            "ready": not self._chance(4),
            "serving": not self._chance(5),
            "terminating": self._chance(4),
            "hints": {"zones": zones, "nodes": _choice(self.source, [], [], [NODE], ["node-b"])},
            "ports": {ports[0]["name"]: 7070} if self._chance(6) else {},
        }

    def _chance(self, out_of: int) -> bool:
        return self.source.randrange(out_of) == 0

    def _some_twice(self, by_family: dict[str, list[str]], most: int) -> list[str]:
        """Some, now and then the first of them twice."""
        found = self._sample([text for family in self.families for text in by_family[family]], most)
        return [*found, *(found[:1] if self._chance(4) else [])]

    def _sample(self, values: Sequence[str], most: int) -> list[str]:
        return self.source.sample(values, min(self.source.randint(0, most), len(values)))


def _configuration(source: random.Random, mode: str) -> Document:
    """Any configuration, but for limits of connection tracking that only the first network namespace has."""
    version = _choice(source, "1.36", "1.36", "1.36" if mode == "nftables" else "1.30")
    addresses = [choice for choice in NODE_PORT_ADDRESSES if choice != ["primary"] or version != "1.30"]
    found: Document = {
        "mode": mode,
        "version": version,
        "bind_address": _choice(source, "", "", "0.0.0.0", "10.200.0.11", "fd00:100::11"),
        "cluster_cidrs": _choice(source, [], ["10.244.0.0/16"], ["10.244.0.0/16", "fd00:244::/32"]),
        "service_cidrs": _choice(source, [], [], ["10.96.0.0/16", "fd00:96::/32"]),
        "detect_local_mode": _choice(source, "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"),
        "bridge_interface": "cni0",
        "interface_name_prefix": "cali",
        "masquerade_all": _choice(source, False, False, True),
        "masquerade_bit": _choice(source, 14, 14, 0, 31, 15),
        "localhost_node_ports": _choice(source, True, False),
        "node_port_addresses": _choice(source, *addresses),
        "scheduler": _choice(source, *SCHEDULERS),
        "strict_arp": _choice(source, False, True),
        "exclude_cidrs": _choice(source, [], ["192.0.2.0/24"]),
        "conntrack_tcp_established_timeout": _choice(source, 86400, 0, 3600),
        "conntrack_tcp_close_wait_timeout": _choice(source, 3600, 0),
        "conntrack_tcp_be_liberal": _choice(source, False, True),
        "conntrack_udp_timeout": _choice(source, 0, 30),
    }
    found.update({name: _choice(source, 0, 0, 900, 60) for name in ("tcp_timeout", "tcp_fin_timeout", "udp_timeout")})
    return {**found, **PRIVATE_LIMITS}


def _choice(source: random.Random, *values: T) -> T:
    return values[source.randrange(len(values))]
