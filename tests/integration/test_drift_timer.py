# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node with systemd that looks after itself: the units of the role drift_timer, started as systemd starts them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.documentation import GUIDES, SHELL, blocks
from tests.lab import Lab, Node

pytestmark = pytest.mark.lab

SERVICES = [
    {
        "name": "web",
        "cluster_ip": "10.96.0.10",
        "ports": [{"port": 80, "target_port": 8080, "node_port": 30080}],
        "endpoints": [{"address": "10.244.1.5"}, {"address": "10.244.2.7"}],
    }
]
SERVER = "-a -t 10.96.0.10:80 -r 10.244.2.7:8080 -m -w 1"
METRICS = "/var/lib/prometheus/node-exporter/kubenode_proxy.prom"
DRIFT = "kubenode-proxy-drift.service"
BOOT = "kubenode-proxy-boot.service"
UNITS = [BOOT, DRIFT, "kubenode-proxy-drift.timer"]
# Notes what the node has by the time that pods could start.
KUBELET = """\
[Service]
Type=oneshot
ExecStart=/bin/sh -c "ipvsadm -Sn >/root/at-kubelet; iptables-save >>/root/at-kubelet"
[Install]
WantedBy=multi-user.target
"""
# One of each subsystem, and one that is not ours.
TAMPERS = """\
set -e
sysctl -qw net.ipv4.vs.conntrack=0
ipset del KUBE-CLUSTER-IP 10.96.0.10,tcp:80
ipvsadm -d -t 10.96.0.10:80 -r 10.244.2.7:8080
ip address del 10.96.0.10/32 dev kube-ipvs0
rm /etc/sysctl.d/60-kubenode-proxy.conf
ipset create -exist FOREIGN hash:ip
"""
FOUND = {
    "change sysctl net.ipv4.vs.conntrack: is 0, not 1",
    "add member KUBE-CLUSTER-IP 10.96.0.10,tcp:80: missing",
    "add real server tcp 10.96.0.10:80 -> 10.244.2.7:8080: missing",
    "add address kube-ipvs0 10.96.0.10/32: missing",
    "add file /etc/sysctl.d/60-kubenode-proxy.conf: missing",
}


