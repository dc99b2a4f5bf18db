# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed on real kernels: one further run heals, and nothing foreign is lost.

KUBENODE_KILLS says how many runs are killed in all, KUBENODE_SEED with which seed they begin. A failure names its seed.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.clusters import NODE, PRIVATE_LIMITS, Cluster, random_cluster, regular_services
from tests.integration.conftest import GUEST_MODULES
from tests.lab.netns import run_here
from tests.needs import root_and
from tests.reliability.jobs import HERE, SEED, as_job, complaints, of_mode, report, results

if TYPE_CHECKING:
    from tests.lab import Node
    from tests.lab.netns import Runner

KILLS = int(os.environ.get("KUBENODE_KILLS", "10"))
# Each test kills its share.
TESTS = 5
A_CASE = 10
SECONDS_A_CASE = 600

pytestmark = root_and("nft")


def check(run: Runner, title: str, backend: str, modules: list[str], clusters: list[list[Cluster]]) -> None:
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
    found = results(run, "kill_worker", jobs, SECONDS_A_CASE)
    kills = [kill for result in found for kill in result.get("kills", ())]
    report(f"kills, {title}", (kill for kill in kills if kill["killed"]))
    failed = complaints(found, "kills")
    assert not failed, f"KUBENODE_SEED={SEED} KUBENODE_KILLS={KILLS}\n" + "\n\n".join(failed)
    assert sum(kill["killed"] for kill in kills) > len(kills) // 2, kills


def pairs(mode: str) -> list[list[Cluster]]:
    """Two clusters a case; the settings that nobody sets back are those of the first."""
    found = []
    for number in range(KILLS):
        source = random.Random(SEED + number)
        first, second = (of_mode(random_cluster(source, mode=mode), mode) for _cluster in range(2))
        found.append([first, second._replace(configuration=first.configuration)])
    return found


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_kills_in_iptables_mode(backend: str) -> None:
    check(run_here, f"iptables {backend}", backend, HERE, pairs("iptables"))


def test_kills_between_the_stages_of_a_large_change() -> None:
    """More than 300 chains, which the nft back end takes in several restores."""
    node = {"name": NODE, "addresses": ["192.168.100.11"]}
    configuration = {"mode": "iptables", "cluster_cidrs": ["10.244.0.0/16"], **PRIVATE_LIMITS}
    few, many = (Cluster(regular_services(count, 3), node, configuration) for count in (20, 400))
    check(run_here, "iptables nft, in stages", "nft", HERE, [[few, many]] * KILLS)


def test_kills_in_nftables_mode() -> None:
    check(run_here, "nftables", "nft", HERE, pairs("nftables"))


def test_kills_in_ipvs_mode(guest: Node) -> None:
    check(guest.run, "ipvs", "legacy", list(GUEST_MODULES), pairs("ipvs"))
