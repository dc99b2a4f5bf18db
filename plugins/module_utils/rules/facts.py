# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What the rules need to know of the node that service data does not say."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from ..model.address import family_of
from ..model.configuration import node_ip
from .names import DEVICE

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration
    from ..state.node import LocalAddress


class NodeFacts(NamedTuple):
    """``kernel`` is (major, minor). ``addresses`` are those of every interface, kube-ipvs0's too.

    ``conntrack_buckets`` is the size of the connection tracking table, 0 where this cannot be set, as in any
    network namespace but the first. ``cpus`` is the number of processors.
    ``conntrack_liberal``: whether nf_conntrack_tcp_be_liberal is set. ``accounting``: whether the kernel has nfacct.
    """

    kernel: tuple[int, int]
    addresses: tuple[LocalAddress, ...]
    cpus: int = 1
    conntrack_buckets: int = 0
    conntrack_liberal: bool = False
    accounting: bool = False

    def local_addresses(self, family: str) -> list[str]:
        """The node's addresses of one family, without those that are bound for services.

        Were these to count, the rules would depend on what an earlier run has bound. kube-proxy's first sync does
        without them too, as nothing is bound by then.
        """
        return [local.address for local in self.addresses if local.family == family and local.interface != DEVICE]

    def node_addresses(self) -> tuple[str, ...]:
        """The first global address of each family: the node's own IPs where nobody names them."""
        found: dict[str, str] = {}
        for local in self.addresses:
            if local.interface == DEVICE:
                continue
            address = ip_address(local.address)
            if not (address.is_loopback or address.is_link_local):
                found.setdefault(local.family, local.address)
        return tuple(found.values())


def local_source(family: str, node: Node, configuration: ProxyConfiguration) -> tuple[str, str] | None:
    """What tells traffic of this node's pods (or the cluster's) from other: the name of an ``interface``, a ``prefix``
    of such names, or a ``network``; None where nothing does (data-plane 1.1.7).
    """
    mode = configuration.detect_local_mode
    if mode == "BridgeInterface":
        return "interface", configuration.bridge_interface
    if mode == "InterfaceNamePrefix":
        return "prefix", configuration.interface_name_prefix
    networks = node.pod_cidrs if mode == "NodeCIDR" else configuration.cluster_cidrs
    return next((("network", network) for network in networks if family_of(network) == family), None)


def node_port_addresses(node: Node, configuration: ProxyConfiguration, facts: NodeFacts, family: str) -> list[str]:
    """Addresses of the node on which IPVS answers for node ports, sorted (data-plane 1.1.8, 1.13).

    Without a choice, or with a zero network among the choices: all but loopback and IPv6 link-local.
    """
    local = facts.local_addresses(family)
    networks = node_port_networks(node, configuration, family)
    if networks is None:
        found = {address for address in local if not _is_link_local_v6(address)}
    else:
        found = {address for address in local if any(ip_address(address) in network for network in networks)}
    return sorted(address for address in found if not ip_address(address).is_loopback)


def node_port_networks(
    node: Node, configuration: ProxyConfiguration, family: str
) -> list[IPv4Network | IPv6Network] | None:
    """Networks of one family whose addresses serve node ports; None for all addresses (data-plane 1.1.8).

    A choice that names no network of a family leaves that family open, and so does ``primary`` on a node that has no
    address of the family.
    """
    wanted = configuration.node_port_addresses
    if wanted == ("primary",):
        address = node_ip(node, configuration, family)
        wanted = () if ip_address(address).is_loopback else (address,)
    networks = [n for n in (ip_network(w) for w in wanted) if n.version == (6 if family == "ipv6" else 4)]
    return None if not networks or any(n.prefixlen == 0 for n in networks) else networks


def localhost_node_ports(node: Node, configuration: ProxyConfiguration, family: str) -> bool:
    """Whether node ports answer on 127.0.0.1: asked for, and among the addresses of node ports. IPv4 only."""
    if family == "ipv6" or not configuration.localhost_node_ports:
        return False
    networks = node_port_networks(node, configuration, family)
    return networks is None or any(n.is_loopback or ip_address("127.0.0.0") in n for n in networks)


def _is_link_local_v6(address: str) -> bool:
    parsed = ip_address(address)
    return parsed.version == 6 and parsed.is_link_local
