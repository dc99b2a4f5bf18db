# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loads every recorded case on a real kernel, as the real kube-proxy had programmed it, and audits the node.

usage: python -m tests.audit CASES MODE [--version VERSION] [--backend BACKEND]

Then it tampers with single objects of some cases, and audits again. The environment variable TAMPERED says in how many
cases, those with the largest recordings first, or ``all``; ROUNDS how many times, with other objects each time.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from tests.conformance.jobs import Case, Check, run_check

TAMPERED = os.environ.get("TAMPERED") or "1"
ROUNDS = int(os.environ.get("ROUNDS") or "1")
# Seconds for one case: most tampers take less than one.
CASE_TIMEOUT = 300


def more(cases: list[Case]) -> dict[str, dict[str, Any]]:
    """The recordings themselves, and what to choose victims by in those cases that are tampered with."""
    recordings = {case.name: {path.name: path.read_text() for path in case.recorded.iterdir()} for case in cases}
    by_size = sorted(recordings, key=lambda name: sum(map(len, recordings[name].values())), reverse=True)
    chosen = by_size if TAMPERED == "all" else by_size[: int(TAMPERED)]
    seeds = {name: [f"{name} {number}" for number in range(ROUNDS)] for name in chosen}
    return {name: {"files": files, "seeds": seeds.get(name, [])} for name, files in recordings.items()}


def judge(_case: Case, result: dict[str, Any]) -> list[str]:
    """What is reported of the node as recorded, and what is wrong with reports of it after a tamper."""
    untouched = [f"{o['verb']} {o['kind']} {o['name']}: {o['reason']}" for o in result["operations"]]
    return [*untouched, *result["wrong"]]


if __name__ == "__main__":
    sys.exit(run_check(Check("audit", __doc__ or "", {}, judge, more, CASE_TIMEOUT)))
