# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection as users get it: built, installed into an empty project, and run by its full name.

oldest  the oldest ansible-core that meta/runtime.yml admits
newest  the newest that there is

MATRIX=full runs all combinations of them, modes and Pythons of a node; without it each is in at least one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.demo.ansible import Project
from tests.lab.node import CHECKOUT
from tests.matrix.environment import Environment, python, run

OLDEST = Environment("oldest", "3.10")
NEWEST = Environment("newest", "3.13")
ENVIRONMENTS = {environment.name: environment for environment in (OLDEST, NEWEST)}
# What ansible-core runs modules with, of the versions that the collection's modules run with: 3.8 and newer.
NODE_PYTHONS = {"oldest": ("3.8", "3.12"), "newest": ("3.9", "3.13")}
FULL = os.environ.get("MATRIX") == "full"
SAMPLE = [("oldest", "nftables", "3.8"), ("newest", "nftables", "3.13"), ("newest", "ipvs", "3.9")]
MODES = ("ipvs", "iptables", "nftables")
CELLS = [(name, mode, version) for name in ENVIRONMENTS for mode in MODES for version in NODE_PYTHONS[name]]
# Those that depend on ansible-core. Of the others, most try random input, and those of no folder are about a checkout.
UNITS = ["action", "glue", "plugin_utils", *(["kernel", "model", "plan", "rules", "state"] if FULL else [])]
SANITY = ("validate-modules", "action-plugin-docs", "runtime-metadata", "ansible-doc", "compile")

# What is in the archive, and what is for those who develop the collection.
SHIPPED = {
    *("CONTRIBUTING.md", "COPYING", "LICENSES", "README.md", "REUSE.toml"),
    *("changelogs", "docs", "extensions", "meta", "playbooks", "plugins", "roles"),
}
DEVELOPMENT = {
    *("Makefile", "ansible.cfg", "examples", "galaxy.yml", "molecule", "pyproject.toml", "requirements", "scripts"),
    *("site.yml", "tests"),
}
# For the site of the documentation, which is built from a checkout.
SITE = {"docs/docsite/conf.py", "docs/docsite/index.md"}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    programs = Path(sys.executable).parent
    run([programs / "ansible-galaxy", "collection", "build", "--output-path", folder], CHECKOUT)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="session")
def project_of(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """The project of an environment, by the environment's name; the same for all tests."""
    projects: dict[str, Project] = {}

    def find(name: str) -> Project:
        environment = ENVIRONMENTS[name]
        if python(environment.python) is None:
            pytest.skip(f"there is no Python {environment.python}")
        if name not in projects:
            projects[name] = environment.project(tmp_path_factory.mktemp(name), archive)
        return projects[name]

    return find


def committed() -> set[str]:
    """The files that are or could be committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name in listed if (CHECKOUT / name).is_file()}


def test_every_file_is_for_users_or_for_developers() -> None:
    tops = {name.partition("/")[0] for name in committed()}
    assert {top for top in tops - SHIPPED - DEVELOPMENT if not top.startswith(".")} == set()


def test_the_archive_has_what_users_need_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as file:
        found = {member.name for member in file.getmembers() if member.isfile()}
    shipped = {name for name in committed() if name.partition("/")[0] in SHIPPED} - SITE
    assert found == shipped | {"MANIFEST.json", "FILES.json"}


def test_the_oldest_is_what_the_collection_asks_for() -> None:
    requires = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text())["requires_ansible"]
    assert f"ansible-core=={requires.removeprefix('>=')}\n" in OLDEST.requirements.read_text()
    assert f"ansible-core {re.sub('[.]0$', '', requires.removeprefix('>='))} " in (CHECKOUT / "README.md").read_text()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_playbook_is_found_and_read(name: str, project_of: Callable[[str], Project]) -> None:
    project = project_of(name)
    playbooks = [f"kubenode.proxy.{path.stem}" for path in sorted((CHECKOUT / "playbooks").glob("*.yml"))]
    options = ["-i", "examples/inventory", "--syntax-check"]
    shown = run([project.programs / "ansible-playbook", *options, *playbooks], project.folder, project.environ())
    assert re.findall(r"^playbook: .*/(\w+)[.]yml$", shown, re.MULTILINE) == [
        name.rpartition(".")[2] for name in playbooks
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="nodes need root")
@pytest.mark.parametrize(("name", "mode", "version"), CELLS if FULL else SAMPLE)
def test_the_demonstration(name: str, mode: str, version: str, project_of: Callable[[str], Project]) -> None:
    """A run of kubenode.proxy.site, packets to every service, and a second run that changes nothing."""
    project, interpreter = project_of(name), python(version)
    if interpreter is None:
        pytest.skip(f"there is no Python {version}")
    where: list[str | Path] = ["--project", project.folder, "--programs", project.programs, "--python", interpreter]
    assert "All as expected" in run([sys.executable, "-m", "tests.demo", mode, *where], CHECKOUT)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_sanity(name: str, project_of: Callable[[str], Project]) -> None:
    ansible_test(project_of(name), "sanity", *(word for test in SANITY for word in ("--test", test)))


def test_units(project_of: Callable[[str], Project]) -> None:
    ansible_test(project_of("newest"), "units", "--num-workers", "2", *(f"tests/unit/{unit}/" for unit in UNITS))


def ansible_test(project: Project, *arguments: str) -> None:
    """Raises MatrixError where ansible-test of the project's ansible-core fails on a copy of the checkout."""
    environment = {**project.environ(), "PATH": f"{project.programs}:{os.environ['PATH']}"}
    command, *options = arguments
    run([CHECKOUT / "scripts/ansible-test", command, "--color", "no", *options], CHECKOUT, environment)
