# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where packets go on a node that the collection has converged. The cases are in tests/world/cases.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import Node
from tests.world import layout
from tests.world.cases import CASES, Case, endpoint, service
from tests.world.expectation import DROP_SECONDS, Expectation, Request, count, problems, send, shares
from tests.world.requests import ANSWERED, TIMED_OUT
from tests.world.world import World

# Modes that the collection has. IPVS needs a guest's kernel; the others run in namespaces of this machine's.
MODES = ("ipvs", "iptables", "nftables")
# For connections that IPVS has seen reset: it forgets them after 10 seconds.
RESET_SECONDS = 40.0


class Proxy:
    """The world, and the mode in which its node is converged."""

    def __init__(self, world: World, mode: str) -> None:
        self.world = world
        self.mode = mode

    def converge(self, *services: dict[str, Any], **options: Any) -> list[str]:
        """The operations that it took."""
        operations: list[str] = self.world.converge(services, mode=self.mode, **options)["operations"]
        return operations


@pytest.fixture(scope="module", params=MODES)
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    mode = request.param
    guest: Node | None = request.getfixturevalue("guest") if mode == "ipvs" else None
    with World(guest) as world:
        yield Proxy(world, mode)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_traffic(proxy: Proxy, case: Case) -> None:
    wanted = [(request, request.expectation(proxy.mode)) for request in case.requests]
    if not any(expectation for _request, expectation in wanted):
        pytest.skip(f"not of {proxy.mode} mode")
    proxy.converge(*case.services, zone=case.zone, **case.configuration)
    found = [line for request, expectation in wanted if expectation for line in check(proxy, request, expectation)]
    assert not found, "\n".join(found)


def check(proxy: Proxy, request: Request, expectation: Expectation) -> Iterator[str]:
    """What is not as expected of these requests."""
    answers = send(proxy.world, request, expectation, proxy.mode)
    for problem in problems(answers, request, expectation, proxy.mode):
        yield f"{request.source} -> {request.protocol} {request.address} port {request.port}: {problem}"


def test_a_second_run_changes_nothing(proxy: Proxy) -> None:
    services = [one for case in CASES if not case.configuration for one in case.services]
    assert proxy.converge(*services)
    assert proxy.converge(*services) == []


def test_a_check_run_changes_nothing(proxy: Proxy) -> None:
    proxy.converge(service("10.96.1.1", "a1"))
    wanted = [service("10.96.1.1", "b1"), service("10.96.1.2", "b1")]
    planned = proxy.converge(*wanted, check=True)
    assert proxy.converge(*wanted, check=True) == planned
    assert proxy.converge(*wanted) == planned


def test_a_service_that_is_removed_is_gone(proxy: Proxy) -> None:
    address = "10.96.1.11"
    kept = service("10.96.1.3", "a1")
    proxy.converge(kept, service(address, "a1 b1", node_port=31001))
    assert proxy.converge(kept)
    assert count(proxy.world.request("a3", "10.96.1.3", 80)) == {"a1": 1}
    (gone,) = proxy.world.request("a3", address, 80, timeout=DROP_SECONDS)
    assert gone.outcome != ANSWERED
    (gone,) = proxy.world.request("client", layout.NODE_IPS[0], 31001, timeout=DROP_SECONDS)
    assert gone.outcome != ANSWERED


def test_affinity_expires(proxy: Proxy) -> None:
    address = "10.96.1.12"
    # UDP, because IPVS does not let go of a client while one of its connections is remembered.
    udp = service(address, "a1 b1", protocol="udp", session_affinity="ClientIP", session_affinity_timeout=2, name="udp")
    try:
        proxy.converge(udp, udp_timeout=1)
        first = count(proxy.world.request("a3", address, 80, protocol="udp", count=6))
        assert list(first.values()) == [6]
        for _attempt in range(10):
            time.sleep(3.5)
            if count(proxy.world.request("a3", address, 80, protocol="udp")).keys() != first.keys():
                return
        pytest.fail(f"only ever {', '.join(first)}")
    finally:
        proxy.converge(udp_timeout=300)


FORWARD = ("iptables", "-A", "FORWARD", "-j", "ACCEPT")


