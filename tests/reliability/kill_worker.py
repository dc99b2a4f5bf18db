# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kills runs on their way from one cluster to another, and says what the next run does not heal.

Runs where the kernel is: reads a job a line from standard input, as JSON, and writes a result a line to standard
output. A job: {case, backend, modules, kills, clusters: [{services (canonical), node, configuration}, ..]}; a result:
{case, kills: [{kind, what, killed, problems}]} or {case, error}.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.conformance.worker import Job, Result, on_fresh_node, serve
from tests.reliability import node_tampers
from tests.reliability.scene import Scene

COUNTED = {"subprocess.Popen", "os.rename", "os.remove", "open"}
NEVER = -1
ATTEMPTS = 5


class Target(NamedTuple):
    """A cluster, what a run that is left alone makes of it, in how many seconds, and with how many steps."""

    cluster: dict[str, Any]
    own: list[str]
    seconds: float
    steps: int


class Steps:
    """Counts the programs that a process starts and the files that it writes, and ends or stops it before one."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def count(self) -> int:
        return int.from_bytes(self._shared[:8], "big")

    def watch(self, fatal: int, number: int = signal.SIGKILL) -> Callable[[], None]:
        """For the process to call first; it then gets a signal before one of its steps."""

        def seen(event: str, arguments: tuple[Any, ...]) -> None:
            if event not in COUNTED or (event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
                return
            self._shared[:8] = (self.count + 1).to_bytes(8, "big")
            if self.count == fatal:
                os.kill(os.getpid(), number)

        def start() -> None:
            self._shared[:8] = bytes(8)
            sys.addaudithook(seen)

        return start


def kill_and_heal(job: Job) -> Result:
    """Kills and heals in turn on the way to each of the clusters."""
    source = random.Random(job["case"])
    with tempfile.TemporaryDirectory() as scratch:
        scene = Scene({**job, "cluster": job["clusters"][0]}, Path(scratch))
        try:
            scene.prepare()
            targets = [_reach(scene, cluster) for cluster in reversed(job["clusters"])]
            kills = [_kill(scene, targets[number % len(targets)], source) for number in range(job["kills"])]
        finally:
            scene.close()
    return {"case": job["case"], "kills": kills}


def _reach(scene: Scene, cluster: dict[str, Any]) -> Target:
    steps, begin = Steps(), time.monotonic()
    scene.cluster = cluster
    scene.converge(steps.watch(NEVER))
    return Target(cluster, scene.own(), time.monotonic() - begin, steps.count)


def _kill(scene: Scene, target: Target, source: random.Random) -> Result:
    """Kills one run, and heals; before some of them a set is made another, so that it is replaced."""
    tamper = source.choice((node_tampers.set_of_another_type, node_tampers.set_of_other_options, None))
    done = tamper(scene, source) if tamper else None
    scene.cluster = target.cluster
    foreign = scene.foreign()
    for attempt in range(ATTEMPTS):
        how, killed = _killed_once(scene, target, source, attempt)
        if killed:
            break
    what = f"killed {how}" + (f" ({done})" if done else "")
    problems = []
    try:
        scene.converge()
        problems += scene.problems(target.own, foreign)
        second = scene.converge()
        if second["changed"]:
            problems.append(f"the second run changed: {second['operations']}")
    except Exception:
        problems.append(traceback.format_exc())
    return {"kind": how.split()[0], "what": what, "killed": killed, "problems": problems}


def _killed_once(scene: Scene, target: Target, source: random.Random, attempt: int) -> tuple[str, bool]:
    """How a run was to be killed, and whether it was: a run that is repeated has less to do."""
    if source.random() < 0.5:
        step = source.randint(1, max(target.steps >> attempt, 1))
        status, _text = scene.start(Steps().watch(step)).wait()
        return f"before step {step} of {target.steps}", status == signal.SIGKILL
    seconds = source.uniform(0, target.seconds / 2**attempt)
    run = scene.start()
    time.sleep(seconds)
    run.kill()
    return f"after {seconds:.3f} of {target.seconds:.3f} s", run.wait()[0] == signal.SIGKILL


if __name__ == "__main__":
    serve(lambda job: on_fresh_node(kill_and_heal, job))
