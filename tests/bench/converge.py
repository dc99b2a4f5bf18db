# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the module on a node whose files are in a folder; prints its figures as JSON.

usage: python -m tests.bench.converge MODE BACKEND NETNS FOLDER SERVICE_DATA

An empty NETNS is the network namespace of the caller.

It is a process of its own, as a module's run is: what has to be read, compiled and allocated is, each time.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.namespace import enter

from tests.clusters import NODE
from tests.rule_set_call import call_rule_set

CONFIGURATION = {"cluster_cidrs": ["10.0.0.0/8"], "conntrack_max_per_core": 0, "conntrack_min": 0}


def processor_seconds() -> float:
    """What this process and those that it has waited for took of the processors, in the kernel too."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_megabytes() -> int:
    """Of this process alone: that of getrusage(2) may be what a parent had before it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def converge(mode: str, backend: str, netns: str, folder: str, data: str) -> dict[str, Any]:
    """The figures of what the module does on the node; Ansible's part is left out.

    As from Ansible, the service data is sent only where the node does not have it.
    """
    given: dict[str, Any] = {"node": {"name": NODE}, "configuration": {**CONFIGURATION, "mode": mode}}
    given["checksum"] = hashlib.sha1(Path(data).read_bytes()).hexdigest()

    def access() -> NodeAccess:
        return NodeAccess(netns or None, backend, folder)

    start, before = time.monotonic(), processor_seconds()
    result = call_rule_set(access, **given)
    if result.get("service_data_missing"):
        result = call_rule_set(access, incoming=data, **given)
    return {
        "seconds": time.monotonic() - start,
        "processor": processor_seconds() - before,
        **result["figures"]["seconds"],
        "operations": sum(count for what, count in result["counts"].items() if not what.endswith(" file")),
        "processes": result["figures"]["processes"],
        "messages": result["figures"]["messages"],
        "megabytes": peak_megabytes(),
    }


if __name__ == "__main__":
    if sys.argv[3]:
        enter(sys.argv[3])
    print(json.dumps(converge(*sys.argv[1:])))
