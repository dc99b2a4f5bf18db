# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs, disks, locks and permissions that fail on real kernels: a clear error each, nothing half-done where that
can be known, nothing foreign lost, and a further run heals. tests/reliability/failure_worker.py has the cases.

KUBENODE_FAILURES=all tries all of them in every mode.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from tests.clusters import random_cluster
from tests.integration.conftest import GUEST_MODULES
from tests.lab.netns import run_here
from tests.needs import root_and
from tests.reliability.failure_worker import FAILURES
from tests.reliability.jobs import HERE, as_job, complaints, of_mode, results

if TYPE_CHECKING:
    from tests.lab import Node
    from tests.lab.netns import Runner

# Clusters that have something of everything, and share some of it.
SEED = 5
SECONDS_A_CASE = 300
ALL = os.environ.get("KUBENODE_FAILURES") == "all"

pytestmark = root_and("nft")


def check(run: Runner, mode: str, backend: str, modules: list[str], failures: list[str]) -> None:
    source = random.Random(SEED)
    first, second = (of_mode(random_cluster(source, services=8, mode=mode), mode) for _cluster in range(2))
    clusters = [first, second._replace(configuration=first.configuration)]
    jobs = [
        {
            "case": failure,
            "failure": failure,
            "backend": backend,
            "modules": modules,
            "clusters": [as_job(one) for one in clusters],
        }
        for failure in failures
    ]
    failed = complaints(results(run, "failure_worker", jobs, SECONDS_A_CASE), "failures")
    assert not failed, "\n\n".join(failed)


def test_failures_in_iptables_mode_with_the_nft_back_end() -> None:
    check(run_here, "iptables", "nft", HERE, sorted(FAILURES))


def test_failures_in_iptables_mode_with_the_legacy_back_end() -> None:
    check(run_here, "iptables", "legacy", HERE, some("held_xtables_lock", "half_written"))


def test_failures_in_nftables_mode() -> None:
    check(run_here, "nftables", "nft", HERE, some("missing_programs", "old_programs", "half_written", "full_disk"))


def test_failures_in_ipvs_mode(guest: Node) -> None:
    check(guest.run, "ipvs", "legacy", list(GUEST_MODULES), some("missing_programs", "old_programs", "full_disk"))


def some(*failures: str) -> list[str]:
    """These, or all."""
    return sorted(FAILURES) if ALL else list(failures)
