# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converges cases one by one, each in a fresh network namespace of the kernel that it runs on, and dumps the result.

Runs on the node (a guest of the lab) with nothing but Python: reads a job a line from standard input, as JSON, and
writes a result a line to standard output. A job: {case, services (canonical), node, configuration}; a result: {case,
files, second} or {case, error}.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from typing import Any

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


def converge_twice(job: dict[str, Any]) -> dict[str, Any]:
    """Converges this process' own view of the namespace, and again with a fresh look at the node."""
    data = canonical.load(job["services"])
    node = parse_node(job["node"])
    configuration = parse_configuration(job["configuration"])
    with tempfile.TemporaryDirectory() as folder:
        operations = []
        for _round in range(2):
            access = NodeAccess(PREFIX + NAMESPACE, backend=job["backend"], state_folder=folder)
            desired = compile_rule_set(data, node, configuration, access)
            outcome = converge_rule_set(access, desired, configuration, Options(), check=False)
            operations.append([operation.report() for operation in outcome.operations])
    files = dump.DUMPS[configuration.mode](job["backend"])
    return {"case": job["case"], "files": files, "second": operations[1]}


def in_child(job: dict[str, Any]) -> dict[str, Any]:
    """Entering a namespace is for good, so each case has a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            result = converge_twice(job)
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


def main() -> None:
    """Serves jobs until standard input ends."""
    for line in sys.stdin:
        network = build_node()
        result = in_child(json.loads(line))
        network.close()
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
