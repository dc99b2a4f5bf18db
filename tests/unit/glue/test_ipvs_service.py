# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of ipvs_service -> virtual servers; what it leaves alone, drains and counts.

virtual servers  10.96.0.0/16, fd00:96::/32
real servers     10.244.0.0/16, fd00:244::/32
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import ipvs_arguments, ipvs_service
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.converge import Outcome, converge
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import ipvs as kernel_ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Ownership
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStatistics,
    Statistics,
    Traffic,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
    VirtualServers,
    parse,
    render,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.unit.glue.arguments import parameters, problems

WEB = {"address": "10.96.0.1", "port": 80}
WEB6 = {"address": "fd00:96::1", "port": 80}
MARK = {"fwmark": 7}
POD = {"address": "10.244.0.1"}
OTHER_POD = {"address": "10.244.0.2"}
POD6 = {"address": "fd00:244::1"}
ROUTE = {"forwarding": "route"}
TUNNEL = {"forwarding": "tunnel"}
OTHER_FAMILY = (
    "fd00:244::1 is ipv6, the virtual server is ipv4: with forwarding {} both are of one family, only a tunnel may "
    "lead to the other"
)
SAME_PORT = "forwarding {} does not change the port of a packet, so"
WEB_KEY = VirtualServerKey("ipv4", "tcp", "10.96.0.1", 80)


def params(**arguments: Any) -> dict[str, Any]:
    return parameters(ipvs_service.OPTIONS, arguments)


def text(**arguments: Any) -> list[str]:
    """What the arguments stand for, as ipvsadm writes it."""
    return render(ipvs_arguments.desired_servers(params(**arguments))[0]).splitlines()


def found_in(arguments: dict[str, Any]) -> list[str]:
    return problems(ipvs_arguments.desired_servers, params(**arguments))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (WEB, ["-A -t 10.96.0.1:80 -s rr"]),
        ({**WEB, "protocol": "udp", "one_packet": True}, ["-A -u 10.96.0.1:80 -s rr -o"]),
        ({**WEB, "protocol": "sctp", "scheduler": "wlc"}, ["-A --sctp-service 10.96.0.1:80 -s wlc"]),
        ({"address": "FD00:96:0::1", "port": 80}, ["-A -t [fd00:96::1]:80 -s rr"]),
        (MARK, ["-A -f 7 -s rr"]),
        ({**MARK, "family": "ipv6"}, ["-A -f 7 -6 -s rr"]),
        ({**WEB, "persistence_timeout": 60}, ["-A -t 10.96.0.1:80 -s rr -p 60"]),
        ({**WEB, "persistence_timeout": 60, "persistence_netmask": 32}, ["-A -t 10.96.0.1:80 -s rr -p 60"]),
        (
            {**WEB, "persistence_timeout": 60, "persistence_netmask": 24},
            ["-A -t 10.96.0.1:80 -s rr -p 60 -M 255.255.255.0"],
        ),
        ({**WEB6, "persistence_timeout": 60, "persistence_netmask": 64}, ["-A -t [fd00:96::1]:80 -s rr -p 60 -M 64"]),
        ({**WEB, "port": 0, "persistence_timeout": 60}, ["-A -t 10.96.0.1:0 -s rr -p 60"]),
        ({**WEB, "persistence_timeout": 60, "persistence_engine": "sip"}, ["-A -t 10.96.0.1:80 -s rr -p 60 --pe sip"]),
        (
            {**WEB, "scheduler": "mh", "scheduler_flags": ["mh-port", "mh-fallback"]},
            ["-A -t 10.96.0.1:80 -s mh -b mh-fallback,mh-port"],
        ),
        ({**WEB, "scheduler": "mh", "scheduler_flags": ["flag-2"]}, ["-A -t 10.96.0.1:80 -s mh -b mh-port"]),
        ({**WEB, "scheduler": "sh", "scheduler_flags": ["sh-port"]}, ["-A -t 10.96.0.1:80 -s sh -b sh-port"]),
    ],
)
def test_a_virtual_server_is_what_ipvsadm_would_make(arguments: dict[str, Any], expected: list[str]) -> None:
    assert text(**arguments) == expected


