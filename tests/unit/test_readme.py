# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""README.md and the guides name what is there, and their examples are good input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import source

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()
OPERATIONS = (CHECKOUT / "docs" / "guides" / "operations.md").read_text()
DRIFT = (CHECKOUT / "docs" / "guides" / "drift.md").read_text()
PERIODIC = (CHECKOUT / "docs" / "guides" / "periodic.md").read_text()
SCALING = (CHECKOUT / "docs" / "guides" / "scaling.md").read_text()


def yaml_blocks() -> list[Any]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]


def role_variables() -> set[str]:
    found: set[str] = set()
    for path in (CHECKOUT / "roles").glob("*/meta/argument_specs.yml"):
        found |= set(yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"])
    return found


def listed(singular: str) -> set[str]:
    """The names in the first column of a table."""
    table = README.partition(f"| {singular} | |\n")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `kubenode\.proxy\.(\w+)`", table, re.MULTILINE))


def test_the_inventory_has_ten_lines_and_variables_that_the_roles_have() -> None:
    inventory, _services = yaml_blocks()
    (group,) = inventory.values()
    playbooks = "".join(path.read_text() for path in (CHECKOUT / "playbooks").glob("*.yml"))
    for name in group["vars"]:
        assert name.startswith("ansible_") or name in role_variables() or name in playbooks
    assert len(README.partition("```yaml\n")[2].partition("```")[0].splitlines()) <= 10


def test_the_services_are_good_service_data() -> None:
    inventory, services = yaml_blocks()
    (port,) = source.parse(services).service_ports
    (group,) = inventory.values()
    assert {endpoint.node for endpoint in port.endpoints} == set(group["hosts"])


def test_what_is_listed_is_what_there_is() -> None:
    assert listed("Module") == {path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py")}
    assert listed("Role") == {path.name for path in (CHECKOUT / "roles").iterdir()}
    assert listed("Playbook") == {path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")}


def test_every_variable_in_the_text_is_one() -> None:
    playbooks = "".join(path.read_text() for path in (CHECKOUT / "playbooks").glob("*.yml"))
    playbook_variables = set(re.findall(r"(kube_proxy_\w+) \| default", playbooks))
    for text in (README, OPERATIONS, DRIFT, PERIODIC, SCALING):
        assert set(re.findall(r"kube_proxy_\w+", text)) <= role_variables() | playbook_variables
        assert set(re.findall(r"drift_timer_\w+", text)) <= role_variables()


def test_every_link_and_path_of_the_checkout_leads_somewhere() -> None:
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (CHECKOUT / path).exists()
    for path in re.findall(r"`((?:requirements|examples|docs|scripts)/[\w./-]*)`", README):
        assert (CHECKOUT / path).exists()


def test_every_make_target_in_the_text_is_one() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_version_of_the_archive() -> None:
    galaxy = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())
    assert f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.tar.gz" in README
