# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with nodes on real kernels: each is healed by one run, the rest is left alone, and a second run does nothing.

KUBENODE_TAMPERS says how many are tried in all, KUBENODE_SEED with which seed they begin. A case of seed N is a random
cluster and some tampers with it; a failure names its seed. KUBENODE_REPORT names a file to which the figures by mode
and kind are added.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical

from tests.clusters import Cluster, random_cluster
from tests.integration.conftest import GUEST_MODULES
from tests.integration.test_in_guest import PATHS
from tests.lab.netns import run_here
from tests.reliability.tamper_worker import LAST, kinds

if TYPE_CHECKING:
    from tests.lab import Node
    from tests.lab.netns import Runner

TAMPERS = int(os.environ.get("KUBENODE_TAMPERS", "48"))
SEED = int(os.environ.get("KUBENODE_SEED", "1"))
A_CASE = 6
SECONDS_A_CASE = 300
# So many problems of a tamper a failure quotes.
SHOWN = 8
# nf_conntrack_netlink and ip_vs go before what uses them.
HERE = ["nf_conntrack"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft")


def cluster_of(cluster: Cluster, mode: str) -> Cluster:
    """A random cluster, of a version that has the mode."""
    configuration = {**cluster.configuration, "version": "1.36"}
    return cluster._replace(configuration=configuration) if mode == "nftables" else cluster


def job(seed: int, mode: str, backend: str, modules: list[str], some_kinds: list[str]) -> dict[str, Any]:
    chosen = cluster_of(random_cluster(random.Random(seed), mode=mode), mode)
    return {
        "case": seed,
        "backend": backend,
        "modules": modules,
        "kinds": sorted(some_kinds, key=LAST.__contains__),
        "cluster": {
            "services": canonical.dump(chosen.data()),
            "node": chosen.node,
            "configuration": chosen.configuration,
        },
    }


def worker(name: str) -> list[str]:
    """The command of a worker; it loads Ansible's part of a module."""
    environment = ["PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={':'.join(PATHS)}"]
    return ["env", *environment, "/usr/bin/python3", "-m", f"tests.reliability.{name}"]


def check_tampers(run: Runner, mode: str, backend: str, modules: list[str]) -> None:
    source = random.Random(SEED)
    # All kinds in turn, in another order each time.
    decks = (deck for _round in itertools.count() for deck in source.sample(kinds(mode), len(kinds(mode))))
    cases = -(-TAMPERS // 4 // A_CASE)
    jobs = [
        job(SEED + number, mode, backend, modules, list(itertools.islice(decks, A_CASE))) for number in range(cases)
    ]
    text = "".join(f"{json.dumps(one)}\n" for one in jobs)
    done = run(worker("tamper_worker"), input=text, check=False, timeout=cases * SECONDS_A_CASE)
    results = {result["case"]: result for result in map(json.loads, done.stdout.splitlines())}
    assert set(results) == {one["case"] for one in jobs}, done.stderr
    report(f"{mode} {backend}", [tamper for result in results.values() for tamper in result.get("tampers", ())])
    failed = [f"seed {case}: {result['error']}" for case, result in results.items() if "error" in result]
    failed += [
        f"seed {case}: {tamper['kind']}: {tamper['what']}\n" + "\n".join(tamper["problems"][:SHOWN])
        for case, result in results.items()
        for tamper in result.get("tampers", ())
        if tamper["problems"]
    ]
    assert not failed, f"KUBENODE_SEED={SEED} KUBENODE_TAMPERS={TAMPERS}\n" + "\n\n".join(failed)


def report(title: str, tampers: list[dict[str, Any]]) -> None:
    tried = Counter(tamper["kind"] for tamper in tampers)
    healed = Counter(tamper["kind"] for tamper in tampers if not tamper["problems"])
    lines = [f"{title}: {healed.total()} of {tried.total()} tampers healed"]
    lines += [f"    {kind:35} {healed[kind]} of {count}" for kind, count in sorted(tried.items())]
    print("\n".join(lines))
    if path := os.environ.get("KUBENODE_REPORT"):
        with Path(path).open("a") as file:
            file.write("\n".join([*lines, ""]))


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_tampers_of_iptables_mode(backend: str) -> None:
    check_tampers(run_here, "iptables", backend, HERE)


def test_tampers_of_nftables_mode() -> None:
    check_tampers(run_here, "nftables", "nft", HERE)


def test_tampers_of_ipvs_mode(guest: Node) -> None:
    check_tampers(guest.run, "ipvs", "legacy", list(GUEST_MODULES))
