# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Where UDP services are reached, and who serves there: flows to others are to be ended, in all modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ..model.service import ServicePort
    from ..state.rule_set import UDPEndpoints


def udp_endpoints(ports: Iterable[ServicePort], node_port_addresses: Mapping[str, Collection[str]]) -> UDPEndpoints:
    """Address and port -> serving endpoints. ``node_port_addresses`` are, by family, where node ports are reached."""
    found: UDPEndpoints = {}
    for port in ports:
        if port.protocol == "udp":
            ends = [(a, port.port) for a in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips)]
            if port.node_port:
                ends += [(address, port.node_port) for address in node_port_addresses[port.family]]
            found.update(dict.fromkeys(ends, frozenset((e.ip, e.port) for e in port.endpoints if e.serving)))
    return found
