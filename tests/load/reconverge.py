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
from pathlib import Path
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables_stages import STAGE_CHAINS
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, native

from tests.rule_set_call import call_rule_set

ADDRESS, PORT, TARGET_PORT = "10.96.0.10", 80, 8080
PODS = ("10.244.1.10", "10.244.1.11")


def loaded(rng: random.Random) -> dict[str, Any]:
    """The service under load, with one endpoint or both."""
    return {
        "name": "loaded",
        "cluster_ip": ADDRESS,
        "ports": [{"port": PORT, "target_port": TARGET_PORT, **rng.choice([{}, {"node_port": 30080}])}],
        "endpoints": list(rng.choice([PODS, PODS[::-1], PODS[:1], PODS[1:]])),
        "session_affinity": rng.choice(["None", "ClientIP"]),
    }


def others(rng: random.Random) -> list[dict[str, Any]]:
    """Few or many others, of which none answers."""
    # Two chains each: with the larger number a change takes several stages.
    return [
        {
            "name": f"other-{index}",
            "cluster_ip": f"10.97.{index // 250}.{index % 250 + 1}",
            "ports": [{"port": 80, "target_port": 8080}],
            "endpoints": [f"10.244.2.{index % 250 + 1}"] if rng.random() < 0.9 else [],
        }
        for index in range(rng.choice([3, STAGE_CHAINS]))
    ]


def main() -> None:
    """Prints the number of operations of each converge."""
    netns, backend, mode, times, folder = sys.argv[1:]
    rng = random.Random(20)
    configuration = {"mode": mode, "cluster_cidrs": ["10.244.0.0/16"], "conntrack_max_per_core": 0, "conntrack_min": 0}
    incoming = Path(folder, "incoming.json")
    given: dict[str, Any] = {"node": {"name": "node-a"}, "configuration": configuration, "incoming": str(incoming)}
    counts = []
    beside = others(rng)
    for number in range(int(times)):
        # Every other time only the service under load changes.
        beside = others(rng) if number % 2 else beside
        incoming.write_text(canonical.dump(native.parse([loaded(rng), *beside])))
        result = call_rule_set(lambda: NodeAccess(netns, backend, folder), **given)
        counts.append(sum(result["counts"].values()))
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
