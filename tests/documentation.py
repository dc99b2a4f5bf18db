# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of the documentation, and which test runs each of them.

A line of shell in a guide is run by tests/integration/test_guides.py, unless it stands here. Blocks in other languages
stand here by their first line. tests/unit/test_examples.py fails for a block that nobody runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
GUIDES = sorted((CHECKOUT / "docs" / "guides").glob("*.md"))
PAGES = [CHECKOUT / "README.md", CHECKOUT / "examples" / "README.md", *GUIDES]
SHELL = "shell"

EXAMPLES = "tests/unit/test_examples.py"
DRIFT_TIMER = "tests/integration/test_drift_timer.py::test_what_the_guide_shows"
EVENTS = "tests/integration/test_rulebook.py::test_a_node_is_corrected_when_somebody_names_it"
FIRST_USE = "tests/integration/test_readme.py::test_first_use"
HOOKS = "tests/unit/test_readme.py::test_the_hooks_of_the_migration_guide_are_tasks_that_the_playbooks_take"
INSTALLED = "tests/integration/test_scaling.py::node"
MIGRATION = "tests/integration/test_guides.py::test_migration"
PULL = "ansible-pull -U https://git.example.com/nodes.git -d /var/lib/ansible-pull"
SCHEDULE = "tests/integration/test_scaling.py::test_a_schedule_of_a_controller"
SERVICE_DATA = "tests/unit/model/test_service_data_guide.py::test_the_examples_are_service_data"
SINGLE_MODULES = "tests/integration/test_guides.py::test_the_playbook_of_single_modules"
PULL_ALONE = "tests/integration/test_scaling.py::test_a_pull_without_an_entry_in_the_inventory"
VARIABLES = "tests/integration/test_rulebook.py::test_the_variables_of_the_guide"
SWITCH = "tests/integration/test_playbooks.py::test_the_way_out_of_ipvs_back_and_out_of_all_modes"

