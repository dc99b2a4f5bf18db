# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changes between live and desired virtual servers, and how real servers drain.

virtual servers  10.96.0.1 (TCP, UDP, SCTP), firewall mark 7
real servers     A 10.244.0.1:8080, B 10.244.0.2:8080
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.ipvs import (
    Draining,
    RealServerPayload,
    VirtualServerPayload,
    draining,
    plan,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStatistics,
    Statistics,
    VirtualServer,
    VirtualServerKey,
    VirtualServers,
)
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation

TCP = VirtualServerKey("ipv4", "tcp", "10.96.0.1", 80)
UDP = VirtualServerKey("ipv4", "udp", "10.96.0.1", 53)
SCTP = VirtualServerKey("ipv4", "sctp", "10.96.0.1", 9)
TCP6 = VirtualServerKey("ipv6", "tcp", "fd00:96::1", 80)
MARK = VirtualServerKey("ipv4", "", "", 0, 7)
A, B = RealServerKey("10.244.0.1", 8080), RealServerKey("10.244.0.2", 8080)
EMPTY = VirtualServer("rr", (), 0, 0, {})


def serving(*keys: RealServerKey, weight: int = 1) -> VirtualServer:
    return EMPTY._replace(real_servers={key: RealServer(weight=weight) for key in keys})


def lines(operations: Iterable[Operation]) -> list[str]:
    return [f"{o.verb} {o.kind} {o.name}: {o.reason}" for o in operations]


def owns_all(_key: VirtualServerKey) -> bool:
    return True


def owns_none(_key: VirtualServerKey) -> bool:
    return False


def test_nothing_to_do() -> None:
    state = {TCP: serving(A, B), MARK: EMPTY}
    assert plan(state, {}, state, owns_all) == []


def test_a_new_virtual_server_gets_its_real_servers_in_the_desired_order() -> None:
    operations = plan({}, {}, {UDP: serving(B, A), TCP: serving(A)}, owns_none)
    assert lines(operations) == [
        "add virtual server tcp 10.96.0.1:80: missing",
        "add real server tcp 10.96.0.1:80 -> 10.244.0.1:8080: missing",
        "add virtual server udp 10.96.0.1:53: missing",
        "add real server udp 10.96.0.1:53 -> 10.244.0.2:8080: missing",
        "add real server udp 10.96.0.1:53 -> 10.244.0.1:8080: missing",
    ]


def test_additions_come_before_removals() -> None:
    operations = plan({TCP: serving(A), SCTP: serving(A)}, {}, {TCP: serving(B), UDP: EMPTY}, owns_all)
    assert lines(operations) == [
        "add real server tcp 10.96.0.1:80 -> 10.244.0.2:8080: missing",
        "add virtual server udp 10.96.0.1:53: missing",
        "remove real server tcp 10.96.0.1:80 -> 10.244.0.1:8080: not in the desired state",
        "remove virtual server sctp 10.96.0.1:9: not in the desired state",
    ]


@pytest.mark.parametrize(
    "live, wanted, reason",
    [
        (EMPTY, EMPTY._replace(scheduler="wrr"), "scheduler is rr, not wrr"),
        (EMPTY, EMPTY._replace(flags=("flag-1", "one-packet")), "flags is none, not flag-1 one-packet"),
        (EMPTY, EMPTY._replace(timeout=10800), "timeout is 0, not 10800"),
        (EMPTY._replace(timeout=9), EMPTY._replace(timeout=9, netmask=24), "netmask is 0, not 24"),
        (EMPTY, EMPTY._replace(persistence_engine="sip"), "persistence engine is none, not sip"),
        (serving(A), serving(A)._replace(timeout=1, scheduler="lc"), "scheduler is rr, not lc; timeout is 0, not 1"),
    ],
)
def test_a_virtual_server_changes_in_place(live: VirtualServer, wanted: VirtualServer, reason: str) -> None:
    assert lines(plan({TCP: live}, {}, {TCP: wanted}, owns_all)) == [
        f"change virtual server tcp 10.96.0.1:80: {reason}"
    ]


