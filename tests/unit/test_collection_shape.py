# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users of good collections find in each: beside the code, and said of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py"))
TARGETS = CHECKOUT / "tests/integration/targets"
ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
# Where tests/integration/run_targets.py can run a target.
PLACES = {"namespace", "guest"}
DOCUMENTED = ("callback", "filter", "lookup", "test")


def read(path: str) -> Any:
    return yaml.safe_load((CHECKOUT / path).read_text())


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.yml")}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_an_integration_target_that_runs_somewhere(name: str) -> None:
    aliases = set((TARGETS / name / "aliases").read_text().split())
    assert len(aliases & PLACES) == 1
    # It changes the kernel's network configuration, which nobody wants by accident.
    assert aliases >= {"destructive", "needs/root", "needs/target/four_runs"}


@pytest.mark.parametrize("name", MODULES)
def test_every_case_of_a_target_runs_and_is_followed_by_assertions(name: str) -> None:
    tasks = read(f"tests/integration/targets/{name}/tasks/main.yml")
    [cases] = [
        task["loop"] for task in tasks if task.get("ansible.builtin.include_role", {}).get("name") == "four_runs"
    ]
    assert names(TARGETS / name / "cases") == names(TARGETS / name / "tests") == set(cases)
    for case in cases:
        [task] = read(f"tests/integration/targets/{name}/cases/{case}.yml")
        assert set(task) == {"name", f"kubenode.proxy.{name}", "register"}


def test_four_runs_are_check_real_check_real() -> None:
    [runs] = [task["loop"] for task in read("tests/integration/targets/four_runs/tasks/main.yml") if "loop" in task]
    assert runs == ["check", "real", "check_again", "real_again"]


def least_arguments(name: str) -> dict[str, str]:
    """Without them, some modules end before they look at what they do not know."""
    if name in {"rule_set", "sysctls"}:
        return {"state": "absent"}
    text = (CHECKOUT / f"plugins/modules/{name}.py").read_text()
    return {"rule_set": "/no/such/file"} if "- kubenode.proxy.compiled\n" in text else {}


def test_the_defaults_of_the_action_group_reach_every_module(tmp_path: Path) -> None:
    results = [f"result_{name}" for name in MODULES]
    tasks: list[dict[str, Any]] = [
        {f"kubenode.proxy.{name}": least_arguments(name), "register": result, "ignore_errors": True, "check_mode": True}
        for name, result in zip(MODULES, results, strict=True)
    ]
    tasks += [
        {"ansible.builtin.assert": {"that": f"'no_such_option' in {result}.msg", "fail_msg": result}}
        for result in results
    ]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/kubenode.proxy.proxy": {"no_such_option": 1}},
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": tasks,
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "play.yml"]
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_of_a_role_is_specified(role: str) -> None:
    specification = read(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]
    options = specification["options"]
    assert specification["short_description"]
    assert {name for name, option in options.items() if not (option.get("description") and option.get("type"))} == set()
    assert set(read(f"roles/{role}/defaults/main.yml")) <= set(options)
    assert {name for name in options if not name.startswith(f"{role}_")} == set()


def test_plugins_of_other_kinds_are_documented() -> None:
    for kind in DOCUMENTED:
        for path in (CHECKOUT / "plugins" / kind).glob("*.py"):
            sidecar = path.with_suffix(".yml")
            assert "DOCUMENTATION = r" in path.read_text() or sidecar.exists(), path


def test_an_action_plugin_belongs_to_a_module() -> None:
    assert {path.stem for path in (CHECKOUT / "plugins/action").glob("*.py")} <= set(MODULES)


def test_the_metadata_of_the_collection_are_complete() -> None:
    galaxy = read("galaxy.yml")
    for key in (
        "authors",
        "description",
        "documentation",
        "homepage",
        "issues",
        "license",
        "readme",
        "repository",
        "tags",
    ):
        assert galaxy[key], key
    assert galaxy["dependencies"] == {}
    assert (CHECKOUT / galaxy["readme"]).exists()
    # Galaxy takes tags of lower-case letters and digits, at most 20.
    assert all(tag.isalnum() and tag == tag.lower() for tag in galaxy["tags"])
    assert len(galaxy["tags"]) <= 20


def test_nothing_is_ignored_in_sanity_tests() -> None:
    assert list((CHECKOUT / "tests/sanity").glob("ignore*")) == []
