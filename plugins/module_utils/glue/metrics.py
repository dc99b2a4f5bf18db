# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What the node's program found, as metrics for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Every series is there from the first run on, with the value 0, so that queries need not think of missing ones.
STATUSES = ("clean", "drifted", "corrected", "failed")
KINDS = (
    "accounting object",
    "address",
    "chain",
    "element",
    "file",
    "flow",
    "ipvs timeouts",
    "jump",
    "kernel module",
    "link",
    "map",
    "member",
    "real server",
    "set",
    "sysctl",
    "table",
    "virtual server",
)


def render(report: Mapping[str, Any], finished: float) -> str:
    """Metrics in Prometheus' text format, version 0.0.4.

    ``report`` is that of glue/program.py; ``finished`` is in seconds since 1970.
    """
    kinds = Counter(dict.fromkeys(KINDS, 0))
    for name, number in report["counts"].items():
        kind = name.partition(" ")[2]
        kinds[kind] += number
    families = (
        (
            "drifted_objects",
            "Objects that the last run found missing, changed or unwanted, whether it corrected them or not.",
            [(f'{{kind="{kind}"}}', number) for kind, number in sorted(kinds.items())],
        ),
        (
            "last_run_status",
            "1 for the status of the last run, 0 for the others.",
            [(f'{{status="{status}"}}', int(status == report["status"])) for status in STATUSES],
        ),
        ("last_run_timestamp_seconds", "When the last run ended, in seconds since 1970.", [("", round(finished, 3))]),
        ("last_run_duration_seconds", "How long the last run took.", [("", report["seconds"])]),
    )
    return "".join(line for family in families for line in _family(*family))


def _family(name: str, description: str, samples: list[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP kubenode_proxy_{name} {description}\n# TYPE kubenode_proxy_{name} gauge\n"
    for labels, value in samples:
        yield f"kubenode_proxy_{name}{labels} {value}\n"
