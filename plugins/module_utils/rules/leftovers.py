# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Objects without a name of kube-proxy's that the state of a kernel shows to be kube-proxy's all the same.

kube-proxy leaves most of what it programmed when it is stopped or changes its mode (data-plane 1.16).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..state.ipvs import VirtualServerKey
from .iptables_chains import localnet_guard
from .ipvs_sets import set_name
from .names import FIREWALL, KUBELET_CHAINS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state.ipset import IPSet
    from ..state.iptables import Tables

# Every virtual server of kube-proxy's that is not one of a node port has its address and port in one of these.
ADDRESS_SETS = (
    "KUBE-CLUSTER-IP",
    "KUBE-EXTERNAL-IP",
    "KUBE-EXTERNAL-IP-LOCAL",
    "KUBE-LOAD-BALANCER",
    "KUBE-NODE-PORT-SCTP-HASH",
)
NODE_PORT_SETS = {"tcp": "KUBE-NODE-PORT-TCP", "udp": "KUBE-NODE-PORT-UDP"}


class NamedBySets(NamedTuple):
    """Virtual servers that kube-proxy's sets speak of.

    ``node_ports`` are (family, protocol, port): their virtual servers are on addresses of the node.
    """

    keys: frozenset[VirtualServerKey]
    node_ports: frozenset[tuple[str, str, int]]


def named_by_sets(sets: Mapping[str, IPSet]) -> NamedBySets:
    """Live sets -> the virtual servers that kube-proxy made along with their members."""
    keys: set[VirtualServerKey] = set()
    ports: set[tuple[str, str, int]] = set()
    for family in ("ipv4", "ipv6"):
        for name in ADDRESS_SETS:
            for member in _members(sets, set_name(name, family)):
                address, _comma, service = member.partition(",")
                protocol, _colon, port = service.partition(":")
                keys.add(VirtualServerKey(family, protocol, address, int(port)))
        for protocol, name in NODE_PORT_SETS.items():
            ports.update((family, protocol, int(member)) for member in _members(sets, set_name(name, family)))
    return NamedBySets(frozenset(keys), frozenset(ports))


def is_own_firewall(tables: Tables) -> bool:
    """Whether KUBE-FIREWALL in the live tables of a family is kube-proxy's alone.

    kubelet writes the same rule into it. Where kubelet is at work it shows by chains that only it makes, and a rule
    that neither of both writes has an owner somewhere.
    """
    if any(KUBELET_CHAINS.intersection(chains) for chains in tables.values()):
        return False
    table, name = FIREWALL
    chain = tables.get(table, {}).get(name)
    return chain is None or set(chain.rules) <= set(localnet_guard())


def _members(sets: Mapping[str, IPSet], name: str) -> list[str]:
    return list(sets[name].members) if name in sets else []
