# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input from the playbook to the node: every error names its place, and nothing changes on the node.

node      the network namespace "bad-input" of a guest, brought to GOOD first
web       shop/web   10.96.0.10:80/tcp, node port 30080 -> 10.244.1.5:8080, 10.244.2.7:8080
dns       kube/dns   10.96.0.53 and fd00:96::53, 53/udp -> 10.244.1.9, fd00:244:1::9
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.lab import Node

pytestmark = pytest.mark.lab

NETNS = "bad-input"
FOLDER = f"/var/lib/kubenode-proxy/netns/{NETNS}"
GOOD: list[dict[str, Any]] = [
    {
        "name": "web",
        "namespace": "shop",
        "cluster_ip": "10.96.0.10",
        "ports": [{"port": 80, "target_port": 8080, "node_port": 30080}],
        "endpoints": ["10.244.1.5", {"address": "10.244.2.7", "node": "node-a"}],
    },
    {
        "name": "dns",
        "namespace": "kube",
        "cluster_ips": ["10.96.0.53", "fd00:96::53"],
        "ports": [{"port": 53, "protocol": "udp"}],
        "endpoints": ["10.244.1.9", "fd00:244:1::9"],
    },
]
NODE = {"name": "node-a", "addresses": ["192.0.2.1"]}
# What a task changes or writes, in both namespaces that it could touch; counters of rules included.
DUMP = f"""\
for netns in '' 'ip netns exec {NETNS}'; do
  $netns ipset save
  $netns iptables-save -c | grep KUBE-
  $netns ip6tables-save -c | grep KUBE-
  $netns ipvsadm -Sn
  $netns ip -o address
  $netns sysctl -a --pattern '^net.ipv4.(vs|ip_forward|conf.(all|default).(arp_|route_))|nf_conntrack_(max|.*timeout)'
done
find /var/lib/kubenode-proxy /root/.ansible/tmp -type f -exec stat -c '%n %i %y %a' {{}} + -exec sha256sum {{}} +
"""
EXPECTED = "expected a list of services, a mapping with the key 'services', or Kubernetes objects"
REMEDY = "write to another file, and rename it when it is complete"
NO_TWOS = (
    "kernel {} has no scheduler 'twos': its module ip_vs_twos is not loaded and cannot be "
    "(modprobe ip_vs_twos says why)"
)
NO_NAMESPACE = "no network namespace 'nowhere' in /run/netns: there are {} (ip netns add makes one)"
NO_STATE = (
    "Validation of arguments failed:\nvalue of kube_proxy_state must be one of: validated, compiled, converged, "
    "absent, restored, got: there"
)
ONE_FAMILY = "10.244.0.0/16, 10.245.0.0/16 are of one family; at most one network per family is possible"
OCTAL = "has leading zeros, which some programs read as octal; leave them out"
SCHEDULERS = "rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos"


class Case(NamedTuple):
    """Arguments of the module rule_set, beside those of every case, or variables of the role; and what is said."""

    arguments: dict[str, Any]
    problems: list[str]
    is_role: bool = False
    is_input: bool = True

    @property
    def message(self) -> str:
        text = "\n".join(self.problems)
        return f"{len(self.problems)} problem(s) in the input: {text}" if self.is_input else text


def with_change(index: int, *path: str | int, to: Any) -> dict[str, Any]:
    """The good services with one value changed, inline."""
    services: Any = copy.deepcopy(GOOD)
    place = services[index]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return {"services": services}


