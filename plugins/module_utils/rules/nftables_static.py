# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Sets, maps and chains of nftables mode that do not belong to one service (data-plane 2.2, 2.6)."""

from __future__ import annotations

from ipaddress import ip_network, summarize_address_range
from typing import TYPE_CHECKING

from ..model.address import family_of
from ..state.nftables import Chain, Element, Set
from .facts import local_source
from .names import NFTABLES_FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model.node import Node, ProxyConfiguration

NEW = "ct state new jump"
# name -> (type, hook and priority as nft prints it, rules)
BASE_CHAINS = {
    "filter-prerouting-pre-dnat": ("filter", "prerouting priority dstnat - 10", [f"{NEW} firewall-check"]),
    "filter-output-pre-dnat": ("filter", "output priority -110", [f"{NEW} firewall-check"]),
    "filter-input": (
        "filter",
        "input priority filter",
        [f"{NEW} nodeport-endpoints-check", f"{NEW} service-endpoints-check"],
    ),
    "filter-forward": (
        "filter",
        "forward priority filter",
        [f"{NEW} service-endpoints-check", f"{NEW} cluster-ips-check"],
    ),
    "filter-output": (
        "filter",
        "output priority filter",
        [f"{NEW} service-endpoints-check", f"{NEW} cluster-ips-check"],
    ),
    "nat-prerouting": ("nat", "prerouting priority dstnat", ["jump services"]),
    "nat-output": ("nat", "output priority -100", ["jump services"]),
    "nat-postrouting": ("nat", "postrouting priority srcnat", ["jump masquerading"]),
}
NO_ENDPOINTS = "vmap to drop or reject packets to service{} with no endpoints"


