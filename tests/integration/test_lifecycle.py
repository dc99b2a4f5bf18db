# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A node's way into a mode, on to another, back, and out of it: by Ansible, on a network namespace of a real kernel.

Foreign objects are there from the start, and have to be there at the end.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_modules import LOCAL_HOST, Target
from tests.lab.netns import Network
from tests.needs import root_and

pytestmark = root_and()

# Without comments and counters; not what the tools make by looking.
RULES = "for p in iptables ip6tables; do $p-save | sed -e '/^#/d' -e 's/ \\[.*//'; done"
SYSCTLS = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/route_localnet"
DUMP = f"{RULES}; nft -s list tables | grep -v -e filter -e nat -e mangle; ip -br link; {SYSCTLS}"
FOREIGN = (
    "iptables -N KUBE-MINE && iptables -A KUBE-MINE -s 192.0.2.1 -j DROP && iptables -A INPUT -j KUBE-MINE && "
    "iptables -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE && ip6tables -A INPUT -s 2001:db8::1 -j DROP && "
    "iptables -t mangle -A PREROUTING -s 192.0.2.3 -j MARK --set-mark 1 && "
    "iptables -t nat -A PREROUTING -s 192.0.2.4 -j ACCEPT && iptables -t nat -A OUTPUT -s 192.0.2.4 -j ACCEPT && "
    "ip6tables -t nat -A POSTROUTING -s 2001:db8::1 -j ACCEPT && nft add table inet mine"
)
SERVICES = [
    {
        "name": "web",
        "cluster_ip": "10.96.0.10",
        "ports": [{"port": 80, "target_port": 8080, "node_port": 30080}],
        "endpoints": ["10.244.1.5", "10.244.2.7"],
    }
]
NODE = {"name": "node-a", "addresses": ["192.168.1.11"]}


@pytest.fixture
def node(ansible_env: Mapping[str, str], tmp_path: Path) -> Iterator[Target]:
    """A node with foreign objects, on which nothing of kube-proxy has ever been."""
    with Network() as network:
        network.add("case")
        network.build()
        name = network.full_name("case")
        target = Target(tmp_path, ansible_env, LOCAL_HOST, name)
        network.run("case", ["sh", "-ec", FOREIGN])
        yield target
        shutil.rmtree(f"/var/lib/kubenode-proxy/netns/{name}", ignore_errors=True)


