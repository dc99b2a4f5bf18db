# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The form of the result of a module that changes something."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..state import rule_set

if TYPE_CHECKING:
    from .converge import Outcome
    from .module import Call
    from .place import Place

# A result lists at most so many operations; its counts are always exact.
SHOWN_OPERATIONS = 1000


def result_of(module: Call, outcome: Outcome, node: Place) -> dict[str, Any]:
    """A result: what changed and why, counts, figures; texts before and after in diff mode."""
    for warning in node.warnings:
        module.warn(warning)
    counts = Counter(f"{operation.verb} {operation.kind}" for operation in outcome.operations)
    result: dict[str, Any] = {
        "changed": outcome.changed,
        "operations": [operation.report() for operation in outcome.operations[:SHOWN_OPERATIONS]],
        "counts": dict(sorted(counts.items())),
        "figures": {
            "processes": node.runner.processes,
            "messages": node.messages,
            "seconds": outcome.phases,
        },
    }
    if module.diff:
        result["diff"] = {"before": rule_set.render(outcome.before), "after": rule_set.render(outcome.after)}
    return result
