# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A controller with the nodes of a lab in its inventory, that runs the collection's playbooks as a user does."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab import Lab


class Controller:
    """Runs playbooks from a directory of its own.

    The nodes are the group kube_nodes. others: further hosts, of a group of its own, with the same service data.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        lab: Lab,
        services: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any] | None = None,
        others: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self._environment = environment
        (folder / "services.json").write_text(json.dumps(services))
        hosts = {name: node.inventory_vars() for name, node in lab.nodes.items()}
        shared = {"kube_proxy_services_src": str(folder / "services.json"), **(variables or {})}
        groups = {
            "kube_nodes": {"hosts": hosts, "vars": shared},
            "others": {"hosts": dict(others or {}), "vars": shared},
        }
        (folder / "inventory.json").write_text(json.dumps(groups))

    def play(self, name: str, *options: str, limit: str = "kube_nodes") -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "-i", "inventory.json", "--limit", limit, *options, f"kubenode.proxy.{name}"]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def report(self, path: str = "drift-report.json") -> Any:
        return json.loads((self.folder / path).read_text())


def changed(output: str) -> dict[str, int]:
    """By node, how many tasks of a run changed it."""
    return {name: int(times) for name, times in re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+) ", output, re.MULTILINE)}
