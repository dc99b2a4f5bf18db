# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The node and the proxy configuration, as the rules see them."""

from __future__ import annotations

from typing import NamedTuple

MODES = ("iptables", "ipvs", "nftables")
DETECT_LOCAL_MODES = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")


class Node(NamedTuple):
    """One node.

    ``addresses`` are the node's own IPs as the Node object lists them (InternalIP before ExternalIP); ``pod_cidrs`` its
    pod networks. ``zone`` is the label topology.kubernetes.io/zone, "" for none.
    """

    name: str
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    zone: str = ""


class ProxyConfiguration(NamedTuple):
    """The fields of KubeProxyConfiguration that decide what is programmed, with its defaults (data-plane 1.1.6).

    Durations are whole seconds; 0 leaves the kernel's value. ``cluster_cidrs`` is clusterCIDR split at commas.
    ``service_cidrs`` are the networks of cluster IPs, for nftables mode; () for those of the service data.
    ``external_ips`` is the feature gate AllowServiceExternalIPs: whether externalIPs of services count.
    ``masquerade_all`` and ``masquerade_bit`` are those of the section of the mode in use (IPVS mode uses ``iptables``).
    """

    mode: str = "ipvs"
    version: str = "1.36"
    bind_address: str = ""
    cluster_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    external_ips: bool = True
    detect_local_mode: str = "ClusterCIDR"
    bridge_interface: str = ""
    interface_name_prefix: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = 14
    localhost_node_ports: bool = True
    node_port_addresses: tuple[str, ...] = ()
    scheduler: str = "rr"
    strict_arp: bool = False
    tcp_timeout: int = 0
    tcp_fin_timeout: int = 0
    udp_timeout: int = 0
    exclude_cidrs: tuple[str, ...] = ()
    conntrack_max_per_core: int = 32768
    conntrack_min: int = 131072
    conntrack_tcp_established_timeout: int = 86400
    conntrack_tcp_close_wait_timeout: int = 3600
    conntrack_tcp_be_liberal: bool = False
    conntrack_udp_timeout: int = 0
    conntrack_udp_stream_timeout: int = 0
    canary_chains: bool = False
