# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed on real kernels: one further run heals, and nothing foreign is lost.

KUBENODE_KILLS says how many runs are killed in all, KUBENODE_SEED with which seed they begin. A failure names its seed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical

from tests.clusters import NODE, PRIVATE_LIMITS, Cluster, random_cluster, regular_services
from tests.integration.conftest import GUEST_MODULES
from tests.integration.test_tampers import HERE, SEED, SHOWN, cluster_of, report, worker
from tests.lab.netns import run_here

if TYPE_CHECKING:
    from tests.lab import Node
    from tests.lab.netns import Runner

KILLS = int(os.environ.get("KUBENODE_KILLS", "10"))
# Each test kills its share.
TESTS = 5
A_CASE = 10
SECONDS_A_CASE = 600

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft")


def check_kills(run: Runner, title: str, backend: str, modules: list[str], clusters: list[list[Cluster]]) -> None:
    share = -(-KILLS // TESTS)
    jobs = [
        {
            "case": SEED + number,
            "backend": backend,
            "modules": modules,
            "kills": min(A_CASE, share - number * A_CASE),
            "clusters": [as_job(one) for one in some],
        }
        for number, some in enumerate(clusters[: -(-share // A_CASE)])
    ]
    text = "".join(f"{json.dumps(one)}\n" for one in jobs)
    done = run(worker("kill_worker"), input=text, check=False, timeout=len(jobs) * SECONDS_A_CASE)
    results = {result["case"]: result for result in map(json.loads, done.stdout.splitlines())}
    assert set(results) == {one["case"] for one in jobs}, done.stderr
    kills = [kill for result in results.values() for kill in result.get("kills", ())]
    report(f"kills, {title}", [{**kill, "kind": kill["how"].split()[0]} for kill in kills if kill["killed"]])
    failed = [f"seed {case}: {result['error']}" for case, result in results.items() if "error" in result]
    failed += [
        f"seed {case}: killed {kill['how']}\n" + "\n".join(kill["problems"][:SHOWN])
        for case, result in results.items()
        for kill in result.get("kills", ())
        if kill["problems"]
    ]
    assert not failed, f"KUBENODE_SEED={SEED} KUBENODE_KILLS={KILLS}\n" + "\n\n".join(failed)
    assert sum(kill["killed"] for kill in kills) > len(kills) // 2, kills


def as_job(cluster: Cluster) -> dict[str, Any]:
    return {
        "services": canonical.dump(cluster.data()),
        "node": cluster.node,
        "configuration": cluster.configuration,
    }


def pairs(mode: str) -> list[list[Cluster]]:
    """Two clusters a case; the settings that nobody sets back are those of the first."""
    found = []
    for number in range(KILLS):
        source = random.Random(SEED + number)
        first, second = (cluster_of(random_cluster(source, mode=mode), mode) for _cluster in range(2))
        found.append([first, second._replace(configuration=first.configuration)])
    return found


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_kills_in_iptables_mode(backend: str) -> None:
    check_kills(run_here, f"iptables {backend}", backend, HERE, pairs("iptables"))


def test_kills_between_the_stages_of_a_large_change() -> None:
    """More than 300 chains, which the nft back end takes in several restores."""
    node = {"name": NODE, "addresses": ["192.168.100.11"]}
    configuration = {"mode": "iptables", "cluster_cidrs": ["10.244.0.0/16"], **PRIVATE_LIMITS}
    few, many = (Cluster(regular_services(count, 3), node, configuration) for count in (20, 200))
    check_kills(run_here, "iptables nft, in stages", "nft", HERE, [[few, many]] * KILLS)


def test_kills_in_nftables_mode() -> None:
    check_kills(run_here, "nftables", "nft", HERE, pairs("nftables"))


def test_kills_in_ipvs_mode(guest: Node) -> None:
    check_kills(guest.run, "ipvs", "legacy", list(GUEST_MODULES), pairs("ipvs"))