@pytest.mark.parametrize(
    "live, wanted, reason",
    [
        (RealServer(weight=0), RealServer(weight=1), "weight is 0, not 1"),
        (RealServer(), RealServer("route"), "forwarding is masquerade, not route"),
        (RealServer(), RealServer("masquerade", 1, 9, 3), "upper threshold is 0, not 9; lower threshold is 0, not 3"),
    ],
)
def test_a_real_server_changes_in_place(live: RealServer, wanted: RealServer, reason: str) -> None:
    actual, desired = {TCP: EMPTY._replace(real_servers={A: live})}, {TCP: EMPTY._replace(real_servers={A: wanted})}
    assert lines(plan(actual, {}, desired, owns_all)) == [
        f"change real server tcp 10.96.0.1:80 -> 10.244.0.1:8080: {reason}"
    ]


@pytest.mark.parametrize(
    "key, live, wanted",
    [
        (TCP, EMPTY._replace(timeout=9), EMPTY._replace(timeout=9, netmask=32)),
        (TCP6, EMPTY._replace(timeout=9), EMPTY._replace(timeout=9, netmask=128)),
        (TCP, EMPTY, EMPTY._replace(netmask=24)),
        (TCP, EMPTY._replace(flags=("flag-1", "flag-2")), EMPTY._replace(flags=("flag-2", "flag-1", "flag-2"))),
        (TCP, serving(A, B), serving(B, A)),
    ],
    ids=[
        "whole IPv4 address",
        "whole IPv6 address",
        "netmask without persistence",
        "order of flags",
        "order of addition",
    ],
)
def test_what_is_no_difference(key: VirtualServerKey, live: VirtualServer, wanted: VirtualServer) -> None:
    assert plan({key: live}, {}, {key: wanted}, owns_all) == []


@pytest.mark.parametrize(
    "key, weight, found, expected",
    [
        (TCP, 1, (0, 0), ["remove: not in the desired state"]),
        (TCP, 1, (3, 0), ["change: draining, 3 connections"]),
        (TCP, 1, (0, 1), ["change: draining, 1 connection"]),
        (TCP, 0, (2, 1), []),
        (TCP, 0, (0, 0), ["remove: not in the desired state"]),
        (UDP, 1, (3, 3), ["remove: not in the desired state"]),
        (SCTP, 1, (3, 3), ["remove: not in the desired state"]),
        (MARK, 1, (3, 0), ["change: draining, 3 connections"]),
    ],
)
def test_a_real_server_leaves(key: VirtualServerKey, weight: int, found: tuple[int, int], expected: list[str]) -> None:
    actual = {key: serving(A, weight=weight)}
    statistics = {(key, A): RealServerStatistics(*found, persistent_connections=5)}
    operations = plan(actual, statistics, {key: EMPTY}, owns_none)
    assert [f"{o.verb}: {o.reason}" for o in operations] == expected
    assert all(o.payload.real_server in (None, RealServer(weight=0)) for o in operations)


def test_what_drains_is_reported() -> None:
    actual = {TCP: serving(A, B, weight=0), UDP: serving(A, weight=0), SCTP: serving(A, weight=0)}
    statistics = {(key, real): RealServerStatistics(1, 2) for key in actual for real in (A, B)}
    desired = {TCP: serving(B), UDP: EMPTY}
    assert draining(actual, statistics, desired) == [Draining(TCP, A, 3)]


def test_other_protocols_drain_on_request() -> None:
    statistics = {(UDP, A): RealServerStatistics(1, 0)}
    assert [o.verb for o in plan({UDP: serving(A)}, statistics, {UDP: EMPTY}, owns_all, {"udp"})] == ["change"]
    assert [o.verb for o in plan({UDP: serving(A)}, statistics, {UDP: EMPTY}, owns_all, ())] == ["remove"]


def test_a_draining_real_server_that_is_wanted_again_gets_its_weight_back() -> None:
    statistics = {(TCP, A): RealServerStatistics(1, 0)}
    operations = plan({TCP: serving(A, weight=0)}, statistics, {TCP: serving(A)}, owns_all)
    assert lines(operations) == ["change real server tcp 10.96.0.1:80 -> 10.244.0.1:8080: weight is 0, not 1"]


