# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what the playbook drift finds, and ends the run with a status of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drift
type: notification
short_description: Report, summary and exit status of the playbooks drift and report of kubenode.proxy
version_added: 0.1.0
description:
  - Collects what the tasks of the playbook say of each node, those that fail and those that are not reached included.
  - Writes the report as JSON on the controller, and prints a summary after the recap. The playbook
    kubenode.proxy.report also has it write a page with what M(kubenode.proxy.proxy_info) says of the nodes.
  - Ends C(ansible-playbook) with 10 if a node has drifted, 11 if drift was corrected, 0 if all nodes are clean. The
    statuses of failed and unreachable hosts, 2 and 4, are Ansible's own.
  - Plays of other playbooks are left alone.
  - It comes with the playbook and needs no setting. E(ANSIBLE_CALLBACKS_ENABLED) has to name it only where the playbook
    is not the first one of a run.
author:
  - kubenode.proxy contributors (@kubenode)
"""

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from ansible.template import Templar
from ansible_collections.kubenode.proxy.plugins.plugin_utils import drift, fleet, page
from ansible_collections.kubenode.proxy.plugins.plugin_utils.collector import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import TaskResult
    from ansible.inventory.host import Host
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

# What is written, and the variable with its path.
VARIABLES = {"report": "kube_proxy_drift_report", "page": "kube_proxy_report_page"}
# What this action says of nodes is for the page.
INFO = "kubenode.proxy.proxy_info"


class CallbackModule(Collector):
    """See the documentation."""

    CALLBACK_NAME = "kubenode.proxy.drift"

    # It holds the options.
    variable = "kube_proxy_drift"
    environment = "KUBENODE_PROXY_DRIFT"

    def __init__(self) -> None:
        super().__init__()
        # Of the report and of the page; "" for none. None: the options have not been read yet.
        self._paths: tuple[str, str] | None = None
        self._fleet = fleet.Fleet()

    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        """Reads the options, which may stand in the inventory. Raises SystemExit where a path cannot be written."""
        if self._play and self._paths is None:
            variables = self._play.get_variable_manager().get_vars(play=self._play, host=host)
            options = Templar(loader=self._play.get_loader(), variables=variables).template(
                self._play.vars[self.variable]
            )
            self._paths = (_path(options["report"]), _path(options["page"]))
            # Not only at the end, when all nodes have been visited.
            for path, what in zip(self._paths, VARIABLES):
                if path:
                    self._try(path, what)

    def v2_runner_on_ok(self, result: TaskResult) -> None:
        """Collects what a task said of a node, for the page too."""
        super().v2_runner_on_ok(result)
        if self._play and result._task.action == INFO:
            self._fleet.add(result._host.get_name(), result._result)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Writes and prints the report. Raises SystemExit where Ansible itself would tell of success only."""
        if not self._started:
            return
        report = self._report()
        self._show("DRIFT", drift.summary(report))
        path, page_path = self._paths or ("", "")
        if path:
            self._write(path, drift.render(report), "report")
        if page_path:
            self._write(page_path, page.render(self._fleet.data(report)), "page")
        if not stats.failures and not stats.dark and drift.EXIT_STATUS[report["status"]]:
            raise SystemExit(drift.EXIT_STATUS[report["status"]])

    def _begin(self, play: Play, variables: Mapping[str, Any]) -> None:
        for name in variables.get("ansible_play_hosts_all", []):
            self._nodes.setdefault(name, self._new_node())

    def _try(self, path: str, what: str) -> None:
        """Raises SystemExit where the file cannot be written."""
        with self._writing(path, what) as new:
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            with open(new, "w", encoding="utf-8"):
                pass
            os.unlink(new)

    def _write(self, path: str, text: str, what: str) -> None:
        """Puts the whole file in place at once. Raises SystemExit."""
        with self._writing(path, what) as new:
            with open(new, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(new, path)
        self._display.display(f"{what}: {path}")

    @contextlib.contextmanager
    def _writing(self, path: str, what: str) -> Iterator[str]:
        """Gives the name under which a file is written first. Raises SystemExit instead of OSError."""
        try:
            yield f"{path}.{os.getpid()}"
        except OSError as error:
            remedy = f"set {VARIABLES[what]} to another path"
            self._display.error(f"the {what} cannot be written to {path}: {error.strerror}; {remedy}")
            raise SystemExit(1) from error


def _path(given: str) -> str:
    return os.path.abspath(os.path.expanduser(given)) if given else ""
