# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converges a network namespace many times, from one random state to another, in each of which one service answers.

usage: python -m tests.load.reconverge NETNS BACKEND MODE TIMES FOLDER
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import (
    Options,
    compile_rule_set,
    converge_rule_set,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables_stages import STAGE_CHAINS
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node

ADDRESS, PORT, TARGET_PORT = "10.96.0.10", 80, 8080
PODS = ("10.244.1.10", "10.244.1.11")


def state(rng: random.Random) -> list[dict[str, Any]]:
    """The service under load, with one endpoint or both, among few or many others that have none that answers."""
    pods = rng.choice([PODS, PODS[::-1], PODS[:1], PODS[1:]])
    services = [
        {
            "name": "loaded",
            "cluster_ip": ADDRESS,
            "ports": [{"port": PORT, "target_port": TARGET_PORT, **rng.choice([{}, {"node_port": 30080}])}],
            "endpoints": list(pods),
            "session_affinity": rng.choice(["None", "ClientIP"]),
        }
    ]
    # Two chains each: with the larger number a change takes several stages.
    for index in range(rng.choice([3, STAGE_CHAINS])):
        endpoints = [f"10.244.2.{index % 250 + 1}"] if rng.random() < 0.9 else []
        services.append(
            {
                "name": f"other-{index}",
                "cluster_ip": f"10.97.{index // 250}.{index % 250 + 1}",
                "ports": [{"port": 80, "target_port": 8080}],
                "endpoints": endpoints,
            }
        )
    return services


def main() -> None:
    """Prints the number of operations of each converge."""
    netns, backend, mode, times, folder = sys.argv[1:]
    rng = random.Random(20)
    configuration = parse_configuration(
        {"mode": mode, "cluster_cidrs": ["10.244.0.0/16"], "conntrack_max_per_core": 0, "conntrack_min": 0}
    )
    counts = []
    for _round in range(int(times)):
        access = NodeAccess(netns, backend, folder)
        desired = compile_rule_set(native.parse(state(rng)), parse_node({"name": "node-a"}), configuration, access)
        outcome = converge_rule_set(access, desired, configuration, Options(), check=False)
        counts.append(len(outcome.operations))
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
