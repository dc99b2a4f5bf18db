# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converges every recorded case on a real kernel, and compares the node with what the real kube-proxy programmed.

usage: python -m tests.conformance CASES MODE [--version VERSION] [--backend BACKEND]

The results are kept for the table of compatibility, see table.py.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conformance import table
from tests.conformance.jobs import ROOT, Case, Check, run_check

if TYPE_CHECKING:
    from types import ModuleType


def compare_tool() -> ModuleType:
    """The project's judge of what counts as equal."""
    for folder in (ROOT.parent / "shared", Path(os.environ.get("SHARED", "/nonexistent"))):
        path = folder / "tools" / "compare_dumps.py"
        if path.exists():
            spec = importlib.util.spec_from_file_location("compare_dumps", path)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise SystemExit(f"conformance: {ROOT.parent}/shared/tools/compare_dumps.py is not there; set SHARED to its folder")


def judge(case: Case, result: dict[str, Any], judge_tool: ModuleType) -> list[str]:
    """What is wrong with a case; nothing where it passes."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in result["files"].items():
            (Path(folder) / name).write_text(text)
        differences = list(judge_tool.compare(str(case.recorded), folder))
    again = [f"second converge: {o['verb']} {o['kind']} {o['name']}: {o['reason']}" for o in result["second"]]
    return differences + again


def main() -> int:
    """Prints a line a case, and last ``N passed, N failed``."""
    tool = compare_tool()
    return run_check(
        Check(
            "conformance",
            __doc__ or "",
            {"canary_chains": True},
            lambda case, result: judge(case, result, tool),
            record=table.record,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
