# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On a real kernel: any random cluster converged after any other is the same as converged fresh, a second run plans
nothing, and foreign objects stay byte for byte, counters included.

KUBENODE_PAIRS says how many pairs of clusters are tried in each test, KUBENODE_SEED with which seed they begin. The
clusters of seed N are random.Random(N)'s; a failure names its seed.
"""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical

from tests.clusters import Cluster, random_cluster
from tests.lab.netns import run_here
from tests.lab.node import CHECKOUT
from tests.needs import root_and

if TYPE_CHECKING:
    from tests.lab import Node
    from tests.lab.netns import Runner

PAIRS = int(os.environ.get("KUBENODE_PAIRS", "15"))
SEED = int(os.environ.get("KUBENODE_SEED", "1"))
# The Python of the node, which sees this checkout at the same path.
WORKER = ["env", "PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={CHECKOUT}/.cache/collections:{CHECKOUT}"]
WORKER += ["/usr/bin/python3", "-m", "tests.integration.pair_worker"]
SECONDS_A_PAIR = 60
PROGRAMS = ("ipset", "iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy")

pytestmark = root_and(*PROGRAMS)


def pair(seed: int, modes: tuple[str, ...]) -> list[Cluster]:
    source = random.Random(seed)
    clusters = [random_cluster(source, mode=source.choice(modes)) for _number in range(2)]
    # It is never set back, and rules depend on it.
    liberal = clusters[0].configuration["conntrack_tcp_be_liberal"]
    return [one._replace(configuration={**one.configuration, "conntrack_tcp_be_liberal": liberal}) for one in clusters]


def job(seed: int, modes: tuple[str, ...], backend: str) -> dict[str, Any]:
    clusters = [
        {"services": canonical.dump(one.data()), "node": one.node, "configuration": one.configuration}
        for one in pair(seed, modes)
    ]
    return {"case": seed, "backend": backend, "clusters": clusters}


def check_pairs(run: Runner, modes: tuple[str, ...], backend: str) -> None:
    seeds = range(SEED, SEED + PAIRS)
    text = "".join(f"{json.dumps(job(seed, modes, backend))}\n" for seed in seeds)
    done = run(WORKER, input=text, check=False, timeout=PAIRS * SECONDS_A_PAIR)
    results = {result["case"]: result for result in map(json.loads, done.stdout.splitlines())}
    assert set(results) == set(seeds), done.stderr
    failed = {
        seed: result.get("error") or "\n".join(result["problems"])
        for seed, result in results.items()
        if result.get("error") or result["problems"]
    }
    assert not failed, "\n\n".join(f"KUBENODE_SEED={seed} KUBENODE_PAIRS=1\n{text}" for seed, text in failed.items())


def test_pairs_on_a_kernel_with_ipvs(guest: Node) -> None:
    """Modes change as well: what one mode leaves, the other removes."""
    check_pairs(guest.run, ("ipvs", "ipvs", "iptables"), "legacy")


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_pairs_of_iptables_mode(backend: str) -> None:
    check_pairs(run_here, ("iptables",), backend)