# (page, line of shell or first line of a block) -> the test that runs it. "..." stands for the rest of a line.
ELSEWHERE = {
    ("README.md", "kube_nodes:"): FIRST_USE,
    ("README.md", "- name: web"): FIRST_USE,
    ("README.md", "ansible-playbook -i inventory.yml site.yml --check --diff"): FIRST_USE,
    ("README.md", "ansible-playbook -i inventory.yml site.yml"): FIRST_USE,
    ("README.md", "ansible-galaxy collection build"): FIRST_USE,
    ("README.md", "ansible-galaxy collection install kubenode-proxy-0.1.0.tar.gz"): FIRST_USE,
    ("README.md", "ansible-playbook -i inventory.yml kubenode.proxy.site"): FIRST_USE,
    ("README.md", "ansible-playbook -i inventory.yml kubenode.proxy.drift"): MIGRATION,
    ("README.md", "ansible-playbook -i inventory.yml kubenode.proxy.migrate -e kube_proxy_mode=nftables"): MIGRATION,
    ("drift.md", "DRIFT " + 74 * "*"): f"{EXAMPLES}::test_the_summary_of_drift",
    ("events.md", 'export KUBE_PROXY_WEBHOOK_TOKEN="$(cat token)"'): EVENTS,
    (
        "events.md",
        "ansible-rulebook -r kubenode.proxy.correct_drift -i inventory.yml -E KUBE_PROXY_WEBHOOK_TOKEN",
    ): EVENTS,
    ("events.md", "curl ..."): EVENTS,
    (
        "events.md",
        "kube_proxy_webhook_host: 192.0.2.1",
    ): VARIABLES,
    ("migration.md", "- name: The node takes no new pods, and its pods have moved"): HOOKS,
    ("migration.md", "- name: The shop answers on this node's port"): HOOKS,
    ("migration.md", "- name: The node takes pods again"): HOOKS,
    ("migration.md", "kube_nodes:"): HOOKS,
    # IPVS, which the node of the guides' test does not have
    (
        "migration.md",
        "ansible-playbook -i inventory.yml kubenode.proxy.switch_mode -e kube_proxy_mode=ipvs --limit node-a",
    ): SWITCH,
    ("operations.md", "CHANGES " + 72 * "*"): f"{EXAMPLES}::test_the_summary_of_changes",
    ("periodic.md", "ansible-playbook -i inventory.yml kubenode.proxy.drift_timer"): DRIFT_TIMER,
    ("periodic.md", "systemctl --failed"): DRIFT_TIMER,
    ("periodic.md", "journalctl -u kubenode-proxy-drift.service"): DRIFT_TIMER,
    ("periodic.md", "systemctl list-timers kubenode-proxy-drift.timer"): DRIFT_TIMER,
    ("periodic.md", "kubenode-proxy report"): DRIFT_TIMER,
    ("periodic.md", "kubenode-proxy converge"): DRIFT_TIMER,
    ("periodic.md", "kubenode-proxy report --json"): DRIFT_TIMER,
    (
        "periodic.md",
        "- alert: KubenodeProxyDrift",
    ): f"{EXAMPLES}::test_the_alerts_name_metrics_and_statuses_that_there_are",
    (
        "scaling.md",
        "# /etc/systemd/system/kubenode-drift.service",
    ): "tests/integration/test_scaling.py::test_a_schedule_of_a_controller",
    (
        "scaling.md",
        "# /etc/systemd/system/kubenode-drift.timer",
    ): SCHEDULE,
    ("scaling.md", "- name: This node is prepared and holds the rule set of its services"): INSTALLED,
    ("scaling.md", "kube_nodes:"): INSTALLED,
    ("scaling.md", "ansible-galaxy collection install -p collections kubenode-proxy-0.1.0.tar.gz"): INSTALLED,
    ("scaling.md", "git add collections inventory.yml services.yml local.yml"): INSTALLED,
    ("scaling.md", "git commit -m 'Add a service'"): INSTALLED,
    ("scaling.md", "git push"): INSTALLED,
    ("scaling.md", f"{PULL} -i inventory.yml..."): INSTALLED,
    ("scaling.md", f"{PULL} -i localhost,..."): PULL_ALONE,
    ("service_data.md", "- name: web"): SERVICE_DATA,
    ("service_data.md", "- name: dns"): SERVICE_DATA,
    (
        "service_data.md",
        "services[3].ports[0].node_port: 80 is outside 1024..65535",
    ): f"{EXAMPLES}::test_the_errors_of_service_data",
    ("single_modules.md", "- name: Office networks reach the node ports, and are masqueraded"): SINGLE_MODULES,
}
# What cannot be run here, and why.
NOT_RUN = {
    ("README.md", ". .venv/bin/activate"): "the tests run in this environment already",
    ("examples/README.md", "make setup"): "the tests run in what it made",
    (
        "examples/README.md",
        "mkdir -p .cache/collections/ansible_collections/kubenode && ln ...",
    ): "it makes the link through which the tests find the collection",
    ("service_data.md", "kubectl get services,endpointslices -A -o json > services.json"): "there is no cluster",
    (
        "scaling.md",
        "*/30 * * * * ansible cd /srv/kubenode && ...",
    ): "it sends mail; its playbook is run as the guide's service",
}


class Block(NamedTuple):
    """A fenced block of a page, by its path in the checkout or its name in docs/guides."""

    page: str
    language: str
    text: str

    def examples(self) -> list[str]:
        """Its lines of shell, or the first line of another language, by which it is known."""
        return shell_lines(self.text) if self.language == SHELL else [self.text.splitlines()[0]]


def listed(table: dict[tuple[str, str], str], page: str, example: str) -> str | None:
    """What a table says of an example; None where it is not there."""
    for (of_page, line), value in table.items():
        start = line.removesuffix("...")
        if of_page == page and (example == line or (start != line and example.startswith(start))):
            return value
    return None


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    name = page.name if page in GUIDES else str(page.relative_to(CHECKOUT))
    found = re.findall(r"^```(\S*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(name, language, text) for language, text in found]


def shell_lines(text: str) -> list[str]:
    """Commands, continued lines joined, without comments."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [re.sub(r"\s+# .*", "", line).strip() for line in joined.splitlines() if line.strip()]
