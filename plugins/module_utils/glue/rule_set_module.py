# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module rule_set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..kernel import processes
from ..kernel.command import KernelError
from ..model.configuration import parse_configuration, parse_node, parse_snapshots
from ..model.errors import InputError
from ..model.service import PROTOCOLS
from ..state.rule_set import RuleSet
from . import own_file, service_data, target
from .converge import Outcome
from .module import BACKEND, LOCKING, NETNS, REMEMBER
from .node import access
from .result import result_of
from .rule_set import Options, converge_rule_set, default_path, inputs_of
from .snapshots import FILES, Snapshots
from .subsystem import LookAgainError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.node import Node, ProxyConfiguration
    from ..plan.operation import Operation
    from ..state.large_text import Text
    from .known import Inputs
    from .module import Call
    from .node import NodeAccess
    from .service_data import NodeServiceData
    from .target import Target

NOTHING_DONE = Outcome([], RuleSet.empty(), RuleSet.empty(), {})
STATES = ["validated", "compiled", "converged", "absent", "restored"]
# What leads to these is service data, the configuration and the node.
OF_SERVICES = ("validated", "compiled", "converged")
ARGUMENT_SPEC: dict[str, Any] = {
    "services": {"type": "raw"},
    "src": {"type": "path"},
    "query": {"type": "str"},
    "checksum": {"type": "str"},
    "incoming": {"type": "path"},
    "node": {"type": "dict"},
    "configuration": {"type": "dict", "default": {}},
    "kube_proxy_configuration": {"type": "dict"},
    "state": {"type": "str", "choices": STATES, "default": "converged"},
    "path": {"type": "path"},
    "only_owner": {"type": "bool", "default": False},
    "take_over": {"type": "bool", "default": False},
    "drain": {"type": "list", "elements": "str", "choices": list(PROTOCOLS), "default": ["tcp"]},
    "snapshots": {"type": "int", "default": 3},
    "snapshot": {"type": "str"},
    **BACKEND,
    **NETNS,
    **LOCKING,
    **REMEMBER,
}
OPTIONS: dict[str, Any] = {
    "argument_spec": ARGUMENT_SPEC,
    "mutually_exclusive": [("services", "src")],
    "required_if": [("state", state, ["node"]) for state in OF_SERVICES],
}


def work(module: Call) -> dict[str, Any]:
    """Brings the node to the state asked for."""
    params = module.params
    if params["services"] is not None or params["src"] is not None:
        raise InputError(["services and src are read on the controller: call kubenode.proxy.rule_set by its full name"])
    # None, which only the node's own program gives, takes none.
    parse_snapshots(params["snapshots"] or 0)
    configuration = parse_configuration(params["configuration"], params["kube_proxy_configuration"])
    node = parse_node(params["node"]) if params["state"] in OF_SERVICES else None
    if params["state"] == "validated":
        return {"changed": False}
    here = access(module)
    with here.lock(module):
        run = _Run(module, here, configuration)
        if node is not None:
            return run.compile(node)
        return run.remove() if params["state"] == "absent" else run.restore()


class _Run:
    """One run of the module on a node, under its lock."""

    def __init__(self, module: Call, here: NodeAccess, configuration: ProxyConfiguration) -> None:
        self._module = module
        self._params = module.params
        self._check = module.check_mode
        self._here = here
        self._configuration = configuration
        self._path = self._params["path"] or default_path(here)
        self._snapshots = Snapshots(here.folder, self._params["snapshots"])

    def compile(self, node: Node) -> dict[str, Any]:
        """Compiles the rule set, and converges the node to it where asked to."""
        services = service_data.load(self._here.folder, self._params["checksum"], self._params["incoming"])
        if services is None:
            return {"changed": False, "service_data_missing": True}
        inputs = inputs_of(node, self._configuration, self._here)
        if self._params["state"] == "compiled":
            found = target.whole(services, inputs, None, self._path, self._module.warn)
            result = self._finish(NOTHING_DONE, found.texts)
        else:
            result = self._bring_to(services, inputs)
        return {**result, "rule_set": self._path, "service_ports": services.service_ports()}

    def _bring_to(self, services: NodeServiceData, inputs: Inputs) -> dict[str, Any]:
        """Converges to what changed since the last run, or to all where that does not suffice."""
        left = self._here.left_file.load()
        generation = self._here.nftables.generation()
        # What is not read cannot be shown.
        found = None if self._module.diff else target.part(services, inputs, left, self._path, generation)
        done: list[Operation] = []
        outcome = None
        if found:
            try:
                outcome = self._converge_to(found, self._snapshots)
            except LookAgainError as error:
                done = error.operations
        if found is None or outcome is None:
            # What was left does not hold after this run's own writes, and what was there before them is kept already.
            found = target.whole(services, inputs, None if done else left, self._path, self._module.warn)
            outcome = self._converge_to(found, None if done else self._snapshots)
        result = self._finish(outcome._replace(operations=[*done, *outcome.operations]), found.texts)
        if not self._check:
            self._here.left_file.save(found.left(left, self._path, outcome))
        return result

    def remove(self) -> dict[str, Any]:
        """Removes all that is kube-proxy's or the collection's, and the files that speak of it."""
        texts = dict.fromkeys([self._path, *(os.path.join(self._here.folder, file) for file in FILES)])
        outcome = self._converge(RuleSet.empty(), self._options(texts, self._snapshots))
        result = {**self._finish(outcome, texts), "rule_set": None}
        if not self._check:
            self._here.left_file.forget()
        return result

    def restore(self) -> dict[str, Any]:
        """Brings back what the node was before an earlier run."""
        snapshot = self._snapshots.load(self._params["snapshot"])
        texts = self._snapshots.texts(snapshot)
        # No snapshot of this: a second run would take it for the state to restore.
        outcome = self._converge(snapshot.rule_set, self._options(texts, None)._replace(sysctls=snapshot.sysctls))
        return {**self._finish(outcome, texts), "restored": snapshot.name}

    def _finish(self, outcome: Outcome, texts: Mapping[str, Text | None]) -> dict[str, Any]:
        """Writes the node's files last: they say what it was brought to, and a run that fails leaves them."""
        files = own_file.converge_all(texts, self._check)
        outcome = outcome._replace(operations=[*outcome.operations, *files])
        snapshots = {"snapshots": self._snapshots.names(), "snapshot": self._snapshots.taken}
        return {**result_of(self._module, outcome, self._here), **snapshots}

    def _converge_to(self, found: Target, snapshots: Snapshots | None) -> Outcome:
        options = self._options(found.texts, snapshots)
        return self._converge(found.desired, options._replace(known=found.known, live_pieces=found.live_pieces))

    def _options(self, texts: Mapping[str, Text | None], snapshots: Snapshots | None) -> Options:
        return Options(self._params["only_owner"], self._params["drain"], snapshots, texts=texts)

    def _converge(self, desired: RuleSet, options: Options) -> Outcome:
        self._refuse_beside_kube_proxy()
        return converge_rule_set(self._here, desired, self._configuration, options, self._check)

    def _refuse_beside_kube_proxy(self) -> None:
        """Raises KernelError where kube-proxy runs; check mode may look all the same."""
        running = (
            [] if self._check or self._params["take_over"] else processes.in_network_namespace(processes.KUBE_PROXY)
        )
        if running:
            raise KernelError(
                f"kube-proxy runs on this node (process {running[0]}) and would undo what it does not know of: stop it "
                "here first, or set take_over (kube_proxy_take_over) to go on all the same; check mode only looks"
            )
