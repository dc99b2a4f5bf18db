# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What every subsystem of a node's data plane does: read, plan, verify, apply, show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Protocol, Union

if TYPE_CHECKING:
    from ..plan.operation import Operation
    from ..state.rule_set import RuleSet

# What changes with the tables of a subsystem: the count of transactions, or a digest.
TablesState = Union[int, str]
# By what was read.
TablesStates = Dict[str, TablesState]


class LookAgainError(Exception):
    """Only a part is known, and others wrote, or all has to be read for another reason.

    ``operations`` were carried out before that showed.
    """

    def __init__(self, operations: list[Operation] | None = None) -> None:
        super().__init__("all has to be read")
        self.operations = operations or []


class Subsystem(Protocol):
    """One subsystem. ``read`` comes first; ``plan`` and ``live`` speak of what it read.

    ``atomic``: where anything is to be added or changed, all of a plan is applied with it, removals too.
    """

    atomic: bool

    def read(self, desired: RuleSet) -> None:
        """Reads what the kernel has. Raises KernelError, LookAgainError."""

    def plan(self, desired: RuleSet) -> list[Operation]:
        """Operations towards the desired state, in an order in which they can be applied."""

    def verify(self, operations: list[Operation], alone: bool) -> None:
        """Raises KernelError where the kernel would refuse an operation, LookAgainError; called before any write.

        ``alone``: nothing else is to be written. Then what changes all or nothing by itself need not be tried before.
        """

    def apply(self, operations: list[Operation]) -> None:
        """Applies operations. Raises KernelError."""

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        """``onto`` with what the kernel has of this subsystem and is ours or desired."""


class Unverified:
    """For subsystems of which nothing can be tried out before the write."""

    atomic = False

    def verify(self, operations: list[Operation], alone: bool) -> None:
        pass
