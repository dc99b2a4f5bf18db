# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guides tell to run, run line by line on one node: a network namespace, with the inventory of README.md.

The kernel has no IPVS, so the node is in iptables mode, also where a guide starts from IPVS.
tests/documentation.py lists what other tests run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import pytest

from tests.documentation import CHECKOUT, ELSEWHERE, GUIDES, NOT_RUN, SHELL, blocks, listed
from tests.integration.namespace_controller import NODE, NamespaceController
from tests.needs import root_and

pytestmark = [
    pytest.mark.lab,
    root_and(),
]

SITE = "ansible-playbook -i inventory.yml kubenode.proxy.site"
# The name of a snapshot, which is a time.
SNAPSHOT = re.compile(r"\d{8}T\d{6}(\.\d+)?Z")
TIME = "%Y%m%dT%H%M%S.%fZ"
SNAPSHOTS = "/var/lib/kubenode-proxy/snapshots"


@pytest.fixture(scope="module")
def controller(
    ansible_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NamespaceController]:
    inventory, services = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    env = {name: value for name, value in ansible_env.items() if name not in ("ANSIBLE_CONFIG", "PYTHONPATH")}
    with NamespaceController(tmp_path_factory.mktemp("guides"), env) as controller:
        controller.inventory(inventory, kube_proxy_mode_before="iptables")
        controller.write("services.yml", services)
        controller.run(SITE)
        yield controller


def commands(page: str) -> list[str]:
    """The lines of a page that are run here, each once: for the first page that it stands on."""
    seen: dict[str, str] = {}
    for path in GUIDES:
        lines = [line for block in blocks(path) if block.language == SHELL for line in block.examples()]
        for line in lines:
            if not listed({**ELSEWHERE, **NOT_RUN}, path.name, line):
                seen.setdefault(line, path.name)
    return [line for line, first in seen.items() if first == page]


def run_all(controller: NamespaceController, page: str) -> dict[str, str]:
    """What the commands of a page print."""
    found = {}
    for line in commands(page):
        snapshots = controller.run(f"ls {SNAPSHOTS} 2>/dev/null || true").split()
        found[line] = controller.run(SNAPSHOT.sub(snapshots[-1], line) if SNAPSHOT.search(line) else line)
    return found


def test_drift(controller: NamespaceController) -> None:
    member = controller.look("iptables", "-t", "nat", "-F", "KUBE-MARK-MASQ")
    assert member == ""
    looked, *others = commands("drift.md")
    controller.run(looked, status=10)
    statuses = {"-e kube_proxy_drift_correct=true": 11}
    asked = [line for line in others if line.startswith("jq ")]
    assert [controller.run(line) for line in asked] == [
        "node-a\n",
        "change chain ipv4 nat KUBE-MARK-MASQ: has 0 rules, not 1\n",
    ]
    for line in others:
        if line not in asked:
            controller.run(line, next((number for part, number in statuses.items() if part in line), 0))


@pytest.mark.parametrize("path", ["/nowhere/report.json", "."])
def test_a_report_that_cannot_be_written_is_found_before_a_node_is_visited(
    controller: NamespaceController, path: str
) -> None:
    """As the table of docs/guides/drift.md says."""
    command = "ansible-playbook -i inventory.yml kubenode.proxy.drift -e kube_proxy_drift_report="
    text = controller.run(command + path, status=1)
    assert "the report cannot be written to /" in text
    assert "node-a]" not in text


def test_report(controller: NamespaceController) -> None:
    controller.run(SITE)
    printed = run_all(controller, "report.md")
    for text, name in zip(printed.values(), ("report.html", "fleet.html"), strict=True):
        assert f"page: {controller.folder / name}" in text
        assert '"name":"node-a","status":"clean"' in (controller.folder / name).read_text()


def test_operations(controller: NamespaceController) -> None:
    before = rules(controller)
    printed = run_all(controller, "operations.md")
    clean_up = next(line for line in printed if "cleanup" in line)
    assert "  remove chain ipv4 filter KUBE-" in printed[clean_up]
    # What the clean-up took away came back.
    assert rules(controller) == before


def test_a_rollback_to_a_time_leaves_nodes_alone_that_have_not_been_changed_since(
    controller: NamespaceController,
) -> None:
    """As docs/guides/operations.md promises."""
    controller.run(SITE)
    before = rules(controller)
    since = "-e kube_proxy_rollback_since=" + datetime.now(UTC).strftime(TIME)
    rollback = SITE.replace("proxy.site", "proxy.rollback")
    assert "node-a  unchanged" in controller.run(f"{rollback} {since}")
    assert rules(controller) == before
    for run in ("-e kube_proxy_mode=nftables", "-e kube_proxy_masquerade_all=true"):
        assert "node-a  changed" in controller.run(f"{SITE} {run}")
    controller.run(f"{rollback} {since}")
    assert rules(controller) == before
    assert "20261121T120000Z" in controller.run(f"{rollback} -e kube_proxy_rollback_since=yesterday", status=2)


def test_migration(controller: NamespaceController) -> None:
    controller.run(SITE)
    printed = run_all(controller, "migration.md")
    checked, moved = (text for line, text in printed.items() if "migrate" in line)
    assert "node-a  would change " in checked
    assert "node-a  changed " in moved
    assert "table ip kube-proxy" in controller.look("nft", "list", "tables")
    assert "KUBE-" not in rules(controller)
    preflight = next(text for line, text in printed.items() if "preflight" in line)
    assert '"mode": "nftables"' in preflight
    # This kernel has no IPVS, and that mode does not take it.
    assert '"missing_kernel_modules": []' in preflight


