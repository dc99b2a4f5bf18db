# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be there only once, across services."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError

WEB = {"name": "web", "cluster_ip": "10.96.0.1", "ports": [{"port": 80}]}
API = {"name": "api", "cluster_ip": "10.96.0.2", "ports": [{"port": 80}]}
VIP = ["203.0.113.10"]


def problems(*services: dict[str, Any]) -> list[str]:
    """What is wrong with these services; [] for nothing."""
    try:
        native.parse(list(services))
    except InputError as error:
        return error.problems
    return []


def node_port(number: int, **keys: Any) -> dict[str, Any]:
    return {"ports": [{"port": 80, "node_port": number, **keys}]}


@pytest.mark.parametrize(
    ("web", "api", "problem"),
    [
        ({}, {}, None),
        ({}, {"cluster_ip": "10.96.0.1"}, "services[1].ports[0]: 10.96.0.1 port 80/tcp is already taken by"),
        ({}, {"external_ips": ["10.96.0.1"]}, "services[1].ports[0]: 10.96.0.1 port 80/tcp is already taken by"),
        (
            {"load_balancer_ips": VIP},
            {"load_balancer_ips": VIP},
            "services[1].ports[0]: 203.0.113.10 port 80/tcp is already taken by",
        ),
        (
            {"load_balancer_ips": VIP},
            {"external_ips": VIP},
            "services[1].ports[0]: 203.0.113.10 port 80/tcp is already taken by",
        ),
        ({"load_balancer_ips": VIP}, {"load_balancer_ips": VIP, "ports": [{"port": 81}]}, None),
        ({"load_balancer_ips": VIP}, {"load_balancer_ips": VIP, "ports": [{"port": 80, "protocol": "udp"}]}, None),
        (node_port(30080), node_port(30080), "services[1].ports[0]: node port 30080/tcp is already taken by"),
        (node_port(30080), node_port(30080, protocol="udp"), None),
        (node_port(30080), node_port(30081), None),
    ],
)
def test_addresses_and_node_ports_of_two_services(
    web: dict[str, Any], api: dict[str, Any], problem: str | None
) -> None:
    expected = [] if problem is None else [f"{problem} default/web (services[0].ports[0])"]
    assert problems({**WEB, **web}, {**API, **api}) == expected


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_health_check_node_port_is_a_tcp_node_port(protocol: str) -> None:
    checked = {**WEB, "load_balancer_ips": VIP, "external_traffic_policy": "Local", "health_check_node_port": 32000}
    expected = ["services[1].ports[0]: node port 32000/tcp is already taken by default/web (services[0].ports[0])"]
    assert problems(checked, {**API, **node_port(32000, protocol=protocol)}) == (expected if protocol == "tcp" else [])


def test_the_ports_of_one_service_share_its_health_check_node_port() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    keys = {"load_balancer_ips": VIP, "external_traffic_policy": "Local", "health_check_node_port": 32000}
    assert problems({**WEB, **keys, "ports": ports}) == []


def test_one_service_port_may_have_an_address_twice_and_its_node_port_in_both_families() -> None:
    dual = {"name": "web", "cluster_ips": ["10.96.0.1", "fd00:96::1"], "external_ips": VIP, "load_balancer_ips": VIP}
    assert problems({**dual, **node_port(30080)}) == []


def test_two_ports_of_one_service_on_one_number() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 80}]
    assert problems({**WEB, "ports": ports}) == [
        "services[0].ports[1]: 10.96.0.1 port 80/tcp is already taken by default/web (services[0].ports[0])"
    ]


def test_two_ports_of_one_service_with_one_name() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "a", "port": 81}]
    assert problems({**WEB, "ports": ports}) == [
        "services[0].ports[1]: is a second tcp port named 'a', after services[0].ports[0]"
    ]


def test_a_service_name_is_unique_in_its_namespace() -> None:
    assert problems(WEB, {**API, "name": "web"}) == ["services[1]: service default/web is already at services[0]"]
    assert problems(WEB, {**API, "name": "web", "namespace": "shop"}) == []


def test_a_value_that_is_wrong_in_itself_causes_no_further_problems() -> None:
    wrong = {**WEB, "name": None, "ports": [{"name": "a", "port": 0}, {"name": "b", "port": 0}]}
    found = problems(wrong, {**wrong, "cluster_ip": "10.96.0.1"})
    assert [problem.rpartition(": ")[2] for problem in found] == [
        *("0 is outside 1..65535", "0 is outside 1..65535", "is required"),
        *("0 is outside 1..65535", "0 is outside 1..65535", "is required"),
    ]
