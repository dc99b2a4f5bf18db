# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The modes of the proxy: a mode is a file of this room, and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.version import DEFAULT_VERSION, VERSIONS
from . import iptables, ipvs, nftables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.node import Node, ProxyConfiguration
    from ..model.service import ServiceData
    from ..state.rule_set import RuleSet
    from .facts import NodeFacts

# The setting of a rule set that was made with the feature gate AllowServiceExternalIPs off.
EXTERNAL_IPS, NO_EXTERNAL_IPS = "external ips", "ignored"
RENDERERS = {"ipvs": ipvs.render, "iptables": iptables.render, "nftables": nftables.render}


def render(service_data: ServiceData, node: Node, configuration: ProxyConfiguration, facts: NodeFacts) -> RuleSet:
    """The rule set of a node in the mode of its configuration."""
    settings = settings_of(configuration)
    found = RENDERERS[configuration.mode](counting(service_data, settings), node, configuration, facts)
    return found._replace(settings=settings)


def settings_of(configuration: ProxyConfiguration) -> dict[str, str]:
    """What a rule set says of the configuration that it was made from."""
    settings = {"mode": configuration.mode, "version": configuration.version}
    return settings if configuration.external_ips else {**settings, EXTERNAL_IPS: NO_EXTERNAL_IPS}


def counting(service_data: ServiceData, settings: Mapping[str, str]) -> ServiceData:
    """What of the service data counts where a rule set has these settings."""
    found = service_data.as_of(VERSIONS[settings.get("version", DEFAULT_VERSION)])
    return found.without_external_ips() if settings.get(EXTERNAL_IPS) == NO_EXTERNAL_IPS else found