def test_a_policy_of_forward_is_for_the_administrator_in_nftables_mode(proxy: Proxy) -> None:
    """What docs/guides/modes.md says: no accept of another table counts, and which rules open it."""
    if proxy.mode != "nftables":
        pytest.skip("not of this mode")
    address = "10.96.1.16"
    world = proxy.world
    proxy.converge(service(address, "a1"))
    accept = "add chain ip open forward { type filter hook forward priority -1; }; add rule ip open forward accept"
    world.run(layout.NODE, "iptables", "-P", "FORWARD", "DROP")
    world.run(layout.NODE, "nft", f"add table ip open; {accept}")
    try:
        (dropped,) = world.request("client", address, 80, timeout=DROP_SECONDS)
        assert dropped.outcome == TIMED_OUT
        for direction in ("-s", "-d"):
            world.run(layout.NODE, *FORWARD, direction, layout.CLUSTER_CIDRS[0])
        assert count(world.request("client", address, 80)) == {"a1": 1}
    finally:
        world.run(layout.NODE, "nft", "delete table ip open")
        world.run(layout.NODE, "iptables", "-P", "FORWARD", "ACCEPT")
        world.run(layout.NODE, "iptables", "-F", "FORWARD")


def test_weights_change_without_a_new_real_server(proxy: Proxy) -> None:
    address = "10.96.1.13"
    if proxy.mode != "ipvs":
        pytest.skip("not of this mode")
    for weight in (1, 3):
        endpoints = [endpoint("a1", weight=weight), endpoint("b1")]
        operations = proxy.converge(service(address, endpoints, scheduler="wrr"))
    assert operations == [f"change real server tcp {address}:80 -> {layout.PODS['a1'].ipv4}:8080: weight is 1, not 3"]
    request = Request("a3", address, shares(a1=3, b1=1))
    assert not list(check(proxy, request, shares(a1=3, b1=1)))


def test_an_open_connection_survives_the_removal_of_its_endpoint(proxy: Proxy) -> None:
    address = "10.96.1.14"
    world = proxy.world
    proxy.converge(service(address, "a1"))
    with world.flow("client", address, 80) as flow:
        assert flow.ask().pod == "a1"
        operations = proxy.converge(service(address, "b1"))
        assert count(world.request("client", address, 80, count=4)) == {"b1": 4}
        assert flow.ask().pod == "a1"
        if proxy.mode == "ipvs":
            assert any("draining, 1 connection" in operation for operation in operations)
            assert proxy.converge(service(address, "b1")) == []
    if proxy.mode == "ipvs":
        operations = wait_for_operations(proxy, service(address, "b1"))
        assert operations == [
            f"remove real server tcp {address}:80 -> {layout.PODS['a1'].ipv4}:8080: not in the desired state"
        ]


def wait_for_operations(proxy: Proxy, *services: dict[str, Any]) -> list[str]:
    """Converge again and again, as a timer would, until there is something to do."""
    deadline = time.monotonic() + RESET_SECONDS
    while time.monotonic() < deadline:
        if operations := proxy.converge(*services):
            return operations
        time.sleep(0.5)
    return []


def test_an_endpoint_that_comes_back_while_it_drains_serves_again(proxy: Proxy) -> None:
    address = "10.96.1.15"
    world = proxy.world
    proxy.converge(service(address, "a1"))
    with world.flow("client", address, 80) as flow:
        assert flow.ask().pod == "a1"
        proxy.converge(service(address, "b1"))
        proxy.converge(service(address, "a1 b1"))
        answers = world.request("client", address, 80, count=20)
        assert count(answers).keys() == {"a1", "b1"}
        assert flow.ask().pod == "a1"


def test_a_udp_flow_moves_away_from_an_endpoint_that_is_gone(proxy: Proxy) -> None:
    address = "10.96.1.4"
    proxy.converge(service(address, "a1", protocol="udp"))
    with proxy.world.flow("client", address, 80, protocol="udp") as flow:
        assert flow.ask().pod == "a1"
        proxy.converge(service(address, "b1", protocol="udp"))
        assert flow.ask().pod == "b1"


def test_a_udp_flow_to_a_service_without_endpoints_reaches_the_first_one(proxy: Proxy) -> None:
    address = "10.96.1.5"
    proxy.converge(service(address, protocol="udp"))
    with proxy.world.flow("client", address, 80, protocol="udp") as flow:
        assert flow.ask().outcome == "refused"
        proxy.converge(service(address, "a1", protocol="udp"))
        assert flow.ask().pod == "a1"
