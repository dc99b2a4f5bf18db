# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules, run by Ansible against real kernels.

Each case makes four runs: check, real, check, real. What the kernel holds is read with the tools themselves.

guest             a node with ip_vs; each test has a network namespace "case" in it
local             a network namespace of this machine, for iptables, sets and sysctls
virtual servers   10.96.0.0/16, fd00:96::/32
real servers      10.244.0.0/16, fd00:244::/32
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model import node as model_node
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.nftables import render
from ansible_collections.kubenode.proxy.plugins.module_utils.state import rule_set
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import parse as parse_tables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import parse as parse_servers
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import Link

from tests.clusters import FACTS
from tests.lab import Node
from tests.lab.netns import Network
from tests.needs import root_and
from tests.world import layout
from tests.world.cases import service

pytestmark = root_and()

PYTHON_38 = "/root/.pyenv/versions/3.8.18/bin/python"
LOCAL_HOST = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
SERVERS = "ipvsadm -Sn"
ADDRESSES = "ip -details address show dev kube-ipvs0 2>&1"
# Without comments, which have the time, and counters.
SAVE = "{0}-save | sed -e '/^#/d' -e 's/ \\[.*//'"
CHAINS = f"{SAVE.format('iptables')}; {SAVE.format('ip6tables')}"
Result = dict[str, Any]


class Runs(NamedTuple):
    """Results of the four runs, and what the kernel held before, after the first, the second and the last one."""

    check: Result
    real: Result
    check_again: Result
    real_again: Result
    dumps: list[str]


