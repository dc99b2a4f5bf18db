# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Which endpoints of a service port a node sends to (data-plane 1.1.5; kube-proxy's CategorizeEndpoints)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .node import Node
    from .service import Endpoint, ServicePort
    from .version import Version


class Selection(NamedTuple):
    """Endpoints of one service port as one node sees them, each list in kube-proxy's order (by endpoint string).

    ``cluster`` is for the policy Cluster, ``local`` for the policy Local. ``reachable`` is the union of both.
    ``has_endpoints`` tells whether the service has a usable endpoint anywhere. ``on_node`` are all endpoints on this
    node, whatever their readiness.
    """

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]
    reachable: tuple[Endpoint, ...]
    has_endpoints: bool
    on_node: tuple[Endpoint, ...]


def select(service_port: ServicePort, node: Node, version: Version) -> Selection:
    """Selects the endpoints of a service port for a node."""
    endpoints = _unique(service_port.endpoints, node, version)
    ready = tuple(e for e in endpoints if e.ready)
    draining = tuple(e for e in endpoints if not e.ready and e.serving and e.terminating)
    accessible = service_port.externally_accessible
    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    has_endpoints = False
    if not service_port.internal_local or accessible:
        cluster = _for_topology(ready, service_port, node, version) or tuple(
            e for e in endpoints if e.serving and e.terminating
        )
        has_endpoints = bool(cluster)
    if service_port.internal_local or (service_port.external_local and accessible):
        local = tuple(e for e in ready if e.node == node.name) or tuple(e for e in draining if e.node == node.name)
        has_endpoints = has_endpoints or bool(ready or draining)
    reachable = cluster if not local or set(local) <= set(cluster) else tuple(sorted({*cluster, *local}, key=str))
    on_node = tuple(e for e in endpoints if e.node == node.name)
    return Selection(cluster, local, reachable, has_endpoints, on_node)


def _unique(endpoints: Sequence[Endpoint], node: Node, version: Version) -> list[Endpoint]:
    """One endpoint per ip:port, sorted by endpoint string."""
    found = {str(endpoint): endpoint for endpoint in endpoints}
    if len(found) == len(endpoints):
        return [found[name] for name in sorted(found)]
    found = {}
    for endpoint in endpoints:
        name = str(endpoint)
        if name not in found or _preferred(endpoint, node, version):
            found[name] = endpoint
    return [found[name] for name in sorted(found)]


def _preferred(endpoint: Endpoint, node: Node, version: Version) -> bool:
    """Whether it takes the place of one with the same ip:port that came before, whatever that one is."""
    return endpoint.node == node.name if version.local_duplicate_wins else not endpoint.terminating


def _for_topology(
    ready: tuple[Endpoint, ...], service_port: ServicePort, node: Node, version: Version
) -> tuple[Endpoint, ...]:
    """Those ready endpoints that the hints keep for this node; all of them where the hints do not apply."""
    if version.topology_needs_annotation and service_port.topology_mode in ("", "disabled", "Disabled"):
        return ready
    if version.node_hints and all(e.nodes for e in ready):
        here = tuple(e for e in ready if node.name in e.nodes)
        if here:
            return here
    if node.zone and all(e.zones for e in ready):
        return tuple(e for e in ready if node.zone in e.zones) or ready
    return ready
