# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What traffic does in every mode of the proxy: services, requests, and who answers.

The clients, pods and addresses are those of `layout`. Cluster IPs are 10.96.0.N and fd00:96::N, load balancers
203.0.113.N and 2001:db8:113::N, external IPs 192.0.2.N, node ports 30000+N, with N the case's own: a connection that
connection tracking still knows from one case has no part in the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import layout
from .expectation import DROPPED, MASQUERADED, OWN, Expectation, Request, refused, shares, spread, sticks

OUTSIDE, OUTSIDE6 = (address.partition("/")[0] for address in layout.NODE_ADDRESSES["outside"])
NODE_IP, NODE_IP6 = (address.partition("/")[0] for address in layout.NODE_ADDRESSES["nodes"])


class Case(NamedTuple):
    """Services, and requests once the node serves them."""

    name: str
    services: list[dict[str, Any]]
    requests: list[Request]
    configuration: Mapping[str, Any] = {}
    zone: str = ""


def endpoint(pod: str, family: str = "ipv4", **keys: Any) -> dict[str, Any]:
    return {"address": layout.PODS[pod].address(family), "node": layout.node_of(pod), **keys}


def service(
    address: str, endpoints: str | Sequence[dict[str, Any]] = "", *, node_port: int = 0, **keys: Any
) -> dict[str, Any]:
    """A service of one port, 80, in the native form. endpoints: "a1 b1" for these pods."""
    family = "ipv6" if ":" in address else "ipv4"
    if isinstance(endpoints, str):
        endpoints = [endpoint(pod, family) for pod in endpoints.split()]
    port = {"port": 80, "target_port": layout.POD_PORT, "protocol": keys.pop("protocol", "tcp")}
    if node_port:
        port["node_port"] = node_port
    name = keys.pop("name", f"s-{address.replace('.', '-').replace(':', '-')}")
    return {"name": name, "cluster_ip": address, "ports": [port], "endpoints": list(endpoints), **keys}


def ipvs_only(expectation: Expectation) -> dict[str, Expectation]:
    return {"ipvs": expectation}


def not_iptables(expectation: Expectation) -> dict[str, Expectation]:
    return {"ipvs": expectation, "nftables": expectation}


def ipvs_else(ipvs: Expectation, other: Expectation) -> dict[str, Expectation]:
    return {"ipvs": ipvs, "iptables": other, "nftables": other}


def nftables_else(nftables: Expectation, other: Expectation) -> dict[str, Expectation]:
    return {"ipvs": other, "iptables": other, "nftables": nftables}


def iptables_else(iptables: Expectation, other: Expectation) -> dict[str, Expectation]:
    return {"ipvs": other, "iptables": iptables, "nftables": other}


PORT_UNREACHABLE, PORT_UNREACHABLE6 = "3/3", "1/4"
LOCAL: dict[str, Any] = {"external_traffic_policy": "Local"}
AFFINITY: dict[str, Any] = {"session_affinity": "ClientIP", "session_affinity_timeout": 300}

