# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the drift report and what proxy_info says of the nodes to the data of the page.

web  default/web:http  10.96.0.10:80, node port 30080 -> 10.244.1.5:8080
api  default/api       [fd00:96::20]:443 -> [fd00:244::6]:8443
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.plugin_utils.drift import (
    COMPARING,
    NodeDrift,
    TaskOutcome,
    fleet_report,
)
from ansible_collections.kubenode.proxy.plugins.plugin_utils.fleet import Fleet

from tests.fleets import SyntheticFleet

Document = dict[str, Any]
WEB = {"name": "default/web:http", "protocol": "tcp", "family": "ipv4"}
API = {"name": "default/api", "protocol": "tcp", "family": "ipv6"}


def step(source: str, target: str, status: str = "live") -> Document:
    return {"from": source, "to": target, "label": "", "status": status}


def web(status: str = "live") -> Document:
    addresses = [{"kind": "cluster IP", "address": "10.96.0.10:80"}, {"kind": "node port", "address": "*:30080"}]
    chain = "KUBE-SVC-ERIFXISQEP7F7OF4"
    endpoint = "KUBE-SEP-AAAAAAAAAAAAAAAA"
    path = [step("10.96.0.10:80", chain), step("*:30080", chain), step(chain, endpoint, status)]
    return {**WEB, "addresses": addresses, "path": [*path, step(endpoint, "10.244.1.5:8080")]}


def api() -> Document:
    chain = "service-PFISGYVC-default/api/tcp/"
    path = [step("[fd00:96::20]:443", chain), step(chain, "[fd00:244::6]:8443")]
    return {**API, "addresses": [{"kind": "cluster IP", "address": "[fd00:96::20]:443"}], "path": path}


def report(**nodes: list[tuple[str, str]]) -> Document:
    """The drift report of nodes on which objects of these kinds and names differ."""
    drifts = {}
    for name, objects in nodes.items():
        drifts[name] = NodeDrift()
        for action in COMPARING:
            operations = [{"verb": "add", "kind": kind, "name": one, "reason": "missing"} for kind, one in objects]
            result = {"operations": operations if action == COMPARING[-1] else []}
            drifts[name].add(TaskOutcome(action, "", {}, True, result))
    return fleet_report(drifts, "2026-11-21T12:00:00Z", "2026-11-21T12:00:09Z")


def reading(uptime: float, connections: int, **figures: int) -> Document:
    return {"traffic": {"uptime": uptime, "services": [{**WEB, "connections": connections, **figures}]}}


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("virtual server", "tcp 10.96.0.10:80", ["default/web:http"]),
        ("virtual server", "udp 10.96.0.10:80", []),
        ("real server", "tcp 10.96.0.10:80 -> 10.244.1.5:8080", ["default/web:http"]),
        # A virtual server of a node port, on one of the node's addresses
        ("virtual server", "tcp 192.168.1.11:30080", ["default/web:http"]),
        ("member", "KUBE-CLUSTER-IP 10.96.0.10,tcp:80", ["default/web:http"]),
        ("member", "KUBE-6-CLUSTER-IP fd00:96::20,tcp:443", ["default/api"]),
        ("member", "KUBE-LOOP-BACK 10.244.1.5,tcp:8080,10.244.1.5", ["default/web:http"]),
        ("member", "KUBE-NODE-PORT-TCP 30080", ["default/web:http"]),
        ("member", "KUBE-NODE-PORT-UDP 30080", []),
        ("address", "kube-ipvs0 10.96.0.10/32", ["default/web:http"]),
        ("address", "kube-ipvs0 fd00:96::20/128", ["default/api"]),
        ("chain", "ipv4 nat KUBE-SVC-ERIFXISQEP7F7OF4", ["default/web:http"]),
        ("chain", "ipv4 nat KUBE-SEP-AAAAAAAAAAAAAAAA", ["default/web:http"]),
        ("chain", "ip6 kube-proxy service-PFISGYVC-default/api/tcp/", ["default/api"]),
        ("chain", "ipv4 nat KUBE-SERVICES", []),
        ("element", "ip kube-proxy service-ips 10.96.0.10 . tcp . 80", ["default/web:http"]),
        ("element", "ip6 kube-proxy service-ips fd00:96::20 . tcp . 443", ["default/api"]),
        ("element", "ip kube-proxy service-nodeports tcp . 30080", ["default/web:http"]),
        ("element", "ip kube-proxy cluster-ips 10.96.0.10", ["default/web:http"]),
        ("sysctl", "net.ipv4.vs.conntrack", []),
    ],
)
def test_an_object_belongs_to_services(kind: str, name: str, expected: list[str]) -> None:
    fleet = Fleet()
    fleet.add("node-a", {"services": [web(), api()]})
    data = fleet.data(report(**{"node-a": [(kind, name)]}))
    ((*_object, services),) = data["objects"]
    assert [data["services"][place]["name"] for place in services] == expected


