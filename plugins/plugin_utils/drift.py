# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What results of tasks say of nodes: summaries, the report of the playbook drift, and the exit status it calls for.

The guide docs/guides/drift.md describes the report.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# Raised whenever a reader of the report would have to change.
FORMAT = 1

CLEAN = "clean"
DRIFTED = "drifted"
CORRECTED = "corrected"
FAILED = "failed"
UNREACHABLE = "unreachable"
# The worst first: the status of all nodes is the worst of a node. 2 and 4 are Ansible's own.
EXIT_STATUS = {UNREACHABLE: 4, FAILED: 2, DRIFTED: 10, CORRECTED: 11, CLEAN: 0}
# The same in the words of a run that is there to change nodes.
WORDS_OF_CHANGES = {DRIFTED: "would change", CORRECTED: "changed", CLEAN: "unchanged"}

# A node without a result of each was not compared whole, and is not clean.
COMPARING = ("kubenode.proxy.kernel_modules", "kubenode.proxy.sysctls", "kubenode.proxy.rule_set")
# Other actions of the roles: verb, kind, the argument that names the objects, and the reason.
ACTIONS = {
    "ansible.builtin.apt": ("add", "package", "name", "not installed"),
    "ansible.builtin.dnf": ("add", "package", "name", "not installed"),
    "ansible.builtin.copy": ("change", "file", "dest", "missing, or says something else"),
    "ansible.builtin.file": ("remove", "file", "path", "no longer wanted"),
}

# How much of it the summary shows.
CLEAN_NODES_SHOWN = 20
OBJECTS_SHOWN = 25
NAMES_SHOWN = 5
MESSAGE_LENGTH = 200


class TaskOutcome(NamedTuple):
    """What a task said of a node: its action with collection, name and arguments, whether it ran in check mode."""

    action: str
    name: str
    arguments: Mapping[str, Any]
    check: bool
    result: Mapping[str, Any]


class NodeDrift:
    """What the tasks of one node have said so far. Without a result of each action that is expected, it has failed."""

    def __init__(self, expected: Sequence[str] = COMPARING) -> None:
        self._expected = expected
        self._objects: list[dict[str, str]] = []
        self._counts: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._processes = 0
        self._messages = 0
        self._compared: set[str] = set()
        self._found = False
        self._message: str | None = None
        self._unreachable = False

    def add(self, outcome: TaskOutcome) -> None:
        """Takes in a task that did not fail."""
        self._compared.add(outcome.action)
        found = _objects(outcome)
        # In check mode a task may find what an earlier one would have set right: both roles want some of the sysctls.
        known = {tuple(one.values()) for one in self._objects}
        new = [one for one in found if tuple(one.values()) not in known]
        self._objects += new
        self._counts.update(outcome.result.get("counts") or _count(found))
        self._counts -= _count(found) - _count(new)
        self._found |= bool(found) and outcome.check
        figures = outcome.result.get("figures") or {}
        self._seconds.update(figures.get("seconds") or {})
        self._processes += figures.get("processes", 0)
        self._messages += figures.get("messages", 0)

    def fail(self, message: object, unreachable: bool = False) -> None:
        """Takes in that the node failed, or was not reached; the last message counts, as what failed before was
        rescued."""
        self._message = str(message).strip() or "failed without a message"
        self._unreachable |= unreachable

    def report(self) -> dict[str, Any]:
        """The node as the report shows it."""
        missing = [action for action in self._expected if action not in self._compared]
        if missing and not self._message:
            self.fail(f"was not compared whole: there is no result of {', '.join(missing)}")
        total = sum(self._counts.values())
        return {
            "status": self._status(),
            "message": self._message,
            "objects_total": total,
            "counts": dict(sorted(self._counts.items())),
            "objects": self._objects,
            "truncated": total > len(self._objects),
            "seconds": round(sum(self._seconds.values()), 3),
            "figures": {
                "processes": self._processes,
                "messages": self._messages,
                "seconds": {phase: round(seconds, 3) for phase, seconds in self._seconds.items()},
            },
        }

    def _status(self) -> str:
        if self._unreachable:
            return UNREACHABLE
        if self._message:
            return FAILED
        if self._found:
            return DRIFTED
        return CORRECTED if self._counts else CLEAN


def _objects(outcome: TaskOutcome) -> list[dict[str, str]]:
    """What the task changed, or in check mode would change; a task that does not say so is known by its arguments."""
    result = outcome.result
    if result.get("operations"):
        return [dict(operation) for operation in result["operations"]]
    if not result.get("changed"):
        return []
    if outcome.action not in ACTIONS:
        return [_object("change", "task", outcome.name, "changed")]
    verb, kind, argument, reason = ACTIONS[outcome.action]
    names = outcome.arguments.get(argument)
    return [_object(verb, kind, name, reason) for name in (names if isinstance(names, list) else [names])]