CLUSTER_IP = [
    Case(
        "a cluster IP leads to every endpoint; pods keep their address",
        [service("10.96.0.1", "a1 a2 b1")],
        [
            Request("a3", "10.96.0.1", spread("a1 a2 b1", OWN)),
            Request("node", "10.96.0.1", spread("a1 a2 b1", MASQUERADED)),
            Request("client", "10.96.0.1", spread("a1 a2 b1", MASQUERADED)),
        ],
    ),
    Case(
        "a cluster IP with IPv6",
        [service("fd00:96::2", "a1 a2 b1")],
        [
            Request("a3", "fd00:96::2", spread("a1 a2 b1", OWN)),
            Request("node", "fd00:96::2", spread("a1 a2 b1", MASQUERADED)),
            Request("client", "fd00:96::2", spread("a1 a2 b1", MASQUERADED)),
        ],
    ),
    Case(
        "a pod reaches itself through its service, and sees the node",
        [service("10.96.0.3", "a1"), service("fd00:96::3", "a1")],
        [
            Request("a1", "10.96.0.3", spread("a1", MASQUERADED)),
            Request("a1", "fd00:96::3", spread("a1", MASQUERADED)),
        ],
    ),
    Case(
        "masquerade_all hides pods too",
        [service("10.96.0.4", "a1 b1")],
        [Request("a3", "10.96.0.4", spread("a1 b1", MASQUERADED))],
        {"masquerade_all": True},
    ),
    Case(
        "UDP",
        [service("10.96.0.5", "a1 a2 b1", protocol="udp"), service("fd00:96::5", "a1 b1", protocol="udp")],
        [
            Request("a3", "10.96.0.5", spread("a1 a2 b1", OWN), protocol="udp"),
            Request("node", "10.96.0.5", spread("a1 a2 b1", MASQUERADED), protocol="udp"),
            Request("client", "10.96.0.5", spread("a1 a2 b1", MASQUERADED), protocol="udp"),
            Request("a3", "fd00:96::5", spread("a1 b1", OWN), protocol="udp"),
        ],
    ),
    Case(
        "a service without endpoints refuses at once",
        [
            service("10.96.0.6", node_port=30006),
            service("fd00:96::6"),
            service("10.96.0.106", protocol="udp"),
        ],
        [
            Request("a3", "10.96.0.6", refused(PORT_UNREACHABLE)),
            Request("node", "10.96.0.6", refused(PORT_UNREACHABLE)),
            Request("client", "10.96.0.6", refused(PORT_UNREACHABLE)),
            Request("client", NODE_IP, refused(PORT_UNREACHABLE), port=30006),
            Request("a3", "fd00:96::6", refused(PORT_UNREACHABLE6)),
            Request("a3", "10.96.0.106", refused(PORT_UNREACHABLE), protocol="udp"),
        ],
    ),
    Case(
        "a cluster IP refuses ports that no service has",
        [service("10.96.0.7", "a1"), service("fd00:96::7", "a1")],
        [
            Request("a3", "10.96.0.7", not_iptables(refused(PORT_UNREACHABLE)), port=81),
            Request("node", "10.96.0.7", not_iptables(refused(PORT_UNREACHABLE)), port=81),
            Request("client", "10.96.0.7", not_iptables(refused(PORT_UNREACHABLE)), port=22),
            Request("a3", "fd00:96::7", not_iptables(refused(PORT_UNREACHABLE6)), port=81),
        ],
    ),
    Case(
        "the ports of a service are balanced apart from each other",
        [
            {
                "name": "two",
                "cluster_ip": "10.96.0.8",
                "ports": [
                    {"name": "one", "port": 80, "target_port": layout.POD_PORT},
                    {"name": "udp", "port": 80, "target_port": layout.POD_PORT, "protocol": "udp"},
                    {"name": "other", "port": 81, "target_port": layout.POD_PORT},
                ],
                "endpoints": [endpoint("a1"), endpoint("b1")],
            }
        ],
        [
            Request("a3", "10.96.0.8", spread("a1 b1")),
            Request("a3", "10.96.0.8", spread("a1 b1"), protocol="udp"),
            Request("a3", "10.96.0.8", spread("a1 b1"), port=81),
        ],
    ),
    Case(
        "internalTrafficPolicy Local",
        [
            service("10.96.0.9", "a1 b1", internal_traffic_policy="Local"),
            service("10.96.0.109", "b1", internal_traffic_policy="Local"),
        ],
        [
            Request("a3", "10.96.0.9", spread("a1", OWN)),
            Request("a3", "10.96.0.109", ipvs_else(refused(PORT_UNREACHABLE), DROPPED)),
        ],
    ),
]

