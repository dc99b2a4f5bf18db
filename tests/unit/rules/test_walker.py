# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where packets go under the rules of each mode; no kernel takes part.

The address plan is that of tests/world/layout.py:

    client 198.51.100.10, stranger .200 ── outside ┐                ┌ nodes ── node-b ── b1 b2  10.244.2.11, .12
                                  .1 node-a 192.168.1.11 ───────────┘
             a1 a2 a3 10.244.1.11, .12, .13 ── cni0 ┘

Pods are endpoints on port 8080; ``host`` is an endpoint on the node's own address. A star says that the endpoint sees
an address of the node, not the client's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset import IPSet
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
    split_endpoint,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.walker.outcome import (
    DELIVERED,
    DROPPED,
    PASSED,
    REACHED,
    REFUSED,
    Answer,
    MissingObjectError,
    Outcome,
    Packet,
    same,
)
from tests.walker.rule import UnknownFormError, parse
from tests.walker.walk import Walker
from tests.world import layout
from tests.world.cases import CASES as TRAFFIC_CASES
from tests.world.cases import Case as TrafficCase
from tests.world.cases import endpoint, service
from tests.world.expectation import MASQUERADED, OWN, Expectation, Request
from tests.world.requests import ANSWERED, TIMED_OUT

FACTS = NodeFacts(
    kernel=(6, 1),
    addresses=(
        LocalAddress("lo", "127.0.0.1", 8),
        LocalAddress("lo", "::1", 128),
        LocalAddress("nodes", "192.168.1.11", 24),
        LocalAddress("nodes", "fd00:192:168:1::11", 64),
        LocalAddress("nodes", "fe80::1", 64),
        LocalAddress("outside", "198.51.100.1", 24),
        LocalAddress("outside", "2001:db8:51::1:1", 64),
        LocalAddress("cni0", "10.244.1.1", 24),
        LocalAddress("cni0", "fd00:10:244:1::1", 64),
    ),
    accounting=True,
)
NODE = Node(layout.NODE_NAME, ("192.168.1.11", "fd00:192:168:1::11"), tuple(layout.NODE_POD_CIDRS))
HOST = {"ipv4": "192.168.1.11", "ipv6": "fd00:192:168:1::11"}
MODES = [("iptables", "1.36"), ("iptables", "1.30"), ("ipvs", "1.36"), ("nftables", "1.36")]
LOCAL: dict[str, Any] = {"external_traffic_policy": "Local"}


class Case(NamedTuple):
    """Services, and what becomes of packets: (client, destination, answer in all modes, or in iptables and IPVS mode).

    nftables mode answers as iptables mode does, unless a third answer is there. None stands for an answer that the
    rules do not give.
    """

    what: str
    services: list[dict[str, Any]]
    packets: list[tuple[str, str, str | tuple[str | None, ...]]]
    configuration: Mapping[str, Any] = {}
    policies: Mapping[str, str] = {}
    seen: str = ""


def host_endpoint(family: str = "ipv4") -> dict[str, Any]:
    return {"address": HOST[family], "node": layout.NODE_NAME}


def balanced(address: str, endpoints: str = "a1 a2 b1", **keys: Any) -> dict[str, Any]:
    """A load balancer's address 203.0.113.1 before a service, open to the client but not to the stranger."""
    keys.setdefault("load_balancer_source_ranges", layout.CLIENT_RANGES[:1])
    return service(address, endpoints, load_balancer_ips=["203.0.113.1"], **keys)