def service_cases() -> Iterator[tuple[str, Case]]:
    """What is wrong with a service."""
    second = {"name": "api", "namespace": "shop", "cluster_ip": "10.96.0.11"}
    same_node_port = [{"port": 80, "node_port": 30080}]
    yield (
        "duplicate node ports",
        Case(
            {"services": [*GOOD, {**second, "ports": same_node_port}]},
            ["services[2].ports[0]: node port 30080/tcp is already taken by shop/web (services[0].ports[0])"],
        ),
    )
    yield (
        "two services on one IP, port and protocol",
        Case(
            {"services": [*GOOD, {**second, "cluster_ip": "10.96.0.10", "ports": [{"port": 80}]}]},
            ["services[2].ports[0]: 10.96.0.10 port 80/tcp is already taken by shop/web (services[0].ports[0])"],
        ),
    )
    yield (
        "a service given twice",
        Case({"services": [*GOOD, {**GOOD[1]}]}, ["services[2]: service kube/dns is already at services[1]"]),
    )
    yield (
        "wrong family",
        Case(
            with_change(0, "endpoints", 0, to="fd00:244:1::5"),
            ["services[0].endpoints[0]: fd00:244:1::5 is ipv6, but the service has no ipv6 cluster IP"],
        ),
    )
    yield (
        "bad IPs",
        Case(
            {
                "services": [
                    {
                        **GOOD[0],
                        "cluster_ip": "10.96.0.256",
                        "external_ips": ["010.0.0.1", "web.example", "224.0.0.1", "192.0.2.0/24"],
                    }
                ]
            },
            [
                "services[0].cluster_ip: '10.96.0.256' is not an IP address",
                f"services[0].external_ips[0]: '010.0.0.1' {OCTAL}",
                "services[0].external_ips[1]: 'web.example' is not an IP address; names are not resolved",
                "services[0].external_ips[2]: 224.0.0.1 is a multicast address",
                "services[0].external_ips[3]: '192.0.2.0/24' is a network; give one address without a prefix length",
            ],
        ),
    )
    yield (
        "ports out of range",
        Case(
            with_change(0, "ports", to=[{"port": 0, "target_port": 70000, "node_port": 80}]),
            [
                "services[0].ports[0].port: 0 is outside 1..65535",
                "services[0].ports[0].target_port: 70000 is outside 1..65535",
                "services[0].ports[0].node_port: 80 is outside 1024..65535",
            ],
        ),
    )
    yield (
        "endpoints without address",
        Case(with_change(0, "endpoints", 1, to={"node": "node-a"}), ["services[0].endpoints[1].address: is required"]),
    )
    yield (
        "unknown keys",
        Case(
            {
                "services": [
                    {**GOOD[0], "clusterip": "10.96.0.1"},
                    {**GOOD[1], "ports": [{"port": 53, "protcol": "udp"}]},
                ]
            },
            [
                "services[0].clusterip: unknown key (did you mean 'cluster_ip'?)",
                "services[1].ports[0].protcol: unknown key (did you mean 'protocol'?)",
            ],
        ),
    )
    yield (
        "names too long",
        Case(
            with_change(0, "name", to="w" * 64),
            [f"services[0].name: '{'w' * 64}' is longer than 63 characters"],
        ),
    )
    yield (
        "no scheduler of IPVS",
        Case(
            with_change(0, "scheduler", to="rrr"),
            [f"services[0].scheduler: 'rrr' is not an IPVS scheduler ({SCHEDULERS}) (did you mean 'rr'?)"],
        ),
    )
    yield (
        "Kubernetes objects",
        Case(
            {
                "services": {
                    "kind": "List",
                    "items": [
                        {
                            "kind": "Service",
                            "metadata": {"name": "api"},
                            "spec": {"clusterIP": "10.96.0.11", "ports": [{"port": 80, "protocol": "ICMP"}]},
                        },
                        {
                            "kind": "EndpointSlice",
                            "metadata": {"name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
                            "ports": [{"port": 8080}],
                            "endpoints": [{"addresses": []}],
                        },
                    ],
                }
            },
            [
                "services.items[0].spec.ports[0].protocol: 'ICMP' is not one of TCP, UDP, SCTP",
                "services.items[1].endpoints[0].addresses: must be a list of at least one address",
            ],
        ),
    )


def file_cases(folder: Path) -> Iterator[tuple[str, Case]]:
    """What is wrong with a file."""

    def case(path: Path | str, *problems: str, **more: str) -> Case:
        return Case({"src": str(path), **more}, [f"{path}{problem}" for problem in problems])

    good = folder / "good.json"
    good.write_text(json.dumps({"services": GOOD}))
    yield "no such file", case(folder / "none.json", ": No such file or directory")
    yield "an unreadable file", case("/proc/self/mem", ": Input/output error")
    huge = folder / "huge.json"
    with huge.open("wb") as file:
        file.truncate(600 * 2**20)
    yield "a huge file", case(huge, ": has 629145600 bytes, more than 536870912: split it into a directory of files")
    half = folder / "half.json"
    half.write_text(good.read_text()[:100])
    yield (
        "half-written JSON",
        case(half, f": is not whole JSON: Expecting ',' delimiter: line 1 column 101 (char 100); {REMEDY}"),
    )
    half_yaml = folder / "half.yml"
    half_yaml.write_text("services:\n  - name: web\n    ports: [{port: 80\n")
    yield (
        "half-written YAML",
        case(
            half_yaml, ": is not YAML: line 4, column 1: while parsing a flow mapping did not find expected ',' or '}'"
        ),
    )
    binary = folder / "binary.json"
    binary.write_bytes(b"\x7fELF\xff")
    yield (
        "a binary file",
        case(binary, ": is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 4: invalid start byte"),
    )
    wrong = folder / "wrong.yml"
    wrong.write_text("hosts: all\n")
    yield "another kind of file", case(wrong, f": {EXPECTED}, not a mapping with 'hosts'")
    empty = folder / "empty"
    empty.mkdir()
    yield "an empty directory", case(empty, ": the directory has no file that ends in .json, .yml, .yaml")
    yield (
        "a wrong query",
        Case(
            {"src": str(good), "query": "services["},
            ['query: Invalid jmespath expression: Incomplete expression: "services["'],
        ),
    )
    yield "a query that finds nothing", case(good, ": the query 'items' finds nothing in it", query="items")
    port = folder / "port.json"
    port.write_text(good.read_text().replace("30080", "300800"))
    yield "a file with a wrong value", case(port, ".services[0].ports[0].node_port: 300800 is outside 1024..65535")


def node_cases(kernel: str, namespaces: str) -> Iterator[tuple[str, Case]]:
    """What is wrong with the node's arguments, or shows on the node only."""
    yield (
        "a scheduler that the kernel lacks",
        Case(with_change(0, "scheduler", to="twos"), [NO_TWOS.format(kernel)], is_input=False),
    )
    yield (
        "an unknown network namespace",
        Case({"services": GOOD, "netns": "nowhere"}, [NO_NAMESPACE.format(namespaces)], is_input=False),
    )
    yield (
        "a wrong node",
        Case(
            {"services": GOOD, "node": {"nmae": "node-a", "addresses": ["192.0.2.300"]}},
            [
                "node.nmae: unknown key (did you mean 'name'?)",
                "node.name: is required",
                "node.addresses[0]: '192.0.2.300' is not an IP address",
            ],
        ),
    )
    yield (
        "a wrong configuration",
        Case(
            {"services": GOOD, "configuration": {"masquerade_bit": 32, "clustercidrs": "x", "tcp_timeout": "soon"}},
            [
                "clustercidrs: unknown key (did you mean 'cluster_cidrs'?)",
                "masquerade_bit: 32 is outside 0..31",
                "tcp_timeout: must be a duration such as 900s or 1h30m, not 'soon'",
            ],
        ),
    )
    yield (
        "a wrong KubeProxyConfiguration",
        Case(
            {"services": GOOD, "kube_proxy_configuration": {"mode": "ipvs", "ipvs": {"strictArp": True}}},
            ["ipvs.strictArp: unknown key (did you mean 'ipvs.strictARP'?)"],
        ),
    )
    yield "two sources", Case({"services": GOOD, "src": "x.json"}, ["services and src exclude each other"])


def role_cases() -> Iterator[tuple[str, Case]]:
    """What is wrong with the role's variables."""
    yield (
        "role: wrong variables",
        Case(
            {
                "kube_proxy_services": GOOD,
                "kube_proxy_masquerade_bit": 40,
                "kube_proxy_cluster_cidrs": ["10.244.0.0/16", "10.245.0.0/16"],
                "kube_proxy_detect_local_mode": "BridgeInterface",
                "kube_proxy_scheduler": "wr",
            },
            [
                f"cluster_cidrs: {ONE_FAMILY}",
                "masquerade_bit: 40 is outside 0..31",
                f"scheduler: 'wr' is not an IPVS scheduler ({SCHEDULERS}) (did you mean 'wrr'?)",
                "bridge_interface: is required where detect_local_mode is BridgeInterface",
            ],
            is_role=True,
        ),
    )
    yield (
        "role: a state that there is not",
        Case({"kube_proxy_services": GOOD, "kube_proxy_state": "there"}, [NO_STATE], is_role=True, is_input=False),
    )


def all_cases(folder: Path, node: Node) -> dict[str, Case]:
    kernel, *namespaces = node.run("uname -r; ls /run/netns").stdout.split()
    return dict([*service_cases(), *file_cases(folder), *node_cases(kernel, ", ".join(namespaces)), *role_cases()])


def task(name: str, case: Case) -> list[dict[str, Any]]:
    """Tasks that run a case, and keep what it said in the fact ``said``."""
    if case.is_role:
        variables = {"kube_proxy_netns": NETNS, "kube_proxy_node_name": "node-a", **case.arguments}
        run = {"ansible.builtin.include_role": {"name": "kubenode.proxy.kube_proxy"}, "vars": variables}
    else:
        run = {"kubenode.proxy.rule_set": {"node": NODE, "netns": NETNS, **case.arguments}}
    keep = {"ansible.builtin.set_fact": {"said": f"{{{{ said | combine({{'{name}': ansible_failed_result}}) }}}}"}}
    return [{"name": name, "block": [{"name": name, **run}], "rescue": [{"name": "Keep what it said", **keep}]}]


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"hosts": "all", "gather_facts": False, "vars": {"said": {}}, "tasks": list(tasks)}]


