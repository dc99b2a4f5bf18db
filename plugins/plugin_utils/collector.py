# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What callbacks of the collection share: they collect what the tasks of certain plays say of each node."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ansible import constants
from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase

from . import drift

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ansible.executor.task_result import TaskResult
    from ansible.playbook.play import Play

COLORS = {
    drift.CLEAN: constants.COLOR_OK,
    drift.CORRECTED: constants.COLOR_CHANGED,
    drift.DRIFTED: constants.COLOR_CHANGED,
    drift.FAILED: constants.COLOR_ERROR,
    drift.UNREACHABLE: constants.COLOR_UNREACHABLE,
}


class Collector(CallbackBase):
    """Collects from plays that have the variable ``variable``, once per run, whoever else has loaded the same callback.

    ``environment`` names what a run has in its environment while that is so; tasks, which run in forks of this process,
    know by it that it is.
    """

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NEEDS_ENABLED = True

    variable = ""
    environment = ""

    def __init__(self) -> None:
        super().__init__()
        self._nodes: dict[str, drift.NodeDrift] = {}
        self._play: Play | None = None
        self._started = ""

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Begins to collect, or goes on, if this is a play to collect from."""
        self._play = None
        if self.variable not in play.vars or not self._claim():
            return
        self._play = play
        self._started = self._started or now()
        self._begin(play, play.get_variable_manager().get_vars(play=play))

    def v2_runner_on_ok(self, result: TaskResult) -> None:
        """Collects what a task said of a node; of one with a loop, its items did."""
        if not result._task.loop:
            self._collect(result)

    def v2_runner_item_on_ok(self, result: TaskResult) -> None:
        """Collects what an item of a task said of a node."""
        self._collect(result)

    def _collect(self, result: TaskResult) -> None:
        # What a handler does follows from what is collected already.
        if self._play and not isinstance(result._task, Handler):
            action, fields = result._task.action, result._task_fields
            check = bool(fields["check_mode"])
            outcome = drift.TaskOutcome(action, result.task_name, fields.get("args", {}), check, result._result)
            self._add(self._node(result), outcome)

    def v2_runner_on_failed(self, result: TaskResult, ignore_errors: bool = False) -> None:
        """Collects why a node failed."""
        if self._play and not ignore_errors:
            self._node(result).fail(result._result.get("msg", ""))

    def v2_runner_on_unreachable(self, result: TaskResult) -> None:
        """Collects why a node was not reached."""
        if self._play and not result._task_fields.get("ignore_unreachable"):
            self._node(result).fail(result._result.get("msg", ""), unreachable=True)

    def _begin(self, play: Play, variables: Mapping[str, Any]) -> None:
        """A play, or a batch of its nodes, begins."""
        raise NotImplementedError

    def _new_node(self) -> drift.NodeDrift:
        return drift.NodeDrift()

    def _add(self, node: drift.NodeDrift, outcome: drift.TaskOutcome) -> None:
        node.add(outcome)

    def _node(self, result: TaskResult) -> drift.NodeDrift:
        return self._nodes.setdefault(result._host.get_name(), self._new_node())

    def _report(self) -> dict[str, Any]:
        """The report of all that was collected. Nothing is after it."""
        os.environ.pop(self.environment, None)
        return drift.fleet_report(self._nodes, self._started, now())

    def _show(self, title: str, lines: Iterator[tuple[str, str]]) -> None:
        self._display.banner(title)
        for status, line in lines:
            self._display.display(line, color=COLORS[status])

    def _claim(self) -> bool:
        """Whether this one is to collect: another is, where the callback is enabled beside that of the playbook."""
        process, own = f"{os.getpid()} ", f"{os.getpid()} {id(self)}"
        # What another process left there was inherited, from a run within which this one was started.
        if not os.environ.get(self.environment, "").startswith(process):
            os.environ[self.environment] = own
        return os.environ[self.environment] == own


def now() -> str:
    """The time in UTC, in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