class Target:
    """A network namespace that Ansible reaches."""

    def __init__(self, folder: Path, env: Mapping[str, str], variables: Mapping[str, Any], netns: str) -> None:
        self.netns = netns
        self._folder = folder
        self._env = env
        self._inventory = {"all": {"hosts": {"target": dict(variables)}}}

    def play(self, *tasks: Mapping[str, Any], **variables: Any) -> list[Result]:
        """Runs tasks in one play; their results."""
        tasks_ = [{**task, "name": f"Task {i}", "register": f"result_{i}"} for i, task in enumerate(tasks)]
        names = ", ".join(f"result_{i}" for i in range(len(tasks)))
        output = self._folder / "results.json"
        save = {
            "name": "Results are saved",
            "ansible.builtin.copy": {"dest": str(output), "content": f"{{{{ [{names}] | to_json }}}}", "mode": "0600"},
            "delegate_to": "localhost",
            "vars": LOCAL_HOST,
            "check_mode": False,
            "diff": False,
        }
        play = {"name": "Case", "hosts": "target", "gather_facts": False, "vars": variables, "tasks": [*tasks_, save]}
        (self._folder / "inventory.json").write_text(json.dumps(self._inventory))
        (self._folder / "play.json").write_text(json.dumps([play]))
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self._folder / "inventory.json"), str(self._folder / "play.json")],
            env=dict(self._env),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        results: list[Result] = json.loads(output.read_text())
        for result in results:
            if "stdout" in result:
                # ssh's terminal ends lines with both.
                result["stdout"] = result["stdout"].replace("\r\n", "\n").strip()
        return results

    def four_runs(self, dump: str, *calls: tuple[str, Mapping[str, Any]]) -> list[Runs]:
        """Check, real, check, real of each module with its arguments, all in one play."""
        tasks = []
        for module, arguments in calls:
            check, real = (self.task(module, arguments, check_mode=mode, diff=True) for mode in (True, False))
            read = self.read(dump)
            tasks += [read, check, read, real, read, check, real, read]
        found = iter(self.play(*tasks))
        runs = []
        for _call in calls:
            before, check, after_check, real, after_real, check_again, real_again, after_all = islice(found, 8)
            dumps = [result["stdout"] for result in (before, after_check, after_real, after_all)]
            runs.append(Runs(check, real, check_again, real_again, dumps))
            assert_idempotent(runs[-1])
        return runs

    def one_run(self, module: str, arguments: Mapping[str, Any], **keywords: Any) -> Result:
        """One real run."""
        return self.play(self.task(module, arguments, **keywords))[0]

    def task(self, module: str, arguments: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
        """A task in the network namespace, unless the arguments say otherwise."""
        given = {"netns": self.netns, **arguments}
        task = {f"kubenode.proxy.{module}": {name: value for name, value in given.items() if value is not None}}
        return {**task, **keywords}

    def read(self, command: str) -> dict[str, Any]:
        """A task that runs a command in the network namespace, whether it fails or not; without Python, for speed."""
        line = shlex.join(["ip", "netns", "exec", self.netns, "sh", "-c", command])
        return {"ansible.builtin.raw": line, "changed_when": False, "failed_when": False}

    def start(self, command: str) -> dict[str, Any]:
        """A task that starts something in the network namespace, which ends with it."""
        return {"ansible.builtin.command": {"argv": ["ip", "netns", "exec", self.netns, "sh", "-c", command]}}


@pytest.fixture
def case(guest: Node, ansible_env: Mapping[str, str], tmp_path: Path) -> Iterator[Target]:
    """A network namespace of the guest. Without an interface that is up the kernel refuses real servers."""
    with Network(guest.run, prefix="") as network:
        network.add("case")
        network.build()
        yield Target(tmp_path, ansible_env, guest.inventory_vars(), "case")
    guest.run(["rm", "-rf", "/var/lib/kubenode-proxy/netns/case"])


@pytest.fixture
def local(ansible_env: Mapping[str, str], tmp_path: Path) -> Iterator[Target]:
    """A network namespace of this machine."""
    with Network() as network:
        network.add("case")
        network.build()
        yield Target(tmp_path, ansible_env, LOCAL_HOST, network.full_name("case"))


def assert_idempotent(runs: Runs) -> None:
    """What holds for each case."""
    before, after_check, after_real, after_all = runs.dumps
    assert runs.check["changed"]
    assert before == after_check
    assert runs.real["changed"]
    assert before != after_real
    assert not runs.check_again["changed"]
    assert not runs.real_again["changed"]
    assert after_real == after_all
    assert runs.check["operations"] == runs.real["operations"] != []
    assert runs.check["diff"] == runs.real["diff"]
    assert runs.real_again["operations"] == []


def changed_lines(result: Result) -> list[str]:
    """Lines that only one side of the diff has."""
    diffs = result["diff"] if isinstance(result["diff"], list) else [result["diff"]]
    found = []
    for diff in diffs:
        before, after = (diff[side].splitlines() for side in ("before", "after"))
        found += [f"-{line}" for line in before if line not in after]
        found += [f"+{line}" for line in after if line not in before]
    return found


def real_server(number: int, **options: Any) -> dict[str, Any]:
    return {"address": f"10.244.0.{number}", "port": 8080, **options}


WEB = {"address": "10.96.0.1", "port": 80}


def test_virtual_servers(case: Target) -> None:
    services = [
        {**WEB, "scheduler": "wrr", "real_servers": [real_server(1, weight=3), real_server(2)]},
        {
            "address": "FD00:96:0::1",
            "port": 443,
            "scheduler": "mh",
            "scheduler_flags": ["mh-port"],
            "persistence_timeout": 60,
            "persistence_netmask": 64,
            "real_servers": [{"address": "fd00:244::1", "upper_threshold": 10, "lower_threshold": 5}],
        },
        {"protocol": "udp", "address": "10.96.0.1", "port": 53, "one_packet": True},
        {
            "fwmark": 7,
            "real_servers": [
                {"address": "10.244.0.1", "forwarding": "route"},
                {"address": "fd00:244::1", "forwarding": "tunnel", "tunnel": {"type": "gue", "port": 6080}},
            ],
        },
    ]
    # ipvsadm saves no thresholds.
    dump = f"{SERVERS} | sort; ipvsadm -Ln --thresholds | grep -F '[fd00:244::1]:443'"
    [runs] = case.four_runs(dump, ("ipvs_service", {"services": services}))
    *saved, thresholds = runs.dumps[-1].splitlines()
    assert thresholds.split()[2:4] == ["10", "5"]
    assert saved == [
        "-A -f 7 -s rr",
        "-A -t 10.96.0.1:80 -s wrr",
        "-A -t [fd00:96::1]:443 -s mh -p 60 -M 64 -b mh-port",
        "-A -u 10.96.0.1:53 -s rr -o",
        "-a -f 7 -r 10.244.0.1:0 -g -w 1",
        "-a -f 7 -r [fd00:244::1]:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
        "-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 3",
        "-a -t 10.96.0.1:80 -r 10.244.0.2:8080 -m -w 1",
        "-a -t [fd00:96::1]:443 -r [fd00:244::1]:443 -m -w 1",
    ]
    assert runs.real["draining"] == []
    assert "+-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 3" in changed_lines(runs.check)


def test_a_virtual_server_changes_in_place(case: Target) -> None:
    before = [{**WEB, "real_servers": [real_server(1), real_server(2)]}, {"address": "10.96.0.9", "port": 80}]
    case.one_run("ipvs_service", {"services": before})
    changed = {**WEB, "scheduler": "wrr", "real_servers": [real_server(2, weight=5), real_server(3)]}
    _merged, exact, gone = case.four_runs(
        SERVERS,
        ("ipvs_service", {**changed, "real_servers_policy": "merge"}),
        ("ipvs_service", {**changed, "only_owner": True}),
        ("ipvs_service", {**WEB, "state": "absent"}),
    )
    assert changed_lines(exact.check) == [
        "--a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1",
        "--A -t 10.96.0.9:80 -s rr",
    ]
    assert gone.dumps[-1] == ""


SERVE = "ip address add 10.244.0.1/32 dev lo; nohup nc -lk 10.244.0.1 8080 >/dev/null 2>&1 & sleep 0.5"
CONNECT = "(sleep 60 | nohup nc 10.96.0.1 80) >/dev/null 2>&1 & sleep 3"


def test_a_real_server_with_connections_is_drained_and_counters_are_reset(case: Target) -> None:
    service = {**WEB, "real_servers": [real_server(1)]}
    bare = {**WEB, "real_servers": []}
    found = case.play(
        case.task("ipvs_service", service),
        case.task("dummy_addresses", {"addresses": ["10.96.0.1"]}),
        case.start(SERVE),
        case.start(CONNECT),
        case.task("proxy_info", {"gather": ["virtual_servers", "addresses"]}),
        case.task("ipvs_service", {**service, "reset_counters": True}, check_mode=True),
        case.task("ipvs_service", {**service, "reset_counters": True}),
        case.task("ipvs_service", {**service, "reset_counters": True}),
        case.task("ipvs_service", bare),
        case.task("ipvs_service", bare),
        case.task("ipvs_service", {**bare, "drain": []}),
        case.read(SERVERS),
    )
    info, reset_check, reset, reset_again, drain, drain_again, removed, dump = found[4:]
    server = info["virtual_servers"][0]
    assert server["traffic"]["connections"] == 1
    assert server["real_servers"][0]["active_connections"] == 1
    assert info["addresses"] == ["10.96.0.1/32"]
    assert [result["changed"] for result in (reset_check, reset, reset_again)] == [True, True, False]
    assert [(o["verb"], o["kind"]) for o in reset["operations"]] == [("change", "counters")]
    assert [o["reason"] for o in drain["operations"]] == ["draining, 1 connection"]
    assert not drain_again["changed"]
    for result in (drain, drain_again):
        assert result["draining"] == [
            {"virtual_server": "tcp 10.96.0.1:80", "real_server": "10.244.0.1:8080", "connections": 1}
        ]
    assert [o["verb"] for o in removed["operations"]] == ["remove"]
    assert removed["draining"] == []
    assert dump["stdout"] == "-A -t 10.96.0.1:80 -s rr"


def test_arguments_are_checked_before_anything_is_read(case: Target) -> None:
    bad = [{**WEB, "real_servers": [{"address": "fd00:244::1"}, real_server(2, weight=-1)]}, {"fwmark": 0}]
    result = case.one_run("ipvs_service", {"services": bad, "netns": None}, ignore_errors=True)
    assert result["failed"]
    assert [problem.partition(":")[0] for problem in result["problems"]] == [
        "services[0].real_servers[0].address",
        "services[0].real_servers[1].weight",
        "services[1].fwmark",
    ]


def test_a_scheduler_that_the_kernel_lacks_is_named_before_anything_is_written(case: Target) -> None:
    services = [WEB, {"fwmark": 1, "scheduler": "magic"}]
    result, dump = case.play(case.task("ipvs_service", {"services": services}, ignore_errors=True), case.read(SERVERS))
    assert "has no scheduler 'magic'" in result["msg"]
    assert dump["stdout"] == ""


def test_addresses_of_a_link(case: Target) -> None:
    made, merged, exact, gone = case.four_runs(
        ADDRESSES,
        ("dummy_addresses", {"addresses": ["10.96.0.1", "10.96.0.2/32", "FD00:96:0::1"]}),
        ("dummy_addresses", {"addresses": ["10.96.0.3"], "policy": "merge"}),
        ("dummy_addresses", {"addresses": ["10.96.0.3"]}),
        ("dummy_addresses", {"state": "absent"}),
    )
    assert "state DOWN" in made.dumps[-1]
    assert changed_lines(made.check) == ["+link kube-ipvs0", "+10.96.0.1/32", "+10.96.0.2/32", "+fd00:96::1/128"]
    assert changed_lines(merged.real) == ["+10.96.0.3/32"]
    assert [o["verb"] for o in exact.real["operations"]] == ["remove"] * 3
    assert "does not exist" in gone.dumps[-1]


def compiled(folder: Path, servers: str) -> dict[str, Any]:
    """A task that puts a rule set with these virtual servers on the node."""
    nat = "*nat\n:OUTPUT ACCEPT\n:KUBE-SERVICES -\n-A OUTPUT -j KUBE-SERVICES\n-A KUBE-SERVICES -j RETURN\nCOMMIT\n"
    content = rule_set.RuleSet.empty()._replace(
        tables={"ipv4": parse_tables(nat), "ipv6": {}},
        virtual_servers=parse_servers(servers),
        link=Link("kube-ipvs0", frozenset({"10.96.0.1/32"})),
    )
    path = folder / "rule_set"
    copy = {"dest": "/root/rule_set", "content": rule_set.render(content), "mode": "0600"}
    path.write_text(copy["content"])
    return {"ansible.builtin.copy": copy}


FOREIGN = "-A -t 10.99.0.1:80 -s rr\n"
OURS = "-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1\n"
FACES = ("ipvs_service", "kube_chain", "dummy_addresses")


def test_a_compiled_rule_set(case: Target, tmp_path: Path) -> None:
    case.play(compiled(tmp_path, OURS), case.read(f"echo '{FOREIGN}' | ipvsadm -R"))
    case.four_runs(f"{SERVERS}; {CHAINS}; {ADDRESSES}", *((face, {"rule_set": "/root/rule_set"}) for face in FACES))
    case.play(compiled(tmp_path, "-A -u 10.96.0.1:53 -s rr\n"))
    [runs] = case.four_runs(SERVERS, ("ipvs_service", {"rule_set": "/root/rule_set"}))
    assert sorted(runs.dumps[-1].splitlines()) == [FOREIGN.strip(), "-A -u 10.96.0.1:53 -s rr"]
    info = case.one_run("proxy_info", {"rules": True})
    assert {server["name"]: server["recorded"] for server in info["virtual_servers"]} == {
        "tcp 10.99.0.1:80": False,
        "udp 10.96.0.1:53": True,
    }
    assert info["chains"] == [
        {"family": "ipv4", "table": "nat", "name": "KUBE-SERVICES", "rule_count": 1, "rules": ["-j RETURN"]}
    ]
    assert info["addresses"] == ["10.96.0.1/32"]
    assert (info["notes"], info["versions"]["ipvs"], info["changed"]) == ([], "1.2.1", False)


# The guest's kernel has the module, and nothing there uses it.
MODULES = "sort /proc/modules | cut -d' ' -f1 | grep -c ip_vs_lblc; cat /etc/modules-load.d/case.conf 2>&1"


def test_kernel_modules(case: Target, guest: Node) -> None:
    guest.run("modprobe -r ip_vs_lblc ip_vs_lblcr", check=False)
    wanted = ["ip-vs", {"any_of": ["ip_vs_lblc9", "ip_vs_lblc"]}, {"name": "no_such_module", "required": False}]
    arguments = {"modules": wanted, "file": "case.conf", "netns": None}
    runs, absent = case.four_runs(
        MODULES,
        ("kernel_modules", arguments),
        ("kernel_modules", {"state": "absent", "file": "case.conf", "netns": None}),
    )
    assert runs.dumps[-1].splitlines()[-2:] == ["ip_vs", "ip_vs_lblc"]
    assert (runs.real["modules"], runs.real["missing"]) == (["ip_vs", "ip_vs_lblc"], ["no_such_module"])
    assert "+ip_vs_lblc" in changed_lines(runs.check)
    assert absent.dumps[-1].startswith("1\n")


def test_a_kernel_module_that_is_missing_is_an_error_with_a_remedy(case: Target) -> None:
    result, dump = case.play(
        case.task(
            "kernel_modules",
            {"modules": ["ip_vs_lblcr", "no_such_module"], "file": "case.conf", "netns": None},
            ignore_errors=True,
        ),
        case.read("grep -c ip_vs_lblcr /proc/modules; cat /etc/modules-load.d/case.conf 2>&1 || true"),
    )
    assert "has no module no_such_module: install the package" in result["msg"]
    assert dump["stdout"].startswith("0\n")
    assert "No such file" in dump["stdout"]


def test_sysctls_of_a_node(case: Target, guest: Node) -> None:
    guest.run("sysctl -w net.ipv4.conf.all.arp_ignore=0")
    settings = {"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.vs.no_such": "1"}
    arguments = {"settings": settings, "ignore_missing": True, "file": "case.conf", "netns": None}
    # A sysctl of the namespace that Ansible's process is in, which is the node's own.
    dump = "nsenter -t 1 -n sysctl net.ipv4.conf.all.arp_ignore; cat /etc/sysctl.d/case.conf 2>&1"
    [runs] = case.four_runs(dump, ("sysctls", arguments))
    assert runs.real["missing"] == ["net.ipv4.vs.no_such"]
    assert runs.dumps[-1].splitlines()[-1] == "net.ipv4.vs.no_such = 1"
    result = case.one_run("sysctls", {**arguments, "ignore_missing": False}, ignore_errors=True)
    assert result["msg"].startswith("the kernel has no sysctl net.ipv4.vs.no_such: load ip_vs")
    guest.run("sysctl -w net.ipv4.conf.all.arp_ignore=0; rm /etc/sysctl.d/case.conf")


def test_sysctls_of_a_network_namespace(local: Target) -> None:
    arguments = {"settings": {"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.ip_forward": True}, "persistent": False}
    dump = "sysctl net.ipv4.conf.all.arp_ignore net.ipv4.ip_forward"
    [runs] = local.four_runs(dump, ("sysctls", arguments))
    assert [o["name"] for o in runs.real["operations"]] == ["net.ipv4.ip_forward", "net.ipv4.conf.all.arp_ignore"]


CHAINS_OF_EACH_KIND: list[dict[str, Any]] = [
    {
        "name": "OFFICE",
        "rules": ["--protocol tcp --dport 80 -j RETURN", "-j HELPER", "-m comment --comment x -j MASQUERADE"],
        "jumps": [{"chain": "POSTROUTING", "rule": '-m comment --comment "office networks"'}],
    },
    {"name": "HELPER"},
    {"name": "GUARD", "table": "filter", "family": "ipv4", "rules": ["-s 10.1.2.3/8 -j DROP"], "jumps": []},
    {"name": "EARLY", "table": "raw", "jumps": [{"chain": "PREROUTING"}, {"chain": "OUTPUT"}]},
]


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_chains(local: Target, backend: str) -> None:
    tools = [f"{tool}-{backend}" for tool in ("iptables", "ip6tables")]
    dump = "; ".join(SAVE.format(tool) for tool in tools)
    foreign = f"iptables-{backend} -t nat -A POSTROUTING -o lo -j ACCEPT; iptables-{backend} -N FOREIGN"
    local.play(local.read(foreign))
    absent = [{"name": one["name"], "table": one.get("table", "nat"), "state": "absent"} for one in CHAINS_OF_EACH_KIND]
    runs, _fewer, gone = local.four_runs(
        dump,
        ("kube_chain", {"chains": CHAINS_OF_EACH_KIND, "backend": backend}),
        ("kube_chain", {"name": "OFFICE", "rules": ["-j HELPER"], "jumps": [], "backend": backend}),
        ("kube_chain", {"chains": absent, "backend": backend}),
    )
    assert runs.real["backend"] == backend
    nat = [line for line in runs.dumps[-1].splitlines() if "POSTROUTING" in line or "OFFICE" in line]
    assert nat[:7] == [
        ":POSTROUTING ACCEPT",
        ":OFFICE -",
        '-A POSTROUTING -m comment --comment "office networks" -j OFFICE',
        "-A POSTROUTING -o lo -j ACCEPT",
        "-A OFFICE -p tcp -m tcp --dport 80 -j RETURN",
        "-A OFFICE -j HELPER",
        "-A OFFICE -m comment --comment x -j MASQUERADE",
    ]
    assert "+-A GUARD -s 10.0.0.0/8 -j DROP" in changed_lines(runs.check)
    assert "OFFICE" not in gone.dumps[-1]
    assert ":FOREIGN -" in gone.dumps[-1]


def test_a_rule_that_iptables_refuses_changes_nothing(local: Target) -> None:
    before, result, after = local.play(
        local.read(CHAINS),
        local.task("kube_chain", {"name": "A", "rules": ["-j RETURN", "-j NO-SUCH-CHAIN"]}, ignore_errors=True),
        local.read(CHAINS),
    )
    assert "NO-SUCH-CHAIN" in result["msg"]
    assert [line for line in after["stdout"].splitlines() if line.startswith("-A")] == []
    assert "A -" not in after["stdout"].replace("ACCEPT", "")
    assert before["stdout"] == "" or before["stdout"] == after["stdout"]


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_a_rule_that_iptables_prints_in_other_words_says_so_each_time(backend: str, local: Target) -> None:
    """Else its chain would be written anew by each run."""
    task = {"name": "A", "rules": ["-p tcp -m tcp --dport http -j RETURN"], "backend": backend}
    for result in local.play(*[local.task("kube_chain", task, ignore_errors=True) for _time in range(2)]):
        assert "did not last" in result["msg"]
        assert "--dport 80" in result["msg"]


def test_sets(local: Target) -> None:
    sets = [
        {"name": "office", "type": "hash:net", "members": ["198.51.100.0/24", "203.0.113.7/32"]},
        {"name": "ports", "type": "bitmap:port", "range": "0-1024", "members": ["80", "443"]},
    ]
    local.four_runs("ipset save | sort | sed 's/ initval.*//'", ("ipset_set", {"sets": sets}))
    info = local.one_run("proxy_info", {"gather": ["sets"], "members": True})
    assert {one["name"]: one["members"] for one in info["sets"]} == {
        "office": ["198.51.100.0/24", "203.0.113.7"],
        "ports": ["443", "80"],
    }


TABLES = "nft -s list ruleset"
FOREIGN_TABLE = "nft 'add table ip foreign; add chain ip foreign mine; add rule ip foreign mine tcp dport 22 accept'"
# Neither sorted nor in the form in which nft lists it.
OFFICE = """
set networks { type ipv4_addr; flags interval; elements = { 203.0.113.7, 198.51.100.0/25, 198.51.100.128/25 }; }
chain prerouting {
  type filter hook prerouting priority -150;
  ip saddr != @networks tcp dport { 30000-32767, 80 } drop comment "office only"
}
"""


def test_a_table(local: Target) -> None:
    local.play(local.read(FOREIGN_TABLE))
    table = {"name": "office", "family": "ip"}
    made, changed, gone = local.four_runs(
        TABLES,
        ("nft_table", {**table, "content": OFFICE}),
        ("nft_table", {**table, "content": OFFICE.replace("203.0.113.7", "203.0.113.8")}),
        ("nft_table", {**table, "state": "absent"}),
    )
    assert '+\t\tip saddr != @networks tcp dport { 80, 30000-32767 } drop comment "office only"' in changed_lines(
        made.check
    )
    assert changed.real["counts"] == {"add element": 1, "remove element": 1}
    assert [lines.startswith("-") for lines in changed_lines(gone.real)] == [True] * len(changed_lines(gone.real))
    assert gone.dumps[-1] == made.dumps[0]


def test_the_tables_of_a_compiled_rule_set(local: Target, tmp_path: Path) -> None:
    wanted = {"two": tables_of("a1 a2"), "one": tables_of("a1"), "none": rule_set.RuleSet.empty()}
    for name, content in wanted.items():
        (tmp_path / name).write_text(rule_set.render(content))
    local.play(local.read(FOREIGN_TABLE))
    runs = local.four_runs(TABLES, *(("nft_table", {"rule_set": str(tmp_path / name)}) for name in wanted))
    assert [one.real["counts"] for one in runs] == [
        {"add table": 2},
        {"change chain": 1, "remove element": 1},
        {"remove table": 2},
    ]
    assert "table ip foreign" in runs[-1].dumps[-1]


def tables_of(pods: str) -> rule_set.RuleSet:
    """What nftables mode makes of one service with these endpoints."""
    configuration = parse_configuration({"mode": "nftables", "cluster_cidrs": ["10.244.0.0/16"]})
    return render(
        native.parse([service("10.96.0.1", pods)]),
        model_node.Node(layout.NODE_NAME, ("192.0.2.1",)),
        configuration,
        FACTS,
    )


def test_content_that_nft_refuses_changes_nothing(local: Target) -> None:
    bad = {"name": "office", "content": "chain a {\n  tcp port 80 drop\n}"}
    result, dump = local.play(local.task("nft_table", bad, ignore_errors=True), local.read(TABLES))
    assert result["problems"][0].startswith("content: ")
    assert result["problems"][0].endswith("in line 2: tcp port 80 drop")
    assert dump["stdout"] == ""


def test_a_node_that_lacks_everything_gives_notes(local: Target) -> None:
    info = local.one_run("proxy_info", {}, environment={"PATH": "/nowhere"})
    assert (info["virtual_servers"], info["chains"], info["sets"], info["addresses"]) == ([], [], [], [])
    assert any(note.startswith("virtual_servers: kernel ") for note in info["notes"])
    assert "addresses: there is no link kube-ipvs0" in info["notes"]


@pytest.mark.skipif(not os.path.exists(PYTHON_38), reason="there is no Python 3.8")
def test_the_modules_run_on_python_3_8(local: Target) -> None:
    variables = {"ansible_python_interpreter": PYTHON_38}
    chain = {"name": "A", "rules": ["-p tcp -j RETURN"], "jumps": [{"chain": "OUTPUT"}]}
    settings = {"settings": {"net.ipv4.ip_forward": 1}, "persistent": False}
    tasks = [
        local.task("kube_chain", chain, diff=True),
        local.task("sysctls", settings, diff=True),
        local.task("ipset_set", {"name": "x", "type": "hash:ip", "members": ["10.0.0.1"]}, diff=True),
        local.task(
            "kernel_modules", {"modules": [{"name": "x", "required": False}], "persistent": False, "netns": None}
        ),
        local.task("dummy_addresses", {"addresses": ["10.0.0.1"]}, check_mode=True, diff=True),
        local.task("ipvs_service", {**WEB, "real_servers": [real_server(1)]}, check_mode=True, diff=True),
        local.task("proxy_info", {}),
    ]
    found = local.play(*tasks, **variables)
    assert [result["changed"] for result in found] == [True, True, True, False, True, True, False]
    assert found[-1]["chains"] == []
