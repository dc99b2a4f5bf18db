# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Chains and jumps of iptables mode that do not belong to one service (data-plane 1.3, 1.4, 1.6)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..model.address import WHOLE_ADDRESS
from ..model.version import VERSIONS
from ..state.iptables import Chain, Tables
from .facts import NodeFacts, localhost_node_ports, node_port_networks
from .names import CANARY, DROPPED_INVALID
from .traffic import Dispatch, comment, masquerade_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.node import Node, ProxyConfiguration

NEW = "-m conntrack --ctstate NEW "
EXTERNAL = (NEW, "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES")
PORTALS = (NEW, "kubernetes service portals", "KUBE-SERVICES")
FIREWALL = (NEW, "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL")
# Of kubelet's too: without a comment, as kubelet writes it.
LOCALNET_GUARD = ("", "", "KUBE-FIREWALL")
# (table, built-in chain) -> our jumps as (match, comment, chain), in their final order: kube-proxy puts each at the
# head in turn.
JUMPS = {
    ("filter", "INPUT"): [
        LOCALNET_GUARD,
        FIREWALL,
        ("", "kubernetes health check service ports", "KUBE-NODEPORTS"),
        EXTERNAL,
    ],
    ("filter", "FORWARD"): [FIREWALL, ("", "kubernetes forwarding rules", "KUBE-FORWARD"), PORTALS, EXTERNAL],
    ("filter", "OUTPUT"): [LOCALNET_GUARD, FIREWALL, PORTALS],
    ("nat", "PREROUTING"): [("", "kubernetes service portals", "KUBE-SERVICES")],
    ("nat", "OUTPUT"): [("", "kubernetes service portals", "KUBE-SERVICES")],
    ("nat", "POSTROUTING"): [("", "kubernetes postrouting rules", "KUBE-POSTROUTING")],
}


def static_tables(
    family: str,
    node: Node,
    configuration: ProxyConfiguration,
    facts: NodeFacts,
    dispatch: Dispatch,
    service_chains: Mapping[str, list[str]],
) -> Tables:
    """Tables of one family: the dispatch chains, the chains of services, and all that is always there."""
    mark = f"0x{1 << configuration.masquerade_bit:x}"
    nat = {
        "KUBE-SERVICES": [*dispatch.services, *_to_node_ports(family, node, configuration, facts)],
        "KUBE-NODEPORTS": dispatch.node_ports,
        "KUBE-POSTROUTING": masquerade_rules(mark),
        "KUBE-MARK-MASQ": [f"-j MARK --set-xmark {mark}/{mark}"],
        **service_chains,
    }
    filtering = {
        "KUBE-SERVICES": dispatch.no_endpoints,
        "KUBE-EXTERNAL-SERVICES": dispatch.no_external_endpoints,
        "KUBE-FORWARD": _forward(configuration, facts, mark),
        "KUBE-NODEPORTS": dispatch.health_checks,
        "KUBE-PROXY-FIREWALL": dispatch.firewall,
        "KUBE-FIREWALL": localnet_guard() if localhost_node_ports(node, configuration, family) else [],
    }
    tables: Tables = {"nat": _chains(nat), "filter": _chains(filtering)}
    for (table, chain), jumps in JUMPS.items():
        tables[table][chain] = Chain("ACCEPT", tuple(_jump(*jump) for jump in jumps))
    if configuration.canary_chains:
        for table in ("mangle", "nat", "filter"):
            tables.setdefault(table, {})[CANARY] = Chain(None, ())
    return tables


def _jump(match: str, text: str, target: str) -> str:
    return f"{match}{comment(text)} -j {target}" if text else f"{match}-j {target}"


def _chains(rules: Mapping[str, list[str]]) -> dict[str, Chain]:
    return {name: Chain(None, tuple(found)) for name, found in rules.items()}


def _forward(configuration: ProxyConfiguration, facts: NodeFacts, mark: str) -> list[str]:
    rules = [
        f"{comment('kubernetes forwarding rules')} -m mark --mark {mark}/{mark} -j ACCEPT",
        f"{comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ]
    if configuration.conntrack_tcp_be_liberal or facts.conntrack_liberal:
        return rules
    # An out-of-window packet that is not translated back makes the client reset the connection (kubernetes#74839).
    counted = facts.accounting and VERSIONS[configuration.version].accounting
    count = f"-m nfacct --nfacct-name  {DROPPED_INVALID} " if counted else ""
    return [f"-m conntrack --ctstate INVALID {count}-j DROP", *rules]


def localnet_guard() -> list[str]:
    """route_localnet opens 127.0.0.0/8 to neighbours: this closes it again (CVE-2020-8558)."""
    match = f"! -s 127.0.0.0/8 -d 127.0.0.0/8 {comment('block incoming localnet connections')}"
    return [f"{match} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"]


def _to_node_ports(family: str, node: Node, configuration: ProxyConfiguration, facts: NodeFacts) -> list[str]:
    """The end of KUBE-SERVICES."""
    text = comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")
    networks = node_port_networks(node, configuration, family)
    localhost = localhost_node_ports(node, configuration, family)
    if networks is None:
        loopback = "::1/128" if family == "ipv6" else "127.0.0.0/8"
        guard = "" if localhost else f"! -d {loopback} "
        return [f"{guard}{text} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]
    length = WHOLE_ADDRESS[family]
    addresses = [ip_address(address) for address in facts.local_addresses(family)]
    found = {a for a in addresses if any(a in network for network in networks) and (localhost or not a.is_loopback)}
    return [f"-d {address}/{length} {text} -j KUBE-NODEPORTS" for address in sorted(found, key=str)]
