# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends jobs to the workers of this package, here or in a guest, and reads their results."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical

from tests.integration.test_in_guest import PATHS

if TYPE_CHECKING:
    from tests.clusters import Cluster
    from tests.lab.netns import Runner

SEED = int(os.environ.get("KUBENODE_SEED", "1"))
# The kernel modules that a run loads on this machine, where nothing can be loaded.
HERE = ["nf_conntrack"]
# So many problems of one event a failure quotes.
SHOWN = 8


def of_mode(cluster: Cluster, mode: str) -> Cluster:
    """A random cluster, of a version that has the mode."""
    configuration = {**cluster.configuration, "version": "1.36"}
    return cluster._replace(configuration=configuration) if mode == "nftables" else cluster


def as_job(cluster: Cluster) -> dict[str, Any]:
    """A cluster as a job names it."""
    return {
        "services": canonical.dump(cluster.data()),
        "node": cluster.node,
        "configuration": cluster.configuration,
    }


def results(run: Runner, worker: str, jobs: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """What a worker says to each of the jobs, which take so many seconds at most."""
    # The node's Python, which has no Ansible of its own.
    environment = ["PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={':'.join(PATHS)}"]
    command = ["env", *environment, "/usr/bin/python3", "-m", f"tests.reliability.{worker}"]
    text = "".join(f"{json.dumps(job)}\n" for job in jobs)
    done = run(command, input=text, check=False, timeout=len(jobs) * seconds)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["case"] for result in found] == [job["case"] for job in jobs], done.stderr
    return found


def complaints(found: Iterable[dict[str, Any]], events: str) -> list[str]:
    """What is wrong with results that list events, each with what happened and the problems that it led to."""
    return [
        f"case {result['case']}: {text}"
        for result in found
        for text in [
            *([result["error"]] if "error" in result else []),
            *("\n".join([event["what"], *event["problems"][:SHOWN]]) for event in with_problems(result, events)),
        ]
    ]


def with_problems(result: dict[str, Any], events: str) -> list[dict[str, Any]]:
    return [event for event in result.get(events, ()) if event["problems"]]


def report(title: str, events: Iterable[dict[str, Any]]) -> None:
    """Prints the figures by kind, and adds them to the file that KUBENODE_REPORT names."""
    events = list(events)
    tried = Counter(event["kind"] for event in events)
    healed = Counter(event["kind"] for event in events if not event["problems"])
    lines = [f"{title}: {healed.total()} of {tried.total()} healed"]
    lines += [f"    {kind:35} {healed[kind]} of {count}" for kind, count in sorted(tried.items())]
    print("\n".join(lines))
    if path := os.environ.get("KUBENODE_REPORT"):
        with Path(path).open("a") as file:
            file.write("\n".join([*lines, ""]))
