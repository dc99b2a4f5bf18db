# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings the node's kernel to a rule set with the collection's own code, without Ansible: a fraction of a second."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import (
    Options,
    compile_rule_set,
    converge_rule_set,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.model import source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node


def converge(
    netns: str | None,
    state_folder: str,
    services: list[dict[str, Any]],
    node: dict[str, Any],
    configuration: dict[str, Any],
    check: bool,
) -> dict[str, Any]:
    """What the module rule_set does with these arguments."""
    wanted = parse_configuration(configuration)
    access = NodeAccess(netns=netns, state_folder=state_folder)
    desired = compile_rule_set(source.parse(services), parse_node(node), wanted, access)
    outcome = converge_rule_set(access, desired, wanted, Options(), check)
    return {
        "operations": [f"{one.verb} {one.kind} {one.name}: {one.reason}" for one in outcome.operations],
        "seconds": outcome.phases,
        "processes": access.runner.processes,
    }


def in_child(**arguments: Any) -> dict[str, Any]:
    """`converge` in a child process. Raises what it raised, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            os.close(read)
            with os.fdopen(write, "w") as pipe:
                try:
                    json.dump({"result": converge(**arguments)}, pipe)
                except BaseException:
                    json.dump({"error": traceback.format_exc()}, pipe)
        except BaseException:
            status = 1
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    reply: dict[str, Any] = json.loads(text)
    if "error" in reply:
        raise RuntimeError(reply["error"])
    result: dict[str, Any] = reply["result"]
    return result