def test_what_several_nodes_have_is_there_once() -> None:
    fleet = Fleet()
    names = ("node-a", "node-b", "node-c")
    for name in names:
        fleet.add(name, {"services": [web("missing" if name == "node-b" else "live")]})
    data = fleet.data(report(**{name: [("sysctl", "x")] for name in names}))
    assert [node["objects"] for node in data["nodes"]] == [[0], [0], [0]]
    (service,) = data["services"]
    assert (service["common"], service["other"], len(service["paths"])) == (0, {1: 1}, 2)
    path = [tuple(data["texts"][place] for place in one) for one in service["paths"][1]]
    assert ("KUBE-SVC-ERIFXISQEP7F7OF4", "KUBE-SEP-AAAAAAAAAAAAAAAA", "", "missing") in path
    assert len(set(data["texts"])) == len(data["texts"])


def test_a_node_without_a_service_has_no_path() -> None:
    fleet = Fleet()
    fleet.add("node-a", {"services": [web(), api()]})
    fleet.add("node-b", {"services": [web()]})
    fleet.add("node-c", {"services": [web(), api()]})
    data = fleet.data(report(**{"node-a": [], "node-b": [], "node-c": [], "node-d": []}))
    assert data["services"][1]["other"] == {1: -1}
    assert [node["facts"] is None for node in data["nodes"]] == [False, False, False, True]


def rates(*readings: Document) -> tuple[Any, Any]:
    """Series and number of resets of a node with these readings."""
    fleet = Fleet()
    for one in readings:
        fleet.add("node-a", one)
    data = fleet.data(report(**{"node-a": []}))
    (node,) = data["nodes"]
    assert data["series"] == node["series"] == data["services"][0]["series"]
    return node["series"], node["resets"]


def test_rates_are_differences_over_the_time_between_readings() -> None:
    first = reading(100, 10, incoming_bytes=0, outgoing_bytes=500)
    second = reading(104, 30, incoming_bytes=100, outgoing_bytes=600)
    assert rates(first, second) == ([[5, 50]], 0)


def test_one_reading_gives_no_rate() -> None:
    assert rates(reading(100, 10)) == ([], 0)


def test_bytes_that_nobody_counts_are_unknown() -> None:
    assert rates(reading(100, 10), reading(105, 20)) == ([[2, None]], 0)


def test_a_counter_that_began_anew_gives_no_rate() -> None:
    assert rates(reading(100, 10), reading(105, 4), reading(110, 14)) == ([[None, None], [2, None]], 1)


def test_a_node_that_started_anew_gives_no_rate() -> None:
    assert rates(reading(100, 10), reading(3, 12)) == ([[None, None]], 1)


def test_figures_of_a_service_on_a_node() -> None:
    fleet = Fleet()
    fleet.add("node-a", reading(100, 10, incoming_bytes=0, outgoing_bytes=0, active_connections=3))
    fleet.add("node-a", reading(105, 15, incoming_bytes=10, outgoing_bytes=5, active_connections=4))
    (node,) = fleet.data(report(**{"node-a": []}))["nodes"]
    assert node["traffic"] == [0, 15, 1, 3, 4]


def test_notes_of_later_readings_are_kept_once() -> None:
    fleet = Fleet()
    for note in ("one", "one", "two"):
        fleet.add("node-a", {"notes": [note], "mode": "ipvs"})
    (node,) = fleet.data(report(**{"node-a": []}))["nodes"]
    assert node["facts"] == {"notes": ["one", "two"], "mode": "ipvs"}


def test_a_fleet_costs_little_more_where_its_nodes_are_alike() -> None:
    def texts(nodes: int) -> int:
        data = SyntheticFleet(nodes, 20, readings=1).data()
        return len(data["texts"]) + len(data["objects"])

    assert texts(40) < texts(4) + 40
