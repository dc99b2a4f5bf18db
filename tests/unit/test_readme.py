# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""README.md and the guides name what is there, and their examples are good input."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import source

from tests.documentation import GUIDES, PAGES

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()
TEXTS = [page.read_text() for page in PAGES]
MIGRATION = (CHECKOUT / "docs" / "guides" / "migration.md").read_text()


def yaml_blocks(text: str = README) -> list[Any]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


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
    assert listed("Rulebook") == {path.stem for path in (CHECKOUT / "extensions/eda/rulebooks").glob("*.yml")}


def test_every_variable_in_the_text_is_one() -> None:
    playbooks = "".join(path.read_text() for path in (CHECKOUT / "playbooks").rglob("*.yml"))
    rulebooks = "".join(path.read_text() for path in (CHECKOUT / "extensions").rglob("*.yml"))
    playbook_variables = set(re.findall(r"(kube_proxy_\w+) (?:\| default|is defined)", playbooks + rulebooks))
    for text in TEXTS:
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


def test_every_playbook_and_variable_of_a_command_is_one() -> None:
    playbooks = {path.stem: path.read_text() for path in (CHECKOUT / "playbooks").rglob("*.yml")}
    for text in TEXTS:
        for command in re.findall(r"^ansible-playbook .*", text, re.MULTILINE):
            assert set(re.findall(r"kubenode\.proxy\.(\w+)", command)) <= set(playbooks), command
            for name in re.findall(r"-e (\w+)=", command):
                assert name in role_variables() or any(name in playbook for playbook in playbooks.values()), command


def test_the_hooks_of_the_migration_guide_are_tasks_that_the_playbooks_take(tmp_path: Path) -> None:
    *hooks, inventory = yaml_blocks(MIGRATION)
    variables = inventory["kube_nodes"]["vars"]
    switch = (CHECKOUT / "playbooks/switch_mode.yml").read_text()
    assert all(name in switch for name in variables)
    files = re.findall(r"^`(\w+\.yml)`", MIGRATION, re.MULTILINE)
    assert files == [path.partition("/")[2] for path in variables.values() if isinstance(path, str)]
    imports = []
    for name, hook in zip(files, hooks, strict=True):
        (tmp_path / name).write_text(yaml.safe_dump(hook))
        imports.append({"ansible.builtin.import_tasks": name})
    (tmp_path / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": imports}])
    )
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--syntax-check", "play.yml"]
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_link_of_a_guide_leads_somewhere(page: Path) -> None:
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / path).exists()


def test_every_guide_is_in_the_readme_and_on_the_site() -> None:
    site = (CHECKOUT / "docs" / "docsite" / "index.md").read_text()
    for page in GUIDES:
        assert f"(docs/guides/{page.name})" in README
        assert f"\nguides/{page.stem}\n" in site