@pytest.mark.parametrize(
    ("service", "real_server", "expected"),
    [
        (WEB, POD, "-a -t 10.96.0.1:80 -r 10.244.0.1:80 -m -w 1"),
        (WEB, {**POD, "port": 8080, "weight": 0}, "-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 0"),
        (WEB, {**POD, **ROUTE, "weight": 65535}, "-a -t 10.96.0.1:80 -r 10.244.0.1:80 -g -w 65535"),
        (
            WEB,
            {**POD, "upper_threshold": 9, "lower_threshold": 4},
            "-a -t 10.96.0.1:80 -r 10.244.0.1:80 -m -w 1 -x 9 -y 4",
        ),
        (WEB, {**POD6, **TUNNEL}, "-a -t 10.96.0.1:80 -r [fd00:244::1]:80 -i -w 1"),
        (
            WEB,
            {**POD, **TUNNEL, "tunnel": {"type": "gue", "port": 6080, "checksum": "remcsum"}},
            "-a -t 10.96.0.1:80 -r 10.244.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
        ),
        (
            WEB,
            {**POD, **TUNNEL, "tunnel": {"type": "gre", "checksum": "csum"}},
            "-a -t 10.96.0.1:80 -r 10.244.0.1:80 -i -w 1 --tun-type gre --tun-csum",
        ),
        (MARK, {**POD, **ROUTE}, "-a -f 7 -r 10.244.0.1:0 -g -w 1"),
        (MARK, {**POD, "port": 8080}, "-a -f 7 -r 10.244.0.1:8080 -m -w 1"),
        (WEB6, POD6, "-a -t [fd00:96::1]:80 -r [fd00:244::1]:80 -m -w 1"),
    ],
)
def test_a_real_server_is_what_ipvsadm_would_make(
    service: dict[str, Any], real_server: dict[str, Any], expected: str
) -> None:
    assert text(**service, real_servers=[real_server])[1] == expected


def test_absent_virtual_servers_are_apart() -> None:
    servers, absent = ipvs_arguments.desired_servers(params(services=[MARK, {**WEB, "state": "absent"}]))
    assert list(servers) == [VirtualServerKey("ipv4", "", "", 0, 7)]
    assert absent == {WEB_KEY}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"address": "10.96.0.1"}, "port: is required where there is no fwmark"),
        ({"port": 80}, "address: is required where there is no fwmark"),
        (
            {**WEB, "address": "10.96.0.1/32"},
            "address: '10.96.0.1/32' is a network; give one address without a prefix length",
        ),
        ({**WEB, "address": "web"}, "address: 'web' is not an IP address; names are not resolved"),
        ({**WEB, "port": 65536}, "port: 65536 is not in 0..65535"),
        ({**WEB, "port": 0}, "port: 0 stands for all ports, which needs persistence_timeout"),
        ({"fwmark": 0}, "fwmark: 0 is not in 1..4294967295"),
        ({**MARK, "port": 80}, "port: does not go with fwmark, which stands for any address and port"),
        ({**WEB, "one_packet": True}, "one_packet: is for udp and firewall marks only, not for tcp"),
        ({**WEB, "persistence_timeout": -1}, "persistence_timeout: -1 is not in 0..2678400"),
        (
            {**WEB, "persistence_netmask": 24},
            "persistence_netmask: has no effect without persistence_timeout: set that too",
        ),
        (
            {**WEB, "persistence_engine": "sip"},
            "persistence_engine: has no effect without persistence_timeout: set that too",
        ),
        (
            {**WEB, "persistence_netmask": 33, "persistence_timeout": 1},
            "persistence_netmask: 33 is not a prefix length of ipv4, 1..32",
        ),
        (
            {**WEB6, "persistence_netmask": 0, "persistence_timeout": 1},
            "persistence_netmask: 0 is not a prefix length of ipv6, 1..128",
        ),
        ({**WEB, "scheduler_flags": ["mh-port"]}, "scheduler_flags[0]: mh-port is for the scheduler mh, not for rr"),
        ({"services": [WEB, MARK, WEB]}, "services[2].address: tcp 10.96.0.1:80 is given twice"),
        ({"services": [MARK, {**MARK, "state": "absent"}]}, "services[1].fwmark: fwmark 7 is given twice"),
        ({"services": [WEB, {**WEB6, "port": -1}]}, "services[1].port: -1 is not in 0..65535"),
    ],
)
def test_a_virtual_server_that_cannot_be_is_refused(arguments: dict[str, Any], problem: str) -> None:
    assert found_in(arguments) == [problem]


