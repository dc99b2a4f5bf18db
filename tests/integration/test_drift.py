# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook drift on nodes with kernels of their own, over SSH: what it finds, what it changes, how it ends.

node-a     NetworkManager's directory, and an nmcli that tells that it ran; its objects are tampered with
node-b     as site.yml leaves it; at last its service data is a file that does not exist
node-gone  does not answer

web        default/web  10.96.0.10:80/tcp, node port 30080 -> 10.244.1.5:8080, 10.244.2.7:8080
api        default/api  10.96.0.20:443/tcp -> 10.244.1.6:8443
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.controller import Controller
from tests.lab import Lab, Node

pytestmark = pytest.mark.lab

NETWORK_MANAGER = "/etc/NetworkManager/conf.d"
SERVICES = [
    {
        "name": "web",
        "cluster_ip": "10.96.0.10",
        "ports": [{"port": 80, "target_port": 8080, "node_port": 30080}],
        "endpoints": ["10.244.1.5", "10.244.2.7"],
    },
    {
        "name": "api",
        "cluster_ip": "10.96.0.20",
        "ports": [{"port": 443, "target_port": 8443}],
        "endpoints": ["10.244.1.6"],
    },
]
# What is changed on node-a, and the objects that the report has to name for it.
ACCESS_FILTER = '-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER'
TAMPERS = {
    "modprobe -r ip_vs_sh": ["add kernel module ip_vs_sh"],
    "rm /etc/modules-load.d/kubenode-proxy.conf": ["add file /etc/modules-load.d/kubenode-proxy.conf"],
    "sysctl -qw net.ipv4.vs.expire_nodest_conn=0": ["change sysctl net.ipv4.vs.expire_nodest_conn"],
    "echo vm.swappiness=1 >>/etc/sysctl.d/60-kubenode-proxy.conf": ["change file /etc/sysctl.d/60-kubenode-proxy.conf"],
    f"rm {NETWORK_MANAGER}/kubenode-proxy.conf": [f"change file {NETWORK_MANAGER}/kubenode-proxy.conf"],
    "ipset del KUBE-CLUSTER-IP 10.96.0.20,tcp:443": ["add member KUBE-CLUSTER-IP 10.96.0.20,tcp:443"],
    "ipset add KUBE-CLUSTER-IP 10.96.0.99,tcp:1": ["remove member KUBE-CLUSTER-IP 10.96.0.99,tcp:1"],
    "ipset create KUBE-MINE hash:ip": [],
    "iptables -t nat -R KUBE-MARK-MASQ 1 -j MARK --set-xmark 0x8000/0x8000": ["change chain ipv4 nat KUBE-MARK-MASQ"],
    "ip6tables -t nat -A KUBE-MARK-MASQ -j ACCEPT": ["change chain ipv6 nat KUBE-MARK-MASQ"],
    "iptables -t nat -N KUBE-SVC-ABCDEFGHIJKLMNOP": ["remove chain ipv4 nat KUBE-SVC-ABCDEFGHIJKLMNOP"],
    "iptables -A INPUT -s 192.0.2.9 -j ACCEPT": [],
    f"iptables -D INPUT 1; iptables -A INPUT {ACCESS_FILTER}": ["change jump ipv4 filter INPUT -> KUBE-IPVS-FILTER"],
    "ipvsadm -E -t 10.96.0.20:443 -s wrr": ["change virtual server tcp 10.96.0.20:443"],
    "ipvsadm -A -t 192.0.2.80:80 -s rr": [],
    "ipvsadm -D -t 10.77.0.11:30080": [
        "add virtual server tcp 10.77.0.11:30080",
        "add real server tcp 10.77.0.11:30080 -> 10.244.1.5:8080",
        "add real server tcp 10.77.0.11:30080 -> 10.244.2.7:8080",
    ],
    "ipvsadm -e -t 10.96.0.10:80 -r 10.244.1.5:8080 -m -w 7": [
        "change real server tcp 10.96.0.10:80 -> 10.244.1.5:8080"
    ],
    "ipvsadm -d -t 10.96.0.10:80 -r 10.244.2.7:8080": ["add real server tcp 10.96.0.10:80 -> 10.244.2.7:8080"],
    "ip address del 10.96.0.20/32 dev kube-ipvs0": ["add address kube-ipvs0 10.96.0.20/32"],
}
# Everything that a run could change, times of files included; counters of chains change with every packet.
DUMP = """\
lsmod | cut -d' ' -f1
ipset save
for save in iptables-save ip6tables-save; do $save | sed -e '/^#/d' -e 's/ \\[.*//'; done
ipvsadm -Sn
ip -o address
sysctl -a --pattern '^net.ipv4.(vs|ip_forward|conf.(all|default).(arp_|route_))|nf_conntrack_(max|.*timeout)|bridge-nf'
ls /run/nmcli-ran 2>&1
find /var/lib/kubenode-proxy /etc/modules-load.d /etc/sysctl.d /etc/NetworkManager -type f \
  -exec stat -c '%n %i %y %a' {} +
"""
# The directory's own: what this machine may have there would show through.
PREPARE = """\
rm -rf /var/lib/kubenode-proxy
mkdir -p /etc/NetworkManager/conf.d
printf '#!/bin/sh\\ndate >>/run/nmcli-ran\\n' >/usr/local/bin/nmcli
chmod +x /usr/local/bin/nmcli
"""


