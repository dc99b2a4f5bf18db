# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual environments with other releases of ansible-core, and projects that have the collection installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.demo.ansible import Project
from tests.lab.node import CHECKOUT

VENVS = CHECKOUT / ".cache/matrix"
TIMEOUT = 600
PIP_OPTIONS = ("--disable-pip-version-check", "install", "-qq", "--no-deps")


class MatrixError(Exception):
    """A command failed; the text has its command line and what it printed."""


def python(version: str) -> Path | None:
    """The path of a Python of this machine, such as 3.10: that of pyenv, or the system's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in [*sorted(root.glob(f"versions/{version}.*/bin/python")), Path(f"/usr/bin/python{version}")]:
        if path.exists():
            return path
    return None


def run(command: Sequence[str | Path], folder: Path, environment: dict[str, str] | None = None) -> str:
    """What the command prints. Raises MatrixError."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise MatrixError(f"{command}: exit status {done.returncode}\n{done.stdout[-6000:]}")
    return done.stdout


class Environment(NamedTuple):
    """An ansible-core by the name of its file in requirements/matrix, and the version of its Python."""

    name: str
    python: str

    @property
    def requirements(self) -> Path:
        return CHECKOUT / f"requirements/matrix/{self.name}.txt"

    def programs(self) -> Path:
        """The directory of its programs, made if it is missing or the requirements are others."""
        venv = VENVS / self.name
        stamp = venv / "requirements.txt"
        wanted = self.requirements.read_text()
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(venv, ignore_errors=True)
            run([python(self.python) or f"python{self.python}", "-m", "venv", venv], CHECKOUT)
            pip: list[str | Path] = [
                venv / "bin/python",
                "-m",
                "pip",
                "--disable-pip-version-check",
                "install",
                "--no-deps",
                "-qq",
            ]
            run([*pip, "-r", self.requirements], CHECKOUT)
            stamp.write_text(wanted)
        return venv / "bin"

    def project(self, folder: Path, archive: Path) -> Project:
        """An empty project with the sample inventory, into which the archive is installed."""
        shutil.copytree(CHECKOUT / "examples", folder / "examples")
        project = Project.installed(folder, self.programs())
        install = ["collection", "install", "--offline", "-p", "collections", str(archive)]
        run([project.programs / "ansible-galaxy", *install], folder, project.environ())
        return project
