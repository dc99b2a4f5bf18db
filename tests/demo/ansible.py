# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible, as a user runs it, with the lab's way to the node on top of the sample inventory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.node import CHECKOUT

TIMEOUT = 150


class AnsibleError(Exception):
    """Ansible failed; the text is what it printed."""


class Project(NamedTuple):
    """Where a user runs Ansible: a directory with examples/ in it, the programs, and the name of the playbook."""

    folder: Path
    programs: Path
    playbook: str
    environment: Mapping[str, str]

    @classmethod
    def checkout(cls) -> Project:
        environment = {
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".cache/collections"),
        }
        return cls(CHECKOUT, Path(sys.executable).parent, "site.yml", environment)

    @classmethod
    def installed(cls, folder: Path, programs: Path) -> Project:
        """One that has the collection in its directory "collections", and no configuration."""
        environment = {"ANSIBLE_COLLECTIONS_PATH": str(folder / "collections")}
        return cls(folder, programs, "kubenode.proxy.site", environment)

    def environ(self) -> dict[str, str]:
        """The environment, without the way to a checkout."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name != "PYTHONPATH" and not name.startswith(("ANSIBLE_", "VIRTUAL_ENV"))
        }
        return {
            **inherited,
            **self.environment,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
        }


class Run(NamedTuple):
    """A run of a playbook."""

    changed: int
    seconds: float


# What the sample inventory says.
SAMPLE_MODE = "ipvs"


class Ansible:
    """Ansible for one node, in one mode of the proxy. home: where it keeps what it keeps for a user.

    wrapper: what stands before its commands.
    """

    def __init__(
        self, project: Project, inventory: Path, node: str, home: Path, mode: str, wrapper: Sequence[str] = ()
    ) -> None:
        self._project = project
        self._node = node
        self._wrapper = wrapper
        self._mode = mode
        self._inventory = ["-i", "examples/inventory", "-i", str(inventory)]
        self._environment = {**project.environ(), "ANSIBLE_HOME": str(home)}

    @property
    def command_end(self) -> list[str]:
        """What a user types after the inventory; variables that differ from the sample's come first."""
        variables = [] if self._mode == SAMPLE_MODE else ["-e", f"kube_proxy_mode={self._mode}"]
        return [*variables, self._project.playbook]

    def play(self) -> Run:
        begin = time.monotonic()
        output = self._run("ansible-playbook", *self._inventory, "--limit", self._node, *self.command_end)
        recap = re.search(rf"^{self._node} .*changed=(\d+) .*unreachable=0 .*failed=0 ", output, re.M)
        if not recap:
            raise AnsibleError(output)
        return Run(int(recap[1]), time.monotonic() - begin)

    def module(self, name: str) -> dict[str, Any]:
        """Run one module on the node; its result."""
        output = self._run("ansible", *self._inventory, self._node, "--one-line", "-m", name)
        # Warnings stand before it.
        line = next(line for line in output.splitlines() if line.startswith(f"{self._node} | "))
        result: dict[str, Any] = json.loads(line.split(" => ", 1)[1])
        return result

    def _run(self, program: str, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [*self._wrapper, str(self._project.programs / program), *arguments],
                cwd=self._project.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AnsibleError(f"{program} takes longer than {TIMEOUT} s") from error
        if done.returncode != 0:
            raise AnsibleError(done.stdout)
        return done.stdout
