# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""IPVS against a real kernel, with ipvsadm as the witness. Each test has a network namespace.

virtual servers  10.96.0.0/16, fd00:96::/32, firewall marks
real servers     10.244.0.0/16, fd00:244::/32, never reached
traffic          10.96.0.1:80 on a dummy link -> 10.244.0.1:8080 on lo, both in the namespace
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import namespace
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.conntrack import TRACKING, Conntrack
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipvs import FEW, IPVS, PROBE, available
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.conntrack import End
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.ipvs import draining, plan
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.node import plan_timeouts
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStatistics,
    Statistics,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
    VirtualServers,
    parse,
    render,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not available() or not shutil.which("ipvsadm"),
    reason="needs root, ipvsadm and a kernel with ip_vs: a lab guest has them",
)

TCP = VirtualServerKey("ipv4", "tcp", "10.96.0.1", 80)
UDP = VirtualServerKey("ipv4", "udp", "10.96.0.1", 53)
TCP6 = VirtualServerKey("ipv6", "tcp", "fd00:96::1", 443)
MARK = VirtualServerKey("ipv4", "", "", 0, 7)
MARK6 = VirtualServerKey("ipv6", "", "", 0, 7)
POD = RealServerKey("10.244.0.1", 8080)
POD6 = RealServerKey("fd00:244::1", 8080)

EVERYTHING: VirtualServers = {
    TCP: VirtualServer("rr", (), 0, 0, {POD: RealServer(), RealServerKey("10.244.0.2", 8080): RealServer(weight=3)}),
    UDP: VirtualServer(
        "mh", ("flag-1", "flag-2", "one-packet"), 10800, 24, {RealServerKey("10.244.0.1", 53): RealServer("route", 0)}
    ),
    VirtualServerKey("ipv4", "sctp", "10.96.0.3", 9): VirtualServer("sh", ("flag-1", "flag-2"), 0, 0, {}),
    VirtualServerKey("ipv4", "udp", "10.96.0.4", 5060): VirtualServer("rr", (), 60, 0, {}, "sip"),
    VirtualServerKey("ipv4", "tcp", "10.96.0.5", 80): VirtualServer(
        "wlc",
        (),
        0,
        0,
        {
            RealServerKey("10.244.0.1", 80): RealServer("tunnel"),
            RealServerKey("10.244.0.2", 80): RealServer("tunnel", tunnel=Tunnel("gue", 6080, "remcsum")),
            RealServerKey("10.244.0.3", 80): RealServer("tunnel", tunnel=Tunnel("gre", 0, "csum")),
            RealServerKey("fd00:244::3", 80): RealServer("tunnel"),
        },
    ),
    TCP6: VirtualServer("wrr", (), 300, 64, {POD6: RealServer(), RealServerKey("fd00:244::2", 1): RealServer()}),
    MARK: VirtualServer("none", (), 0, 0, {RealServerKey("10.244.0.1", 0): RealServer("route")}),
    MARK6: VirtualServer("lc", (), 50, 0, {RealServerKey("fd00:244::1", 0): RealServer("route", 65535)}),
}