CASES = [
    Case(
        "a cluster IP leads to every endpoint",
        [service("10.96.0.1", "a1 a2 b1"), service("fd00:96::1", "a1 b1"), service("10.96.0.2", "a1", protocol="udp")],
        [
            ("a3", "10.96.0.1:80", "a1 a2 b1"),
            ("node", "10.96.0.1:80", "a1* a2* b1*"),
            ("client", "10.96.0.1:80", "a1* a2* b1*"),
            ("a3", "[fd00:96::1]:80", "a1 b1"),
            ("node", "[fd00:96::1]:80", "a1* b1*"),
            ("client", "[fd00:96::1]:80", "a1* b1*"),
            ("a3", "10.96.0.2:80/udp", "a1"),
            ("node", "10.96.0.2:80/udp", "a1*"),
        ],
    ),
    Case(
        "of an address, only the port and protocol of a service; the rest IPVS mode refuses, as the address is local, "
        "and nftables mode if it is a cluster IP",
        [service("10.96.0.1", "a1", external_ips=["192.0.2.1"])],
        [
            ("a3", "10.96.0.1:81", ("passed", "refused", "refused")),
            ("node", "10.96.0.1:81", ("passed", "refused", "refused")),
            ("client", "10.96.0.1:80/udp", ("passed", "refused", "refused")),
            ("client", "192.0.2.1:22", ("passed", "refused")),
            ("a3", "192.0.2.77:80", "passed"),
            ("a3", "10.244.2.11:8080", "passed"),
            ("client", "192.168.1.11:22", "delivered"),
            ("node", "127.0.0.1:22", "delivered"),
            ("node", "[::1]:22", "delivered"),
        ],
    ),
    Case(
        "a pod that reaches itself sees the node, other pods see the pod",
        [service("10.96.0.1", "a1 b1"), service("fd00:96::1", "a1 b1")],
        [
            ("a1", "10.96.0.1:80", "a1* b1"),
            ("a1", "[fd00:96::1]:80", "a1* b1"),
            ("a2", "10.96.0.1:80", "a1 b1"),
        ],
    ),
    Case(
        "an endpoint on the node's own address",
        [service("10.96.0.1", [host_endpoint(), endpoint("a1")])],
        [
            ("a3", "10.96.0.1:80", "host a1"),
            # It is not routed any further, so nothing is masqueraded.
            ("client", "10.96.0.1:80", "host a1*"),
            ("node", "10.96.0.1:80", "host* a1*"),
        ],
    ),
    Case(
        "a node port with externalTrafficPolicy Cluster, on every address of the node; in nftables mode on its own IP",
        [service("10.96.0.1", "a1 b1", node_port=30001), service("fd00:96::1", "a1 b1", node_port=30002)],
        [
            *((client, "192.168.1.11:30001", "a1* b1*") for client in ("client", "a3", "a1", "b2", "node")),
            *(
                (client, address, ("a1* b1*", "a1* b1*", "delivered"))
                for client, address in (
                    ("client", "198.51.100.1:30001"),
                    ("a3", "10.244.1.1:30001"),
                    ("node", "10.244.1.1:30001"),
                )
            ),
            ("client", "192.168.1.11:30001/udp", "delivered"),
            ("client", "192.168.1.11:30002", "delivered"),
            ("client", "[fd00:192:168:1::11]:30002", "a1* b1*"),
            # A link-local address belongs to no service; IPVS mode keeps to that.
            ("client", "[fe80::1]:30002", ("a1* b1*", "delivered", "delivered")),
        ],
    ),
    Case(
        "node ports on loopback are of iptables mode and IPv4 only",
        [service("10.96.0.1", "a1 b1", node_port=30001), service("fd00:96::1", "a1 b1", node_port=30002)],
        [
            ("node", "127.0.0.1:30001", ("a1* b1*", "delivered", "delivered")),
            ("node", "127.3.2.1:30001", ("a1* b1*", "delivered", "delivered")),
            ("node", "[::1]:30002", "delivered"),
            # The guard that comes with them: neighbours reach nothing else on loopback.
            ("client", "127.0.0.1:22", ("dropped", None, None)),
        ],
    ),
    Case(
        "localhost_node_ports off",
        [service("10.96.0.1", "a1 b1", node_port=30001), service("10.96.0.2", node_port=30002)],
        [
            ("node", "127.0.0.1:30001", "delivered"),
            ("node", "192.168.1.11:30001", "a1* b1*"),
        ],
        {"localhost_node_ports": False},
    ),
    Case(
        "node_port_addresses",
        [service("10.96.0.1", "a1", node_port=30001)],
        [
            ("client", "198.51.100.1:30001", "a1*"),
            ("client", "192.168.1.11:30001", "delivered"),
            ("node", "127.0.0.1:30001", "delivered"),
        ],
        {"node_port_addresses": layout.OUTSIDE},
    ),
    Case(
        "externalTrafficPolicy Local keeps clients to this node's endpoints, and their addresses",
        [service("10.96.0.1", "a1 a2 b1", node_port=30001, external_ips=["192.0.2.1"], **LOCAL)],
        [
            ("client", "192.168.1.11:30001", "a1 a2"),
            ("client", "192.0.2.1:80", "a1 a2"),
            ("client", "10.96.0.1:80", "a1* a2* b1*"),
            ("a3", "10.96.0.1:80", "a1 a2 b1"),
            # iptables mode takes pods and the node straight to all endpoints.
            ("a3", "192.168.1.11:30001", ("a1 a2 b1", "a1 a2")),
            ("a3", "192.0.2.1:80", ("a1 a2 b1", "a1 a2")),
            ("node", "192.168.1.11:30001", ("a1* a2* b1*", "a1 a2")),
            ("node", "192.0.2.1:80", ("a1* a2* b1*", "a1 a2")),
        ],
    ),
    Case(
        "externalTrafficPolicy Local without an endpoint on this node",
        [service("10.96.0.1", "b1 b2", node_port=30001, external_ips=["192.0.2.1"], **LOCAL)],
        [
            ("client", "192.168.1.11:30001", ("dropped", "b1 b2")),
            ("client", "192.0.2.1:80", ("dropped", "b1 b2")),
            ("a3", "192.0.2.1:80", "b1 b2"),
            ("node", "192.0.2.1:80", ("b1* b2*", "b1 b2")),
            ("client", "10.96.0.1:80", "b1* b2*"),
        ],
    ),
    Case(
        "internalTrafficPolicy Local",
        [
            service("10.96.0.1", "a1 b1", internal_traffic_policy="Local"),
            service("10.96.0.2", "b1", internal_traffic_policy="Local"),
            service("10.96.0.3", "b1", node_port=30003, internal_traffic_policy="Local"),
        ],
        [
            ("a3", "10.96.0.1:80", "a1"),
            ("client", "10.96.0.1:80", "a1*"),
            ("a3", "10.96.0.2:80", ("dropped", "refused")),
            ("a3", "10.96.0.3:80", ("dropped", "b1")),
            ("client", "192.168.1.11:30003", "b1*"),
        ],
    ),
    Case(
        "source ranges count for the load balancer's address only",
        [balanced("10.96.0.1", node_port=30001, external_ips=["192.0.2.1"])],
        [
            ("client", "203.0.113.1:80", "a1* a2* b1*"),
            ("stranger", "203.0.113.1:80", "dropped"),
            ("a3", "203.0.113.1:80", "dropped"),
            ("node", "203.0.113.1:80", "dropped"),
            ("stranger", "192.168.1.11:30001", "a1* a2* b1*"),
            ("stranger", "192.0.2.1:80", "a1* a2* b1*"),
            ("stranger", "10.96.0.1:80", "a1* a2* b1*"),
        ],
    ),
    Case(
        "source ranges that name the node and its pods",
        [balanced("10.96.0.1", load_balancer_source_ranges=["192.168.1.11/32", "10.244.1.0/24"])],
        [
            ("node", "203.0.113.1:80", "a1* a2* b1*"),
            ("a3", "203.0.113.1:80", "a1* a2* b1*"),
            ("b2", "203.0.113.1:80", "dropped"),
            ("client", "203.0.113.1:80", "dropped"),
        ],
    ),
    Case(
        "no source ranges",
        [balanced("10.96.0.1", load_balancer_source_ranges=[])],
        [(client, "203.0.113.1:80", "a1* a2* b1*") for client in ("client", "stranger", "a3", "node")],
    ),
    Case(
        "source ranges with externalTrafficPolicy Local",
        [balanced("10.96.0.1", **LOCAL)],
        [
            ("client", "203.0.113.1:80", "a1 a2"),
            ("stranger", "203.0.113.1:80", "dropped"),
            ("a3", "203.0.113.1:80", "dropped"),
        ],
    ),
    Case(
        "source ranges with externalTrafficPolicy Local and no endpoint here",
        [balanced("10.96.0.1", "b1", **LOCAL)],
        [("client", "203.0.113.1:80", ("dropped", "b1")), ("stranger", "203.0.113.1:80", "dropped")],
    ),
    Case(
        "source ranges of IPv6",
        [
            service(
                "fd00:96::1",
                "a1",
                load_balancer_ips=["2001:db8:113::1"],
                load_balancer_source_ranges=layout.OUTSIDE[1:],
            )
        ],
        [("client", "[2001:db8:113::1]:80", "a1*"), ("a3", "[2001:db8:113::1]:80", "dropped")],
    ),
    Case(
        "external IPs, one of them the node's own address",
        [service("10.96.0.1", "a1 b1", external_ips=["192.0.2.1", "192.168.1.11"])],
        [
            *((client, "192.0.2.1:80", "a1* b1*") for client in ("client", "a3", "node")),
            *((client, "192.168.1.11:80", "a1* b1*") for client in ("client", "a3", "node")),
            ("client", "192.168.1.11:22", "delivered"),
        ],
    ),
    Case(
        "an external IP from a bridge port with br_netfilter is masqueraded as well",
        [service("10.96.0.1", "a1", external_ips=["192.0.2.1"])],
        [("a3 bridged", "192.0.2.1:80", "a1*")],
    ),
    Case(
        "no endpoints",
        [
            service("10.96.0.1", node_port=30001, external_ips=["192.0.2.1"]),
            service("fd00:96::1"),
            service("10.96.0.2", [endpoint("a1", ready=False)], protocol="udp"),
        ],
        [
            *((client, "10.96.0.1:80", "refused") for client in ("a3", "node", "client")),
            *((client, "192.168.1.11:30001", "refused") for client in ("a3", "node", "client")),
            ("client", "192.0.2.1:80", "refused"),
            ("a3", "[fd00:96::1]:80", "refused"),
            ("a3", "10.96.0.2:80/udp", "refused"),
            # No jump from OUTPUT leads to the rules of external addresses.
            ("node", "192.0.2.1:80", ("passed", "refused", "refused")),
            ("node", "127.0.0.1:30001", ("refused", "delivered", "delivered")),
        ],
    ),
    Case(
        "no endpoints and source ranges: iptables mode refuses all, the others those that are let in",
        [balanced("10.96.0.1", "")],
        [("client", "203.0.113.1:80", "refused"), ("stranger", "203.0.113.1:80", ("refused", "dropped", "dropped"))],
    ),
    Case(
        "masquerade_all",
        [service("10.96.0.1", "a1 b1", node_port=30001, external_ips=["192.0.2.1"], **LOCAL)],
        [("a3", "10.96.0.1:80", "a1* b1*"), ("client", "192.168.1.11:30001", "a1"), ("client", "192.0.2.1:80", "a1")],
        {"masquerade_all": True},
    ),
    Case(
        "another masquerade bit",
        [service("10.96.0.1", "a1", node_port=30001)],
        [("client", "10.96.0.1:80", "a1*"), ("a3", "10.96.0.1:80", "a1"), ("client", "192.168.1.11:30001", "a1*")],
        {"masquerade_bit": 31},
    ),
    *(
        Case(
            f"local traffic by {choice['detect_local_mode']}",
            [service("10.96.0.1", "a1 b1")],
            [
                ("a3", "10.96.0.1:80", "a1 b1"),
                ("b2", "10.96.0.1:80", of_other_nodes),
                ("client", "10.96.0.1:80", "a1* b1*"),
                ("node", "10.96.0.1:80", "a1* b1*"),
            ],
            choice,
        )
        for choice, of_other_nodes in (
            ({"detect_local_mode": "ClusterCIDR"}, "a1 b1"),
            ({"detect_local_mode": "NodeCIDR"}, "a1* b1*"),
            ({"detect_local_mode": "BridgeInterface", "bridge_interface": "cni0"}, "a1* b1*"),
            ({"detect_local_mode": "InterfaceNamePrefix", "interface_name_prefix": "cni"}, "a1* b1*"),
        )
    ),
    Case(
        "nothing tells what is local: nobody is masqueraded, but for the node where its address is the service's own",
        [service("10.96.0.1", "a1 b1", node_port=30001, **LOCAL)],
        [
            ("a3", "10.96.0.1:80", "a1 b1"),
            ("client", "10.96.0.1:80", "a1 b1"),
            ("node", "10.96.0.1:80", ("a1 b1", "a1* b1*")),
            ("a1", "10.96.0.1:80", "a1* b1"),
            ("a3", "192.168.1.11:30001", "a1"),
        ],
        {"cluster_cidrs": []},
    ),
    Case(
        "the health check port is open where nothing else is, but in nftables mode it is not",
        [balanced("10.96.0.1", health_check_node_port=32001, **LOCAL)],
        [
            ("client", "192.168.1.11:32001", ("delivered", "delivered", "dropped")),
            ("client", "192.168.1.11:32002", "dropped"),
            ("client", "192.168.1.11:22", "dropped"),
        ],
        policies={"INPUT": "DROP"},
    ),
    Case(
        "where the node forwards nothing by itself, what is masqueraded passes, but not in nftables mode",
        [service("10.96.0.1", "a1 b1", node_port=30001)],
        [
            ("client", "192.168.1.11:30001", ("a1* b1*", "a1* b1*", "dropped")),
            # IPVS sends it from the node's own output.
            ("a3", "10.96.0.1:80", ("dropped", "a1 b1")),
            ("a3", "10.244.2.11:8080", "dropped"),
        ],
        policies={"FORWARD": "DROP"},
    ),
    Case(
        "affinity: a client that is known goes where it was, on any address",
        [service("10.96.0.1", "a1 a2 b1", node_port=30001, session_affinity="ClientIP", session_affinity_timeout=300)],
        [("a3", "10.96.0.1:80", "a2"), ("client", "192.168.1.11:30001", "a2*"), ("node", "10.96.0.1:80", "a2*")],
        seen="10.244.1.12:8080",
    ),
    Case(
        "affinity to an endpoint that is gone, or of a service without affinity, counts for nothing",
        [
            service("10.96.0.1", "a1 b1", session_affinity="ClientIP", session_affinity_timeout=300),
            service("10.96.0.2", "a1 a2"),
        ],
        [("a3", "10.96.0.1:80", "a1 b1"), ("a3", "10.96.0.2:80", "a1 a2")],
        seen="10.244.1.12:8080",
    ),
    Case(
        "affinity and externalTrafficPolicy Local",
        [service("10.96.0.1", "a1 a2 b1", node_port=30001, session_affinity="ClientIP", **LOCAL)],
        [("client", "192.168.1.11:30001", "a1 a2"), ("a3", "10.96.0.1:80", "b1")],
        seen="10.244.2.11:8080",
    ),
    Case(
        "weights are for IPVS mode",
        [service("10.96.0.1", [endpoint("a1", weight=3), endpoint("b1"), endpoint("b2", weight=0)], scheduler="wrr")],
        [("a3", "10.96.0.1:80", ("a1 b1 b2", "a1 a1 a1 b1"))],
    ),
    Case(
        "the number of a node port is a service's port as well: IPVS mode masquerades, as both are ports of the node",
        [
            service("10.96.0.1", "a1", node_port=30001),
            {**service("10.96.0.2", "b1"), "ports": [{"port": 30001, "target_port": 8080}]},
        ],
        [("a3", "10.96.0.2:30001", ("b1", "b1*"))],
    ),
]