FROM_OUTSIDE = [
    Case(
        "a node port with externalTrafficPolicy Cluster hides the client",
        [service("10.96.0.20", "a1 a2 b1", node_port=30020)],
        [
            Request("client", NODE_IP, spread("a1 a2 b1", MASQUERADED), port=30020),
            Request("a3", NODE_IP, spread("a1 a2 b1", MASQUERADED), port=30020),
            Request("b2", NODE_IP, spread("a1 a2 b1", MASQUERADED), port=30020),
            Request("node", NODE_IP, spread("a1 a2 b1", MASQUERADED), port=30020),
        ],
    ),
    Case(
        "a node port with externalTrafficPolicy Local shows the client to the pods of this node",
        [service("10.96.0.21", "a1 a2 b1", node_port=30021, **LOCAL)],
        [
            Request("client", NODE_IP, spread("a1 a2", OWN), port=30021),
            Request("a3", "10.96.0.21", spread("a1 a2 b1", OWN)),
        ],
    ),
    Case(
        "externalTrafficPolicy Local without an endpoint on this node",
        [service("10.96.0.22", "b1 b2", node_port=30022, **LOCAL)],
        [Request("client", NODE_IP, ipvs_else(spread("b1 b2", OWN), DROPPED), port=30022)],
    ),
    Case(
        "node ports with IPv6 and UDP",
        [
            service("fd00:96::23", "a1 b1", node_port=30023),
            service("fd00:96::123", "a1 b1", node_port=30123, **LOCAL),
            service("10.96.0.23", "a1 b1", node_port=30024, protocol="udp"),
            service("10.96.0.123", "a1 b1", node_port=30124, protocol="udp", **LOCAL),
        ],
        [
            Request("client", NODE_IP6, spread("a1 b1", MASQUERADED), port=30023),
            Request("client", NODE_IP6, spread("a1", OWN), port=30123),
            Request("client", NODE_IP, spread("a1 b1", MASQUERADED), port=30024, protocol="udp"),
            Request("client", NODE_IP, spread("a1", OWN), port=30124, protocol="udp"),
        ],
    ),
    Case(
        "by default, node ports answer on all addresses, in nftables mode on the node's own",
        [service("10.96.0.19", "a1", node_port=30019)],
        [
            Request("client", NODE_IP, spread("a1"), port=30019),
            Request("client", OUTSIDE, nftables_else(refused(), spread("a1")), port=30019),
            Request("node", "127.0.0.1", iptables_else(spread("a1"), refused()), port=30019),
        ],
    ),
    Case(
        "node_port_addresses opens node ports on all addresses",
        [service("10.96.0.18", "a1", node_port=30018), service("fd00:96::18", "a1", node_port=30118)],
        [
            Request("client", OUTSIDE, spread("a1"), port=30018),
            Request("client", OUTSIDE6, spread("a1"), port=30118),
            Request("a3", NODE_IP, spread("a1"), port=30018),
        ],
        {"node_port_addresses": ["0.0.0.0/0", "::/0"]},
    ),
    Case(
        "node_port_addresses limits where node ports answer",
        [service("10.96.0.24", "a1", node_port=30025)],
        [
            Request("client", OUTSIDE, spread("a1"), port=30025),
            Request("client", NODE_IP, refused(), port=30025),
        ],
        {"node_port_addresses": layout.OUTSIDE},
    ),
    Case(
        "a load balancer's address with source ranges; node port and cluster IP are open",
        [
            service(
                "10.96.0.25",
                "a1 b1",
                node_port=30026,
                load_balancer_ips=["203.0.113.25"],
                load_balancer_source_ranges=layout.CLIENT_RANGES[:1],
            )
        ],
        [
            Request("client", "203.0.113.25", spread("a1 b1", MASQUERADED)),
            Request("stranger", "203.0.113.25", DROPPED),
            Request("a3", "203.0.113.25", DROPPED),
            Request("node", "203.0.113.25", DROPPED),
            Request("stranger", NODE_IP, spread("a1 b1"), port=30026),
            Request("stranger", "10.96.0.25", spread("a1 b1")),
        ],
    ),
    Case(
        "a load balancer's source ranges that name the node let it in",
        [
            service(
                "10.96.0.26",
                "a1",
                load_balancer_ips=["203.0.113.26"],
                load_balancer_source_ranges=[f"{NODE_IP}/32", *layout.CLIENT_RANGES[:1]],
            )
        ],
        [Request("node", "203.0.113.26", spread("a1")), Request("stranger", "203.0.113.26", DROPPED)],
    ),
    Case(
        "a load balancer's address with externalTrafficPolicy Local",
        [
            service(
                "10.96.0.27",
                "a1 b1",
                load_balancer_ips=["203.0.113.27"],
                load_balancer_source_ranges=layout.CLIENT_RANGES[:1],
                health_check_node_port=32027,
                **LOCAL,
            )
        ],
        [
            Request("client", "203.0.113.27", spread("a1", OWN)),
            Request("stranger", "203.0.113.27", DROPPED),
        ],
    ),
    Case(
        "a load balancer's address with IPv6",
        [
            service(
                "fd00:96::28",
                "a1 b1",
                load_balancer_ips=["2001:db8:113::28"],
                load_balancer_source_ranges=layout.CLIENT_RANGES[1:],
            )
        ],
        [
            Request("client", "2001:db8:113::28", spread("a1 b1", MASQUERADED)),
            Request("stranger", "2001:db8:113::28", DROPPED),
        ],
    ),
    Case(
        "an external IP",
        [service("10.96.0.29", "a1 b1", external_ips=["192.0.2.29"])],
        [
            Request("client", "192.0.2.29", spread("a1 b1", MASQUERADED)),
            Request("a3", "192.0.2.29", spread("a1 b1")),
        ],
    ),
    Case(
        "an external IP with externalTrafficPolicy Local",
        [service("10.96.0.30", "a1 b1", node_port=30030, external_ips=["192.0.2.30"], **LOCAL)],
        [Request("client", "192.0.2.30", spread("a1", OWN))],
    ),
]

