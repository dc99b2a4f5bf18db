# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What the rules need to know of the node that service data does not say."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from ..model.configuration import node_ip

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration
    from ..state.node import LocalAddress


class NodeFacts(NamedTuple):
    """``kernel`` is (major, minor). ``addresses`` are those of every interface, kube-ipvs0's too.

    ``conntrack_buckets`` is the size of the connection tracking table, 0 where this cannot be set, as in any
    network namespace but the first. ``cpus`` is the number of processors.
    """

    kernel: tuple[int, int]
    addresses: tuple[LocalAddress, ...]
    cpus: int = 1
    conntrack_buckets: int = 0


def node_port_addresses(
    node: Node, configuration: ProxyConfiguration, facts: NodeFacts, family: str, device: str
) -> list[str]:
    """Addresses of the node on which IPVS answers for node ports, sorted (data-plane 1.1.8, 1.13).

    Without a choice, or with a zero network among the choices: all but loopback, IPv6 link-local and those of
    ``device``.
    """
    local = [a for a in facts.addresses if a.family == family]
    wanted = configuration.node_port_addresses
    if wanted == ("primary",):
        wanted = (node_ip(node, configuration, family),)
    networks = [n for n in (ip_network(w) for w in wanted) if n.version == (6 if family == "ipv6" else 4)]
    if not wanted or any(n.prefixlen == 0 for n in networks):
        found = {a.address for a in local if a.interface != device and not _is_link_local_v6(a.address)}
    else:
        found = {a.address for a in local if any(ip_address(a.address) in network for network in networks)}
    return sorted(address for address in found if not ip_address(address).is_loopback)


def _is_link_local_v6(address: str) -> bool:
    parsed = ip_address(address)
    return parsed.version == 6 and parsed.is_link_local
