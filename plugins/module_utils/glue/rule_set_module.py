# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module rule_set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.configuration import parse_configuration, parse_node
from ..model.errors import InputError
from . import service_data
from .module import BACKEND, NETNS, REMEMBER, access, result_of
from .rule_set import Options, compile_rule_set, converge_rule_set, default_path, write_rule_set

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration
    from .module import Call
    from .node import NodeAccess

PROTOCOLS = ["tcp", "udp", "sctp"]
ARGUMENT_SPEC: dict[str, Any] = {
    "services": {"type": "raw"},
    "src": {"type": "path"},
    "query": {"type": "str"},
    "checksum": {"type": "str"},
    "incoming": {"type": "path"},
    "node": {"type": "dict", "required": True},
    "configuration": {"type": "dict", "default": {}},
    "kube_proxy_configuration": {"type": "dict"},
    "state": {"type": "str", "choices": ["compiled", "converged"], "default": "converged"},
    "path": {"type": "path"},
    "only_owner": {"type": "bool", "default": False},
    "drain": {"type": "list", "elements": "str", "choices": PROTOCOLS, "default": ["tcp"]},
    "lock_timeout": {"type": "float", "default": 60},
    **BACKEND,
    **NETNS,
    **REMEMBER,
}
OPTIONS: dict[str, Any] = {"argument_spec": ARGUMENT_SPEC, "mutually_exclusive": [("services", "src")]}


def work(module: Call) -> dict[str, Any]:
    """Compiles the rule set, and converges the node to it."""
    params = module.params
    if params["services"] is not None or params["src"] is not None:
        raise InputError(["services and src are read on the controller: call kubenode.proxy.rule_set by its full name"])
    node = parse_node(params["node"])
    # What a template makes of a variable that is not set counts as not given.
    given = {name: value for name, value in params["configuration"].items() if value not in (None, "")}
    configuration = parse_configuration(given, params["kube_proxy_configuration"])
    here = access(module)
    with here.lock(module.check_mode, params["lock_timeout"]):
        return _compile_and_converge(module, here, node, configuration)


def _compile_and_converge(
    module: Call, here: NodeAccess, node: Node, configuration: ProxyConfiguration
) -> dict[str, Any]:
    params = module.params
    found = service_data.load(here.folder, params["checksum"], params["incoming"])
    if found is None:
        return {"changed": False, "service_data_missing": True}
    desired = compile_rule_set(found.data, node, configuration, here)
    path = params["path"] or default_path(here)
    result: dict[str, Any] = {"changed": False}
    if params["state"] == "converged":
        options = Options(params["only_owner"], params["drain"])
        outcome = converge_rule_set(here, desired, configuration, options, module.check_mode)
        result = result_of(module, outcome, here)
    # Last, so that the files say what the node was brought to, and a run that fails leaves them.
    rewritten = write_rule_set(path, desired, module.check_mode)
    if not module.check_mode:
        found.keep()
    return {
        **result,
        "changed": result["changed"] or rewritten or found.is_new,
        "rule_set": path,
        "service_ports": len(found.data.service_ports),
    }
