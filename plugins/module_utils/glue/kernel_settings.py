# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Kernel settings as a subsystem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kernel import sysctl as kernel_sysctl
from ..plan import node as plan_node
from .subsystem import Unverified

if TYPE_CHECKING:
    from ..plan.operation import Operation
    from ..state.rule_set import RuleSet
    from .sysctl_originals import SysctlOriginals


class Sysctls(Unverified):
    """Kernel settings, and the values that those get back which are no longer wanted."""

    def __init__(self, originals: SysctlOriginals | None) -> None:
        self._originals = originals
        self._live: dict[str, str] = {}

    def read(self, desired: RuleSet) -> None:
        self._live = kernel_sysctl.read({*desired.sysctls, *self._to_restore(desired)})

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_node.plan_sysctls(self._live, desired.sysctls, self._to_restore(desired))

    def apply(self, operations: list[Operation]) -> None:
        kernel_sysctl.apply(operations)

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto._replace(sysctls=self._live)

    def _to_restore(self, desired: RuleSet) -> dict[str, str]:
        return self._originals.to_restore(desired.sysctls) if self._originals else {}
