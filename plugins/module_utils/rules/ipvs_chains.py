# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Chains, rules and jumps of IPVS mode, as ``iptables-save`` prints them (data-plane 1.12).

They do not depend on single services but on which sets have members: a rule on an empty set is left out, as in
kube-proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.address import WHOLE_ADDRESS
from ..state.iptables import Chain, Tables
from .ipvs_sets import SETS, set_name
from .traffic import comment, masquerade_rules, not_local_match

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.node import Node, ProxyConfiguration
    from ..state.ipvs import VirtualServerKey

PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
# (table, built-in chain) -> our jumps as (comment, chain), in their final order: kube-proxy puts each at the head in
# turn.
JUMPS = {
    ("nat", "PREROUTING"): [("kubernetes service portals", "KUBE-SERVICES")],
    ("nat", "OUTPUT"): [("kubernetes service portals", "KUBE-SERVICES")],
    ("nat", "POSTROUTING"): [("kubernetes postrouting rules", "KUBE-POSTROUTING")],
    ("filter", "INPUT"): [
        ("kubernetes ipvs access filter", "KUBE-IPVS-FILTER"),
        ("kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
        ("kubernetes health check rules", "KUBE-NODE-PORT"),
    ],
    ("filter", "FORWARD"): [
        ("kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
        ("kubernetes forwarding rules", "KUBE-FORWARD"),
    ],
    ("filter", "OUTPUT"): [("kubernetes ipvs access filter", "KUBE-IPVS-OUT-FILTER")],
}


def tables(
    family: str,
    members: Mapping[str, Mapping[str, str]],
    closed_to_node: list[VirtualServerKey],
    node: Node,
    configuration: ProxyConfiguration,
) -> Tables:
    """Tables of one family. ``members`` maps the IPv4 name of a set to its members."""
    writer = _Rules(family, members)
    mark = f"0x{1 << configuration.masquerade_bit:x}"
    not_local = not_local_match(family, node, configuration)
    nat = {
        "KUBE-SERVICES": writer.services(not_local, configuration.masquerade_all),
        "KUBE-LOAD-BALANCER": [*writer.on("KUBE-LOAD-BALANCER-LOCAL", "RETURN"), "-j KUBE-MARK-MASQ"],
        "KUBE-NODE-PORT": writer.node_ports(),
        "KUBE-POSTROUTING": [*writer.on("KUBE-LOOP-BACK", "MASQUERADE", "dst,dst,src"), *masquerade_rules(mark)],
        "KUBE-MARK-MASQ": [f"-j MARK --set-xmark {mark}/{mark}"],
    }
    filtering = {
        "KUBE-FORWARD": [
            f"{comment('kubernetes forwarding rules')} -m mark --mark {mark}/{mark} -j ACCEPT",
            f"{comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ],
        "KUBE-NODE-PORT": writer.health_checks(),
        "KUBE-PROXY-FIREWALL": writer.on("KUBE-LOAD-BALANCER-FW", "KUBE-SOURCE-RANGES-FIREWALL"),
        "KUBE-SOURCE-RANGES-FIREWALL": [
            *writer.on("KUBE-LOAD-BALANCER-SOURCE-CIDR", "RETURN", "dst,dst,src"),
            *writer.on("KUBE-LOAD-BALANCER-SOURCE-IP", "RETURN", "dst,dst,src"),
            "-j DROP",
        ],
        "KUBE-IPVS-FILTER": writer.access_filter(),
        "KUBE-IPVS-OUT-FILTER": [_closed_to_node(key) for key in closed_to_node],
    }
    found: Tables = {"nat": _chains(nat), "filter": _chains(filtering)}
    for (table, chain), jumps in JUMPS.items():
        found[table][chain] = Chain("ACCEPT", tuple(f"{comment(text)} -j {target}" for text, target in jumps))
    return found


class _Rules:
    """Writes the rules that match sets of one family."""

    def __init__(self, family: str, members: Mapping[str, Mapping[str, str]]) -> None:
        self.family = family
        self.members = members

    def match(self, key: str, fields: str = "dst,dst") -> str:
        return f"-m set --match-set {set_name(key, self.family)} {fields}"

    def described(self, key: str, fields: str = "dst,dst") -> str:
        return f"{comment(SETS[key].comment)} {self.match(key, fields)}"

    def on(self, key: str, target: str, fields: str = "dst,dst") -> list[str]:
        return [f"{self.described(key, fields)} -j {target}"] if self.members[key] else []

    def services(self, not_local: str | None, masquerade_all: bool) -> list[str]:
        loopback = "::1/128" if self.family == "ipv6" else "127.0.0.0/8"
        rules = [f"-s {loopback} -j RETURN", *self.on("KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER")]
        if masquerade_all:
            rules += self.on("KUBE-CLUSTER-IP", "KUBE-MARK-MASQ")
        elif not_local:
            rules += [f"{not_local} {rule}" for rule in self.on("KUBE-CLUSTER-IP", "KUBE-MARK-MASQ")]
        else:
            # Without a way to tell pods from the rest, only a service address that calls itself is masqueraded.
            rules += self.on("KUBE-CLUSTER-IP", "KUBE-MARK-MASQ", "src,dst")
        rules += self.on("KUBE-EXTERNAL-IP", "KUBE-MARK-MASQ")
        for key in ("KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"):
            if self.members[key]:
                match = self.described(key)
                rules.append(f"{match} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT")
                rules.append(f"{match} -m addrtype --dst-type LOCAL -j ACCEPT")
        rules.append("-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
        for key in ("KUBE-CLUSTER-IP", "KUBE-LOAD-BALANCER"):
            if self.members[key]:
                rules.append(f"{self.match(key)} -j ACCEPT")
        return rules

    def node_ports(self) -> list[str]:
        rules = []
        for protocol, suffix, fields in (
            ("tcp", "TCP", "dst"),
            ("udp", "UDP", "dst"),
            ("sctp", "SCTP-HASH", "dst,dst"),
        ):
            for key, target in (
                (f"KUBE-NODE-PORT-LOCAL-{suffix}", "RETURN"),
                (f"KUBE-NODE-PORT-{suffix}", "KUBE-MARK-MASQ"),
            ):
                rules += [f"-p {protocol} {rule}" for rule in self.on(key, target, fields)]
        return rules

    def health_checks(self) -> list[str]:
        return [f"{self.described('KUBE-HEALTH-CHECK-NODE-PORT', 'dst')} -j ACCEPT"]

    def access_filter(self) -> list[str]:
        keys = ("KUBE-LOAD-BALANCER", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL")
        reject = "icmp6-port-unreachable" if self.family == "ipv6" else "icmp-port-unreachable"
        return [
            *(f"{self.match(key)} -j RETURN" for key in keys),
            f"{self.match('KUBE-HEALTH-CHECK-NODE-PORT', 'dst')} -j RETURN",
            f"-m conntrack --ctstate NEW {self.match('KUBE-IPVS-IPS', 'dst')} -j REJECT --reject-with {reject}",
        ]


def _chains(rules: Mapping[str, list[str]]) -> dict[str, Chain]:
    return {name: Chain(None, tuple(found)) for name, found in rules.items()}


def _closed_to_node(key: VirtualServerKey) -> str:
    length = WHOLE_ADDRESS[key.family]
    protocol = PROTOCOL_NUMBERS[key.protocol]
    return f"-s {key.address}/{length} -m ipvs --vproto {protocol} --vaddr {key.address} --vport {key.port} -j DROP"