def play(node: Node, env: Mapping[str, str], folder: Path, *roles: str, **variables: object) -> str:
    """Runs roles on the node; what Ansible prints."""
    tasks = [{"ansible.builtin.import_role": {"name": f"kubenode.proxy.{role}"}} for role in roles]
    document = [{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (folder / "play.yml").write_text(yaml.safe_dump(document))
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": {"node-a": node.inventory_vars()}}}))
    command = ["ansible-playbook", "-i", str(folder / "inventory.yml"), str(folder / "play.yml")]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def node(ansible_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("drift-timer")
    with Lab("timer") as lab:
        node = lab.start("node-a", systemd=True, image=folder / "node.ext4")
        node.run("cat >/etc/systemd/system/kubelet.service && systemctl enable kubelet", input=KUBELET)
        roles = ("node_prepare", "kube_proxy", "drift_timer")
        play(node, ansible_env, folder, *roles, kube_proxy_services=SERVICES)
        yield node


def start(node: Node, unit: str) -> tuple[str, str, dict[str, float]]:
    """Starts a service; its state, what it wrote to the journal, and its metrics by name and labels."""
    node.run(["systemctl", "start", unit], check=False, timeout=120)
    shown = node.run(["systemctl", "show", "-p", "Result,ExecMainStatus,InvocationID", unit]).stdout
    found = dict(line.split("=", 1) for line in shown.splitlines())
    this_run = f"_SYSTEMD_INVOCATION_ID={found['InvocationID']}"
    journal = node.run(["journalctl", "-o", "cat", "--no-pager", this_run]).stdout
    families = text_string_to_metric_families(node.run(["cat", METRICS]).stdout)
    metrics = {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }
    return f"{found['Result']} {found['ExecMainStatus']}", journal, metrics


def test_a_second_run_changes_nothing(node: Node, ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    assert "changed=0" in play(node, ansible_env, tmp_path, "drift_timer")


def test_systemd_finds_no_fault_with_the_units(node: Node) -> None:
    done = node.run(["systemd-analyze", "verify", *UNITS], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # From 0, locked away, to 100, all allowed. A service of which nothing is said is at 96.
    node.run(["systemd-analyze", "security", "--threshold=35", BOOT, DRIFT])
    assert node.run(["systemctl", "is-enabled", *UNITS], check=False).stdout.split() == ["enabled", "static", "enabled"]
    assert node.run(["systemctl", "is-active", "kubenode-proxy-drift.timer"]).stdout.strip() == "active"


def test_the_timer_starts_the_service(node: Node) -> None:
    folder = "/run/systemd/system/kubenode-proxy-drift.timer.d"
    often = "[Timer]\\nOnCalendar=*:*:*\\nRandomizedDelaySec=0\\nAccuracySec=100ms\\n"
    before = node.run(["systemctl", "show", "-p", "InvocationID", DRIFT]).stdout
    restart = "systemctl daemon-reload && systemctl restart kubenode-proxy-drift.timer"
    node.run(f"mkdir -p {folder} && printf '{often}' >{folder}/often.conf && {restart}")
    shown = f"systemctl show -p InvocationID {DRIFT}"
    try:
        node.run(f'while [ "$({shown})" = "{before.strip()}" ]; do sleep 0.2; done', timeout=60)
    finally:
        node.run(f"rm -r {folder} && {restart}")


def test_drift_is_reported_and_then_corrected(node: Node) -> None:
    state, _journal, metrics = start(node, DRIFT)
    assert state == "success 0"
    assert metrics["kubenode_proxy_last_run_status clean"] == 1

    node.run(TAMPERS)
    state, journal, metrics = start(node, DRIFT)
    assert state == "exit-code 10"
    assert DRIFT in node.run("systemctl --failed --no-legend").stdout
    assert {line.strip() for line in journal.splitlines() if line.startswith("  ")} == FOUND
    assert metrics["kubenode_proxy_last_run_status drifted"] == 1
    assert metrics["kubenode_proxy_last_run_status clean"] == 0
    assert metrics["kubenode_proxy_drifted_objects real server"] == 1
    assert metrics["kubenode_proxy_drifted_objects chain"] == 0
    assert SERVER not in node.run("ipvsadm -Sn").stdout

    snapshots = node.run("ls /var/lib/kubenode-proxy/snapshots").stdout
    state, journal, metrics = start(node, BOOT)
    assert state == "success 11"
    assert node.run("ls /var/lib/kubenode-proxy/snapshots").stdout == snapshots
    assert {line.strip() for line in journal.splitlines() if line.startswith("  ")} == FOUND
    assert metrics["kubenode_proxy_last_run_status corrected"] == 1
    assert SERVER in node.run("ipvsadm -Sn").stdout
    assert json.loads(node.run("cat /var/lib/kubenode-proxy/last_run.json").stdout)["status"] == "corrected"

    state, _journal, metrics = start(node, DRIFT)
    assert state == "success 0"
    assert sum(value for name, value in metrics.items() if "drifted_objects" in name) == 0
    assert "FOREIGN" in node.run("ipset list -n").stdout


def test_what_the_guide_shows(node: Node) -> None:
    """The commands of docs/guides/periodic.md for a node."""
    guide = next(page for page in GUIDES if page.name == "periodic.md")
    lines = [line for block in blocks(guide) if block.language == SHELL for line in block.examples()]
    printed = {line: node.run(line).stdout for line in lines if not line.startswith("ansible-playbook ")}
    assert len(printed) == 6
    assert "kubenode-proxy-drift.timer" in printed["systemctl list-timers kubenode-proxy-drift.timer"]
    assert "drifted" in printed["journalctl -u kubenode-proxy-drift.service"]
    assert json.loads(printed["kubenode-proxy report --json"])["status"] == "clean"


def test_nothing_is_corrected_beside_a_kube_proxy(node: Node) -> None:
    # Only by its name is it one; it has capabilities that the unit lacks.
    node.run("cp /bin/sleep /root/kube-proxy && systemd-run --unit=stand-in /root/kube-proxy 600")
    node.run(TAMPERS)
    try:
        state, journal, metrics = start(node, BOOT)
    finally:
        node.run("systemctl stop stand-in")
    assert state == "exit-code 1"
    assert "rule_set: kube-proxy runs on this node (process " in journal
    assert metrics["kubenode_proxy_last_run_status failed"] == 1
    assert SERVER not in node.run("ipvsadm -Sn").stdout
    assert start(node, BOOT)[0] == "success 11"


def test_the_node_comes_back_by_itself_before_pods_need_it(node: Node) -> None:
    before = node.run("ipvsadm -Sn; iptables-save").stdout
    node.reboot()
    assert node.run("systemctl is-system-running --wait", timeout=120).stdout.strip() == "running"
    at_kubelet = node.run(["cat", "/root/at-kubelet"]).stdout
    assert rules(at_kubelet) == rules(before)
    assert SERVER in before
    assert start(node, DRIFT)[0] == "success 0"


def rules(text: str) -> list[str]:
    """Without comments and counters."""
    return [re.sub(r"\[\d+:\d+\]", "", line) for line in text.splitlines() if not line.startswith("#")]


def test_all_of_it_can_be_taken_away(node: Node, ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    play(node, ansible_env, tmp_path, "drift_timer", drift_timer_state="absent")
    paths = ["/usr/local/sbin/kubenode-proxy", METRICS, *(f"/etc/systemd/system/{unit}" for unit in UNITS)]
    assert node.run(["ls", *paths], check=False).stdout == ""
    assert node.run("systemctl list-units --all --no-legend 'kubenode-proxy*'").stdout == ""
    assert SERVER in node.run("ipvsadm -Sn").stdout