@pytest.mark.parametrize(
    ("real_server", "problem"),
    [
        ({"address": "pod"}, "address: 'pod' is not an IP address; names are not resolved"),
        (
            POD6,
            f"address: {OTHER_FAMILY.format('masquerade')}",
        ),
        (
            {**POD6, **ROUTE},
            f"address: {OTHER_FAMILY.format('route')}",
        ),
        ({**POD, "port": 65536}, "port: 65536 is not in 0..65535"),
        (
            {**POD, **ROUTE, "port": 8080},
            f"port: 8080: {SAME_PORT.format('route')} it has to be 80, that of the virtual server",
        ),
        (
            {**POD, **TUNNEL, "port": 8080},
            f"port: 8080: {SAME_PORT.format('tunnel')} it has to be 80, that of the virtual server",
        ),
        ({**POD, "weight": -1}, "weight: -1 is not in 0..65535"),
        ({**POD, "weight": 65536}, "weight: 65536 is not in 0..65535"),
        ({**POD, "upper_threshold": -1}, "upper_threshold: -1 is not in 0..4294967295"),
        ({**POD, "lower_threshold": 5}, "lower_threshold: 5 is above upper_threshold, 0: the kernel refuses that"),
        (
            {**POD, "tunnel": {}},
            "tunnel: has no effect with forwarding masquerade: leave it out, or set that to tunnel",
        ),
        (
            {**POD, **TUNNEL, "tunnel": {"type": "gue"}},
            "tunnel.port: is required for gue: the UDP port on which the real server takes packets",
        ),
        ({**POD, **TUNNEL, "tunnel": {"port": 1}}, "tunnel.port: is for gue only, not for ipip"),
        ({**POD, **TUNNEL, "tunnel": {"checksum": "csum"}}, "tunnel.checksum: ipip has no csum"),
        ({**POD, **TUNNEL, "tunnel": {"type": "gre", "checksum": "remcsum"}}, "tunnel.checksum: gre has no remcsum"),
    ],
)
def test_a_real_server_that_cannot_be_is_refused(real_server: dict[str, Any], problem: str) -> None:
    assert found_in({**WEB, "real_servers": [real_server]}) == [f"real_servers[0].{problem}"]
    assert found_in({"services": [MARK, {**WEB, "real_servers": [OTHER_POD, real_server]}]}) == [
        f"services[1].real_servers[1].{problem}"
    ]


def test_a_real_server_may_be_there_once() -> None:
    assert found_in({**WEB, "real_servers": [POD, {**POD, "port": 80}]}) == [
        "real_servers[1].address: 10.244.0.1:80 is given twice"
    ]


def test_a_routed_real_server_of_a_firewall_mark_has_port_0() -> None:
    assert found_in({**MARK, "real_servers": [{**POD, **ROUTE, "port": 80}]}) == [
        f"real_servers[0].port: 80: {SAME_PORT.format('route')} a firewall mark's has to be 0"
    ]


def test_all_problems_come_at_once() -> None:
    bad = {**WEB, "port": -1, "real_servers": [{**POD, "weight": -1}]}
    worse = {**WEB, "persistence_netmask": 99, "real_servers": [{**POD, "weight": -1}, {**POD6, **ROUTE, "port": 1}]}
    assert len(found_in({"services": [bad, worse]})) == 6


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "address: give address and port, or fwmark, services, rule_set or reset_counters"),
        (
            {"only_owner": True, "reset_counters": True},
            "only_owner: would remove every virtual server: say so with an empty list of services",
        ),
        ({"reset_counters": True}, None),
        ({"only_owner": True, "services": []}, None),
        ({"rule_set": "/x"}, None),
        (WEB, None),
    ],
)
def test_a_task_says_what_it_wants(arguments: dict[str, Any], problem: str | None) -> None:
    assert problems(ipvs_service.check_arguments, params(**arguments)) == ([problem] if problem else [])


def test_a_real_server_without_its_virtual_server_is_noticed() -> None:
    assert found_in({"real_servers": [POD]}) == [
        "address: is required where there is no fwmark",
        "port: is required where there is no fwmark",
    ]


class FakeIPVS:
    """Holds virtual servers, and applies nothing."""

    def __init__(self, servers: VirtualServers, statistics: Statistics | None = None) -> None:
        self.servers = servers
        self.statistics = statistics or {}
        self.counters: dict[VirtualServerKey, Traffic] = {}
        self.real_counters: dict[tuple[VirtualServerKey, RealServerKey], Traffic] = {}

    def read(self, _only: object = None, _alike: object = None) -> tuple[VirtualServers, Statistics]:
        return self.servers, self.statistics

    def traffic(self) -> tuple[dict[VirtualServerKey, Traffic], dict[tuple[VirtualServerKey, RealServerKey], Traffic]]:
        return self.counters, self.real_counters

    def ipvs(self) -> FakeIPVS:
        return self


