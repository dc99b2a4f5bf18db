# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds the namespaces of the plan in `layout`."""

from __future__ import annotations

import os

from tests.lab.netns import Network

from . import layout


def build(network: Network, *, node_is_root: bool) -> None:
    """Build everything.

    node_is_root: the node is the namespace that this process is in, and left as it is. Any other is a router already:
    no mode but IPVS turns forwarding on, and that for IPv4 alone.
    """
    if node_is_root:
        # Under a name of its own it is built like any other namespace; it is never deleted, only the name is.
        network.command("ip", "netns", "attach", network.full_name(layout.NODE), str(os.getpid()))
    else:
        network.add(layout.NODE)
    network.add("client", layout.OTHER_NODE, *layout.PODS)
    _add_client(network)
    network.veth((layout.NODE, "nodes", None), (layout.OTHER_NODE, "nodes", None))
    for node, addresses in ((layout.NODE, layout.NODE_ADDRESSES), (layout.OTHER_NODE, layout.OTHER_NODE_ADDRESSES)):
        network.bridge(node, "cni0")
        for interface, pair in addresses.items():
            for address in pair:
                network.address(node, interface, address)
    for name, pod in layout.PODS.items():
        _add_pod(network, name, pod)
    _add_routes(network)
    for router in (layout.OTHER_NODE,) if node_is_root else (layout.OTHER_NODE, layout.NODE):
        network.sysctl(router, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    network.build()


def _add_client(network: Network) -> None:
    network.veth((layout.NODE, "outside", None), ("client", "eth0", None))
    for name in ("client", "stranger"):
        host = layout.HOSTS[name]
        network.address("client", "eth0", f"{host.ipv4}/24")
        network.address("client", "eth0", f"{host.ipv6}/64")
    for address in layout.NODE_ADDRESSES["outside"]:
        gateway = address.partition("/")[0]
        # Only once both ends have their addresses can a route lead there.
        network.route("client", "::/0" if ":" in gateway else "0.0.0.0/0", via=gateway)


def _add_pod(network: Network, name: str, pod: layout.Host) -> None:
    local = layout.node_of(name) == layout.NODE_NAME
    node = layout.NODE if local else layout.OTHER_NODE
    bridge = (layout.NODE_ADDRESSES if local else layout.OTHER_NODE_ADDRESSES)["cni0"]
    network.veth((node, f"pod-{name}", None), (pod.namespace, "eth0", f"{pod.ipv4}/24"))
    network.address(pod.namespace, "eth0", f"{pod.ipv6}/64")
    network.ip(node, "link", "set", "dev", f"pod-{name}", "master", "cni0")
    # A pod that reaches itself through its service gets its packet back from where it came.
    network.ip(node, "link", "set", "dev", f"pod-{name}", "type", "bridge_slave", "hairpin", "on")
    for address in bridge:
        gateway = address.partition("/")[0]
        network.route(pod.namespace, "::/0" if ":" in gateway else "0.0.0.0/0", via=gateway)


def _add_routes(network: Network) -> None:
    this, other = layout.NODE_ADDRESSES["nodes"], layout.OTHER_NODE_ADDRESSES["nodes"]
    for index, default in enumerate(("0.0.0.0/0", "::/0")):
        # Without a default route nothing is sent to addresses that only rules know. node-b has none, and says so.
        network.route(layout.NODE, default, via=other[index].partition("/")[0])
        for destination in (layout.NODE_POD_CIDRS[index], layout.OUTSIDE[index]):
            network.route(layout.OTHER_NODE, destination, via=this[index].partition("/")[0])
        network.route(layout.NODE, layout.OTHER_NODE_POD_CIDRS[index], via=other[index].partition("/")[0])
