# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A controller that is its own node: a network namespace of this machine, with state files of its own.

node-a  192.0.2.11 on eth0; no IPVS, as this kernel has none
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

import yaml

from tests.demo import namespace_node
from tests.lab.netns import Network

NODE = "node-a"


class NamespaceController:
    """Runs commands in a directory of its own, on the node, in the environment given."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder / "controller"
        self.folder.mkdir()
        self._environment = {**environment, "LC_ALL": "C.UTF-8"}
        self._network = Network()
        self._network.add("node", "outside")
        self._network.veth(("node", "eth0", "192.0.2.11/24"), ("outside", "eth0", "192.0.2.1/24"))
        self._network.route("node", "default", via="192.0.2.1")
        self._network.build()
        self._wrapper = namespace_node.wrapper(self._network.full_name("node"), folder / "node")

    def __enter__(self) -> NamespaceController:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._network.close()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def inventory(self, text: str, **variables: object) -> None:
        """Writes an inventory of the documentation as inventory.yml, with the way to the node instead of its own."""
        document = yaml.safe_load(text)
        (group,) = document.values()
        group["hosts"] = {NODE: {**namespace_node.HOST, "ansible_python_interpreter": "/usr/bin/python3"}}
        group["vars"] = {**group.get("vars", {}), "kube_proxy_mode": "iptables", **variables}
        self.write("inventory.yml", yaml.safe_dump(document))

    def look(self, *argv: str) -> str:
        """Runs a program in the node's network, while another command may run. What it prints."""
        return self._network.run("node", argv).stdout

    @contextlib.contextmanager
    def running(self, command: str, before: str = "true") -> Iterator[subprocess.Popen[str]]:
        """Runs a program meanwhile, and then asks it to end. Commands other than look have to wait."""
        log = self.folder.parent / "running.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self._argv(f"{before} && exec {command}"),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
            )
            try:
                yield process
            finally:
                process.terminate()
                process.wait(60)

    def log(self) -> str:
        """What the command of "running" has printed."""
        return (self.folder.parent / "running.log").read_text()

    def _argv(self, command: str) -> list[str]:
        return [*self._wrapper, "sh", "-c", f'cd "$0" && {command}', str(self.folder)]

    def run(self, command: str, status: int = 0) -> str:
        """Runs a line of shell, which has to end with the status. What it prints, errors included."""
        done = subprocess.run(
            self._argv(command),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, f"{command}: exit status {done.returncode}\n{done.stdout[-6000:]}"
        return done.stdout
