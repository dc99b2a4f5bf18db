# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of the documentation is run by a test; those that show what is printed, here."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import metrics
from ansible_collections.kubenode.proxy.plugins.module_utils.model import source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.plugin_utils import drift

from tests.documentation import CHECKOUT, ELSEWHERE, GUIDES, NOT_RUN, PAGES, SHELL, Block, blocks, listed

ALL = [block for page in PAGES for block in blocks(page)]
# tests/integration/test_guides.py runs the commands of these pages.
RUN = {page.name for page in GUIDES} | {"examples/README.md"}
SYSCTL = {"verb": "change", "kind": "sysctl", "name": "net.ipv4.vs.conntrack", "reason": "is 0, not 1"}
MEMBER = {"verb": "add", "kind": "member", "name": "KUBE-CLUSTER-IP 10.96.0.10,tcp:80", "reason": "missing"}


def text_of(page: str, first_line: str) -> str:
    (found,) = [block.text for block in ALL if block.page == page and block.text.startswith(f"{first_line}\n")]
    return found


@pytest.mark.parametrize("block", ALL, ids=lambda block: f"{block.page}: {block.text.splitlines()[0][:60]}")
def test_every_example_is_run(block: Block) -> None:
    assert block.language, "say in which language it is"
    for example in block.examples():
        known = listed({**ELSEWHERE, **NOT_RUN}, block.page, example)
        assert known or (block.language == SHELL and block.page in RUN), (
            f"no test runs {example}: tests/documentation.py"
        )


@pytest.mark.parametrize("page, line", [*ELSEWHERE, *NOT_RUN])
def test_nothing_is_listed_that_is_not_an_example(page: str, line: str) -> None:
    entry = {(page, line): "there"}
    found = [example for block in ALL for example in block.examples() if listed(entry, block.page, example)]
    assert len(found) == 1


@pytest.mark.parametrize("page, test", sorted({(page, test) for (page, _line), test in ELSEWHERE.items()}))
def test_the_tests_that_run_examples_are_there(page: str, test: str) -> None:
    path, name = test.split("::")
    text = (CHECKOUT / path).read_text()
    names = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert name in names
    # By its name it reads the page.
    assert page in text


def node_with(*operations: dict[str, str], check: bool) -> drift.NodeDrift:
    node = drift.NodeDrift(expected=())
    counts = {f"{one['verb']} {one['kind']}": 0 for one in operations}
    for one in operations:
        counts[f"{one['verb']} {one['kind']}"] += 1
    result: dict[str, Any] = {"changed": bool(operations), "operations": list(operations), "counts": counts}
    node.add(drift.TaskOutcome("kubenode.proxy.rule_set", "The node holds the rule set", {}, check, result))
    return node


def node_that_failed(message: str, unreachable: bool) -> drift.NodeDrift:
    node = drift.NodeDrift(expected=())
    node.fail(message, unreachable)
    return node


def test_the_summary_of_drift() -> None:
    nodes = {"node-a": node_with(SYSCTL, MEMBER, check=True), "node-b": node_with(check=True)}
    nodes["node-c"] = node_that_failed("Connection timed out", unreachable=True)
    report = drift.fleet_report(nodes, "2026-11-21T12:00:00Z", "2026-11-21T12:00:09Z")
    _banner, *lines, last = text_of("drift.md", "DRIFT " + 74 * "*").splitlines()
    assert lines == [line for _status, line in drift.summary(report)]
    assert last.startswith("report: ")


def test_the_summary_of_changes() -> None:
    other = {**MEMBER, "name": "KUBE-CLUSTER-IP 10.96.0.20,tcp:443"}
    nodes = {"node-a": node_with(MEMBER, other, SYSCTL, check=False), "node-b": node_with(check=False)}
    nodes["node-c"] = node_that_failed("kernel module ip_vs_mh cannot be loaded", unreachable=False)
    report = drift.fleet_report(nodes, "2026-11-21T12:00:00Z", "2026-11-21T12:00:09Z")
    _banner, *lines = text_of("operations.md", "CHANGES " + 72 * "*").splitlines()
    assert lines == [line for _status, line in drift.summary_of_changes(report)]


def test_the_errors_of_service_data() -> None:
    def service(number: int, **keys: Any) -> dict[str, Any]:
        port = {"port": 80, **keys.pop("port", {})}
        address = {} if "clusterip" in keys else {"cluster_ip": f"10.96.0.{number}"}
        return {"name": "web" if number == 0 else f"s{number}", **address, "ports": [port], **keys}

    services = [service(number) for number in range(8)]
    services[0] = service(0, port={"node_port": 30080})
    services[3] = service(3, port={"node_port": 80})
    services[5] = service(5, cluster_ip="10.96.0.5", clusterip="10.96.0.5")
    services[7] = service(7, port={"node_port": 30080})
    with pytest.raises(InputError) as raised:
        source.parse(services)
    assert str(raised.value).splitlines() == text_of("service_data.md", ERROR).splitlines()


ERROR = "services[3].ports[0].node_port: 80 is outside 1024..65535"


def test_the_alerts_name_metrics_and_statuses_that_there_are() -> None:
    report = {"status": "drifted", "counts": {}, "seconds": 1.0}
    alerts = yaml.safe_load(text_of("periodic.md", "- alert: KubenodeProxyDrift"))
    expressions = " ".join(alert["expr"] for alert in alerts)
    printed = metrics.render(report, 0.0)
    names = re.findall(r"kubenode_proxy_\w+", expressions)
    assert len(names) == len(alerts)
    assert [name for name in names if f"# TYPE {name} gauge" not in printed] == []
    for status in re.findall(r'status=~"(.*?)"', expressions)[0].split("|"):
        assert f'kubenode_proxy_last_run_status{{status="{status}"}}' in printed