LIVE = """\
-A -t 10.96.0.1:80 -s rr
-a -t 10.96.0.1:80 -r 10.244.0.1:80 -m -w 1
-a -t 10.96.0.1:80 -r 10.244.0.2:80 -m -w 1
-A -t 10.96.0.9:80 -s rr
"""
FIRST, SECOND = RealServerKey("10.244.0.1", 80), RealServerKey("10.244.0.2", 80)


@pytest.fixture(autouse=True)
def ip_vs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_ipvs, "available", lambda: True)


def check_run(
    fake: FakeIPVS, desired: str, merge: bool = False
) -> tuple[Outcome, ipvs_service.ServersByPolicy, RuleSet]:
    owns_none = Ownership(lambda *_names: False, lambda *_names: False, lambda _name: False, lambda _key: False)
    subsystem = ipvs_service.ServersByPolicy(fake.ipvs, owns_none, ("tcp",), merge)
    wanted = RuleSet.empty()._replace(virtual_servers=parse(desired))
    outcome = converge({"virtual servers": subsystem}, wanted, check=True)
    return outcome, subsystem, subsystem.expected(outcome)


ONE_OF_TWO = "-A -t 10.96.0.1:80 -s wrr\n-a -t 10.96.0.1:80 -r 10.244.0.2:80 -m -w 5\n"


def test_exact_removes_a_real_server_and_merge_leaves_it() -> None:
    exact, _subsystem, after = check_run(FakeIPVS(parse(LIVE)), ONE_OF_TWO)
    assert [o.name for o in exact.operations if o.verb == "remove"] == ["tcp 10.96.0.1:80 -> 10.244.0.1:80"]
    assert after.virtual_servers == parse(ONE_OF_TWO)
    merged, _subsystem, after = check_run(FakeIPVS(parse(LIVE)), ONE_OF_TWO, merge=True)
    assert [o.verb for o in merged.operations] == ["change", "change"]
    assert after.virtual_servers[WEB_KEY].scheduler == "wrr"
    assert after.virtual_servers[WEB_KEY].real_servers == {FIRST: RealServer(), SECOND: RealServer(weight=5)}


def test_merge_makes_a_virtual_server_that_is_not_there() -> None:
    _outcome, _subsystem, after = check_run(FakeIPVS({}), ONE_OF_TWO, merge=True)
    assert after.virtual_servers == parse(ONE_OF_TWO)


def test_a_draining_real_server_is_expected_to_stay() -> None:
    busy = {(WEB_KEY, FIRST): RealServerStatistics(3, 1)}
    _outcome, _subsystem, after = check_run(FakeIPVS(parse(LIVE), busy), ONE_OF_TWO)
    assert after.virtual_servers[WEB_KEY].real_servers[FIRST].weight == 0


def test_what_drains_is_reported_with_its_connections() -> None:
    live = parse(LIVE.replace("10.244.0.1:80 -m -w 1", "10.244.0.1:80 -m -w 0"))
    outcome, subsystem, _after = check_run(FakeIPVS(live, {(WEB_KEY, FIRST): RealServerStatistics(3, 1)}), ONE_OF_TWO)
    assert not [o for o in outcome.operations if "10.244.0.1:80" in o.name]
    assert subsystem.draining(RuleSet.empty()._replace(virtual_servers=parse(ONE_OF_TWO))) == [
        {"virtual_server": "tcp 10.96.0.1:80", "real_server": "10.244.0.1:80", "connections": 4}
    ]


def test_only_counters_that_are_not_zero_are_reset() -> None:
    other, third = WEB_KEY._replace(port=81), WEB_KEY._replace(port=82)
    fake: Any = FakeIPVS({})
    fake.counters = {
        WEB_KEY: Traffic(connections=2, incoming_packets=9),
        other: Traffic(),
        third: Traffic(connection_rate=5),
    }
    fake.real_counters = {(other, FIRST): Traffic(outgoing_bytes=1)}
    resets = ipvs_service.counters_to_reset(fake, {WEB_KEY, other, third, WEB_KEY._replace(port=83)})
    assert [(o.verb, o.kind, o.payload) for o in resets] == [
        ("change", "counters", WEB_KEY),
        ("change", "counters", other),
    ]
    assert ipvs_service.counters_to_reset(fake, {third}) == []


def test_a_virtual_server_is_the_default_of_a_tunnel() -> None:
    servers, _absent = ipvs_arguments.desired_servers(params(**WEB, real_servers=[{**POD, **TUNNEL, "tunnel": {}}]))
    assert servers == {
        WEB_KEY: VirtualServer("rr", (), 0, 0, {FIRST: RealServer("tunnel", 1, 0, 0, Tunnel())}),
    }
