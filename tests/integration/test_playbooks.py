# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way of a fleet from IPVS to another mode and back, and out of all modes: over SSH, with packets from outside.

docs/guides/migration.md describes it.

controller 10.77.0.1 ── node-a 10.77.0.11 ── pod 10.244.1.5      routes to 10.96.0.0/16 lead to node-a
                     └─ node-b 10.77.0.12 ── pod 10.244.2.5

web    10.96.0.10:80  both pods
near   10.96.0.20:80  the pod of node-a
far    10.96.0.30:80  the pod of node-b
empty  10.96.0.40:80  without endpoints
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.integration.controller import Controller, changed
from tests.lab import Lab, Node
from tests.lab.node import CHECKOUT

pytestmark = pytest.mark.lab

NODES = ("node-a", "node-b")
POD = "10.244.{}.5"
SERVED = {"web": "10.96.0.10", "near": "10.96.0.20", "far": "10.96.0.30"}
ENDPOINTS = {"web": (1, 2), "near": (1,), "far": (2,), "empty": ()}
SERVICES = [
    {
        "name": name,
        "cluster_ip": SERVED.get(name, "10.96.0.40"),
        "ports": [{"port": 80, "target_port": 8080}],
        "endpoints": [{"address": POD.format(at), "node": NODES[at - 1]} for at in pods],
    }
    for name, pods in ENDPOINTS.items()
]
VARIABLES = {"kube_proxy_cluster_cidrs": ["10.244.0.0/16"]}
# So that their settings are there before the collection is.
MODULES = ("ip_vs", "ip_vs_rr", "nf_conntrack", "br_netfilter", "dummy")
# SELF: the number of this node, PEER: that of the other.
SETUP = f"""\
set -e
ip route add default via 10.77.0.1
ip route add 10.244.PEER.0/24 via 10.77.0.1PEER
ip netns add pod
ip link add pod type veth peer name eth0 netns pod
ip address add 10.244.SELF.1/24 dev pod
ip link set pod up
ip -n pod address add 10.244.SELF.5/24 dev eth0
ip -n pod link set lo up
ip -n pod link set eth0 up
ip -n pod route add default via 10.244.SELF.1
cd {CHECKOUT}
export PYTHONDONTWRITEBYTECODE=1
ip netns exec pod /usr/bin/python3 -m tests.load.connections serve 8080 </dev/null >/dev/null 2>&1 &
while ! nc -z 10.244.SELF.5 8080; do sleep 0.1; done
mkdir -p /var/lib/kubenode-proxy
mount -t tmpfs tmpfs /var/lib/kubenode-proxy
echo vm.swappiness=40 >/etc/sysctl.d/10-mine.conf
iptables -A INPUT -s 192.0.2.9 -j ACCEPT
iptables -t nat -N KUBE-MINE
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
ip6tables -t nat -A PREROUTING -s 2001:db8::1 -j ACCEPT
iptables -t mangle -A PREROUTING -s 192.0.2.3 -j MARK --set-mark 1
ip6tables -t mangle -N MINE
ip6tables -N MINE
ipset create KUBE-MINE hash:ip
ipvsadm -A -t 192.0.2.80:80 -s rr
"""
# Kernel and files, but for what is never taken back: loaded modules, and snapshots.
DUMP = """\
for save in iptables-save ip6tables-save; do $save | sed -e '/^#/d' -e 's/ \\[.*//'; done
ipset save | sed 's/ initval .*//' | sort
ipvsadm -Sn | sort
ip -o link | cut -d' ' -f2
ip -o address | tr -s ' ' | cut -d' ' -f2,4 | sort
sysctl -a --pattern '^net.ipv4.(vs\\.|ip_forward|conf.(all|default).(arp_|route_))|conntrack_(max|.*timeout)|bridge-nf'
cd /
find var/lib/kubenode-proxy etc/modules-load.d etc/sysctl.d -type f ! -path '*/snapshots/*' 2>/dev/null | sort |
  xargs -r tail -n +1
"""
TRACES_OF_IPVS = ("KUBE-NODE-PORT", "KUBE-CLUSTER-IP", "KUBE-6-", "KUBE-IPVS", "10.96.0.10:80 -s", "kube-ipvs0")
FOREIGN = ("-A INPUT -s 192.0.2.9/32 -j ACCEPT", ":KUBE-MINE", "create KUBE-MINE", "-A -t 192.0.2.80:80 -s rr")
HOOK = """\
- name: It is written down
  ansible.builtin.lineinfile:
    path: "{{{{ inventory_dir }}}}/log"
    line: "{} {{{{ inventory_hostname }}}}"
    create: true
    mode: "0600"
  delegate_to: localhost
  become: false
"""
DISPROOF = """\
- name: The cash desk works
  ansible.builtin.fail:
    msg: the cash desk of {{ inventory_hostname }} is dark
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
# Without it a test that opened next to no connections would pass.
LEAST_CONNECTIONS = 100
# Seconds between two connections: a node has one processor, and work to do.
PAUSE = 0.02


class Fleet:
    """Two nodes, and the controller."""

    def __init__(self, lab: Lab, controller: Controller) -> None:
        self.nodes = [lab.nodes[name] for name in NODES]
        self.play = controller.play
        self.folder = controller.folder
        self._namespace = lab.namespace

    def hook(self, name: str, text: str) -> tuple[str, str]:
        """Options that name a file with these tasks."""
        path = self.folder / f"{name}.yml"
        path.write_text(text)
        return ("-e", f"kube_proxy_{name}={path}")

    def log(self) -> list[str]:
        """What the hooks have written since the last call."""
        path = self.folder / "log"
        lines = path.read_text().splitlines()
        path.unlink()
        return lines

    def dumps(self) -> list[str]:
        return [dump(node) for node in self.nodes]

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Connections to all services from outside, one after another, for the length of the block: none may fail."""
        stop = self.folder / "stop"
        stop.unlink(missing_ok=True)
        command = ["ip", "netns", "exec", self._namespace, sys.executable, "-m", "tests.load.connections"]
        streams = [
            subprocess.Popen(
                [*command, address, "80", str(stop), str(PAUSE)],
                cwd=CHECKOUT,
                env=ENVIRONMENT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for address in SERVED.values()
        ]
        try:
            yield
        finally:
            stop.touch()
            found = [json.loads(stream.communicate(timeout=60)[0]) for stream in streams]
        assert [one["failed"] for one in found] == [{}, {}, {}]
        assert min(one["answered"] for one in found) > LEAST_CONNECTIONS


def dump(node: Node) -> str:
    return node.run(DUMP).stdout


def setup(node: Node, number: int) -> None:
    """The pod of a node, its server, and objects that are nobody's business."""
    node.run(SETUP.replace("SELF", str(number)).replace("PEER", str(3 - number)), timeout=120)


@pytest.fixture(scope="module")
def fleet(ansible_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Lab("playbooks") as lab:
        nodes = lab.start_all(NODES, modprobe=MODULES)
        for number, node in enumerate(nodes, 1):
            setup(node, number)
        subprocess.run(["ip", "-n", lab.namespace, "route", "add", "10.96.0.0/16", "via", nodes[0].address], check=True)
        folder = tmp_path_factory.mktemp("controller")
        yield Fleet(lab, Controller(folder, ansible_env, lab, SERVICES, VARIABLES))


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def failed(done: subprocess.CompletedProcess[str], *reasons: str) -> None:
    assert done.returncode == 2, done.stdout[-6000:] + done.stderr[-2000:]
    for reason in reasons:
        assert reason in done.stdout, done.stdout[-6000:]


def ipvs_settings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("net.ipv4.vs.")]


def mode(name: str) -> tuple[str, str]:
    return ("-e", f"kube_proxy_mode={name}")


def test_the_way_out_of_ipvs_back_and_out_of_all_modes(fleet: Fleet) -> None:
    """One story, because each chapter starts from the state that the one before has proved."""
    bare = fleet.dumps()
    succeeded(fleet.play("site"))
    ipvs = fleet.dumps()
    assert_drift_keeps_a_fleet_where_it_is(fleet, ipvs)
    with fleet.stream():
        assert_what_is_disproved_is_undone(fleet, ipvs)
        assert_traffic_is_led_back_to_the_nodes_of_a_batch_that_are_proved(fleet, ipvs)
        assert_a_fleet_moves_node_by_node(fleet, ipvs, bare)
    iptables = fleet.dumps()
    assert_a_mode_that_silences_services_is_undone(fleet, iptables)
    with fleet.stream():
        assert_kube_proxy_is_respected(fleet, iptables)
        assert dump(fleet.nodes[0]) == ipvs[0]
    assert_a_bad_run_is_rolled_back(fleet)
    assert_nothing_is_left(fleet, bare)


def assert_drift_keeps_a_fleet_where_it_is(fleet: Fleet, ipvs: list[str]) -> None:
    fleet.nodes[1].run("ipset del KUBE-CLUSTER-IP 10.96.0.20,tcp:80")
    hook = fleet.hook("before_switch", HOOK.format("before"))
    refused = fleet.play("migrate", *mode("iptables"), *hook)
    failed(refused, "node-b has drifted from ipvs mode: {'add member': 1}")
    assert not (fleet.folder / "log").exists()
    fleet.nodes[1].run("ipset add KUBE-CLUSTER-IP 10.96.0.20,tcp:80")
    assert fleet.dumps() == ipvs


def assert_what_is_disproved_is_undone(fleet: Fleet, ipvs: list[str]) -> None:
    before = fleet.hook("before_switch", HOOK.format("before"))
    after = fleet.hook("after_switch", HOOK.format("after"))
    done = fleet.play("switch_mode", *mode("iptables"), *before, *after, *fleet.hook("prove_switch", DISPROOF))
    reason = "it was brought back to what it was): the cash desk of node-a is dark"
    failed(done, f"node-a is not proved in iptables mode ({reason}", "\nnode 1 of 2: node-a\n", "\n1 node: 1 failed\n")
    assert '\nnot visited in "Nodes move to another mode": node-b\n' in done.stdout
    assert fleet.dumps() == ipvs
    # The next node was left alone, and no traffic was led back to this one.
    assert fleet.log() == ["before node-a"]


def assert_traffic_is_led_back_to_the_nodes_of_a_batch_that_are_proved(fleet: Fleet, ipvs: list[str]) -> None:
    after = fleet.hook("after_switch", HOOK.format("after"))
    disproof = fleet.hook("prove_switch", DISPROOF + "  when: inventory_hostname == 'node-b'\n")
    done = fleet.play("switch_mode", *mode("iptables"), "-e", "kube_proxy_serial=2", *after, *disproof)
    failed(done, "node-b is not proved in iptables mode (it was brought back", "\n2 nodes: 1 changed, 1 failed\n")
    assert fleet.log() == ["after node-a"]
    now = fleet.dumps()
    assert now[1] == ipvs[1]
    assert [trace for trace in TRACES_OF_IPVS if trace in now[0]] == []
    succeeded(fleet.play("switch_mode", *mode("ipvs"), limit="node-a"))
    assert fleet.dumps() == ipvs


def assert_a_fleet_moves_node_by_node(fleet: Fleet, ipvs: list[str], bare: list[str]) -> None:
    hooks = [fleet.hook(f"{name}_switch", HOOK.format(name)) for name in ("before", "prove", "after")]
    moved = succeeded(fleet.play("migrate", *mode("iptables"), *(word for hook in hooks for word in hook)))
    assert min(changed(moved).values()) > 0
    summary = moved.partition("CHANGES ")[2]
    for line in (
        "2 nodes: 2 changed",
        "node-a  changed ",
        "  remove virtual server tcp 10.96.0.10:80 ",
        "(node-a, node-b)",
    ):
        assert line in summary
    assert moved.index("\nnode 1 of 2: node-a\n") < moved.index("\nnode 2 of 2: node-b\n")
    assert fleet.log() == [f"{name} {node}" for node in NODES for name in ("before", "prove", "after")]
    for now, then, first in zip(fleet.dumps(), ipvs, bare, strict=True):
        assert [trace for trace in TRACES_OF_IPVS if trace in now] == []
        assert [trace for trace in TRACES_OF_IPVS if trace not in then] == []
        assert [foreign for foreign in FOREIGN if foreign not in now] == []
        assert ipvs_settings(now) == ipvs_settings(first)
    again = succeeded(fleet.play("switch_mode", *mode("iptables"), limit="node-a"))
    assert changed(again) == {"node-a": 0}


def assert_a_mode_that_silences_services_is_undone(fleet: Fleet, iptables: list[str]) -> None:
    """With the nodes themselves in the cluster CIDR, IPVS mode does not masquerade what they send to pods elsewhere."""
    wrong = ("-e", json.dumps({"kube_proxy_cluster_cidrs": ["10.0.0.0/8"]}))
    done = fleet.play("switch_mode", *mode("ipvs"), *wrong)
    # The other service has an endpoint on the node as well, and answers now and then.
    reason = "it was brought back to what it was): No longer answering: "
    failed(done, f"node-a is not proved in ipvs mode ({reason}", "default/far")
    assert fleet.dumps() == iptables


def assert_kube_proxy_is_respected(fleet: Fleet, iptables: list[str]) -> None:
    node = fleet.nodes[0]
    node.run("cp /bin/sleep /run/kube-proxy && { /run/kube-proxy 600 </dev/null >/dev/null 2>&1 & }")
    failed(fleet.play("switch_mode", *mode("ipvs")), "kube-proxy runs on node-a and would undo")
    assert fleet.dumps() == iptables
    taken = fleet.play("switch_mode", *mode("ipvs"), "-e", "kube_proxy_take_over=true", limit="node-a")
    assert changed(succeeded(taken))["node-a"] > 0
    node.run("pkill -x kube-proxy")


def assert_a_bad_run_is_rolled_back(fleet: Fleet) -> None:
    node = fleet.nodes[0]
    good = dump(node)
    (fleet.folder / "bad.json").write_text(json.dumps(SERVICES[3:]))
    bad = f"kube_proxy_services_src={fleet.folder}/bad.json"
    succeeded(fleet.play("site", "-e", bad, limit="node-a"))
    assert "10.96.0.10" not in dump(node)
    succeeded(fleet.play("rollback", limit="node-a"))
    assert dump(node) == good


def assert_nothing_is_left(fleet: Fleet, bare: list[str]) -> None:
    succeeded(fleet.play("cleanup"))
    assert fleet.dumps() == bare
    again = succeeded(fleet.play("cleanup"))
    assert changed(again) == {"node-a": 0, "node-b": 0}
    assert "\n2 nodes: 2 unchanged\n" in again
