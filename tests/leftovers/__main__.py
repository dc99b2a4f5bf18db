# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes nodes on which the real kube-proxy has been, as recorded, to other modes and to none: nothing may be left.

usage: python -m tests.leftovers CASES MODE [--version VERSION] [--backend BACKEND]

MODE is the one that kube-proxy ran in. A node that it never was on, with the same foreign objects, is taken to the same
mode: both have to hold the same in the end. The environment variable SAMPLE says that only every n-th case is tried.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tests.conformance.jobs import Case, Check, run_check

SAMPLE = int(os.environ.get("SAMPLE") or "1")
# Seconds for one case: six nodes, on a machine that is busy with other things.
CASE_TIMEOUT = 300
# Mode that kube-proxy ran in -> moves that its kernel can make, as (mode of the recording, mode to go to or none).
MOVES = {
    "ipvs": [("ipvs", ""), ("ipvs", "iptables"), ("iptables", "ipvs")],
    "iptables": [("iptables", ""), ("iptables", "nftables")],
    "nftables": [("nftables", ""), ("nftables", "iptables")],
}


def moves(case: Case) -> list[dict[str, Any]]:
    """What was recorded, and where to go from there."""
    mode = case.recorded.name
    found = []
    for left, to in MOVES[mode]:
        folder = case.recorded.with_name(left)
        if folder.exists():
            found.append({"files": _files(folder), "left": left, "to": to})
    return found


def more(cases: list[Case]) -> dict[str, dict[str, Any]]:
    """The moves of every case that is tried."""
    return {case.name: {"moves": moves(case)} for case in cases}


def judge(_case: Case, result: dict[str, Any]) -> list[str]:
    """What is left, or gone."""
    return list(result["wrong"])


def _files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


if __name__ == "__main__":
    sys.exit(run_check(Check("leftovers", __doc__ or "", {}, judge, more, CASE_TIMEOUT, SAMPLE)))
