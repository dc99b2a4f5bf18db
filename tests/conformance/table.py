# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of docs/guides/compatibility.md, from the results of the comparisons.

usage: python -m tests.conformance.table write|check

Each comparison leaves its results as a file. "write" puts the table of all of them into the guide. "check" fails where
the guide says something else of these cases; where the recordings are others by now, or kernel and tools are those of
another machine, it only says so.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tests.conformance.jobs import ROOT

if TYPE_CHECKING:
    from tests.conformance.jobs import Outcome

RESULTS = ROOT / ".cache" / "conformance"
GUIDE = ROOT / "docs" / "guides" / "compatibility.md"
BEGIN, END = '<!-- from "make compatibility" -->\n', "<!-- end -->\n"
HEAD = ("Mode", "kube-proxy", "iptables", "Cases equal", "Kernel", "Tools")
# Before this one, they say what is compared; after it, with which kernel and tools.
CASES = HEAD.index("Cases equal")
TOOLS = {"ipvs": ("ipvs", "ipset", "iptables"), "iptables": ("iptables",), "nftables": ("nft",)}
NAMES = {"ipvs": "IPVS"}


def record(mode: str, backend: str, outcomes: list[Outcome]) -> None:
    """Keeps the results of a comparison: a file for each version of kube-proxy."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for version in {outcome.case.version for outcome in outcomes}:
        of_version = [outcome for outcome in outcomes if outcome.case.version == version]
        result = {
            "mode": mode,
            "version": version,
            "backend": backend,
            "node": next((outcome.result["versions"] for outcome in of_version if "versions" in outcome.result), {}),
            "cases": {outcome.case.name: outcome.passed for outcome in of_version},
        }
        (RESULTS / f"{mode}-{version}-{backend}.json").write_text(json.dumps(result, indent=1, sort_keys=True))


def row(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The line of a comparison."""
    mode, node, passed = result["mode"], result["node"], Counter(result["cases"].values())
    backend = result["backend"] if result["backend"] != "auto" else node.get("iptables_backend", "")
    tools = ", ".join(f"{NAMES.get(name, name)} {node.get(name)}" for name in TOOLS[mode])
    kernel = ".".join(str(node.get("kernel")).split(".")[:2])
    cases = f"{passed[True]} of {passed.total()}"
    return (mode, result["version"], "" if mode == "nftables" else backend, cases, f"Linux {kernel}", tools)


def render(rows: Iterable[tuple[str, ...]]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows_of(text: str) -> list[tuple[str, ...]]:
    """The lines of the table in the guide."""
    lines = text.partition(BEGIN)[2].partition(END)[0].splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def contradicts(committed: list[tuple[str, ...]], found: list[tuple[str, ...]]) -> bool:
    """Whether other things were compared, or as many cases with another result."""
    if [line[:CASES] for line in committed] != [line[:CASES] for line in found]:
        return True
    results = [
        (one[CASES].split(" of "), other[CASES].split(" of ")) for one, other in zip(committed, found, strict=True)
    ]
    return any(one != other and one[1] == other[1] for one, other in results)


def main() -> int:
    """Writes or checks."""
    found = sorted(row(json.loads(path.read_text())) for path in RESULTS.glob("*.json"))
    if not found:
        print("compatibility: there are no results")
        return 1
    text = GUIDE.read_text()
    if sys.argv[1:] == ["write"]:
        GUIDE.write_text(text.partition(BEGIN)[0] + BEGIN + render(found) + END + text.partition(END)[2])
        return 0
    committed = rows_of(text)
    if contradicts(committed, found):
        print(f"{GUIDE.relative_to(ROOT)} is not what the comparisons say: make compatibility\n{render(found)}", end="")
        return 1
    if committed != found:
        print(f"{GUIDE.relative_to(ROOT)} names other recordings, or another kernel or other tools: make compatibility")
    return 0


if __name__ == "__main__":
    sys.exit(main())