def walker(
    case: Case | TrafficCase, mode: str, version: str = "1.36", policies: Mapping[str, str] | None = None
) -> Walker:
    chosen = {"mode": mode, "version": version, "cluster_cidrs": layout.CLUSTER_CIDRS, **case.configuration}
    node = NODE._replace(zone=case.zone) if isinstance(case, TrafficCase) else NODE
    return Walker(render(native.parse(case.services), node, parse_configuration(chosen), FACTS), FACTS, policies)


def packet(client: str, destination: str, seen: str = "") -> Packet:
    """``a3 bridged`` is a pod behind a bridge whose ports iptables sees."""
    name, _blank, how = client.partition(" ")
    address, _slash, protocol = destination.partition("/")
    ip, port = split_endpoint(address)
    host = layout.HOSTS[name]
    interface = (
        "outside" if host.namespace == "client" else "" if name == "node" else "cni0" if name[0] == "a" else "nodes"
    )
    source = host.address("ipv6" if ":" in ip else "ipv4")
    return Packet(ip, port, protocol or "tcp", source, interface, bool(how), seen)


def expected(text: str, family: str) -> Answer:
    """``a1* b1`` or one word -> the answer."""
    if text in (DELIVERED, DROPPED, PASSED, REFUSED):
        return {Outcome(text): 1.0}
    found: dict[Outcome, float] = {}
    for word in text.split():
        pod = word.rstrip("*")
        address = HOST[family] if pod == "host" else layout.PODS[pod].address(family)
        name = f"[{address}]:8080" if family == "ipv6" else f"{address}:8080"
        outcome = Outcome(REACHED, name, word.endswith("*"))
        found[outcome] = found.get(outcome, 0.0) + 1 / len(text.split())
    return found


