# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Large changes of the nft back end, in stages that are each a restore of their own.

``iptables-nft-restore --noflush`` takes time with the square of the chains that one input names, and the kernel walks
all chains of a table after each input: stages of some hundred chains are the fastest for 1,000 services and for 10,000.
They are safe for traffic: a chain is written after those that it jumps to, so what is not complete is not reached
yet, and each stage is atomic. What is to go is emptied before it is deleted, as the kernel keeps a chain that a rule
jumps to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.iptables import ChainContent
from ..plan.operation import REMOVE, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Measured with 600, 900 and 1,200.
STAGE_CHAINS = 900


def is_large(operations: Iterable[Operation]) -> bool:
    """Whether operations are more than one stage's worth of chains."""
    return sum(isinstance(operation.payload, ChainContent) for operation in operations) > STAGE_CHAINS


def stages(operations: list[Operation]) -> Iterator[list[Operation]]:
    """Operations -> parts to apply one after the other, each of at most STAGE_CHAINS chains of one table."""
    for table in sorted({operation.payload.table for operation in operations}):
        found = [operation for operation in operations if operation.payload.table == table]
        chains = [operation for operation in found if isinstance(operation.payload, ChainContent)]
        jumps = [operation for operation in found if not isinstance(operation.payload, ChainContent)]
        written = [operation for operation in chains if operation.verb != REMOVE]
        removed = [operation for operation in chains if operation.verb == REMOVE]
        yield from _cut(_referenced_first(written))
        if jumps:
            yield jumps
        yield from _cut([_emptied(operation) for operation in removed])
        yield from _cut([operation for operation in removed if operation.payload.rules is None])


def _cut(operations: list[Operation]) -> Iterator[list[Operation]]:
    for start in range(0, len(operations), STAGE_CHAINS):
        yield operations[start : start + STAGE_CHAINS]


def _referenced_first(operations: list[Operation]) -> list[Operation]:
    """Chains in an order in which each comes after those that it jumps to."""
    waiting = {operation.payload.name: operation for operation in operations}
    ordered: list[Operation] = []
    # From the last: rule sets have most chains behind those that jump to them.
    for operation in reversed(operations):
        # Depth first, without recursion: (operation, whether its targets are done)
        stack = [(operation, False)]
        while stack:
            current, done = stack.pop()
            if done:
                ordered.append(current)
            elif waiting.pop(current.payload.name, None):
                stack.append((current, True))
                stack += [(waiting[to], False) for to in sorted(_targets(current, waiting))]
    return ordered


def _targets(operation: Operation, chains: Mapping[str, object]) -> set[str]:
    """Which of these chains the rules of a chain jump to.

    A jump is the end of its rule; another word there that is a chain's name only orders more.
    """
    return {to for rule in operation.payload.rules if (to := rule.rpartition(" ")[2]) in chains}


def _emptied(operation: Operation) -> Operation:
    return operation._replace(payload=operation.payload._replace(rules=()))
