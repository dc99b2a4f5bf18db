# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The address plan.

    client (198.51.100.10, .200) ── outside ┐                       ┌ nodes ── node-b ── cni0 ── b1 b2  10.244.2.0/24
                                            node-a ─────────────────┘
                      10.244.1.0/24  cni0 ──┘ a1 a2 a3

Only the node is under test. node-b is a router before the pods of another node.
"""

from __future__ import annotations

from typing import NamedTuple

POD_PORT = 8080
# Namespace of the node under test, and the name that endpoints give it.
NODE = "node"
NODE_NAME = "node-a"
OTHER_NODE = "node-b"
CLUSTER_CIDRS = ["10.244.0.0/16", "fd00:10:244::/56"]
NODE_POD_CIDRS = ["10.244.1.0/24", "fd00:10:244:1::/64"]
OTHER_NODE_POD_CIDRS = ["10.244.2.0/24", "fd00:10:244:2::/64"]
OUTSIDE = ["198.51.100.0/24", "2001:db8:51::/64"]
# Sources that a load balancer may be told to accept: the client, not the stranger.
CLIENT_RANGES = ["198.51.100.0/25", "2001:db8:51::/112"]


class Host(NamedTuple):
    """Who sends requests: a namespace, and the addresses that it uses, by family."""

    namespace: str
    ipv4: str
    ipv6: str

    def address(self, family: str) -> str:
        return self.ipv6 if family == "ipv6" else self.ipv4


NODE_ADDRESSES = {
    "outside": ("198.51.100.1/24", "2001:db8:51::1:1/64"),
    "nodes": ("192.168.1.11/24", "fd00:192:168:1::11/64"),
    "cni0": ("10.244.1.1/24", "fd00:10:244:1::1/64"),
}
OTHER_NODE_ADDRESSES = {
    "nodes": ("192.168.1.12/24", "fd00:192:168:1::12/64"),
    "cni0": ("10.244.2.1/24", "fd00:10:244:2::1/64"),
}
PODS = {
    "a1": Host("a1", "10.244.1.11", "fd00:10:244:1::11"),
    "a2": Host("a2", "10.244.1.12", "fd00:10:244:1::12"),
    "a3": Host("a3", "10.244.1.13", "fd00:10:244:1::13"),
    "b1": Host("b1", "10.244.2.11", "fd00:10:244:2::11"),
    "b2": Host("b2", "10.244.2.12", "fd00:10:244:2::12"),
}
HOSTS = {
    **PODS,
    # The node leaves the choice of its source address to the kernel.
    NODE: Host(NODE, "", ""),
    "client": Host("client", "198.51.100.10", "2001:db8:51::10"),
    "stranger": Host("client", "198.51.100.200", "2001:db8:51::2:200"),
}
NODE_IPS = [address.partition("/")[0] for pair in NODE_ADDRESSES.values() for address in pair]


def node_of(pod: str) -> str:
    return NODE_NAME if pod.startswith("a") else OTHER_NODE