def test_a_virtual_server_goes_at_once_even_with_connections() -> None:
    statistics = {(TCP, A): RealServerStatistics(9, 9)}
    assert [o.name for o in plan({TCP: serving(A)}, statistics, {}, owns_all)] == ["tcp 10.96.0.1:80"]


VIRTUAL_SERVER_KEYS = st.sampled_from([TCP, UDP, SCTP, TCP6, MARK])
REAL_SERVERS = st.builds(RealServer, st.sampled_from(["masquerade", "route"]), st.sampled_from([0, 1, 5]))
STATES = st.dictionaries(
    VIRTUAL_SERVER_KEYS,
    st.builds(
        VirtualServer,
        st.sampled_from(["rr", "lc"]),
        st.sampled_from([(), ("flag-1",)]),
        st.sampled_from([0, 60]),
        st.just(0),
        st.dictionaries(st.sampled_from([A, B, RealServerKey("10.244.0.3", 1)]), REAL_SERVERS),
    ),
)


def statistics_of(state: VirtualServers, connections: int = 0) -> Statistics:
    return {(key, r): RealServerStatistics(connections, 0) for key, s in state.items() for r in s.real_servers}


def applied(state: VirtualServers, operations: Iterable[Operation]) -> VirtualServers:
    """What a kernel makes of a plan; as strict as one about what is there."""
    held = {key: (server.configuration, dict(server.real_servers)) for key, server in state.items()}
    for operation in operations:
        payload = operation.payload
        if isinstance(payload, VirtualServerPayload):
            assert (payload.key in held) == (operation.verb != "add")
            if payload.server is None:
                del held[payload.key]
            else:
                held[payload.key] = (payload.server.configuration, held.get(payload.key, (None, {}))[1])
        else:
            assert isinstance(payload, RealServerPayload)
            real_servers = held[payload.virtual_server][1]
            assert (payload.key in real_servers) == (operation.verb != "add")
            if payload.real_server is None:
                del real_servers[payload.key]
            else:
                real_servers[payload.key] = payload.real_server
    return {key: server._replace(real_servers=real_servers) for key, (server, real_servers) in held.items()}


@given(STATES, STATES)
def test_any_state_converges_to_any_other(actual: VirtualServers, desired: VirtualServers) -> None:
    reached = applied(actual, plan(actual, statistics_of(actual), desired, owns_all))
    assert reached == desired
    assert plan(reached, statistics_of(reached), desired, owns_all) == []


@given(STATES, STATES)
def test_a_second_plan_is_empty_while_connections_last(actual: VirtualServers, desired: VirtualServers) -> None:
    reached = applied(actual, plan(actual, statistics_of(actual, 1), desired, owns_all))
    statistics = statistics_of(reached, 1)
    assert plan(reached, statistics, desired, owns_all) == []
    left = {(d.virtual_server, d.key) for d in draining(reached, statistics, desired)}
    surplus = {(key, r) for key, s in reached.items() for r in s.real_servers if r not in desired[key].real_servers}
    assert left == surplus


@given(STATES, STATES, st.sets(VIRTUAL_SERVER_KEYS), st.integers(0, 2))
def test_a_foreign_virtual_server_is_never_in_a_plan(
    actual: VirtualServers, desired: VirtualServers, ours: set[VirtualServerKey], connections: int
) -> None:
    operations = plan(actual, statistics_of(actual, connections), desired, lambda key: key in ours)
    touched = {o.payload.key if o.kind == "virtual server" else o.payload.virtual_server for o in operations}
    assert touched <= ours | set(desired)


@given(STATES, STATES)
def test_a_plan_does_not_depend_on_the_order_of_what_is_read(actual: VirtualServers, desired: VirtualServers) -> None:
    turned = {
        key: server._replace(real_servers=dict(reversed(list(server.real_servers.items()))))
        for key, server in reversed(list(actual.items()))
    }
    assert plan(turned, {}, desired, owns_all) == plan(actual, {}, desired, owns_all)