CHOICE = [
    Case(
        "ClientIP affinity keeps each client at one endpoint",
        [
            service(
                "10.96.0.40", "a1 a2 b1", session_affinity="ClientIP", session_affinity_timeout=300, node_port=30040
            ),
            service("fd00:96::40", "a1 a2 b1", session_affinity="ClientIP", session_affinity_timeout=300),
        ],
        [
            Request("a3", "10.96.0.40", sticks("a1 a2 b1")),
            Request("node", "10.96.0.40", sticks("a1 a2 b1")),
            Request("client", NODE_IP, sticks("a1 a2 b1"), port=30040),
            Request("a3", "fd00:96::40", sticks("a1 a2 b1")),
        ],
    ),
    Case(
        "weights shift load",
        [
            service("10.96.0.41", [endpoint("a1", weight=3), endpoint("b1", weight=1)], scheduler="wrr"),
            service("10.96.0.141", [endpoint("a1", weight=0), endpoint("b1")], scheduler="wrr"),
        ],
        [
            Request("a3", "10.96.0.41", ipvs_only(shares(a1=3, b1=1))),
            Request("node", "10.96.0.41", ipvs_only(shares(a1=3, b1=1))),
            Request("a3", "10.96.0.141", ipvs_only(spread("b1"))),
        ],
    ),
    Case(
        "the node's scheduler: with sh a client stays at one endpoint",
        [service("10.96.0.42", "a1 a2 b1")],
        [Request("a3", "10.96.0.42", ipvs_only(sticks("a1 a2 b1")))],
        {"scheduler": "sh"},
    ),
    Case(
        "an endpoint that is not ready gets nothing",
        [service("10.96.0.43", [endpoint("a1"), endpoint("a2", ready=False)])],
        [Request("a3", "10.96.0.43", spread("a1"))],
    ),
    Case(
        "a terminating endpoint is used only where nothing is ready",
        [
            service("10.96.0.44", [endpoint("a1"), endpoint("a2", terminating=True)]),
            service("10.96.0.144", [endpoint("a1", ready=False), endpoint("a2", terminating=True)]),
        ],
        [
            Request("a3", "10.96.0.44", spread("a1")),
            Request("a3", "10.96.0.144", spread("a2")),
        ],
    ),
    Case(
        "of a Local service, a terminating endpoint here rather than a ready one elsewhere",
        [service("10.96.0.45", [endpoint("a2", terminating=True), endpoint("b1")], node_port=30045, **LOCAL)],
        [
            Request("client", NODE_IP, spread("a2", OWN), port=30045),
            Request("a3", "10.96.0.45", spread("b1")),
        ],
    ),
    Case(
        "topology hints keep traffic in the zone",
        [
            service("10.96.0.46", [endpoint("a1", hints={"zones": ["z1"]}), endpoint("b1", hints={"zones": ["z2"]})]),
            # One endpoint without a hint, and no hint counts.
            service("10.96.0.146", [endpoint("a1"), endpoint("b1", hints={"zones": ["z2"]})]),
        ],
        [
            Request("a3", "10.96.0.46", spread("a1")),
            Request("a3", "10.96.0.146", spread("a1 b1")),
        ],
        zone="z1",
    ),
]

CASES = [*CLUSTER_IP, *FROM_OUTSIDE, *CHOICE]
