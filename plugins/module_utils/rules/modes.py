# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The modes of the proxy: a mode is a file of this room, and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.version import VERSIONS
from . import iptables, ipvs, nftables

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration
    from ..model.service import ServiceData
    from ..state.rule_set import RuleSet
    from .facts import NodeFacts

RENDERERS = {"ipvs": ipvs.render, "iptables": iptables.render, "nftables": nftables.render}


def render(service_data: ServiceData, node: Node, configuration: ProxyConfiguration, facts: NodeFacts) -> RuleSet:
    """The rule set of a node in the mode of its configuration."""
    counting = service_data.as_of(VERSIONS[configuration.version])
    if not configuration.external_ips:
        counting = counting.without_external_ips()
    return RENDERERS[configuration.mode](counting, node, configuration, facts)