def answer_in(mode: str, answers: Sequence[str | None]) -> str | None:
    """nftables mode answers as iptables mode does, where it has no answer of its own."""
    return answers[("iptables", "ipvs", "nftables").index(mode) % len(answers)]


@pytest.mark.parametrize(("mode", "version"), MODES, ids="-".join)
@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_packets(case: Case, mode: str, version: str) -> None:
    walk = walker(case, mode, version, case.policies)
    for client, destination, answers in case.packets:
        text = answers if isinstance(answers, str) else answer_in(mode, answers)
        if text is not None:
            sent = packet(client, destination, case.seen)
            found = walk.walk(sent)
            assert same(found, expected(text, sent.family)), f"{client} -> {destination}: {found}"


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
@pytest.mark.parametrize("case", TRAFFIC_CASES, ids=[case.name for case in TRAFFIC_CASES])
def test_the_walker_agrees_with_the_kernel(case: TrafficCase, mode: str) -> None:
    """The cases of tests/world, which the integration tests send through a kernel."""
    walk = walker(case, mode)
    for request in case.requests:
        expectation = request.expectation(mode)
        if expectation is not None:
            found = walk.walk(packet(request.source, destination_of(request)))
            assert agrees(found, expectation, request), f"{request}: {found}"


def destination_of(request: Request) -> str:
    address = f"[{request.address}]" if ":" in request.address else request.address
    return f"{address}:{request.port}/{request.protocol}"


