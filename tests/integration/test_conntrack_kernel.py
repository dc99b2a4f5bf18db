# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""UDP flows against a real kernel, with the conntrack tool as the witness. Each test has a network namespace.

client     10.0.0.5, fd00::5
service    10.96.0.10:53, fd00:96::10:53
endpoints  10.244.0.8:53 serving, 10.244.0.9:53 gone; fd00:244::9 gone
node       192.0.2.1, node port 30053
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import conntrack, namespace
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.conntrack import Conntrack
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.conntrack import End, Flow, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists(conntrack.TRACKING) or not shutil.which("conntrack"),
    reason="needs root, the conntrack tool and a kernel with nf_conntrack",
)

CLIENT, SERVICE, SERVING, GONE, NODE = "10.0.0.5", "10.96.0.10", "10.244.0.8", "10.244.0.9", "192.0.2.1"
CLIENT6, SERVICE6, GONE6 = "fd00::5", "fd00:96::10", "fd00:244::9"
SERVICES = {
    (SERVICE, 53): {(SERVING, 53)},
    (NODE, 30053): {(SERVING, 53)},
    (SERVICE6, 53): frozenset[tuple[str, int]](),
}


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


@pytest.fixture
def kernel() -> Iterator[Conntrack]:
    """Connection tracking of a new network namespace, in which this process is for the time of one test."""
    name = f"kubenode-conntrack-{os.getpid()}"
    run("ip", "netns", "add", name)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        namespace.enter(name)
        found = Conntrack()
        yield found
        found.close()
    finally:
        namespace._set_namespace(home)
        os.close(home)
        run("ip", "netns", "del", name)


def track(source_port: int, destination: str, port: int, reply_source: str, protocol: str = "udp", *more: str) -> None:
    """A flow from the client to a destination, answered by the same port of the reply source."""
    client = CLIENT6 if ":" in destination else CLIENT
    ends = ["-s", client, "-d", destination, "--sport", str(source_port), "--dport", str(port)]
    reply = ["--reply-src", reply_source, "--reply-dst", client, "--reply-port-src", "53"]
    reply += ["--reply-port-dst", str(source_port)]
    run("conntrack", "-I", "-p", protocol, "-t", "100", *ends, *reply, *more)


def tracked(family: str = "ipv4") -> set[tuple[str, str]]:
    """(protocol, source port) of all flows, as the tool lists them."""
    lines = run("conntrack", "-L", "-f", family).splitlines()
    return {(line.split()[0], line.split("sport=")[1].split()[0]) for line in lines}


def test_udp_flows_of_both_families_are_read(kernel: Conntrack) -> None:
    track(1, SERVICE, 53, GONE)
    track(2, SERVICE6, 53, GONE6)
    track(3, SERVICE, 53, GONE, "tcp", "--state", "ESTABLISHED")
    assert [flow._replace(id=0) for flow in kernel.read()] == [
        Flow(End(CLIENT, 1), End(SERVICE, 53), End(GONE, 53), End(CLIENT, 1), 0),
        Flow(End(CLIENT6, 2), End(SERVICE6, 53), End(GONE6, 53), End(CLIENT6, 2), 0),
    ]
    assert kernel.messages == 2


def test_the_stale_flows_go_and_no_others(kernel: Conntrack) -> None:
    track(1, SERVICE, 53, GONE)
    track(2, SERVICE, 53, SERVING)
    track(3, SERVICE, 53, GONE, "tcp", "--state", "ESTABLISHED")
    track(4, SERVICE, 53, SERVICE)
    track(5, NODE, 30053, GONE)
    track(6, NODE, 30053, SERVING)
    track(7, "192.0.2.77", 30053, "192.0.2.77")
    track(8, SERVICE6, 53, GONE6)
    track(9, "fd00:96::11", 53, GONE6)
    operations = plan(kernel.read(), SERVICES)
    before = kernel.messages
    kernel.apply(operations)
    assert kernel.messages - before == len(operations) == 4
    assert tracked() == {("udp", "2"), ("tcp", "3"), ("udp", "6"), ("udp", "7")}
    assert tracked("ipv6") == {("udp", "9")}
    assert plan(kernel.read(), SERVICES) == []


def test_more_flows_than_a_batch_holds(kernel: Conntrack) -> None:
    for number in range(1, 71):
        track(number, SERVICE, 53, GONE)
    kernel.apply(plan(kernel.read(), SERVICES))
    assert kernel.read() == []


def test_a_flow_that_has_ended_meanwhile_is_done(kernel: Conntrack) -> None:
    track(1, SERVICE, 53, GONE)
    track(2, SERVICE, 53, GONE)
    operations = plan(kernel.read(), SERVICES)
    run("conntrack", "-D", "-p", "udp", "--sport", "2")
    kernel.apply(operations)
    assert tracked() == set()


def test_a_later_flow_between_the_same_ends_stays(kernel: Conntrack) -> None:
    track(1, SERVICE, 53, GONE)
    operations = plan(kernel.read(), SERVICES)
    run("conntrack", "-D", "-p", "udp")
    track(1, SERVICE, 53, SERVING)
    kernel.apply(operations)
    assert tracked() == {("udp", "1")}


def test_nothing_is_asked_of_a_kernel_that_tracks_nothing(kernel: Conntrack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "TRACKING", "/nonexistent")
    assert kernel.read() == []
    assert kernel.messages == 0
