# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docs/guides/scaling.md tells to do: ansible-pull from a git repository, and the timer of a controller.

The node is this machine in namespaces: a network, a host name and state files of its own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.documentation import shell_lines
from tests.lab.netns import Network
from tests.lab.node import CHECKOUT
from tests.needs import root_and

pytestmark = [
    pytest.mark.lab,
    root_and(),
]

GUIDE = (CHECKOUT / "docs/guides/scaling.md").read_text()
URL = "https://git.example.com/nodes.git"
CLONE = "/var/lib/ansible-pull"
STATE = ["/var/lib/kubenode-proxy", "/etc/sysctl.d", "/etc/modules-load.d", "/run"]
IDENTITY = {f"GIT_{role}_{field}": "test" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
SERVICES = """\
- name: web
  cluster_ip: 10.96.0.10
  ports: [{port: 80}]
  endpoints: [10.244.1.5]
"""
RULE = "-A KUBE-SERVICES -d 10.96.0.10/32"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


class Node:
    """The node-a of the guide. ``repository`` is a working copy whose pushes it gets."""

    def __init__(self, network: Network, folder: Path, env: Mapping[str, str]) -> None:
        self.repository = folder / "repository"
        self._network = network
        self._folder = folder
        self._env = {**env, **IDENTITY}
        self._bare = folder / "nodes.git"
        network.add("node", "outside")
        network.veth(("node", "eth0", "192.0.2.11/24"), ("outside", "eth0", None))
        self._fill()

    def _fill(self) -> None:
        """The repository of the guide; this machine's kernel has no IPVS."""
        playbook, inventory = blocks("yaml")
        git = ["git", "init", "-q", "--initial-branch", "main"]
        self.on_controller([*git, "--bare", str(self._bare)], self._folder)
        self.on_controller([*git, str(self.repository)], self._folder)
        self.on_controller(["git", "remote", "add", "origin", str(self._bare)])
        self.on_controller(["git", "config", "push.autoSetupRemote", "true"])
        build = ["ansible-galaxy", "collection", "build", str(CHECKOUT), "--output-path", str(self._folder)]
        self.on_controller(build)
        document = yaml.safe_load(inventory)
        python = {"ansible_python_interpreter": "/usr/bin/python3"}
        document["kube_nodes"]["vars"].update({"kube_proxy_mode": "iptables", **python})
        (self.repository / "inventory.yml").write_text(yaml.safe_dump(document))
        (self.repository / "local.yml").write_text(playbook)
        (self.repository / "services.yml").write_text(SERVICES)
        self.push()

    def on_controller(self, argv: list[str], folder: Path | None = None) -> None:
        subprocess.run(argv, cwd=folder or self.repository, env=self._env, check=True, capture_output=True, timeout=120)

    def push(self) -> None:
        """The guide's way to a change."""
        (block,) = [text for text in blocks("shell") if text.startswith("ansible-galaxy")]
        install, *git = block.splitlines()
        archive = "kubenode-proxy-0.1.0.tar.gz"
        assert install.endswith(f" {archive}")
        if not (self.repository / "collections").exists():
            self.on_controller([*shlex.split(install)[:-1], "--offline", str(self._folder / archive)])
        for line in git:
            self.on_controller(shlex.split(line))

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command on the node, with state files that stay."""
        mounts = []
        for path in STATE:
            own = self._folder / "node" / path.lstrip("/")
            own.mkdir(parents=True, exist_ok=True)
            os.makedirs(path, exist_ok=True)
            mounts.append(f"mount --bind {shlex.quote(str(own))} {path}")
        script = f'hostname node-a && {" && ".join(mounts)} && cd "$0" && exec "$@"'
        kept = [f"{name}={self._env[name]}" for name in ("PATH", "ANSIBLE_HOME", "ANSIBLE_NOCOLOR")]
        environment = ["env", "LC_ALL=C.UTF-8", *kept]
        command = ["unshare", "--mount", "--uts", "sh", "-c", script, str(self._folder), *environment, *argv]
        return self._network.run("node", command, check=check, timeout=300)

    def pull(self, *options: str) -> str:
        """Runs the first ansible-pull of the guide."""
        first, _second = self.pulls()
        waiting, seconds = "--sleep", "300"
        argv = [word for word in first if word not in (waiting, seconds)]
        assert len(first) - len(argv) == 2
        return self.run(*argv, *options).stdout

    def pulls(self) -> list[list[str]]:
        """The two ansible-pulls of the guide, with places of the test."""
        lines = [line for text in blocks("shell") for line in shell_lines(text) if line.startswith("ansible-pull ")]
        places = {URL: f"file://{self._bare}", CLONE: str(self._folder / "clone")}
        found = [line.replace(CLONE, places[CLONE]).replace(URL, places[URL]) for line in lines]
        return [shlex.split(line) for line in found]

    def rules(self) -> str:
        return self.run("iptables-save").stdout


@pytest.fixture(scope="module")
def node(ansible_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    env = {name: value for name, value in ansible_env.items() if name not in ("ANSIBLE_CONFIG", "PYTHONPATH")}
    env.pop("ANSIBLE_COLLECTIONS_PATH")
    with Network() as network:
        node = Node(network, tmp_path_factory.mktemp("scaling"), env)
        node.pull()
        assert RULE in node.rules()
        yield node


def test_a_pull_corrects_drift_and_brings_new_services(node: Node) -> None:
    (node.repository / "services.yml").write_text(SERVICES + SERVICES.replace("web", "api").replace("0.10", "0.11"))
    node.push()
    node.run("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
    node.pull()
    assert RULE in node.rules()
    assert RULE.replace("0.10", "0.11") in node.rules()
    assert "PLAY" not in node.pull("-o")


def test_a_schedule_of_a_controller(node: Node, tmp_path: Path) -> None:
    service, timer = blocks("ini")
    (command,) = re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)
    program, *options = shlex.split(command)
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    (tmp_path / "kubenode-drift.service").write_text(service.replace(program, ansible))
    (tmp_path / "kubenode-drift.timer").write_text(timer)
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    subprocess.run(["systemd-analyze", "verify", *units], check=True, capture_output=True, timeout=60)

    clone = shutil.copytree(node.repository, node._folder / "controller", dirs_exist_ok=True)
    run = ["sh", "-c", f'cd {shlex.quote(str(clone))} && exec "$@"', "sh", ansible, *options, "-c", "local"]
    assert node.run(*run, "-l", "node-a", check=False).returncode == 0
    node.run("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
    assert node.run(*run, "-l", "node-a", check=False).returncode == 10
    assert RULE not in node.rules()


def test_a_pull_without_an_entry_in_the_inventory(node: Node) -> None:
    _first, second = node.pulls()
    node.run("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
    # What the inventory says of this node otherwise.
    node.run(*second, "-e", "kube_proxy_mode=iptables", "-e", "ansible_python_interpreter=/usr/bin/python3")
    assert RULE in node.rules()
