# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converges every recorded case on a real kernel, and compares the node with what the real kube-proxy programmed.

usage: python -m tests.conformance CASES MODE [--version VERSION] [--backend BACKEND]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import queue
import sys
import tempfile
import threading
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
    from types import ModuleType

    from tests.lab.netns import Runner

ROOT = Path(__file__).resolve().parents[2]
MODES = ("ipvs", "iptables", "nftables")
# The Python of the guest, which sees this checkout at the same path.
WORKER = ["env", "PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={ROOT}/.cache/collections:{ROOT}"]
WORKER += ["/usr/bin/python3", "-m", "tests.conformance.worker"]
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


def job_of(case: Case, mode: str, backend: str) -> dict[str, Any]:
    """What the worker needs. Raises InputError."""
    document = yaml.safe_load(case.input.read_text())
    given = parse_kube_proxy_configuration(document.get("config") or {}, mode)
    # IPVS rules are recorded for the newest version only: an older one has the same (recordings/README.md).
    version = case.version if case.version in VERSIONS else max(VERSIONS, key=_number)
    return {
        "case": case.name,
        "services": canonical.dump(source.parse(document.get("objects") or [])),
        "node": document["node"],
        "configuration": {**given, **CONNTRACK_LEFT_ALONE, "mode": mode, "version": version, "canary_chains": True},
        "backend": backend,
    }


def compare_tool() -> ModuleType:
    """The project's judge of what counts as equal."""
    for folder in (ROOT.parent / "shared", Path(os.environ.get("SHARED", "/nonexistent"))):
        path = folder / "tools" / "compare_dumps.py"
        if path.exists():
            spec = importlib.util.spec_from_file_location("compare_dumps", path)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise SystemExit(f"conformance: {ROOT.parent}/shared/tools/compare_dumps.py is not there; set SHARED to its folder")


def judge(case: Case, result: dict[str, Any], judge_tool: ModuleType) -> list[str]:
    """What is wrong with a case; nothing where it passes."""
    if "error" in result:
        return list(result["error"].splitlines())
    with tempfile.TemporaryDirectory() as folder:
        for name, text in result["files"].items():
            (Path(folder) / name).write_text(text)
        differences = list(judge_tool.compare(str(case.recorded), folder))
    again = [f"second converge: {o['verb']} {o['kind']} {o['name']}: {o['reason']}" for o in result["second"]]
    return differences + again


def run_with(run: Runner, jobs: queue.SimpleQueue[dict[str, Any]], results: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Works off jobs until there are none, some at a time: a worker takes a second to start."""
    while batch := _take(jobs):
        text = "".join(f"{json.dumps(job)}\n" for job in batch)
        done = run(WORKER, input=text, check=False, timeout=BATCH * CASE_TIMEOUT)
        found = {result["case"]: result for result in map(json.loads, done.stdout.splitlines())}
        error = f"worker exited with {done.returncode}\n{done.stderr}"
        for job in batch:
            results.put(found.get(job["case"], {"case": job["case"], "error": error}))


def _take(jobs: queue.SimpleQueue[dict[str, Any]]) -> list[dict[str, Any]]:
    batch: list[dict[str, Any]] = []
    with contextlib.suppress(queue.Empty):
        while len(batch) < BATCH:
            batch.append(jobs.get_nowait())
    return batch


def converge_all(jobs: list[dict[str, Any]], runners: list[Runner]) -> Iterator[dict[str, Any]]:
    """Results as they come."""
    todo: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)
    for run in runners:
        threading.Thread(target=run_with, args=(run, todo, results), daemon=True).start()
    for _job in jobs:
        yield results.get(timeout=2 * BATCH * CASE_TIMEOUT)


@contextlib.contextmanager
def kernels(mode: str, count: int) -> Iterator[list[Runner]]:
    """Ways to run commands on a kernel that has what the mode needs: guests for IPVS, else this machine's own."""
    if mode != "ipvs":
        yield [run_here] * count
        return
    with Lab("conformance") as lab:
        yield [node.run for node in lab.start_all([f"c{index}" for index in range(count)], modprobe=MODULES)]


def main() -> int:
    """Prints a line a case, and last ``N passed, N failed``."""
    parser = argparse.ArgumentParser(prog="tests.conformance", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("cases", type=Path)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--version", help="recorded version of kube-proxy, such as 1.30; the newest by default")
    parser.add_argument("--backend", choices=("auto", "nft", "legacy"), default="auto", help="back end of iptables")
    arguments = parser.parse_args()
    tool = compare_tool()
    cases, without = find_cases(arguments.cases, arguments.mode, arguments.version)
    if without:
        print(f"{without} case(s) have no recording of mode {arguments.mode}")
    by_name = {case.name: case for case in cases}
    jobs, failed = [], 0
    for case in cases:
        try:
            jobs.append(job_of(case, arguments.mode, arguments.backend))
        except InputError as error:
            failed += 1
            print(f"FAILED {case.name}\n    {error}")
    passed = 0
    with kernels(arguments.mode, min(os.cpu_count() or 1, len(jobs))) as runners:
        for result in converge_all(jobs, runners):
            wrong = judge(by_name[result["case"]], result, tool)
            print(f"{'FAILED' if wrong else 'passed'} {result['case']}", flush=True)
            print("".join(f"    {line}\n" for line in wrong), end="")
            passed, failed = passed + (not wrong), failed + bool(wrong)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
