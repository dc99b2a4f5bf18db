# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends runs that change nodes with what changed, where and why, and says which of many nodes are next."""

from __future__ import annotations

DOCUMENTATION = r"""
name: changes
type: notification
short_description: Progress and summary of the playbooks that change nodes
version_added: 0.1.0
description:
  - Prints after the recap, for each node, how many objects of which kind were changed, or in check mode would be, and
    why it failed; then the objects with the nodes and the reason, those of one kind and reason in one line.
  - Where a play takes some nodes at a time (C(serial)), it says which of how many are next.
  - Names the nodes at the end that a play was for and that it did not visit, because another failed before.
  - Where a task ignores that its host is not reached (C(ignore_unreachable)), the variable C(kube_proxy_unreached) of
    the node says why from then on.
  - It comes with the playbooks C(site), C(switch_mode), C(migrate), C(cleanup) and C(rollback) of this collection, and
    needs no setting. Plays of other playbooks are left alone, unless they have the variable C(kube_proxy_changes).
author:
  - kubenode.proxy contributors (@kubenode)
"""

from typing import TYPE_CHECKING

from ansible import context
from ansible_collections.kubenode.proxy.plugins.plugin_utils import drift
from ansible_collections.kubenode.proxy.plugins.plugin_utils.collector import Collector

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import TaskResult
    from ansible.inventory.host import Host
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

# The variable of a node that says why a task did not reach its host, where the task ignores that.
UNREACHED = "kube_proxy_unreached"


class CallbackModule(Collector):
    """See the documentation."""

    CALLBACK_NAME = "kubenode.proxy.changes"

    variable = "kube_proxy_changes"
    environment = "KUBENODE_PROXY_CHANGES"

    def __init__(self) -> None:
        super().__init__()
        # Of the last play.
        self._play_name = ""
        self._play_id = ""
        self._everyone: list[str] = []
        self._visited: set[str] = set()
        # Is printed when the first task of a batch begins: a play goes through all batches, also when no node is left.
        self._next = ""

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:
        """Says which nodes of how many are next."""
        if self._play and self._next:
            self._display.display(self._next)
            self._next = ""

    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        """Notes that a node is visited."""
        if self._play:
            self._visited.add(host.get_name())

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Prints the summary."""
        if self._started:
            self._show("CHANGES", drift.summary_of_changes(self._report()))
            left = [name for name in self._everyone if name not in self._visited]
            if left:
                self._display.display(f'not visited in "{self._play_name}": {", ".join(left)}')

    def v2_runner_on_unreachable(self, result: TaskResult) -> None:
        """Lets later tasks know what this one ignores, which only a result that is registered would tell them."""
        super().v2_runner_on_unreachable(result)
        if self._play and result._task_fields.get("ignore_unreachable"):
            message = f"{result.task_name}: {result._result.get('msg', 'not reached')}"
            manager = self._play.get_variable_manager()
            manager.set_nonpersistent_facts(result._host.get_name(), {UNREACHED: message})

    def _begin(self, play: Play, variables: Mapping[str, Any]) -> None:
        # A play begins once for each batch.
        if play._uuid != self._play_id:
            self._play_id, self._play_name, self._visited = play._uuid, play.get_name(), set()
        self._everyone, batch = variables.get("ansible_play_hosts_all", []), variables.get("ansible_play_batch", [])
        self._next = ""
        if len(batch) < len(self._everyone):
            first = self._everyone.index(batch[0]) + 1
            last = first + len(batch) - 1
            which = f"node {first}" if first == last else f"nodes {first} to {last}"
            self._next = f"{which} of {len(self._everyone)}: {', '.join(batch)}"

    def _new_node(self) -> drift.NodeDrift:
        return drift.NodeDrift(expected=())

    def _add(self, node: drift.NodeDrift, outcome: drift.TaskOutcome) -> None:
        # In a run that writes, a task in check mode only looks.
        if context.CLIARGS["check"] or not outcome.check:
            node.add(outcome)
