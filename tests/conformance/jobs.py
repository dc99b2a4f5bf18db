# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recorded cases as jobs, and workers that do them: several at a time, on kernels that have what the mode needs.

A worker is a module that reads a job a line from standard input, as JSON, and writes a result a line to standard
output: {case, ...}, or {case, error}. A ``note`` is printed with the case.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_kube_proxy_configuration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.version import VERSIONS

from tests.lab import Lab
from tests.lab.netns import run_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.netns import Runner

ROOT = Path(__file__).resolve().parents[2]
MODES = ("ipvs", "iptables", "nftables")
# The Python of the guest, which sees this checkout at the same path.
PYTHON = ["env", "PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={ROOT}/.cache/collections:{ROOT}", "/usr/bin/python3", "-m"]
MODULES = (
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_sh",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "br_netfilter",
    "dummy",
    "veth",
)
# As the recordings were made: kube-proxy was told to leave these alone.
CONNTRACK_LEFT_ALONE = {
    "conntrack_max_per_core": 0,
    "conntrack_min": 0,
    "conntrack_tcp_established_timeout": 0,
    "conntrack_tcp_close_wait_timeout": 0,
}
# Seconds for one case, on a machine that is busy with other things.
CASE_TIMEOUT = 60
BATCH = 6


class Case(NamedTuple):
    """A folder with an input, and the folder of what was recorded for a mode and version."""

    name: str
    input: Path
    recorded: Path
    version: str


class Outcome(NamedTuple):
    """A case, what its worker said, and whether it passed."""

    case: Case
    result: dict[str, Any]
    passed: bool


class Check(NamedTuple):
    """What is done with every recorded case.

    ``name`` is that of the package under tests, which holds the worker. ``configuration`` are options of every case,
    ``judge`` says what is wrong with a result, and ``more``, by the name of a case, what its worker needs to know as
    well. ``seconds`` are for one case. Of the cases every ``sample``-th is done. ``record`` gets mode, back end, and
    what came of each case.
    """

    name: str
    description: str
    configuration: dict[str, Any]
    judge: Callable[[Case, dict[str, Any]], list[str]]
    more: Callable[[list[Case]], dict[str, dict[str, Any]]] = lambda _cases: {}
    seconds: float = CASE_TIMEOUT
    sample: int = 1
    record: Callable[[str, str, list[Outcome]], None] = lambda _mode, _backend, _outcomes: None


def find_cases(folder: Path, mode: str, version: str | None) -> tuple[list[Case], int]:
    """-> (cases recorded for the mode, number of case folders that have no such recording)."""
    cases, without = [], 0
    for path in sorted(folder.glob("*/input.yaml")):
        versions = sorted(path.parent.glob(f"v*/{mode}"), key=lambda found: _number(found.parent.name))
        chosen = [found for found in versions if version in (None, found.parent.name.lstrip("v"))]
        if chosen:
            recorded = chosen[-1]
            cases.append(Case(path.parent.name, path, recorded, recorded.parent.name.lstrip("v")))
        else:
            without += 1
    return cases, without


def _number(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.lstrip("v").split("."))


def job_of(case: Case, mode: str, backend: str, configuration: dict[str, Any]) -> dict[str, Any]:
    """What a worker needs to know. Raises InputError."""
    document = yaml.safe_load(case.input.read_text())
    given = parse_kube_proxy_configuration(document.get("config") or {}, mode)
    # IPVS rules are recorded for the newest version only: an older one has the same (recordings/README.md).
    version = case.version if case.version in VERSIONS else max(VERSIONS, key=_number)
    chosen = {**CONNTRACK_LEFT_ALONE, "mode": mode, "version": version, **configuration}
    return {
        "case": case.name,
        "services": canonical.dump(source.parse(document.get("objects") or [])),
        "node": document["node"],
        "configuration": {**given, **chosen},
        "backend": backend,
    }


class Pool:
    """Workers on several runners, which work off jobs until there are none."""

    def __init__(self, worker: str, runners: list[Runner], seconds: float = CASE_TIMEOUT) -> None:
        self._worker = [*PYTHON, worker]
        self._runners = runners
        self._seconds = seconds
        self._jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def results(self, jobs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Results as they come."""
        for job in jobs:
            self._jobs.put(job)
        for run in self._runners:
            threading.Thread(target=self._work, args=(run,), daemon=True).start()
        for _job in jobs:
            yield self._results.get(timeout=2 * BATCH * self._seconds)

    def _work(self, run: Runner) -> None:
        # Some at a time: a worker takes a second to start.
        while batch := self._take():
            text = "".join(f"{json.dumps(job)}\n" for job in batch)
            done = run(self._worker, input=text, check=False, timeout=BATCH * self._seconds)
            found = {result["case"]: result for result in map(json.loads, done.stdout.splitlines())}
            error = f"worker exited with {done.returncode}\n{done.stderr}"
            for job in batch:
                self._results.put(found.get(job["case"], {"case": job["case"], "error": error}))

    def _take(self) -> list[dict[str, Any]]:
        batch: list[dict[str, Any]] = []
        with contextlib.suppress(queue.Empty):
            while len(batch) < BATCH:
                batch.append(self._jobs.get_nowait())
        return batch


@contextlib.contextmanager
def kernels(name: str, mode: str, count: int) -> Iterator[list[Runner]]:
    """Ways to run commands on a kernel that has what the mode needs: guests for IPVS, else this machine's own.

    ``name`` is that of the lab.
    """
    if mode != "ipvs":
        yield [run_here] * count
        return
    with Lab(name) as lab:
        yield [node.run for node in lab.start_all([f"c{index}" for index in range(count)], modprobe=MODULES)]


def run_check(check: Check) -> int:
    """The command line of a check: a line a case, and last ``N passed, N failed``."""
    parser = argparse.ArgumentParser(prog=f"tests.{check.name}", description=check.description.splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--version", help="recorded version of kube-proxy, such as 1.30; the newest by default")
    parser.add_argument("--backend", choices=("auto", "nft", "legacy"), default="auto", help="back end of iptables")
    arguments = parser.parse_args()
    cases, without = find_cases(arguments.cases, arguments.mode, arguments.version)
    if without:
        print(f"{without} case(s) have no recording of mode {arguments.mode}")
    cases = cases[:: check.sample]
    by_name = {case.name: case for case in cases}
    more = check.more(cases)
    jobs: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for case in cases:
        try:
            job = job_of(case, arguments.mode, arguments.backend, check.configuration)
            jobs.append({**job, **more.get(case.name, {})})
        except InputError as error:
            outcomes.append(Outcome(case, {}, False))
            print(f"FAILED {case.name}\n    {error}")
    with kernels(check.name, arguments.mode, min(os.cpu_count() or 1, len(jobs))) as runners:
        for result in Pool(f"tests.{check.name}.worker", runners, check.seconds).results(jobs):
            found = result.get("error", "").splitlines()
            wrong = found or check.judge(by_name[result["case"]], result)
            print(f"{'FAILED' if wrong else 'passed'} {result['case']}{result.get('note', '')}", flush=True)
            print("".join(f"    {line}\n" for line in wrong), end="")
            outcomes.append(Outcome(by_name[result["case"]], result, not wrong))
    passed = sum(outcome.passed for outcome in outcomes)
    print(f"{passed} passed, {len(outcomes) - passed} failed")
    check.record(arguments.mode, arguments.backend, outcomes)
    return 0 if outcomes and passed == len(outcomes) else 1