def run(*argv: str, stdin: str | None = None) -> str:
    return subprocess.run(argv, input=stdin, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


@pytest.fixture
def ipvs(fresh_namespace: None) -> Iterator[IPVS]:
    """IPVS in a new network namespace, in which this process is for the time of one test."""
    # Without an interface that is up the kernel refuses every IPv4 real server.
    run("ip", "link", "set", "lo", "up")
    kernel = IPVS()
    yield kernel
    kernel.close()


def owns_all(_key: VirtualServerKey) -> bool:
    return True


def converge(ipvs: IPVS, desired: VirtualServers) -> int:
    actual, statistics = ipvs.read()
    operations = plan(actual, statistics, desired, owns_all)
    ipvs.apply(operations)
    return len(operations)


def written_by_ipvsadm(state: VirtualServers) -> VirtualServers:
    run("ipvsadm", "-R", stdin=render(state))
    return state


def test_what_is_written_is_what_ipvsadm_shows(ipvs: IPVS) -> None:
    converge(ipvs, EVERYTHING)
    assert parse(run("ipvsadm", "-Sn")) == EVERYTHING


def test_what_ipvsadm_writes_is_what_is_read(ipvs: IPVS) -> None:
    state = written_by_ipvsadm(EVERYTHING)
    assert ipvs.read()[0] == state


def test_what_is_written_is_what_is_read(ipvs: IPVS) -> None:
    converge(ipvs, EVERYTHING)
    assert ipvs.read()[0] == EVERYTHING
    assert converge(ipvs, EVERYTHING) == 0


def test_thresholds(ipvs: IPVS) -> None:
    """ipvsadm saves no thresholds, so it lists them."""
    state = {TCP: VirtualServer("rr", (), 0, 0, {POD: RealServer("masquerade", 1, 900, 300)})}
    converge(ipvs, state)
    assert ipvs.read()[0] == state
    assert run("ipvsadm", "-Ln", "--thresholds").splitlines()[-1].split() == ["->", str(POD), "900", "300", "0", "0"]


def test_real_servers_are_read_in_the_order_in_which_they_were_added(ipvs: IPVS) -> None:
    keys = [RealServerKey(f"10.244.0.{number}", 80) for number in (3, 1, 2)]
    converge(ipvs, {TCP: VirtualServer("rr", (), 0, 0, {key: RealServer() for key in keys})})
    assert list(ipvs.read()[0][TCP].real_servers) == keys


@pytest.mark.parametrize("number", [FEW, FEW + 1])
def test_some_virtual_servers_are_read_alone(ipvs: IPVS, number: int) -> None:
    """Few of them one by one, more out of all; those that are not there are left out."""
    gone = [VirtualServerKey("ipv4", "tcp", "10.96.1.1", port) for port in range(number)]
    converge(ipvs, EVERYTHING)
    messages = ipvs.messages
    asked = {*list(EVERYTHING)[1:], *gone[len(EVERYTHING) - 1 :]}
    assert ipvs.read(asked)[0] == {key: server for key, server in EVERYTHING.items() if key in asked}
    services = number if number <= FEW else 1
    assert ipvs.messages - messages == services + len(EVERYTHING) - 1


@pytest.mark.parametrize(
    "live",
    [
        VirtualServer("rr", (), 0, 0, {POD: RealServer(weight=7)}),
        VirtualServer("rr", (), 0, 0, {POD: RealServer(upper_threshold=5)}),
        VirtualServer("rr", (), 0, 0, {POD: RealServer("route")}),
        VirtualServer("rr", (), 0, 0, {}),
        VirtualServer("rr", (), 60, 0, {POD: RealServer()}),
        VirtualServer("wrr", (), 0, 0, {POD: RealServer()}),
    ],
)
def test_only_what_is_alike_is_given_as_the_same(ipvs: IPVS, live: VirtualServer) -> None:
    alike = {TCP: VirtualServer("rr", (), 0, 0, {POD: RealServer()})}
    converge(ipvs, {TCP: live})
    found = ipvs.read(alike=alike)[0]
    assert found == {TCP: live}
    assert plan(found, {}, alike, lambda _key: True)
    converge(ipvs, alike)
    assert ipvs.read(alike=alike)[0][TCP] is alike[TCP]


@pytest.mark.parametrize(
    "before, after",
    [
        (VirtualServer("rr", (), 0, 0, {}), VirtualServer("wlc", ("flag-1", "one-packet"), 10800, 16, {}, "sip")),
        (VirtualServer("mh", ("flag-2",), 60, 8, {}, "sip"), VirtualServer("none", (), 0, 0, {})),
        (
            VirtualServer("rr", (), 0, 0, {POD: RealServer("masquerade", 1, 5, 2)}),
            VirtualServer("rr", (), 0, 0, {POD: RealServer("tunnel", 0, 7, 7, Tunnel("gue", 1, "csum"))}),
        ),
        (
            VirtualServer("rr", (), 0, 0, {POD: RealServer("tunnel", 0, 7, 7, Tunnel("gue", 1, "csum"))}),
            VirtualServer("rr", (), 0, 0, {POD: RealServer("route")}),
        ),
    ],
    ids=["everything set", "everything unset", "to tunnel", "from tunnel"],
)
def test_a_change_happens_in_place(ipvs: IPVS, before: VirtualServer, after: VirtualServer) -> None:
    converge(ipvs, {UDP: before})
    actual, statistics = ipvs.read()
    operations = plan(actual, statistics, {UDP: after}, owns_all)
    assert [operation.verb for operation in operations] == ["change"]
    ipvs.apply(operations)
    assert ipvs.read()[0] == {UDP: after}


def random_state(rng: random.Random) -> VirtualServers:
    state: VirtualServers = {}
    for _number in range(rng.randrange(12)):
        ipv6 = rng.random() < 0.4
        prefix, real_prefix = ("fd00:96::", "fd00:244::") if ipv6 else ("10.96.0.", "10.244.0.")
        family = "ipv6" if ipv6 else "ipv4"
        key = VirtualServerKey(family, rng.choice(["tcp", "udp", "sctp"]), f"{prefix}{rng.randint(1, 3)}", 80)
        if rng.random() < 0.2:
            key = VirtualServerKey(family, "", "", 0, rng.choice([1, 0xFFFFFFFF]))
        timeout = rng.choice([0, 0, 10800])
        flags = tuple(flag for flag in ("flag-1", "flag-2", "flag-3", "one-packet") if rng.random() < 0.2)
        real_servers = {}
        for _real in range(rng.randrange(5)):
            forwarding = rng.choice(["masquerade", "masquerade", "route", "tunnel"])
            tunnel = Tunnel(rng.choice(["gre", "gue"]), 6080, "csum") if rng.random() < 0.5 else Tunnel()
            lower = rng.randrange(4)
            real_servers[RealServerKey(f"{real_prefix}{rng.randint(1, 6)}", rng.choice([80, 65535]))] = RealServer(
                forwarding,
                rng.choice([0, 1, 100]),
                rng.choice([0, 0, lower + 5]) or lower,
                lower,
                tunnel if forwarding == "tunnel" else Tunnel(),
            )
        netmask = rng.choice([0, 1, 24]) if timeout else 0
        scheduler = rng.choice(["rr", "wrr", "lc", "wlc", "sh", "mh", "none"])
        state[key] = VirtualServer(scheduler, flags, timeout, netmask, real_servers)
    return state


@pytest.mark.parametrize("seed", range(25))
def test_any_state_converges_to_any_other(ipvs: IPVS, seed: int) -> None:
    rng = random.Random(seed)
    converge(ipvs, random_state(rng))
    desired = random_state(rng)
    converge(ipvs, desired)
    assert ipvs.read()[0] == desired
    assert converge(ipvs, desired) == 0


@pytest.mark.parametrize("seed", range(5))
def test_foreign_virtual_servers_stay(ipvs: IPVS, seed: int) -> None:
    rng = random.Random(seed)
    foreign, ours, desired = random_state(rng), random_state(rng), random_state(rng)
    foreign = {key: server for key, server in foreign.items() if key not in desired}
    converge(ipvs, {**ours, **foreign})
    actual, statistics = ipvs.read()
    ipvs.apply(plan(actual, statistics, desired, lambda key: key not in foreign))
    assert ipvs.read()[0] == {**foreign, **desired}


def test_a_protocol_without_a_name_is_read(ipvs: IPVS) -> None:
    """The kernel takes any number; such a virtual server is somebody else's, and must not break a run."""
    state = {VirtualServerKey("ipv4", "47", "10.96.0.1", 80): VirtualServer("rr", (), 0, 0, {})}
    converge(ipvs, state)
    assert ipvs.read()[0] == state
    assert render(state) == "-A --protocol-47 10.96.0.1:80 -s rr\n"


def test_cost_in_messages(ipvs: IPVS) -> None:
    """One for the family; a dump, and one for each virtual server, to read; one for each object to write."""
    state = {
        VirtualServerKey("ipv4", "tcp", f"10.96.1.{n}", 80): VirtualServer(
            "rr", (), 0, 0, {RealServerKey(f"10.244.1.{m}", 80): RealServer() for m in range(3)}
        )
        for n in range(100)
    }
    ipvs.read()
    assert ipvs.messages == 1 + 1
    operations = plan({}, {}, state, owns_all)
    ipvs.apply(operations)
    probe, writes = 2, 400
    assert ipvs.messages == 2 + probe + writes
    ipvs.read()
    assert ipvs.messages == 2 + probe + writes + 1 + 100
    some = set(list(state)[:2])
    assert ipvs.read(some)[0] == {key: state[key] for key in some}
    assert ipvs.messages == 2 + probe + writes + 1 + 100 + 2 + 2


def test_the_probe_of_a_scheduler_leaves_nothing_and_is_skipped_for_one_in_use(ipvs: IPVS) -> None:
    ipvs.ensure_schedulers(["rr", "lc"])
    assert ipvs.read() == ({}, {})
    converge(ipvs, {TCP: VirtualServer("wrr", (), 0, 0, {})})
    fresh = IPVS()
    fresh.read()
    before = fresh.messages
    fresh.ensure_schedulers(["wrr", "none"])
    assert fresh.messages == before
    fresh.close()


def test_the_probe_spares_a_virtual_server_at_its_address(ipvs: IPVS) -> None:
    state = written_by_ipvsadm({PROBE: VirtualServer("wlc", (), 0, 0, {})})
    ipvs.ensure_schedulers(["rr"])
    assert ipvs.read()[0] == state


def test_a_scheduler_that_the_kernel_lacks_stops_everything(ipvs: IPVS) -> None:
    state = {TCP: VirtualServer("rr", (), 0, 0, {}), UDP: VirtualServer("nosuch", (), 0, 0, {})}
    with pytest.raises(KernelError, match=rf"{os.uname().release} has no scheduler 'nosuch'.*ip_vs_nosuch"):
        converge(ipvs, state)
    assert ipvs.read()[0] == {}


def test_a_refused_operation_says_which_and_how_many_were_carried_out(ipvs: IPVS) -> None:
    real_servers = {RealServerKey(f"10.244.{n // 100}.{n % 100 + 1}", 80): RealServer() for n in range(200)}
    real_servers[RealServerKey("224.0.0.1", 80)] = RealServer()
    real_servers.update({RealServerKey(f"10.245.{n // 100}.{n % 100 + 1}", 80): RealServer() for n in range(200)})
    with pytest.raises(KernelError) as caught:
        converge(ipvs, {TCP: VirtualServer("rr", (), 0, 0, real_servers)})
    done = sum(1 + len(server.real_servers) for server in ipvs.read()[0].values())
    assert "cannot add real server tcp 10.96.0.1:80 -> 224.0.0.1:80: EINVAL" in str(caught.value)
    assert f"{done} of 402 operations were carried out" in str(caught.value)
    assert 201 <= done < 402


def test_removing_what_is_gone_is_done(ipvs: IPVS) -> None:
    converge(ipvs, EVERYTHING)
    actual, statistics = ipvs.read()
    desired = {TCP: actual[TCP]._replace(real_servers={})}
    operations = plan(actual, statistics, desired, owns_all)
    run("ipvsadm", "-C")
    run("ipvsadm", "-R", stdin=render(desired))
    ipvs.apply(operations)
    assert ipvs.read()[0] == desired


def test_timeouts(ipvs: IPVS) -> None:
    for desired in ({"tcp": 900, "tcpfin": 120, "udp": 300}, {"tcpfin": 60}):
        ipvs.apply(plan_timeouts(ipvs.timeouts(), desired))
    assert ipvs.timeouts() == {"tcp": 900, "tcpfin": 60, "udp": 300}
    assert "900 60 300" in run("ipvsadm", "-Ln", "--timeout")
    ipvs.apply(plan_timeouts(ipvs.timeouts(), {"udp": 10}))
    assert ipvs.timeouts() == {"tcp": 900, "tcpfin": 60, "udp": 10}


def test_info(ipvs: IPVS) -> None:
    info = ipvs.info()
    head = run("ipvsadm", "-Ln").splitlines()[0]
    assert head == f"IP Virtual Server version {info.version} (size={info.connection_table_size})"


def test_no_such_namespace() -> None:
    with pytest.raises(KernelError, match=r"no network namespace 'kubenode-none' in /run/netns: there (are|is)"):
        namespace.enter("kubenode-none")


def give_addresses() -> None:
    run("ip", "link", "add", "kube-ipvs0", "type", "dummy")
    run("ip", "address", "add", f"{TCP.address}/32", "dev", "kube-ipvs0")
    run("ip", "address", "add", f"{POD.address}/32", "dev", "lo")


class Connection:
    """A TCP connection through the virtual server, inside the namespace."""

    def __init__(self) -> None:
        give_addresses()
        self.listener = socket.create_server((POD.address, POD.port))
        self.client = socket.create_connection((TCP.address, TCP.port), timeout=5)
        self.server, _peer = self.listener.accept()
        self.client.sendall(b"hello")
        assert self.server.recv(5) == b"hello"

    def close(self) -> None:
        """Resets the connection: IPVS forgets a reset one after 10 s, a finished one after 2 minutes."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for end in (self.client, self.server, self.listener):
            end.close()


def counted(ipvs: IPVS, connections: int) -> tuple[VirtualServers, Statistics]:
    """Reads until the virtual server has so many connections."""
    for _attempt in range(300):
        actual, statistics = ipvs.read()
        found = statistics.get((TCP, POD), RealServerStatistics(0, 0))
        if found.connections == connections:
            return actual, statistics
        time.sleep(0.1)
    raise AssertionError(f"{found}")


def test_a_real_server_with_connections_drains(ipvs: IPVS) -> None:
    serving = {TCP: VirtualServer("rr", (), 0, 0, {POD: RealServer()})}
    empty = {TCP: serving[TCP].configuration}
    converge(ipvs, serving)
    connection = Connection()

    first = plan(*counted(ipvs, 1), empty, owns_all)
    assert [(o.verb, o.kind, o.reason) for o in first] == [("change", "real server", "draining, 1 connection")]
    ipvs.apply(first)
    actual, statistics = counted(ipvs, 1)
    assert actual[TCP].real_servers == {POD: RealServer(weight=0)}
    assert plan(actual, statistics, empty, owns_all) == []
    assert [(found.key, found.connections) for found in draining(actual, statistics, empty)] == [(POD, 1)]

    converge(ipvs, serving)
    assert ipvs.read()[0] == serving
    converge(ipvs, empty)
    connection.close()
    assert [o.verb for o in plan(*counted(ipvs, 0), empty, owns_all)] == ["remove"]
    converge(ipvs, empty)
    assert ipvs.read()[0] == empty


def test_a_udp_flow_through_ipvs_is_tracked_with_the_real_server_as_reply_source(ipvs: IPVS) -> None:
    """What the reconciliation of UDP flows relies on in IPVS mode."""
    if not os.path.exists(TRACKING) or not shutil.which("iptables-legacy"):
        pytest.skip("needs nf_conntrack and iptables-legacy")
    give_addresses()
    # A namespace tracks connections only once a rule asks for them, as kube-proxy's do.
    run("iptables-legacy", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT")
    run("sysctl", "-qw", "net.ipv4.vs.conntrack=1")
    converge(ipvs, {UDP: VirtualServer("rr", (), 0, 0, {POD: RealServer()})})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.bind(POD)
        client.sendto(b"hello", (UDP.address, UDP.port))
        assert server.recv(5) == b"hello"
        kernel = Conntrack()
        assert (End(UDP.address, UDP.port), End(*POD)) in {
            (flow.destination, flow.reply_source) for flow in kernel.read()
        }
        kernel.close()


def test_traffic_is_counted_and_zeroed(ipvs: IPVS) -> None:
    converge(ipvs, {TCP: VirtualServer("rr", (), 0, 0, {POD: RealServer()}), UDP: VirtualServer("rr", (), 0, 0, {})})
    connection = Connection()
    for _attempt in range(50):
        servers, real_servers = ipvs.traffic()
        if servers[TCP].incoming_packets >= 3:
            break
        time.sleep(0.1)
    assert servers[TCP].connections == real_servers[TCP, POD].connections == 1
    assert servers[TCP].incoming_bytes == real_servers[TCP, POD].incoming_bytes > 100
    assert servers[UDP].connections == 0
    ipvs.zero(TCP)
    assert ipvs.traffic()[0][TCP].connections == 0
    connection.close()
