# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The 17 sets of IPVS mode (data-plane 1.11)."""

from __future__ import annotations

from typing import NamedTuple

# Set names are cut to what the kernel takes (IPSET_MAXNAMELEN less the final zero).
MAX_NAME_LENGTH = 31


class SetDefinition(NamedTuple):
    """Type of a set, and the comment of the rules that match it."""

    type: str
    comment: str


SETS = {
    "KUBE-LOOP-BACK": SetDefinition(
        "hash:ip,port,ip", "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"
    ),
    "KUBE-CLUSTER-IP": SetDefinition("hash:ip,port", "Kubernetes service cluster ip + port for masquerade purpose"),
    "KUBE-EXTERNAL-IP": SetDefinition(
        "hash:ip,port", "Kubernetes service external ip + port for masquerade and filter purpose"
    ),
    "KUBE-EXTERNAL-IP-LOCAL": SetDefinition(
        "hash:ip,port", "Kubernetes service external ip + port with externalTrafficPolicy=local"
    ),
    "KUBE-LOAD-BALANCER": SetDefinition("hash:ip,port", "Kubernetes service lb portal"),
    "KUBE-LOAD-BALANCER-FW": SetDefinition(
        "hash:ip,port", "Kubernetes service load balancer ip + port for load balancer with sourceRange"
    ),
    "KUBE-LOAD-BALANCER-LOCAL": SetDefinition(
        "hash:ip,port", "Kubernetes service load balancer ip + port with externalTrafficPolicy=local"
    ),
    "KUBE-LOAD-BALANCER-SOURCE-IP": SetDefinition(
        "hash:ip,port,ip", "Kubernetes service load balancer ip + port + source IP for packet filter purpose"
    ),
    "KUBE-LOAD-BALANCER-SOURCE-CIDR": SetDefinition(
        "hash:ip,port,net", "Kubernetes service load balancer ip + port + source cidr for packet filter purpose"
    ),
    "KUBE-NODE-PORT-TCP": SetDefinition("bitmap:port", "Kubernetes nodeport TCP port for masquerade purpose"),
    "KUBE-NODE-PORT-LOCAL-TCP": SetDefinition(
        "bitmap:port", "Kubernetes nodeport TCP port with externalTrafficPolicy=local"
    ),
    "KUBE-NODE-PORT-UDP": SetDefinition("bitmap:port", "Kubernetes nodeport UDP port for masquerade purpose"),
    "KUBE-NODE-PORT-LOCAL-UDP": SetDefinition(
        "bitmap:port", "Kubernetes nodeport UDP port with externalTrafficPolicy=local"
    ),
    "KUBE-NODE-PORT-SCTP-HASH": SetDefinition(
        "hash:ip,port", "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'"
    ),
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH": SetDefinition(
        "hash:ip,port", "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'"
    ),
    "KUBE-HEALTH-CHECK-NODE-PORT": SetDefinition("bitmap:port", "Kubernetes health check node port"),
    "KUBE-IPVS-IPS": SetDefinition("hash:ip", "Addresses on the ipvs interface"),
}


def set_name(key: str, family: str) -> str:
    """The name of a set in a family: IPv6 names have another prefix and are then cut."""
    name = key.replace("KUBE-", "KUBE-6-", 1) if family == "ipv6" else key
    return name[:MAX_NAME_LENGTH]


OWN_SETS = frozenset(set_name(key, family) for key in SETS for family in ("ipv4", "ipv6"))
