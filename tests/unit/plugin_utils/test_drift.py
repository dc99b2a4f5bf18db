# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From results of tasks to the report of all nodes, its summary and the exit status."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.plugin_utils import drift

START, END = "2026-11-21T12:00:00Z", "2026-11-21T12:00:09Z"
SYSCTL = {"verb": "change", "kind": "sysctl", "name": "net.ipv4.vs.conntrack", "reason": "is 0, not 1"}
MEMBER = {"verb": "add", "kind": "member", "name": "KUBE-CLUSTER-IP 10.96.0.1,tcp:80", "reason": "missing"}
FIGURES = {"processes": 2, "messages": 5, "seconds": {"read": 0.25, "plan": 0.0625}}


def outcome(action: str, check: bool = True, /, **result: Any) -> drift.TaskOutcome:
    return drift.TaskOutcome(action, f"Task {action}", {}, check, result)


def compared(*operations: dict[str, str], check: bool = True, **result: Any) -> drift.NodeDrift:
    """A node on which all was compared, and the rule set needs these operations."""
    node = drift.NodeDrift()
    for action in drift.COMPARING[:-1]:
        node.add(outcome(action, check, changed=False, operations=[], counts={}))
    counts = dict(Counter(f"{one['verb']} {one['kind']}" for one in operations))
    found = {"changed": bool(operations), "operations": list(operations), "counts": counts, "figures": FIGURES}
    node.add(outcome(drift.COMPARING[-1], check, **{**found, **result}))
    return node


def failed(message: str, unreachable: bool = False) -> drift.NodeDrift:
    node = drift.NodeDrift()
    node.fail(message, unreachable)
    return node


def fleet(**nodes: drift.NodeDrift) -> dict[str, Any]:
    return drift.fleet_report(nodes, START, END)


def test_a_clean_node() -> None:
    assert compared().report() == {
        "status": "clean",
        "message": None,
        "objects_total": 0,
        "counts": {},
        "objects": [],
        "truncated": False,
        "seconds": 0.312,
        "figures": {"processes": 2, "messages": 5, "seconds": {"read": 0.25, "plan": 0.062}},
    }


@pytest.mark.parametrize("check, status", [(True, "drifted"), (False, "corrected")])
def test_what_was_found_is_drift_until_it_is_corrected(check: bool, status: str) -> None:
    report = compared(SYSCTL, MEMBER, check=check).report()
    assert report["status"] == status
    assert report["objects"] == [SYSCTL, MEMBER]
    assert report["counts"] == {"add member": 1, "change sysctl": 1}
    assert report["objects_total"] == 2


def test_a_node_that_is_only_partly_corrected_has_drifted() -> None:
    node = compared(MEMBER)
    node.add(outcome(drift.COMPARING[1], False, changed=True, operations=[SYSCTL], counts={"change sysctl": 1}))
    assert node.report()["status"] == "drifted"


def test_counts_are_exact_where_the_objects_are_not_all_there() -> None:
    report = compared(MEMBER, counts={"add member": 5000}).report()
    assert (report["objects_total"], report["counts"], report["truncated"]) == (5000, {"add member": 5000}, True)
    assert report["objects"] == [MEMBER]


def test_what_two_tasks_find_is_one_object() -> None:
    node = compared(SYSCTL, MEMBER)
    node.add(outcome(drift.COMPARING[1], changed=True, operations=[SYSCTL], counts={"change sysctl": 1}))
    report = node.report()
    assert report["objects"] == [SYSCTL, MEMBER]
    assert (report["objects_total"], report["counts"]) == (2, {"add member": 1, "change sysctl": 1})
    assert not report["truncated"]


def test_figures_add_up() -> None:
    node = compared()
    node.add(outcome(drift.COMPARING[0], changed=False, figures=FIGURES))
    report = node.report()
    assert report["seconds"] == 0.625
    assert report["figures"]["processes"] == 4


@pytest.mark.parametrize(
    "arguments, action, expected",
    [
        ({"name": ["ipset", "ipvsadm"]}, "ansible.builtin.apt", ["add package ipset", "add package ipvsadm"]),
        ({"name": "nft"}, "ansible.builtin.dnf", ["add package nft"]),
        ({"dest": "/etc/x.conf", "content": ""}, "ansible.builtin.copy", ["change file /etc/x.conf"]),
        ({"path": "/etc/x.conf"}, "ansible.builtin.file", ["remove file /etc/x.conf"]),
        ({}, "ansible.builtin.command", ["change task Something"]),
    ],
)
def test_tasks_that_do_not_list_what_they_change(arguments: Any, action: str, expected: list[str]) -> None:
    node = compared()
    node.add(drift.TaskOutcome(action, "Something", arguments, True, {"changed": True}))
    report = node.report()
    assert [f"{one['verb']} {one['kind']} {one['name']}" for one in report["objects"]] == expected
    assert report["objects_total"] == len(expected)
    assert report["status"] == "drifted"


def test_a_node_that_was_not_compared_whole_is_not_clean() -> None:
    node = drift.NodeDrift()
    node.add(outcome("kubenode.proxy.kernel_modules", changed=False))
    report = node.report()
    assert report["status"] == "failed"
    missing = "kubenode.proxy.sysctls, kubenode.proxy.rule_set"
    assert report["message"] == f"was not compared whole: there is no result of {missing}"