def static_sets(family: str, node_port_addresses: list[str] | None) -> dict[str, Set]:
    """Sets and maps without elements; with those of nodeport-ips, unless node ports are on all addresses (None)."""
    address = "ipv6_addr" if family == "ipv6" else "ipv4_addr"
    port = "inet_proto . inet_service"
    to_port = f"{address} . {port} : verdict"
    sets = {
        "hairpin-connections": _set("set", f"{address} . {address} . {port}", "service hairpin connections"),
        "cluster-ips": _set("set", address, "Active ClusterIPs"),
        "nodeport-ips": _set("set", address, "IPs that accept NodePort traffic"),
        "no-endpoint-services": _set("map", to_port, NO_ENDPOINTS.format("s")),
        "no-endpoint-nodeports": _set("map", f"{port} : verdict", NO_ENDPOINTS.format(" nodeports")),
        "firewall-ips": _set("map", to_port, "destinations that are subject to LoadBalancerSourceRanges"),
        "service-ips": _set("map", to_port, "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
        "service-nodeports": _set("map", f"{port} : verdict", "NodePort traffic"),
    }
    if node_port_addresses is None:
        del sets["nodeport-ips"]
    else:
        sets["nodeport-ips"].elements.update((address, Element()) for address in node_port_addresses)
    return sets


def static_chains(family: str, node: Node, configuration: ProxyConfiguration, all_node_ports: bool) -> dict[str, Chain]:
    """The base chains, and what they lead to."""
    ip = NFTABLES_FAMILIES[family]
    service = f"{ip} daddr . meta l4proto . th dport"
    guard = f"{ip} daddr != {'::1' if family == 'ipv6' else '127.0.0.0/8'}"
    node_port = f"{guard if all_node_ports else f'{ip} daddr @nodeport-ips'} meta l4proto . th dport"
    local = "fib daddr type local " if all_node_ports else ""
    bit = mark(configuration)
    base = {
        name: Chain(f"type {kind} hook {hook}; policy accept;", "", tuple(rules))
        for name, (kind, hook, rules) in BASE_CHAINS.items()
    }
    regular = {
        "nodeport-endpoints-check": [f"{node_port} vmap @no-endpoint-nodeports"],
        "service-endpoints-check": [f"{service} vmap @no-endpoint-services"],
        "firewall-check": [f"{service} vmap @firewall-ips"],
        "services": [
            *_masquerade_cluster_ips(family, node, configuration),
            f"{service} vmap @service-ips",
            f"{local}{node_port} vmap @service-nodeports",
        ],
        "masquerading": [
            f"{_marked(bit)} meta mark set meta mark ^ {bit} masquerade fully-random",
            f"ct status dnat {ip} saddr . {service} @hairpin-connections masquerade fully-random",
        ],
        "cluster-ips-check": [
            f'{ip} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"',
            *_drop_unallocated(family, configuration),
        ],
    }
    return {
        **base,
        **{name: Chain("", "", tuple(rules)) for name, rules in regular.items()},
        "reject-chain": Chain("", "helper for @no-endpoint-services / @no-endpoint-nodeports", ("reject",)),
    }


def mark(configuration: ProxyConfiguration) -> str:
    """The mark of what is to be masqueraded, as nft prints it."""
    return f"0x{1 << configuration.masquerade_bit:08x}"


def _marked(bit: str) -> str:
    # A mask of the highest bits alone is a prefix to nft.
    return "meta mark != 0x00000000/1" if bit == "0x80000000" else f"meta mark & {bit} != 0x00000000"


def _drop_unallocated(family: str, configuration: ProxyConfiguration) -> list[str]:
    """What is left for addresses of services is for none that there is (data-plane 2.2)."""
    networks = [network for network in configuration.service_cidrs if family_of(network) == family]
    if not networks:
        return []
    destination = f"{NFTABLES_FAMILIES[family]} daddr {address_set(networks)}"
    return [f'{destination} drop comment "Drop traffic to unallocated ClusterIPs"']


def local_match(family: str, node: Node, configuration: ProxyConfiguration, unless: str = "") -> str | None:
    """The match of traffic that :func:`.facts.local_source` tells, None where nothing tells it.

    ``unless`` is ``"!= "`` for the reverse.
    """
    source = local_source(family, node, configuration)
    if source is None:
        return None
    kind, value = source
    if kind == "network":
        return f"{NFTABLES_FAMILIES[family]} saddr {unless}{address_set([value])}"
    return f'iifname {unless}"{value}{"*" if kind == "prefix" else ""}"'


def address_set(networks: Iterable[str]) -> str:
    """Networks of one family as nft prints an anonymous set that it was given so: sorted, merged, a single one bare.

    What overlaps or adjoins becomes a range of addresses, unless a prefix says the same. Where all merge into one, it
    stays a set.
    """
    ranges: list[list[int]] = []
    parsed = [ip_network(network) for network in networks]
    for first, last in sorted((int(network[0]), int(network[-1])) for network in parsed):
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1][1] = max(last, ranges[-1][1])
        else:
            ranges.append([first, last])
    make = type(parsed[0].network_address)
    texts = []
    for first, last in ranges:
        found = list(summarize_address_range(make(first), make(last)))
        texts.append(_network(str(found[0])) if len(found) == 1 else f"{make(first)}-{make(last)}")
    return texts[0] if len(parsed) == 1 else f"{{ {', '.join(texts)} }}"


def _network(text: str) -> str:
    address, _slash, length = text.partition("/")
    return address if length == ("128" if ":" in address else "32") else text


def _masquerade_cluster_ips(family: str, node: Node, configuration: ProxyConfiguration) -> list[str]:
    to_cluster_ips = f"{NFTABLES_FAMILIES[family]} daddr @cluster-ips"
    set_mark = f"meta mark set meta mark | {mark(configuration)}"
    if configuration.masquerade_all:
        return [f'{to_cluster_ips} {set_mark} comment "masquerade all clusterIP traffic"']
    not_local = local_match(family, node, configuration, "!= ")
    if not_local is None:
        return []
    return [f'{to_cluster_ips} {not_local} {set_mark} comment "masquerade clusterIP traffic from outside cluster"']


def _set(kind: str, of_type: str, comment: str) -> Set:
    return Set(kind, (("type", of_type), ("comment", f'"{comment}"')), {})