def test_every_guide_is_run() -> None:
    assert {page.name for page in GUIDES if commands(page.name)} == {
        "drift.md",
        "report.md",
        "operations.md",
        "migration.md",
    }


def test_the_examples_of_the_checkout(controller: NamespaceController) -> None:
    page = CHECKOUT / "examples" / "README.md"
    lines = [line for block in blocks(page) for line in block.examples()]
    plays = [line for line in lines if line.startswith("ansible-playbook ")]
    # The way to the node comes last, and wins.
    lab = ["-i", str(controller.folder / "inventory.yml"), "--limit", NODE, "-e", "kube_proxy_mode=iptables"]
    environment = f"ANSIBLE_CONFIG={CHECKOUT}/ansible.cfg"
    assert len(plays) == 2
    for line in plays:
        text = controller.run(f"cd {CHECKOUT} && {environment} {line} {' '.join(lab)}")
        assert re.search(r"^node-a .* failed=0 ", text, re.MULTILINE)
    assert "-d 10.96.10.1/32" in rules(controller)


def test_the_playbook_of_single_modules(controller: NamespaceController) -> None:
    """That of docs/guides/single_modules.md."""
    (play,) = [block.text for page in GUIDES if page.name == "single_modules.md" for block in blocks(page)]
    controller.write("office.yml", play)
    run = "ansible-playbook -i inventory.yml office.yml"
    shown = "ip netns exec edge iptables-save; ip netns exec edge ipset save"
    text = controller.run(f"ip netns add edge && {run} && {shown} && {run}")
    assert "--match-set office src -j MASQUERADE" in text
    assert "add office 203.0.113.7" in text
    assert re.findall(r"^node-a .* changed=(\d) ", text, re.MULTILINE) == ["3", "0"]


def test_a_clean_up_of_a_network_namespace_leaves_the_node_what_is_its_own(controller: NamespaceController) -> None:
    inside = """-e '{"kube_proxy_netns": "lb", "kube_proxy_node_addresses": ["192.0.2.12"]}'"""
    kept = "find /etc/modules-load.d /etc/sysctl.d /var/lib/kubenode-proxy -type f -not -path '*/snapshots/*' | sort"
    chains = "ip netns exec lb iptables -t nat -S"
    clean_up = SITE.replace("site", "cleanup")
    controller.run(SITE)
    before = controller.run(f"{kept} && iptables-save | grep ^-A")
    text = controller.run(
        f"ip netns add lb && {SITE} {inside} && {chains} && {clean_up} {inside} && echo cleaned && {chains}"
    )
    filled, emptied = text.split("\ncleaned\n")
    assert "-d 10.96.0.10/32" in filled
    assert "KUBE-" not in emptied
    assert controller.run(f"{kept} && iptables-save | grep ^-A") == before
    assert "/etc/sysctl.d/60-kubenode-proxy.conf" in before


@pytest.mark.parametrize(
    "bad", ["kube_proxy_services_src=/nowhere.yml", "kube_proxy_cluster_cidrs=10.0.0.0", "kube_proxy_snapshots=-1"]
)
def test_bad_input_is_found_before_anything_is_written(controller: NamespaceController, bad: str) -> None:
    """As docs/guides/operations.md says: not even what node_prepare would write."""
    controller.run(SITE)
    controller.write("hook.yml", "- ansible.builtin.fail: {msg: the node was drained}\n")
    controller.run("rm /etc/sysctl.d/60-kubenode-proxy.conf")
    for playbook, status, more in (
        ("site", 2, ""),
        ("drift", 2, "-e kube_proxy_drift_correct=true"),
        ("switch_mode", 2, "-e kube_proxy_mode=nftables -e kube_proxy_before_switch=$PWD/hook.yml"),
    ):
        text = controller.run(f"{SITE.replace('site', playbook)} -e {bad} {more}", status)
        assert "problem(s) in the input" in text
        assert "the node was drained" not in text
    controller.run("! test -e /etc/sysctl.d/60-kubenode-proxy.conf")
    controller.run(SITE)


def test_the_modes_of_files_are_those_of_the_guide(controller: NamespaceController) -> None:
    """The table of docs/guides/security.md, as far as this node has the paths."""
    guide = (CHECKOUT / "docs" / "guides" / "security.md").read_text()
    controller.run(SITE)
    folders = ["", "/runs", "/snapshots"]
    modes = controller.run("stat -c '%a' " + " ".join(f"/var/lib/kubenode-proxy{folder}" for folder in folders)).split()
    files = controller.run("find /var/lib/kubenode-proxy -type f -exec stat -c '%a' {} +").split()
    assert (set(modes), set(files)) == ({"755"}, {"600"})
    others = "/etc/modules-load.d/kubenode-proxy.conf /etc/sysctl.d/60-kubenode-proxy.conf /run/kubenode-proxy.lock"
    assert controller.run(f"stat -c '%a' {others}").split() == ["644", "644", "600"]
    for line in ("`snapshots` | 0755", "files in them | 0600", "`/run/kubenode-proxy.lock` | 0600", "| 0644 |"):
        assert line in guide


def rules(controller: NamespaceController) -> str:
    """Without counters and comments."""
    text = controller.look("iptables-save")
    return "".join(re.sub(r" \[.*", "", line) + "\n" for line in text.splitlines() if not line.startswith("#"))