def agrees(found: Answer, expectation: Expectation, request: Request) -> bool:
    if expectation.outcome != ANSWERED:
        # Where nobody listens, the node refuses.
        refused = {REFUSED, DELIVERED}
        return {outcome.kind for outcome in found} <= ({DROPPED} if expectation.outcome == TIMED_OUT else refused)
    family = "ipv6" if ":" in request.address else "ipv4"
    own = {outcome.masqueraded for outcome in found}
    seen = {"": own, OWN: {False}, MASQUERADED: {True}}[expectation.seen]
    shares = {outcome._replace(masqueraded=False): share for outcome, share in found.items()}
    wanted = " ".join(pod for pod, times in expectation.shares.items() for _time in range(times))
    return own == seen and same(shares, expected(wanted, family))


@pytest.mark.parametrize(
    "rule",
    [
        "-m limit --limit 1/sec -j ACCEPT",
        "-o eth0 -j ACCEPT",
        "-j",
        "-j ACCEPT -j DROP",
        "-j ACCEPT --hard",
        "-g KUBE-SERVICES",
        "-s",
        "-p icmp -j ACCEPT",
        "! -p tcp -j ACCEPT",
        "! ! -s 10.0.0.1/32 -j ACCEPT",
        "-s 10.0.0.1/32 !",
        "! -m comment --comment x -j ACCEPT",
        "! -j ACCEPT",
        "--dport 80 -j ACCEPT",
        "-m tcp --dport 80 -j ACCEPT",
        "-p udp -m tcp --dport 80 -j ACCEPT",
        "-p tcp -m tcp --sport 80 -j ACCEPT",
        "-p tcp -m tcp ! --dport 80 -j ACCEPT",
        "-p tcp -m tcp --dport 80 --dport 81 -j ACCEPT",
        "-p tcp -m tcp --dport 80 --syn -j ACCEPT",
        "-p tcp -m multiport --dports 80,81 -j ACCEPT",
        "-m conntrack --ctstate UNTRACKED -j ACCEPT",
        "-m conntrack --ctstate NEW --ctdir ORIGINAL -j ACCEPT",
        "-m addrtype --dst-type BROADCAST -j ACCEPT",
        "-m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT",
        "-m statistic --mode nth --every 2 --packet 0 -j ACCEPT",
        "-m statistic --mode random ! --probability 0.5 -j ACCEPT",
        "-m recent --update --seconds 9 --name X --mask 255.255.255.255 --rsource -j ACCEPT",
        "-m recent --rcheck --seconds 9 --reap --name X --mask 255.255.255.0 --rsource -j ACCEPT",
        "-m recent ! --rcheck --seconds 9 --reap --name X --mask 255.255.255.255 --rsource -j ACCEPT",
        "-m set --match-set X dst --return-nomatch -j ACCEPT",
        "-m set ! --match-set X dst -j ACCEPT",
        "-m ipvs --vaddr 10.0.0.1 -j ACCEPT",
        "-m physdev --physdev-in eth0 -j ACCEPT",
        "-m mark --mark 1 --mask 1 -j ACCEPT",
        "-j MARK --or-mark 0x1",
        "-j MASQUERADE --to-ports 1",
        "-j DNAT --to-destination 10.0.0.1:80",
        "-p tcp -j DNAT --to-destination 10.0.0.1:80 --random",
        "-j REJECT",
        "-p tcp -j REJECT --reject-with tcp-reset",
        "-j SNAT --to-source 10.0.0.1",
        "-j LOG --log-prefix x",
    ],
)
def test_a_form_of_rule_that_is_not_known_raises(rule: str) -> None:
    with pytest.raises(UnknownFormError):
        parse(rule)


