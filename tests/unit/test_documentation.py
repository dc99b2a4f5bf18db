# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module says of itself is what it takes: the documentation of every module against its argument spec."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import module as glue

CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.kubenode.proxy"
MODULES = sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py"))
# What an option of an argument spec is without these keys.
DEFAULTS = {"type": "str", "required": False, "default": None, "choices": None, "elements": None, "aliases": []}


def load(name: str) -> ModuleType:
    return importlib.import_module(f"{COLLECTION}.plugins.modules.{name}")


def documentation(name: str) -> dict[str, Any]:
    """The documentation with its fragments; what the module itself says wins."""
    document: dict[str, Any] = yaml.safe_load(load(name).DOCUMENTATION)
    for fragment in document.get("extends_documentation_fragment", []):
        _namespace, _collection, file, *section = fragment.split(".")
        shared = importlib.import_module(f"{COLLECTION}.plugins.doc_fragments.{file}").ModuleDocFragment
        part = yaml.safe_load(getattr(shared, section[0].upper() if section else "DOCUMENTATION"))
        document["options"] = {**part.get("options", {}), **document.get("options", {})}
        document["attributes"] = {**part.get("attributes", {}), **document.get("attributes", {})}
    return document


def argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The argument spec with which the module runs."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(glue, "run", lambda _work, **options: given.update(options))
    load(name).main()
    spec: dict[str, Any] = given["argument_spec"]
    return spec


def differences(documented: Mapping[str, Any], spec: Mapping[str, Any], path: str = "") -> list[str]:
    """What differs between options as documented and as specified, with the paths of the options."""
    found = [f"{path}{name} is not documented" for name in spec if name not in documented]
    found += [f"{path}{name} is documented only" for name in documented if name not in spec]
    for name in sorted(set(spec) & set(documented)):
        for key, default in DEFAULTS.items():
            said, done = documented[name].get(key, default), spec[name].get(key, default)
            if said != done or type(said) is not type(done):
                found.append(f"{path}{name}: {key} is documented as {said!r}, not {done!r}")
        found += differences(
            documented[name].get("suboptions") or {}, spec[name].get("options") or {}, f"{path}{name}."
        )
    return found


@pytest.mark.parametrize("name", MODULES)
def test_the_documentation_says_what_the_argument_spec_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert differences(documentation(name)["options"], argument_spec(name, monkeypatch)) == []


def undescribed(options: Mapping[str, Any], path: str = "") -> list[str]:
    """Options without a description."""
    found = []
    for name, option in options.items():
        if not option.get("description"):
            found.append(f"{path}{name}")
        found += undescribed(option.get("suboptions") or option.get("contains") or {}, f"{path}{name}.")
    return found


@pytest.mark.parametrize("name", MODULES)
def test_everything_has_a_description(name: str) -> None:
    document = documentation(name)
    assert document["module"] == name
    assert document["short_description"]
    assert not document["short_description"].endswith(".")
    assert document["version_added"]
    assert undescribed(document["options"]) == []
    assert set(document["attributes"]) >= {"check_mode", "diff_mode", "idempotent"}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_check_mode_and_shows_its_changes(name: str) -> None:
    attributes = documentation(name)["attributes"]
    info = name.endswith("_info")
    support = {key: attributes[key]["support"] for key in ("check_mode", "diff_mode", "idempotent")}
    assert support == {"check_mode": "full", "diff_mode": "N/A" if info else "full", "idempotent": "full"}


@pytest.mark.parametrize("name", MODULES)
def test_what_is_returned_is_described(name: str) -> None:
    returned = yaml.safe_load(load(name).RETURN)
    assert undescribed(returned) == []
    assert [key for key, value in returned.items() if not (value.get("type") and value.get("returned"))] == []


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_tasks_with_options_that_exist(name: str) -> None:
    examples = yaml.safe_load(load(name).EXAMPLES)
    options = documentation(name)["options"]
    ours = [task[f"kubenode.proxy.{name}"] or {} for task in examples if f"kubenode.proxy.{name}" in task]
    assert ours
    assert all(task.get("name") for task in examples)
    assert [option for arguments in ours for option in arguments if option not in options] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_in_the_action_group(name: str) -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text())
    assert name in runtime["action_groups"]["proxy"]


def test_the_action_group_has_modules_only() -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text())
    assert runtime["action_groups"]["proxy"] == MODULES
    assert runtime["requires_ansible"] == ">=2.16.0"


@pytest.mark.parametrize("name", MODULES)
def test_related_modules_exist(name: str) -> None:
    related = [entry["module"] for entry in documentation(name)["seealso"] if "module" in entry]
    assert related
    ours = [module.rpartition(".")[2] for module in related if module.startswith("kubenode.proxy.")]
    assert [module for module in ours if module not in MODULES or module == name] == []