class Ansible:
    """Runs plays on the guest."""

    def __init__(self, guest: Node, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        inventory = {"all": {"hosts": {"node-a": guest.inventory_vars()}}}
        (folder / "inventory.json").write_text(json.dumps(inventory))

    def run(self, document: list[dict[str, Any]]) -> str:
        (self._folder / "play.json").write_text(json.dumps(document))
        done = subprocess.run(
            ["ansible-playbook", "-i", "inventory.json", "play.json"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-8000:]
        return output


@pytest.fixture(scope="module")
def node(guest: Node) -> Iterator[Node]:
    guest.run(f"ip netns add {NETNS} && ip -n {NETNS} link set lo up")
    try:
        yield guest
    finally:
        guest.run(f"ip netns del {NETNS}; rm -rf {FOLDER} /run/kubenode-proxy-{NETNS}.lock")


class Outcome(NamedTuple):
    """The cases, what they said, all of the output, and dumps of the node before and after."""

    cases: dict[str, Case]
    said: dict[str, dict[str, Any]]
    output: str
    before: str
    after: str


@pytest.fixture(scope="module")
def outcome(node: Node, ansible_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("bad-input")
    ansible = Ansible(node, ansible_env, folder)
    good = {"kubenode.proxy.rule_set": {"services": GOOD, "node": NODE, "netns": NETNS}}
    ansible.run(play({"name": "The node is good", **good}))
    before = node.run(DUMP, check=False).stdout
    cases = all_cases(folder, node)
    tasks = [one for name, case in cases.items() for one in task(name, case)]
    report = {"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": str(folder / "said.json")}}
    output = ansible.run(play(*tasks, {"name": "Report", **report, "delegate_to": "localhost"}))
    after = node.run(DUMP, check=False).stdout
    return Outcome(cases, json.loads((folder / "said.json").read_text()), output, before, after)


def test_what_is_dumped_is_there(outcome: Outcome) -> None:
    for text in (
        "add KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
        "-A KUBE-SERVICES",
        "-A -t 10.96.0.10:80 -s rr",
        "-a -u [fd00:96::53]:53",
        "inet 10.96.0.10/32",
        "net.ipv4.vs.conntrack = 1",
        f"{FOLDER}/rule_set",
        f"{FOLDER}/services.json",
        f"{FOLDER}/virtual_servers",
    ):
        assert text in outcome.before


def test_nothing_changes_on_the_node(outcome: Outcome) -> None:
    assert outcome.after == outcome.before


def test_no_traceback(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.output
    assert "Traceback" not in json.dumps(outcome.said)
    assert not any("module_stderr" in result for result in outcome.said.values())


def test_each_error_is_exact(outcome: Outcome) -> None:
    said = {name: result["msg"] for name, result in outcome.said.items()}
    assert said == {name: case.message for name, case in outcome.cases.items()}


def test_the_problems_are_data_too(outcome: Outcome) -> None:
    for name, case in outcome.cases.items():
        assert outcome.said[name].get("problems") == (case.problems if case.is_input else None)