def with_chains(table: str = "filter", **chains: str) -> RuleSet:
    """A rule set of one rule in each of these chains."""
    found = {
        name.replace("_", "-"): Chain("ACCEPT" if name.isalpha() and name != "LOOP" else None, (rule,))
        for name, rule in chains.items()
    }
    return RuleSet.empty()._replace(tables={"ipv4": {table: found}, "ipv6": {}})


SERVER = VirtualServerKey("ipv4", "tcp", "192.168.1.11", 80)
REAL = RealServerKey("10.244.1.11", 8080)
ROUND_ROBIN = VirtualServer("rr", (), 0, 0, {REAL: RealServer()})


@pytest.mark.parametrize(
    ("rule_set", "error"),
    [
        (with_chains(INPUT="-j KUBE-GONE"), MissingObjectError),
        (with_chains(INPUT="-j LOG"), MissingObjectError),
        (with_chains(INPUT="-j OUTPUT", OUTPUT="-j ACCEPT"), MissingObjectError),
        (with_chains(INPUT="-j LOOP", LOOP="-j LOOP"), MissingObjectError),
        (with_chains(INPUT="-m set --match-set GONE dst -j DROP"), MissingObjectError),
        (with_chains(INPUT="-m nfacct --nfacct-name gone -j DROP"), MissingObjectError),
        (with_chains(INPUT="-j MASQUERADE"), UnknownFormError),
        (with_chains(INPUT="-p tcp -j DNAT --to-destination 10.0.0.1:80"), UnknownFormError),
        (with_chains("nat", PREROUTING="-j DROP"), UnknownFormError),
        (with_chains("nat", PREROUTING="-j MASQUERADE"), UnknownFormError),
        *(
            (RuleSet.empty()._replace(virtual_servers={SERVER: server}), UnknownFormError)
            for server in (
                ROUND_ROBIN._replace(scheduler="twos"),
                ROUND_ROBIN._replace(timeout=9, netmask=24),
                ROUND_ROBIN._replace(persistence_engine="sip"),
                ROUND_ROBIN._replace(flags=("one-packet",)),
                ROUND_ROBIN._replace(real_servers={REAL: RealServer("route")}),
                ROUND_ROBIN._replace(real_servers={REAL: RealServer(upper_threshold=9)}),
            )
        ),
    ],
)
def test_what_a_rule_set_does_not_hold_or_the_walker_not_know_raises(
    rule_set: RuleSet, error: type[ValueError]
) -> None:
    with pytest.raises(error):
        Walker(rule_set, FACTS).walk(packet("client", "192.168.1.11:80"))