def objects(node: Mapping[str, Any]) -> list[str]:
    return sorted(f"{one['verb']} {one['kind']} {one['name']}" for one in node["objects"])


def statuses(report: Mapping[str, Any]) -> dict[str, str]:
    return {name: node["status"] for name, node in report["nodes"].items()}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("drift") as found:
        found.start_all(["node-a", "node-b"])
        yield found


def test_drift_is_found_corrected_and_told_apart(lab: Lab, ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    node = lab.nodes["node-a"]
    node.run(PREPARE)
    gone = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "root"}
    controller = Controller(tmp_path, ansible_env, lab, SERVICES, others={"node-gone": gone})
    first = controller.play("site")
    assert first.returncode == 0, first.stdout[-4000:]

    clean = controller.play("drift")
    assert clean.returncode == 0, clean.stdout[-4000:]
    assert statuses(controller.report()) == {"node-a": "clean", "node-b": "clean"}

    assert_found(controller, node)
    assert_corrected(controller, node)
    assert_failures_stay_apart(controller, node)


def assert_found(controller: Controller, node: Node) -> None:
    """Exactly what was tampered with is found; nothing is changed, whatever else is asked for in check mode."""
    node.run("rm /run/nmcli-ran")
    node.run("set -e\n" + "\n".join(TAMPERS))
    before = node.run(DUMP).stdout
    found = controller.play("drift", "--diff")
    assert found.returncode == 10, found.stdout[-4000:]
    report = controller.report()
    assert statuses(report) == {"node-a": "drifted", "node-b": "clean"}
    expected = sorted(name for names in TAMPERS.values() for name in names)
    assert objects(report["nodes"]["node-a"]) == expected
    assert sum(report["nodes"]["node-a"]["counts"].values()) == report["totals"]["objects"] == len(expected)
    for line in ("-add KUBE-CLUSTER-IP 10.96.0.99,tcp:1", "+-a -t 10.96.0.10:80 -r 10.244.1.5:8080 -m -w 1"):
        assert line in found.stdout
    assert "  change virtual server tcp 10.96.0.20:443: scheduler is wrr, not rr (node-a)" in found.stdout
    checked = controller.play("drift", "--check", "-e", "kube_proxy_drift_correct=true", limit="node-a")
    assert checked.returncode == 10, checked.stdout[-4000:]
    assert node.run(DUMP).stdout == before


def assert_corrected(controller: Controller, node: Node) -> None:
    """What was found is corrected, and foreign objects stay."""
    path = "made/corrected.json"
    (controller.folder / "made").mkdir()
    options = ("-e", "kube_proxy_drift_correct=true", "-e", f"kube_proxy_drift_report={path}")
    corrected = controller.play("drift", *options)
    assert corrected.returncode == 11, corrected.stdout[-4000:]
    report = controller.report(path)
    assert statuses(report) == {"node-a": "corrected", "node-b": "clean"}
    assert objects(report["nodes"]["node-a"]) == objects(controller.report()["nodes"]["node-a"])
    left = node.run(DUMP).stdout
    for foreign in ("KUBE-MINE", "-A INPUT -s 192.0.2.9/32 -j ACCEPT", "-A -t 192.0.2.80:80 -s rr"):
        assert foreign in left


def assert_failures_stay_apart(controller: Controller, node: Node) -> None:
    """A node that fails and one that does not answer are in the report, and do not keep the others from it."""
    node.run("echo >>/var/lib/kubenode-proxy/rule_set")
    (controller.folder / "host_vars").mkdir()
    (controller.folder / "host_vars/node-b.json").write_text('{"kube_proxy_services_src": "/nowhere.json"}')
    mixed = controller.play("drift", limit="all")
    assert mixed.returncode == 4, mixed.stdout[-4000:]
    report = controller.report()
    assert statuses(report) == {"node-a": "drifted", "node-b": "failed", "node-gone": "unreachable"}
    assert objects(report["nodes"]["node-a"]) == ["change file /var/lib/kubenode-proxy/rule_set"]
    assert "/nowhere.json: No such file or directory" in report["nodes"]["node-b"]["message"]
    assert "127.0.0.1" in report["nodes"]["node-gone"]["message"]
