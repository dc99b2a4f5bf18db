# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of all modules and plugins, as one playbook: on a node with IPVS, those of nft_table in a namespace."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documentation import CHECKOUT
from tests.integration.namespace_controller import NamespaceController
from tests.lab import Lab, Node
from tests.needs import root_and

pytestmark = pytest.mark.lab

# The kernel of the lab has no tables of nftables.
ELSEWHERE = "nft_table"
KUBE_PROXY = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
clusterCIDR: 10.244.0.0/16
"""
SERVICES = """\
- name: web
  cluster_ip: 10.96.0.10
  ports: [{port: 80, target_port: 8080}]
  endpoints: [10.244.1.5]
"""
CLUSTER = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": address, "ports": [{"port": 80, "protocol": "TCP"}]},
        }
        for name, namespace, address in (("front", "shop", "10.96.0.20"), ("web", "other", "10.96.0.30"))
    ],
}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-a"},
    "status": {"addresses": [{"type": "InternalIP", "address": "10.77.0.11"}]},
}
# What the examples presuppose.
PREPARE = "ip netns add lvs; rm -rf /var/lib/kubenode-proxy"


def examples(name: str, folder: str = "modules") -> list[dict[str, Any]]:
    text = (CHECKOUT / "plugins" / folder / f"{name}.py").read_text()
    tasks: list[dict[str, Any]] = yaml.safe_load(re.findall(r'EXAMPLES = r"""(.*?)"""', text, re.DOTALL)[0])
    return tasks


def modules() -> list[str]:
    return sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))


def write(folder: Path, tasks: list[dict[str, Any]], hosts: dict[str, Any]) -> None:
    """A playbook of the tasks, beside the files that they name."""
    (folder / "files").mkdir(exist_ok=True)
    (folder / "files" / "services.yml").write_text(SERVICES)
    (folder / "kube-proxy.yml").write_text(KUBE_PROXY)
    (folder / "cluster.json").write_text(json.dumps(CLUSTER))
    play = {"hosts": "all", "gather_facts": False, "vars": {"node_object": NODE}, "tasks": tasks}
    (folder / "examples.yml").write_text(json.dumps([play]))
    (folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}))


@pytest.fixture
def node() -> Iterator[Node]:
    with Lab("examples") as lab:
        node = lab.start("node-a", modprobe=("ip_vs", "dummy", "br_netfilter", "nf_conntrack"))
        node.run(PREPARE)
        yield node


def test_the_examples_of_the_modules(node: Node, ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    # The first example compiles the rule set that others read; after the second one there is no service to be silent.
    compiled, absent, *others = examples("rule_set")
    apart = ("rule_set", "probe_info", ELSEWHERE)
    tasks = [compiled, *(task for name in modules() if name not in apart for task in examples(name))]
    tasks += [absent, *examples("probe_info"), *others, *examples("program", "lookup")]
    write(tmp_path, tasks, {"node-a": node.inventory_vars()})
    command = ["ansible-playbook", "-i", "inventory.yml", "examples.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=dict(ansible_env), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert f" ok={len(tasks)} " in done.stdout
    # The last rule set is that of one namespace of the cluster.
    servers = node.run("ipvsadm -Sn").stdout
    assert "10.96.0.20:80" in servers
    assert "10.96.0.30:80" not in servers
    assert "set office" in node.run("iptables-save").stdout
    assert node.run("ip netns exec lvs sysctl -n net.ipv4.ip_forward").stdout == "1\n"
    assert "converge" in node.run("kubenode-proxy --help").stdout


@root_and()
def test_the_examples_of_nft_table(ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    with NamespaceController(tmp_path, ansible_env) as controller:
        host = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
        arguments = {
            "services": yaml.safe_load(SERVICES),
            "node": {"name": "node-a"},
            "configuration": {"mode": "nftables"},
        }
        compile_first = {"name": "The rule set is compiled", "kubenode.proxy.rule_set": arguments}
        write(controller.folder, [compile_first, *examples(ELSEWHERE)], {"node-a": host})
        output = controller.run("ansible-playbook -i inventory.yml examples.yml")
        assert " ok=3 " in output
        assert "203.0.113.7" in controller.look("nft", "list", "table", "inet", "office")
