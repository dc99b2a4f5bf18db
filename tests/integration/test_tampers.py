# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with nodes on real kernels: each is healed by one run, the rest is left alone, and a second run does nothing.

KUBENODE_TAMPERS says how many are tried in all, KUBENODE_SEED with which seed they begin. A case of seed N is a random
cluster and some tampers with it. KUBENODE_REPORT names a file to which the figures by mode and kind are added.
"""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.clusters import random_cluster
from tests.integration.conftest import GUEST_MODULES
from tests.lab.netns import run_here
from tests.needs import root_and
from tests.reliability.jobs import HERE, SEED, as_job, complaints, of_mode, report, results
from tests.reliability.tamper_worker import LAST, kinds

if TYPE_CHECKING:
    from tests.lab import Node
    from tests.lab.netns import Runner

TAMPERS = int(os.environ.get("KUBENODE_TAMPERS", "48"))
# Each test tries its share.
TESTS = 4
A_CASE = 6
SECONDS_A_CASE = 300

pytestmark = root_and("nft")


def check(run: Runner, mode: str, backend: str, modules: list[str]) -> None:
    source = random.Random(SEED)
    # All kinds in turn, in another order each time.
    decks = (deck for _round in itertools.count() for deck in source.sample(kinds(mode), len(kinds(mode))))
    jobs = [
        {
            "case": seed,
            "backend": backend,
            "modules": modules,
            "kinds": sorted(itertools.islice(decks, A_CASE), key=LAST.__contains__),
            "cluster": as_job(of_mode(random_cluster(random.Random(seed), mode=mode), mode)),
        }
        for seed in range(SEED, SEED - (-TAMPERS // TESTS // A_CASE))
    ]
    found = results(run, "tamper_worker", jobs, SECONDS_A_CASE)
    report(f"tampers, {mode} {backend}", (tamper for result in found for tamper in result.get("tampers", ())))
    failed = complaints(found, "tampers")
    assert not failed, f"KUBENODE_SEED={SEED} KUBENODE_TAMPERS={TAMPERS}\n" + "\n\n".join(failed)


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_tampers_of_iptables_mode(backend: str) -> None:
    check(run_here, "iptables", backend, HERE)


def test_tampers_of_nftables_mode() -> None:
    check(run_here, "nftables", "nft", HERE)


def test_tampers_of_ipvs_mode(guest: Node) -> None:
    check(guest.run, "ipvs", "legacy", list(GUEST_MODULES))