@pytest.mark.parametrize(
    ("set_type", "members", "fields"),
    [
        ("hash:net,iface", {"10.0.0.0/8,eth0": ""}, "src"),
        ("hash:ip,port,net", {"10.0.0.1,tcp:80,0.0.0.0/0": ""}, "dst,dst,src"),
        ("hash:ip,port,net", {"10.0.0.1,tcp:80,10.0.0.1/32": ""}, "dst,dst,src"),
        ("hash:ip", {"10.0.0.1": "nomatch"}, "dst"),
        ("hash:ip,port", {"10.0.0.1,tcp:80": ""}, "dst"),
        ("hash:ip,port", {"10.0.0.1,tcp:80": ""}, "dst,src"),
        ("hash:ip,port,ip", {"10.0.0.1,tcp:80,10.0.0.1": ""}, "dst,dst"),
        ("bitmap:port", {"80": ""}, "src"),
    ],
)
def test_a_set_that_the_kernel_would_refuse_or_the_walker_not_know_raises(
    set_type: str, members: dict[str, str], fields: str
) -> None:
    rule_set = with_chains(INPUT=f"-m set --match-set S {fields} -j DROP")
    options = () if set_type == "bitmap:port" else (("family", "inet"),)
    with pytest.raises(ValueError, match=r"S|member|type"):
        Walker(rule_set._replace(sets={"S": IPSet("S", set_type, options, members)}), FACTS).walk(
            packet("client", "192.168.1.11:80")
        )
