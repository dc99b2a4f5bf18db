# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The services of a node's service data as the kernel has them: their paths, and what they have carried."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..kernel import iptables as kernel_iptables
from ..kernel import nftables as kernel_nftables
from ..model.service import FAMILIES
from ..rules import names, paths
from ..state.rule_set import RuleSet
from . import service_data
from .compiled import read_compiled
from .rule_set import default_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model.service import ServicePort
    from ..state.ipvs import VirtualServerKey
    from .node import NodeAccess

# The rule that counts the connections of an endpoint: nat sees the first packet of each.
ENDPOINT_CHAIN = "KUBE-SEP-"


class LiveServices:
    """What the last run brought to a node, beside what the kernel has of it now. Raises KernelError, InputError."""

    def __init__(self, node: NodeAccess, backend: str) -> None:
        self._node = node
        self._backend = backend
        self._desired = read_compiled(default_path(node))
        self._mode = self._desired.settings.get("mode")
        data = service_data.counting_in(node.folder, self._desired.settings)
        self._ports = data.service_ports if data else ()

    def paths(self) -> tuple[list[dict[str, Any]], list[str]]:
        """All service ports with their addresses and the steps from these to the endpoints."""
        live = self._live()
        found = []
        for family in FAMILIES:
            ports = [port for port in self._ports if port.family == family]
            graphs = [paths.graph(rule_set, family, ports) for rule_set in (self._desired, live)]
            for port in ports:
                addresses = [{"kind": kind, "address": address} for kind, address in paths.entries(port)]
                steps = paths.compare(*(paths.path(graph, port) for graph in graphs))
                found.append({**_identity(port), "addresses": addresses, "path": list(steps)})
        return found, []

    def traffic(self) -> tuple[dict[str, Any], list[str]]:
        """What service ports have carried since their objects came into being, and when that was read."""
        readers = {"ipvs": self._of_virtual_servers, "iptables": self._of_chains}
        reader = readers.get(self._mode or "")
        found = {
            # Unlike the time of day, nobody sets this clock.
            "uptime": round(time.monotonic(), 3),
            "services": list(reader()) if reader else [],
        }
        return found, [] if reader else [f"traffic: the rules of {self._mode} mode do not count"]

    def _live(self) -> RuleSet:
        """What the kernel has of the subsystem that the mode's services are in."""
        live = RuleSet.empty()._replace(settings=self._desired.settings)
        runner = self._node.runner
        if self._mode == "ipvs":
            return live._replace(virtual_servers=self._node.ipvs().read()[0])
        if self._mode == "nftables":
            own = names.is_own_table
            return live._replace(nftables=kernel_nftables.read(runner, self._node.nftables, own, own))
        backend = kernel_iptables.detect(runner, self._backend, nftables=self._node.nftables)
        return live._replace(tables={family: kernel_iptables.read(runner, backend, family) for family in backend.tools})

    def _of_virtual_servers(self) -> Iterator[dict[str, Any]]:
        ipvs = self._node.ipvs()
        traffic, _real_traffic = ipvs.traffic()
        active: Counter[VirtualServerKey] = Counter()
        for (key, _real_key), found in ipvs.read()[1].items():
            active[key] += found.active_connections
        for family in FAMILIES:
            ports = [port for port in self._ports if port.family == family]
            keys: dict[tuple[str, str], list[VirtualServerKey]] = {}
            for key, entry in paths.ipvs_entries([key for key in traffic if key.family == family], ports).items():
                keys.setdefault((key.protocol, entry), []).append(key)
            for port in ports:
                own = [key for _kind, address in paths.entries(port) for key in keys.get((port.protocol, address), ())]
                yield {
                    **_identity(port),
                    "connections": sum(traffic[key].connections for key in own),
                    "incoming_bytes": sum(traffic[key].incoming_bytes for key in own),
                    "outgoing_bytes": sum(traffic[key].outgoing_bytes for key in own),
                    "active_connections": sum(active[key] for key in own),
                }

    def _of_chains(self) -> Iterator[dict[str, Any]]:
        backend = kernel_iptables.detect(self._node.runner, self._backend, nftables=self._node.nftables)
        for family in backend.tools:
            packets = kernel_iptables.counters(self._node.runner, backend, family)
            graph = paths.graph(self._desired, family, ())
            for port in self._ports:
                if port.family == family:
                    chains = {link.source for link in paths.path(graph, port)}
                    # The last rule of an endpoint's chain is the one that leads to it.
                    own = [
                        packets[name][-1] for name in chains if name.startswith(ENDPOINT_CHAIN) and packets.get(name)
                    ]
                    yield {**_identity(port), "connections": sum(own)}


def _identity(port: ServicePort) -> dict[str, str]:
    return {"name": str(port), "protocol": port.protocol, "family": port.family}
