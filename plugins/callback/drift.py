# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what the playbook drift finds, and ends the run with a status of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drift
type: notification
short_description: Report, summary and exit status of the playbook kubenode.proxy.drift
version_added: 0.1.0
description:
  - Collects what the tasks of the playbook say of each node, those that fail and those that are not reached included.
  - Writes the report as JSON on the controller, and prints a summary after the recap.
  - Ends C(ansible-playbook) with 10 if a node has drifted, 11 if drift was corrected, 0 if all nodes are clean. The
    statuses of failed and unreachable hosts, 2 and 4, are Ansible's own.
  - Plays of other playbooks are left alone.
  - It comes with the playbook and needs no setting. E(ANSIBLE_CALLBACKS_ENABLED) has to name it only where the playbook
    is not the first one of a run.
author:
  - kubenode.proxy contributors (@kubenode)
"""

import os
import time
from typing import TYPE_CHECKING

from ansible import constants
from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar
from ansible_collections.kubenode.proxy.plugins.plugin_utils import drift

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import TaskResult
    from ansible.inventory.host import Host
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

# A play that has this variable is one to report on; the variable holds the options.
VARIABLE = "kube_proxy_drift"
# By this a task knows that the run is reported on. Tasks run in forks of this process.
ENVIRONMENT = "KUBENODE_PROXY_DRIFT"
COLORS = {
    drift.CLEAN: constants.COLOR_OK,
    drift.CORRECTED: constants.COLOR_CHANGED,
    drift.DRIFTED: constants.COLOR_CHANGED,
    drift.FAILED: constants.COLOR_ERROR,
    drift.UNREACHABLE: constants.COLOR_UNREACHABLE,
}


class CallbackModule(CallbackBase):
    """See the documentation."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "kubenode.proxy.drift"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._nodes: dict[str, drift.NodeDrift] = {}
        self._play: Play | None = None
        self._started = ""
        self._path: str | None = None

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Begins to collect, or goes on, if this is a play to report on."""
        self._play = None
        if VARIABLE not in play.vars or not self._claim():
            return
        self._play = play
        self._started = self._started or _now()
        for name in play.get_variable_manager().get_vars(play=play).get("ansible_play_hosts_all", []):
            self._nodes.setdefault(name, drift.NodeDrift())

    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        """Reads the options, which may stand in the inventory."""
        if self._play and self._path is None:
            variables = self._play.get_variable_manager().get_vars(play=self._play, host=host)
            options = Templar(loader=self._play.get_loader(), variables=variables).template(self._play.vars[VARIABLE])
            self._path = os.path.abspath(os.path.expanduser(options["report"])) if options["report"] else ""

    def v2_runner_on_ok(self, result: TaskResult) -> None:
        """Collects what a task found on a node."""
        # What a handler does follows from what is collected already.
        if self._play and not isinstance(result._task, Handler):
            action, fields = result._task.action, result._task_fields
            check = bool(fields["check_mode"])
            outcome = drift.TaskOutcome(action, result.task_name, fields.get("args", {}), check, result._result)
            self._node(result).add(outcome)

    def v2_runner_on_failed(self, result: TaskResult, ignore_errors: bool = False) -> None:
        """Collects why a node failed."""
        if self._play and not ignore_errors:
            self._node(result).fail(result._result.get("msg", ""))

    def v2_runner_on_unreachable(self, result: TaskResult) -> None:
        """Collects why a node was not reached."""
        if self._play:
            self._node(result).fail(result._result.get("msg", ""), unreachable=True)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Writes and prints the report. Raises SystemExit where Ansible itself would tell of success only."""
        if not self._started:
            return
        del os.environ[ENVIRONMENT]
        report = drift.fleet_report(self._nodes, self._started, _now())
        self._display.banner("DRIFT")
        for status, line in drift.summary(report):
            self._display.display(line, color=COLORS[status])
        if self._path:
            self._write(self._path, drift.render(report))
        if not stats.failures and not stats.dark and drift.EXIT_STATUS[report["status"]]:
            raise SystemExit(drift.EXIT_STATUS[report["status"]])

    def _claim(self) -> bool:
        """Whether this one is to report: another is, where the callback is enabled beside that of the playbook."""
        process, own = f"{os.getpid()} ", f"{os.getpid()} {id(self)}"
        # What another process left there was inherited, from a run within which this one was started.
        if not os.environ.get(ENVIRONMENT, "").startswith(process):
            os.environ[ENVIRONMENT] = own
        return os.environ[ENVIRONMENT] == own

    def _node(self, result: TaskResult) -> drift.NodeDrift:
        return self._nodes.setdefault(result._host.get_name(), drift.NodeDrift())

    def _write(self, path: str, text: str) -> None:
        """Puts the whole report in place at once. Raises SystemExit."""
        new = f"{path}.{os.getpid()}"
        try:
            with open(new, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(new, path)
        except OSError as error:
            remedy = "set kube_proxy_drift_report to another path"
            self._display.error(f"the report cannot be written to {path}: {error.strerror}; {remedy}")
            raise SystemExit(1) from error
        self._display.display(f"report: {path}")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
