# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The node's own program: without Ansible, it repeats the calls that the node remembers, or only compares.

The role drift_timer installs it as kubenode-proxy. Exit statuses: 0 clean, 10 drifted, 11 corrected, 1 failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..kernel import files
from ..kernel.command import KernelError
from ..kernel.lock import exclusive
from ..model.errors import InputError
from . import kernel_modules, metrics, remembered, rule_set_module, sysctls
from .module import LOCK_TIMEOUT, Call, without_garbage_collection
from .place import LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .remembered import Remembered

REPORT = "report"
CONVERGE = "converge"
EXIT_STATUS = {"clean": 0, "drifted": 10, "corrected": 11, "failed": 1}
# Beside the remembered calls.
LAST_RUN = "last_run.json"
# Raised whenever a reader of that file would have to change.
FORMAT = 1
# In the order in which they run: rules need sysctls, and those need kernel modules.
MODULES: dict[str, tuple[Callable[[Call], dict[str, Any]], dict[str, Any]]] = {
    "kernel_modules": (kernel_modules.work, kernel_modules.ARGUMENT_SPEC),
    "sysctls": (sysctls.work, sysctls.ARGUMENT_SPEC),
    "rule_set": (rule_set_module.work, rule_set_module.ARGUMENT_SPEC),
}
# Snapshots are for what people change: to roll back a correction would bring the drift back.
UNATTENDED = {"snapshots": None}
# How many objects the summary names; the file has more.
SHOWN_OBJECTS = 100


class Findings:
    """What the calls of one run have found so far."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.objects: list[dict[str, str]] = []
        self.messages: list[str] = []
        self.warnings: list[str] = []

    def add(self, result: dict[str, Any]) -> None:
        """Takes in the result of a call."""
        found = result["operations"]
        # A comparison may find what an earlier call would have set right: two modules want some of the sysctls.
        known = [one for one in found if one in self.objects]
        self.objects += [one for one in found if one not in known]
        self.counts.update(result["counts"])
        self.counts -= _count(known)


def main(arguments: list[str] | None = None) -> int:
    """Runs the program, and returns its exit status."""
    options = _parser().parse_args(arguments)
    begin = time.time()
    findings = Findings()
    _run(options.action, options.runs, findings)
    report = _report(options.action, findings, begin)
    last_run = os.path.join(os.path.dirname(os.path.abspath(options.runs)), LAST_RUN)
    try:
        files.write_text(last_run, json.dumps(report, indent=1) + "\n", mode=0o600)
        if options.metrics:
            files.write_text(options.metrics, metrics.render(report, time.time()))
    except KernelError as error:
        findings.messages.append(str(error))
        report = _report(options.action, findings, begin)
    sys.stdout.write((json.dumps(report) if options.json else "\n".join(_summary(report, last_run))) + "\n")
    return EXIT_STATUS[report["status"]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubenode-proxy",
        description="Compares this node with what its last playbook run asked for, and corrects it on request.",
        epilog="Exit status: 0 clean, 10 drifted, 11 drifted and corrected, 1 failed.",
    )
    parser.add_argument("action", choices=[REPORT, CONVERGE], help="only compare, or correct too")
    parser.add_argument("--runs", metavar="DIR", default=remembered.FOLDER, help="the remembered calls (%(default)s)")
    parser.add_argument("--metrics", metavar="FILE", help="write metrics for node exporter's textfile collector")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    return parser


def _run(action: str, folder: str, findings: Findings) -> None:
    """Repeats or compares all that is remembered, one after the other; where one fails, the others go on."""
    try:
        # A comparison waits for others too: it would take a run half-way for drift.
        with exclusive(LOCK, LOCK_TIMEOUT), without_garbage_collection():
            calls = remembered.read(folder)
            if not calls:
                raise KernelError(f"nothing is remembered in {folder}: run the playbook kubenode.proxy.site first")
            for call in _ordered(calls):
                _repeat(call, action == REPORT, findings)
    except KernelError as error:
        findings.messages.append(str(error))


def _ordered(calls: Iterable[Remembered]) -> list[Remembered]:
    names = list(MODULES)
    return sorted(calls, key=lambda call: names.index(call.module) if call.module in names else len(names))


def _repeat(call: Remembered, check: bool, findings: Findings) -> None:
    try:
        work, specification = _of(call)
        arguments = {name: option.get("default") for name, option in specification.items()}
        findings.add(work(Call({**arguments, **call.arguments, **UNATTENDED}, check, False, findings.warnings.append)))
    except (InputError, KernelError) as error:
        findings.messages.append(f"{call.module}: {error}")
    except Exception as error:  # pylint: disable=broad-exception-caught
        # Whatever it is, the metrics have to tell of it.
        traceback.print_exc()
        findings.messages.append(f"{call.module}: {type(error).__name__}: {error}")


def _of(call: Remembered) -> tuple[Callable[[Call], dict[str, Any]], dict[str, Any]]:
    """What does the work of a call, and the options it takes. Raises KernelError."""
    work, specification = MODULES.get(call.module, (None, {}))
    unknown = sorted(set(call.arguments) - set(specification))
    if work is None or unknown:
        raise KernelError(
            f"this program does not know {', '.join(unknown) if work else 'the module'}: it is of another version of "
            "the collection; run the role kubenode.proxy.drift_timer again"
        )
    return work, specification


def _count(objects: Iterable[dict[str, str]]) -> Counter[str]:
    return Counter(f"{one['verb']} {one['kind']}" for one in objects)


def _report(action: str, findings: Findings, begin: float) -> dict[str, Any]:
    """What was found, in the form that the guide on periodic runs describes."""
    total = sum(findings.counts.values())
    status = "clean"
    if findings.messages:
        status = "failed"
    elif total:
        status = "drifted" if action == REPORT else "corrected"
    return {
        "format": FORMAT,
        "action": action,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin)),
        "seconds": round(time.time() - begin, 3),
        "status": status,
        "message": "; ".join(findings.messages) or None,
        "warnings": findings.warnings,
        "objects_total": total,
        "counts": dict(sorted(findings.counts.items())),
        "objects": findings.objects,
        "truncated": total > len(findings.objects),
    }


def _summary(report: dict[str, Any], last_run: str) -> Iterator[str]:
    """Lines for the journal."""
    total = report["objects_total"]
    counts = ", ".join(f"{name} {number}" for name, number in report["counts"].items())
    yield f"{report['status']}: {total} object{'' if total == 1 else 's'}" + (f": {counts}" if counts else "")
    if report["message"]:
        yield report["message"]
    for warning in report["warnings"]:
        yield f"warning: {warning}"
    for one in report["objects"][:SHOWN_OBJECTS]:
        yield f"  {one['verb']} {one['kind']} {one['name']}: {one['reason']}"
    if total > SHOWN_OBJECTS:
        yield f"  and {total - SHOWN_OBJECTS} more; see {last_run}"
