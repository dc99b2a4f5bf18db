# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Pieces of rules that iptables mode and IPVS mode share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..state.iptables_rule import quote
from .facts import local_source

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration

LOCAL_MATCHES = {"interface": "-i {}", "prefix": "-i {}+", "network": "-s {}"}


def comment(text: str) -> str:
    """The comment match, quoted as iptables-save quotes it."""
    return f"-m comment --comment {quote(text)}"


class Dispatch:
    """Rules of the chains through which the traffic to all services goes (iptables mode)."""

    def __init__(self) -> None:
        # nat
        self.services: list[str] = []
        self.node_ports: list[str] = []
        # filter
        self.no_endpoints: list[str] = []
        self.no_external_endpoints: list[str] = []
        self.health_checks: list[str] = []
        self.firewall: list[str] = []


def place(source: str, destination: str) -> str:
    """A match of source or interface beside one of the destination, in the order of iptables-save."""
    if not source:
        return destination
    return f"{destination} {source}" if " -i " in f" {source}" else f"{source} {destination}"


def masquerade_rules(mark: str) -> list[str]:
    """The end of KUBE-POSTROUTING: masquerades what carries the mark, and takes the mark off (data-plane 1.4)."""
    return [
        f"-m mark ! --mark {mark}/{mark} -j RETURN",
        f"-j MARK --set-xmark {mark}/0x0",
        f"{comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully",
    ]


def local_match(family: str, node: Node, configuration: ProxyConfiguration) -> str | None:
    """The match of traffic that :func:`.facts.local_source` tells, None where nothing tells it."""
    source = local_source(family, node, configuration)
    return LOCAL_MATCHES[source[0]].format(source[1]) if source else None


def not_local_match(family: str, node: Node, configuration: ProxyConfiguration) -> str | None:
    """The reverse of :func:`local_match`."""
    match = local_match(family, node, configuration)
    return f"! {match}" if match else None
