# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rulebook of the collection under ansible-rulebook, as docs/guides/events.md says, on a node's loopback."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.documentation import CHECKOUT, GUIDES, SHELL, blocks
from tests.integration.namespace_controller import NamespaceController
from tests.lab.netns import CommandError
from tests.needs import root_and

pytestmark = [
    pytest.mark.lab,
    root_and(),
]

GUIDE = next(page for page in GUIDES if page.name == "events.md")
RULEBOOK = CHECKOUT / "extensions" / "eda" / "rulebooks" / "correct_drift.yml"
SECONDS = 120
JUMP = '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES'


def call(controller: NamespaceController, command: str, node: str, token: str = "s3cret") -> str:
    """The guide's call for a node; the status of the answer."""
    command = command.replace("$(cat token)", token).replace('"node-a"', f'"{node}"')
    return controller.look("sh", "-c", command.replace("curl ", "curl -s -o /dev/null -w '%{http_code}' ", 1))


def wait_for_the_webhook(controller: NamespaceController, command: str, process: subprocess.Popen[str]) -> None:
    """Until it answers, who does not know the token."""
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            assert call(controller, command, "node-a", token="guessed") == "401"
            return
        except CommandError:
            time.sleep(0.5)
    raise AssertionError(controller.log()[-4000:])


def wait_for(controller: NamespaceController, text: str) -> None:
    end = time.monotonic() + SECONDS
    while text not in controller.log():
        assert time.monotonic() < end, controller.log()[-6000:]
        time.sleep(0.5)


def test_a_node_is_corrected_when_somebody_names_it(ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    inventory, services = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    export, start, curl = [line for block in blocks(GUIDE) if block.language == SHELL for line in block.examples()]
    env = {name: value for name, value in ansible_env.items() if name not in ("ANSIBLE_CONFIG", "PYTHONPATH")}
    with NamespaceController(tmp_path, env) as controller:
        controller.write("services.yml", services)
        controller.write("token", "s3cret\n")
        controller.inventory(inventory, kube_proxy_services_src=str(controller.folder / "services.yml"))
        # Another node: a run for all hosts would say so of two.
        document = yaml.safe_load((controller.folder / "inventory.yml").read_text())
        document["others"] = {
            "hosts": {"node-b": {"ansible_connection": "local", "ansible_python_interpreter": "/nowhere"}}
        }
        controller.write("inventory.yml", yaml.safe_dump(document))
        with controller.running(start, before=export) as process:
            wait_for_the_webhook(controller, curl, process)
            # No name, and no name of a host: nothing is run, neither now nor before the run below.
            assert call(controller, curl.replace("node", "nod"), "nod-a") == "200"
            for others in ("node-*", "all", "ungrouped"):
                assert call(controller, curl, others) == "200"
            assert "KUBE-" not in controller.look("iptables-save")
            assert call(controller, curl, "node-a") == "200"
            wait_for(controller, "1 node: 1 changed")
            assert JUMP in controller.look("iptables-save")
        assert controller.log().count("PLAY RECAP") == 1
        assert "s3cret" not in controller.log()


def test_the_variables_of_the_guide() -> None:
    (block,) = [yaml.safe_load(block.text) for block in blocks(GUIDE) if block.language == "yaml"]
    (ruleset,) = yaml.safe_load(RULEBOOK.read_text())
    webhook = ruleset["sources"][0]["eda.builtin.webhook"]
    used = set(re.findall(r"\{\{ (\w+)", " ".join(map(str, webhook.values()))))
    assert used == {*block, "KUBE_PROXY_WEBHOOK_TOKEN"}
    table = GUIDE.read_text().partition("| Variable | |\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == used
