# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleets for tests of the page: a drift report, and what proxy_info says of each node. The same seed gives the same.

node-000     drifted: a virtual server's real server, a setting, a rule
node-001     unreachable (of four nodes and more)
node-002     failed, not looked at (of five nodes and more)
further      one in ten has drifted; the rest is clean
web-0        default/web-0:http, 10.96.0.0:80, node port 30000 -> 10.128.0.0:8080 and the next ones
"""

from __future__ import annotations

import random
from typing import Any

from ansible_collections.kubenode.proxy.plugins.plugin_utils.drift import NodeDrift, TaskOutcome, fleet_report
from ansible_collections.kubenode.proxy.plugins.plugin_utils.fleet import Fleet

COMPARING = ("kubenode.proxy.kernel_modules", "kubenode.proxy.sysctls")
Document = dict[str, Any]
VERSIONS = {"iptables": "1.8.9", "iptables_backend": "nft", "ipset": "7.17", "nft": "1.0.6", "ipvs": "1.2.1"}


class SyntheticFleet:
    """So many nodes with so many services each, all in IPVS mode."""

    def __init__(self, nodes: int, services: int, endpoints: int = 3, readings: int = 3, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._readings = readings
        self._services = [self._service(number, endpoints) for number in range(services)]
        self.names = [f"node-{number:03}" for number in range(nodes)]
        self._drifts: dict[str, NodeDrift] = {}
        self.fleet = Fleet()
        for place, name in enumerate(self.names):
            self._add(place, name)

    def data(self) -> Document:
        """What the page shows."""
        return self.fleet.data(fleet_report(self._drifts, "2026-11-21T12:00:00Z", "2026-11-21T12:04:10Z"))

    def _service(self, number: int, endpoints: int) -> Document:
        address = f"10.96.{number // 256}.{number % 256}:80"
        pods = [f"10.{128 + pod // 65536}.{pod // 256 % 256}.{pod % 256}:8080" for pod in _pods(number, endpoints)]
        entries = [("cluster IP", address)] + ([] if number % 10 else [("node port", f"*:{30000 + number // 10}")])
        path = [step for _kind, entry in entries for step in _steps(entry, pods)]
        return {
            "name": f"{('default', 'shop', 'media')[number % 3]}/web-{number}:http",
            "protocol": "tcp",
            "family": "ipv4",
            "addresses": [{"kind": kind, "address": entry} for kind, entry in entries],
            "path": path,
        }

    def _add(self, place: int, name: str) -> None:
        drift = self._drifts.setdefault(name, NodeDrift())
        count = len(self.names)
        if place == 1 and count > 3:
            drift.fail("Failed to connect to the host via ssh: Connection timed out", unreachable=True)
            return
        for action in COMPARING:
            drift.add(TaskOutcome(action, "", {}, True, {"changed": False}))
        if place == 2 and count > 4:
            drift.fail("nft 0.9.8 is too old for nftables mode: it takes 1.0.1 or newer")
            return
        drifted = place == 0 or self._random.random() < 0.1
        lost = self._random.sample(range(len(self._services)), min(5, len(self._services))) if drifted else []
        if place == 0 and self._services:
            lost = [0]
        operations = [_lost_server(self._services[number]) for number in lost]
        if drifted:
            operations += [_operation("change", "sysctl", "net.ipv4.vs.conntrack", "is 0, not 1")]
        drift.add(TaskOutcome("kubenode.proxy.rule_set", "", {}, True, {"operations": operations}))
        self._look(place, name, set(lost))

    def _look(self, place: int, name: str, lost: set[int]) -> None:
        services = [_without_last(one) if number in lost else one for number, one in enumerate(self._services)]
        facts = {"mode": "ipvs", "kernel": "6.1.0-32-amd64", "versions": VERSIONS, "kube_proxy_running": False}
        self.fleet.add(name, {**facts, "services": services, "notes": []})
        weights = [self._random.paretovariate(1.1) for _service in services]
        totals = [int(weight * 1000) for weight in weights]
        uptime = 10000.0 + place
        for _reading in range(self._readings):
            rows = [_row(service, total) for service, total in zip(services, totals, strict=True)]
            self.fleet.add(name, {"traffic": {"uptime": uptime, "services": rows}})
            totals = [
                total + int(weight * 5 * self._random.uniform(0.6, 1.5))
                for total, weight in zip(totals, weights, strict=True)
            ]
            uptime += 5


def _pods(number: int, endpoints: int) -> range:
    return range(number * endpoints, (number + 1) * endpoints)


def _steps(entry: str, pods: list[str]) -> list[Document]:
    server = f"tcp {entry}"
    first = {"from": entry, "to": server, "label": "rr", "status": "live"}
    return [first, *({"from": server, "to": pod, "label": "weight 1", "status": "live"} for pod in pods)]


def _without_last(service: Document) -> Document:
    """As the kernel has lost the last real server."""
    return {**service, "path": [*service["path"][:-1], {**service["path"][-1], "status": "missing"}]}


def _lost_server(service: Document) -> Document:
    step = service["path"][-1]
    return _operation("add", "real server", f"{step['from']} -> {step['to']}", "missing")


def _operation(verb: str, kind: str, name: str, reason: str) -> Document:
    return {"verb": verb, "kind": kind, "name": name, "reason": reason}


def _row(service: Document, total: int) -> Document:
    identity = {key: service[key] for key in ("name", "protocol", "family")}
    traffic = {"connections": total, "incoming_bytes": total * 600, "outgoing_bytes": total * 9000}
    return {**identity, **traffic, "active_connections": total // 500}