def converged(mode: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    configuration = {"mode": mode, "cluster_cidrs": ["10.244.0.0/16"], "conntrack_max_per_core": 0}
    return "rule_set", {"services": SERVICES, "node": NODE, "configuration": configuration, **arguments}


ABSENT = ("rule_set", {"state": "absent"})
RESTORED = ("rule_set", {"state": "restored"})


def folder(node: Target) -> Path:
    return Path("/var/lib/kubenode-proxy/netns") / node.netns


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_nothing_is_left_and_nothing_foreign_is_gone(node: Target, mode: str) -> None:
    first, gone = node.four_runs(DUMP, converged(mode), ABSENT)
    assert gone.dumps[-1] == first.dumps[0]
    assert gone.real["rule_set"] is None
    assert [path.name for path in folder(node).iterdir()] == ["snapshots"]
    assert gone.real["counts"]["remove sysctl"] >= 1


def test_a_mode_leaves_nothing_to_the_next(node: Target) -> None:
    iptables, nftables, iptables_again = node.four_runs(
        DUMP, converged("iptables"), converged("nftables"), converged("iptables")
    )
    assert "KUBE-" not in nftables.dumps[-1].replace("KUBE-MINE", "")
    assert iptables_again.dumps[-1] == iptables.dumps[-1]
    # Only iptables mode opens 127.0.0.0/8, and the setting goes back with it.
    assert [runs.dumps[-1].splitlines()[-1] for runs in (iptables, nftables, iptables_again)] == ["1", "0", "1"]


def test_what_was_is_restored(node: Target) -> None:
    more = [*SERVICES, {**SERVICES[0], "name": "api", "cluster_ip": "10.96.0.11", "ports": [{"port": 443}]}]
    first, second = node.four_runs(DUMP, converged("iptables"), converged("nftables", services=more))
    names = second.real["snapshots"]
    assert names == [first.real["snapshot"], second.real["snapshot"]]
    assert [second.check["snapshot"], second.real_again["snapshot"]] == [None, None]
    services = (folder(node) / "services.json").read_text()
    [back] = node.four_runs(DUMP, RESTORED)
    assert back.real["restored"] == names[-1]
    assert back.dumps[-1] == first.dumps[-1]
    assert (folder(node) / "services.json").read_text() != services
    assert "mode = iptables" in (folder(node) / "rule_set").read_text()
    wanted = json.loads((folder(node) / "sysctls_before").read_text())["wanted"]["rule_set"]
    assert "net.ipv4.conf.all.route_localnet" in wanted
    [oldest] = node.four_runs(DUMP, ("rule_set", {"state": "restored", "snapshot": names[0]}))
    assert oldest.dumps[-1] == first.dumps[0]
    assert not (folder(node) / "rule_set").exists()
    assert not (folder(node) / "sysctls_before").exists()


def test_a_node_keeps_the_newest_snapshots(node: Target) -> None:
    runs = [converged(mode, snapshots=2) for mode in ("iptables", "nftables", "iptables", "nftables")]
    tasks = [node.task(*run) for run in runs]
    results = node.play(*tasks, node.task(*converged("iptables", snapshots=0)))
    names = [result["snapshots"] for result in results]
    assert [len(found) for found in names] == [1, 2, 2, 2, 0]
    assert names[3][0] == names[2][1]
    refused = node.play({**node.task(*RESTORED), "ignore_errors": True})[0]
    assert "there is no snapshot in" in refused["msg"]


def test_a_snapshot_that_is_not_there_is_named(node: Target) -> None:
    node.one_run(*converged("iptables"))
    found = node.play({**node.task("rule_set", {"state": "restored", "snapshot": "x"}), "ignore_errors": True})[0]
    assert found["msg"].startswith("there is no snapshot x: there are 2")


def test_kube_proxy_s_own_chains_go_unless_they_are_at_work(node: Target) -> None:
    canaries = "for t in mangle nat filter; do iptables -t $t -N KUBE-PROXY-CANARY; done"
    _start, kept, _check, gone = node.play(
        node.start(canaries),
        node.task(*converged("iptables")),
        node.task(*converged("nftables"), check_mode=True),
        node.task(*converged("nftables")),
    )
    assert not [o for o in kept["operations"] if "CANARY" in o["name"]]
    assert [o["name"] for o in gone["operations"] if "CANARY" in o["name"]] == [
        f"ipv4 {table} KUBE-PROXY-CANARY" for table in ("filter", "mangle", "nat")
    ]


def test_the_firewall_chain_goes_unless_kubelet_shares_it(node: Target) -> None:
    has_firewall = node.read("iptables -S | grep -c KUBE-FIREWALL")
    kubelet = "iptables -t mangle -N KUBE-KUBELET-CANARY"
    found = node.play(
        node.task(*converged("iptables")),
        has_firewall,
        node.task(*converged("nftables")),
        has_firewall,
        node.task(*converged("iptables")),
        node.start(kubelet),
        node.task(*ABSENT),
        has_firewall,
        node.read("iptables-save | grep -c KUBE-KUBELET-CANARY"),
    )
    assert [found[at]["stdout"] for at in (1, 3, 7, 8)] == ["4", "0", "4", "1"]


def test_a_node_where_kube_proxy_runs_is_only_looked_at(node: Target, tmp_path: Path) -> None:
    program = tmp_path / "kube-proxy"
    shutil.copy(shutil.which("sleep") or "", program)
    arguments = converged("iptables")
    found = node.play(
        node.start(f"{program} 120 >/dev/null 2>&1 & echo $!"),
        node.task(*arguments, check_mode=True),
        {**node.task(*arguments), "ignore_errors": True},
        {**node.task(*ABSENT), "ignore_errors": True},
        node.read(DUMP),
        node.task("rule_set", {**arguments[1], "take_over": True}),
        node.read(f"kill $(pidof {program})"),
    )
    _pid, looked, refused, not_removed, dump, taken_over, _killed = found
    assert looked["changed"] and not looked.get("failed")
    assert refused["failed"] and refused["msg"].startswith("kube-proxy runs on this node (process ")
    assert not_removed["failed"] and "kube_proxy_take_over" in not_removed["msg"]
    assert "KUBE-SERVICES" not in dump["stdout"]
    assert taken_over["changed"]
