# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converges cases one by one, each in a fresh network namespace of the kernel that it runs on, and dumps the result.

Runs on the node (a guest of the lab) with nothing but Python: reads a job a line from standard input, as JSON, and
writes a result a line to standard output. A job: {case, services (canonical), node, configuration}; a result: {case,
files, second, versions} or {case, error}.

Other tests that converge in namespaces of a guest build on its parts.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import proxy_info
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import (
    Options,
    compile_rule_set,
    converge_rule_set,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node

from tests.conformance import dump
from tests.lab.netns import Network

Job = dict[str, Any]
Result = dict[str, Any]

NAMESPACE = "case"
# Several workers may share a kernel.
PREFIX = f"kn-{os.getpid()}-"


def build_node() -> Network:
    """The node of recordings/README.md: two veth interfaces, default routes through the first."""
    network = Network(prefix=PREFIX)
    network.delete(NAMESPACE, "peer")
    network.add(NAMESPACE, "peer")
    network.veth((NAMESPACE, "eth0", "192.168.100.11/24"), ("peer", "peer0", "192.168.100.1/24"))
    network.veth((NAMESPACE, "eth1", "10.200.0.11/24"), ("peer", "peer1", None))
    network.address(NAMESPACE, "eth0", "fd00:100::11/64")
    network.address("peer", "peer0", "fd00:100::1/64")
    network.route(NAMESPACE, "default", via="192.168.100.1")
    network.route(NAMESPACE, "default", via="fd00:100::1")
    network.build()
    return network


def converge(job: Job, backend: str, folder: str) -> list[dict[str, str]]:
    """Moves this process into the namespace, and converges it with a fresh look at the node; the operations."""
    configuration = parse_configuration(job["configuration"])
    access = NodeAccess(PREFIX + NAMESPACE, backend=backend, state_folder=folder)
    desired = compile_rule_set(canonical.load(job["services"]), parse_node(job["node"]), configuration, access)
    outcome = converge_rule_set(access, desired, configuration, Options(), check=False)
    return [operation.report() for operation in outcome.operations]


def converge_twice(job: Job) -> Result:
    """What a conformance job asks for."""
    with tempfile.TemporaryDirectory() as folder:
        converge(job, job["backend"], folder)
        second = converge(job, job["backend"], folder)
    files = dump.DUMPS[job["configuration"]["mode"]](job["backend"])
    return {"case": job["case"], "files": files, "second": second}


@functools.lru_cache
def versions() -> dict[str, Any]:
    """What the results come from: the kernel, and the tools by name."""
    tools, _warnings = proxy_info.versions(NodeAccess())
    return {"kernel": platform.release(), **tools}


def on_fresh_node(work: Callable[[Job], Result], job: Job) -> Result:
    """The result of the work in a namespace of its own. Entering one is for good, so each has a process of its own."""
    network = build_node()
    try:
        return _in_child(work, job)
    finally:
        network.close()


def _in_child(work: Callable[[Job], Result], job: Job) -> Result:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            result = work(job)
        except Exception as error:
            lines = [] if "--brief" in sys.argv else traceback.format_exc().splitlines()
            result = {"case": job["case"], "error": "\n".join([f"{type(error).__name__}: {error}", *lines])}
        with os.fdopen(writer, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"case": job["case"], "error": "the process died"}


def serve(handle: Callable[[Job], Result]) -> None:
    """Serves jobs until standard input ends."""
    for line in sys.stdin:
        print(json.dumps(handle(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve(lambda job: {**on_fresh_node(converge_twice, job), "versions": versions()})
