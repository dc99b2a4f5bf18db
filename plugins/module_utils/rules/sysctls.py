# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Kernel settings that kube-proxy writes in each mode (data-plane 1.8, 1.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.version import VERSIONS
from .facts import NodeFacts, localhost_node_ports

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration


def ipvs_sysctls(configuration: ProxyConfiguration, facts: NodeFacts) -> dict[str, str]:
    """Settings of IPVS mode."""
    sysctls = {
        "net.ipv4.vs.conntrack": "1",
        "net.ipv4.vs.expire_nodest_conn": "1",
        "net.ipv4.vs.expire_quiescent_template": "1",
        "net.ipv4.ip_forward": "1",
    }
    # conn_reuse_mode 1 delays new connections by a second on these kernels; newer ones are sound with it.
    if (4, 1) <= facts.kernel < (5, 9):
        sysctls["net.ipv4.vs.conn_reuse_mode"] = "0"
    if configuration.strict_arp:
        sysctls["net.ipv4.conf.all.arp_ignore"] = "1"
        sysctls["net.ipv4.conf.all.arp_announce"] = "2"
    return {**sysctls, **conntrack_sysctls(configuration, facts)}


def iptables_sysctls(node: Node, configuration: ProxyConfiguration, facts: NodeFacts) -> dict[str, str]:
    """Settings of iptables mode."""
    sysctls = conntrack_sysctls(configuration, facts)
    if localhost_node_ports(node, configuration, "ipv4"):
        # Without it the kernel drops what a node port on 127.0.0.1 sends on to an endpoint elsewhere.
        sysctls["net.ipv4.conf.all.route_localnet"] = "1"
    return sysctls


def conntrack_sysctls(configuration: ProxyConfiguration, facts: NodeFacts) -> dict[str, str]:
    """Settings of connection tracking, all modes. A zero in the configuration leaves the kernel's value."""
    prefix = "net.netfilter.nf_conntrack_"
    seconds = {
        "tcp_timeout_established": configuration.conntrack_tcp_established_timeout,
        "tcp_timeout_close_wait": configuration.conntrack_tcp_close_wait_timeout,
        "udp_timeout": configuration.conntrack_udp_timeout,
        "udp_timeout_stream": configuration.conntrack_udp_stream_timeout,
    }
    sysctls = {prefix + name: str(value) for name, value in seconds.items() if value > 0}
    if configuration.conntrack_tcp_be_liberal:
        sysctls[prefix + "tcp_be_liberal"] = "1"
    if facts.conntrack_buckets and configuration.conntrack_max_per_core:
        automatic = configuration.conntrack_max_per_core * facts.cpus
        cap = VERSIONS[configuration.version].conntrack_cap
        entries = max(min(automatic, cap) if cap else automatic, configuration.conntrack_min)
        sysctls[prefix + "max"] = str(entries)
        # The table of buckets only ever grows: four entries a bucket.
        sysctls[prefix + "buckets"] = str(max(entries // 4, facts.conntrack_buckets))
    return sysctls