def test_a_failed_node_keeps_what_was_found_before_and_the_last_message() -> None:
    node = compared(MEMBER, check=False)
    node.fail("one that was rescued")
    node.fail(" no such scheduler \n")
    report = node.report()
    assert (report["status"], report["message"], report["objects"]) == ("failed", "no such scheduler", [MEMBER])
    assert failed("").report()["message"] == "failed without a message"


@pytest.mark.parametrize(
    "nodes, status, exit_status",
    [
        ({}, "failed", 2),
        ({"a": compared()}, "clean", 0),
        ({"a": compared(), "b": compared(MEMBER, check=False)}, "corrected", 11),
        ({"a": compared(MEMBER, check=False), "b": compared(MEMBER)}, "drifted", 10),
        ({"a": compared(MEMBER), "b": failed("no")}, "failed", 2),
        ({"a": failed("no"), "b": failed("no route", unreachable=True)}, "unreachable", 4),
    ],
)
def test_the_worst_node_counts(nodes: dict[str, drift.NodeDrift], status: str, exit_status: int) -> None:
    report = fleet(**nodes)
    assert report["status"] == status
    assert drift.EXIT_STATUS[report["status"]] == exit_status


def test_the_report_of_all_nodes() -> None:
    report = fleet(b=compared(MEMBER, SYSCTL), a=compared(MEMBER), c=failed("no route", unreachable=True))
    assert {key: value for key, value in report.items() if key != "nodes"} == {
        "format": 1,
        "started": START,
        "finished": END,
        "status": "unreachable",
        "totals": {
            "nodes": {"clean": 0, "corrected": 0, "drifted": 2, "failed": 0, "unreachable": 1},
            "objects": 3,
            "counts": {"add member": 2, "change sysctl": 1},
        },
    }
    assert list(report["nodes"]) == ["a", "b", "c"]
    text = drift.render(report)
    assert json.loads(text) == report
    assert [line[:5] for line in text.splitlines()[1:]] == ['"a": ', '"b": ', '"c": ', "}}"]


def test_the_report_of_no_node() -> None:
    report = fleet()
    assert json.loads(drift.render(report)) == report
    assert list(drift.summary(report)) == [("failed", "0 nodes: nothing was compared")]


def test_the_summary() -> None:
    node_b = compared(MEMBER, SYSCTL)
    node_b.fail("no  such\nscheduler")
    report = fleet(**{"node-a": compared(MEMBER), "node-b": node_b, "c": compared()})
    assert list(drift.summary(report)) == [
        ("failed", "node-b  failed       no such scheduler; 2 objects: add member 1, change sysctl 1"),
        ("drifted", "node-a  drifted      1 object: add member 1"),
        ("clean", "c       clean"),
        ("failed", "3 nodes: 1 clean, 1 drifted, 1 failed"),
        ("drifted", "  add member KUBE-CLUSTER-IP 10.96.0.1,tcp:80: missing (node-a, node-b)"),
        ("drifted", "  change sysctl net.ipv4.vs.conntrack: is 0, not 1 (node-b)"),
    ]


def test_the_summary_of_many_nodes_is_short() -> None:
    many = [{**MEMBER, "name": f"KUBE-CLUSTER-IP 10.96.0.{number},tcp:80"} for number in range(100)]
    nodes = {f"node-{number:03}": compared() for number in range(500)}
    nodes |= {f"node-{number:03}": compared(SYSCTL) for number in range(7)}
    nodes["node-499"] = compared(*many, counts={"add member": 3000})
    nodes["node-498"] = failed("x" * 1000)
    lines = [text for _status, text in drift.summary(fleet(**nodes))]
    assert len(lines) == 9 + 1 + 25 + 1
    assert lines[0] == f"node-498  failed       {'x' * 197}..."
    assert lines[9] == "500 nodes: 491 clean, 8 drifted, 1 failed"
    names = ", ".join(f"node-00{number}" for number in range(5))
    assert lines[10] == f"  change sysctl net.ipv4.vs.conntrack: is 0, not 1 ({names} and 2 further nodes)"
    assert lines[-1] == "  and 2976 further objects"


def test_the_summary_of_changes() -> None:
    nodes = {"node-a": compared(MEMBER, {**MEMBER, "name": "KUBE-IPVS-IPS 10.96.0.1"}, check=False)}
    nodes["node-b"] = compared(MEMBER, SYSCTL, check=False)
    nodes |= {"node-c": compared(), "node-d": compared(SYSCTL), "node-e": failed("no such scheduler")}
    assert [text for _status, text in drift.summary_of_changes(fleet(**nodes))] == [
        "node-e  failed       no such scheduler",
        "node-d  would change 1 object: change sysctl 1",
        "node-a  changed      2 objects: add member 2",
        "node-b  changed      2 objects: add member 1, change sysctl 1",
        "node-c  unchanged",
        "5 nodes: 1 unchanged, 2 changed, 1 would change, 1 failed",
        "  add member KUBE-CLUSTER-IP 10.96.0.1,tcp:80 and 1 further: missing (node-a, node-b)",
        "  change sysctl net.ipv4.vs.conntrack: is 0, not 1 (node-b, node-d)",
    ]


def test_a_run_that_changes_need_not_do_all_that_a_comparison_does() -> None:
    node = drift.NodeDrift(expected=())
    node.add(outcome(drift.COMPARING[0], False, changed=False, operations=[], counts={}))
    assert node.report()["status"] == "clean"
