# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an execution environment gets is what the plugins import, and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
META = CHECKOUT / "meta"
# ansible-core, and what it needs itself.
CORE = {"ansible", "ansible_collections", "jinja2", "yaml"}


def metadata() -> dict[str, str]:
    dependencies: dict[str, str] = yaml.safe_load((META / "execution-environment.yml").read_text())["dependencies"]
    return dependencies


def entries(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def imported(path: Path) -> set[str]:
    """The packages that a file imports, those inside functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_python_requirements_are_what_plugins_import() -> None:
    files = [path for folder in ("plugins", "playbooks") for path in (CHECKOUT / folder).rglob("*.py")]
    packages = set().union(*map(imported, files)) - set(sys.stdlib_module_names) - CORE
    assert packages == set(entries(CHECKOUT / metadata()["python"]))


def test_the_python_requirements_are_tested_with() -> None:
    pinned = {line.partition("==")[0] for line in entries(CHECKOUT / "requirements" / "dev.txt")}
    assert set(entries(CHECKOUT / metadata()["python"])) <= pinned


def test_bindep_reads_the_packages_and_finds_them_here() -> None:
    command = [str(Path(sys.executable).with_name("bindep")), "--brief", "--file", metadata()["system"]]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "")
    ours = {re.split(r"[\s=]", line)[0] for line in entries(CHECKOUT / "requirements" / "apt.txt")}
    debian = {line.split()[0] for line in entries(CHECKOUT / metadata()["system"]) if "[platform:dpkg]" in line}
    assert debian
    assert debian <= ours


def test_ansible_builder_finds_all_of_it() -> None:
    collections = CHECKOUT / ".cache" / "collections"
    command = [str(Path(sys.executable).with_name("ansible-builder")), "introspect", str(collections)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = yaml.safe_load(done.stdout)
    for key, file in metadata().items():
        lines = [line.partition("  #")[0] for line in found[key]]
        assert lines == entries(CHECKOUT / file)