def _count(objects: Iterable[Mapping[str, str]]) -> Counter[str]:
    return Counter(f"{one['verb']} {one['kind']}" for one in objects)


def _object(verb: str, kind: str, name: object, reason: str) -> dict[str, str]:
    return {"verb": verb, "kind": kind, "name": str(name), "reason": reason}


def fleet_report(nodes: Mapping[str, NodeDrift], started: str, finished: str) -> dict[str, Any]:
    """The report of all nodes by name. ``started`` and ``finished`` are times in ISO 8601."""
    reports = {name: nodes[name].report() for name in sorted(nodes)}
    statuses = Counter(report["status"] for report in reports.values())
    counts: Counter[str] = Counter()
    for report in reports.values():
        counts.update(report["counts"])
    return {
        "format": FORMAT,
        "started": started,
        "finished": finished,
        # Without a node, nothing was compared.
        "status": next((status for status in EXIT_STATUS if statuses[status]), FAILED),
        "totals": {
            "nodes": {status: statuses[status] for status in reversed(list(EXIT_STATUS))},
            "objects": sum(counts.values()),
            "counts": dict(sorted(counts.items())),
        },
        "nodes": reports,
    }


def render(report: Mapping[str, Any]) -> str:
    """The report as JSON, with a line for each node."""
    head = json.dumps({key: value for key, value in report.items() if key != "nodes"})
    nodes = ",\n".join(f"{json.dumps(name)}: {json.dumps(node)}" for name, node in report["nodes"].items())
    return f'{head[:-1]}, "nodes": {{\n{nodes}\n}}}}\n'


def summary(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Status and text of each line for the end of a run that compares."""
    yield from _node_lines(report, {})
    yield from _object_lines(report, grouped=False)


def summary_of_changes(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Status and text of each line for the end of a run that changes: objects of one kind and reason share a line."""
    yield from _node_lines(report, WORDS_OF_CHANGES)
    yield from _object_lines(report, grouped=True)


def _node_lines(report: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The nodes, the worst first, and how many there are of each status; ``words`` are others for a status."""
    nodes = report["nodes"]
    width = max(map(len, nodes), default=0)
    called = {status: words.get(status, status) for status in EXIT_STATUS}
    shown = set(EXIT_STATUS) if len(nodes) <= CLEAN_NODES_SHOWN else set(EXIT_STATUS) - {CLEAN}
    for status in EXIT_STATUS:
        for name, node in nodes.items():
            if node["status"] == status and status in shown:
                yield status, f"{name:<{width}}  {called[status]:<12} {_of_node(node)}".rstrip()
    numbers = report["totals"]["nodes"]
    counted = ", ".join(f"{number} {called[status]}" for status, number in numbers.items() if number)
    yield report["status"], f"{_number(len(nodes), 'node')}: {counted or 'nothing was compared'}"


def _of_node(node: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name} {number}" for name, number in node["counts"].items())
    objects = f"{_number(node['objects_total'], 'object')}: {counts}" if counts else ""
    message = " ".join((node["message"] or "").split())
    if len(message) > MESSAGE_LENGTH:
        message = f"{message[: MESSAGE_LENGTH - 3]}..."
    return "; ".join(part for part in (message, objects) if part)


def _object_lines(report: Mapping[str, Any], grouped: bool) -> Iterator[tuple[str, str]]:
    """The objects on the most nodes, each with its nodes."""
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for node, said in report["nodes"].items():
        for one in said["objects"]:
            key = (one["verb"], one["kind"], one["reason"], "" if grouped else one["name"])
            found.setdefault(key, []).append((one["name"], node))
    left = report["totals"]["objects"]
    common = sorted(found.items(), key=lambda item: -len({node for _name, node in item[1]}))
    for (verb, kind, reason, _name), places in common[:OBJECTS_SHOWN]:
        left -= len(places)
        names = list(dict.fromkeys(name for name, _node in places))
        further = f" and {len(names) - 1} further" if len(names) > 1 else ""
        yield DRIFTED, f"  {verb} {kind} {names[0]}{further}: {reason} ({_names(node for _name, node in places)})"
    if left:
        yield DRIFTED, f"  and {_number(left, 'further object')}"


def _names(names: Iterable[str]) -> str:
    listed = list(dict.fromkeys(names))
    further = len(listed) - NAMES_SHOWN
    return ", ".join(listed[:NAMES_SHOWN]) + (f" and {_number(further, 'further node')}" if further > 0 else "")


def _number(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
