# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Brings a node's data plane to a rule set: read, plan, stop there in check mode, apply, look at what was written."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ..kernel.command import KernelError, UnchangedError
from ..plan.operation import ADD, REMOVE, Operation
from ..rules.names import SERVICE_CHAIN_PREFIXES as SERVICE_CHAINS
from ..state.rule_set import RuleSet
from .subsystem import LookAgainError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ..state.iptables import Tables
    from .subsystem import Subsystem, TablesState

# What is added has to be there before what leads to it, and what leads to something has to go before it: rules name
# sets, an address without its virtual server would refuse connections.
ORDER = (
    "kernel modules",
    "sysctls",
    "ipvs timeouts",
    "accounting objects",
    "sets",
    "chains ipv4",
    "chains ipv6",
    "nftables",
    "virtual servers",
    "link",
    "flows",
)
# Seconds between the new rules and the end of IPVS, in which connections that were just being made get through.
GRACE = 1.0


class Outcome(NamedTuple):
    """What a run did, or in check mode would do.

    ``before`` and ``after`` hold what is ours of the subsystems at hand. ``phases`` are seconds by phase.
    ``states`` and ``rest`` are for :class:`.known.Left`.
    """

    operations: list[Operation]
    before: RuleSet
    after: RuleSet
    phases: dict[str, float]
    states: Mapping[str, TablesState] = MappingProxyType({})
    rest: Mapping[str, Tables] = MappingProxyType({})

    @property
    def changed(self) -> bool:
        """Whether anything had to change."""
        return bool(self.operations)


class _Clock:
    """Adds up seconds by phase."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}

    def __call__(self, phase: str, start: float) -> None:
        self.phases[phase] = round(self.phases.get(phase, 0.0) + time.monotonic() - start, 4)


def converge(
    subsystems: Mapping[str, Subsystem],
    desired: RuleSet,
    check: bool,
    before_write: Callable[[RuleSet], None] = lambda before: None,
) -> Outcome:
    """Converges the subsystems, keyed by the names in ORDER, to ``desired``.

    ``before_write`` is called with what is there once all is planned, if anything is to change and not in check mode.
    Raises KernelError; what had been applied by then stays, and the next run goes on from there. Of these, an
    UnchangedError where nothing had been.
    """
    clock = _Clock()
    plans = _read_and_plan(subsystems, desired, clock)
    operations = [operation for plan in plans.values() for operation in plan]
    before = _live(subsystems, desired)
    if not operations or check:
        return Outcome(operations, before, _expected(before, desired, operations) if check else before, clock.phases)
    start = time.monotonic()
    written = {name: subsystems[name] for name, plan in plans.items() if plan}
    for name, subsystem in written.items():
        subsystem.verify(plans[name], alone=len(written) == 1)
    clock("verify", start)
    before_write(before)
    start = time.monotonic()
    _apply(subsystems, plans)
    clock("apply", start)
    try:
        left = [operation for plan in _read_and_plan(written, desired, clock).values() for operation in plan]
    except LookAgainError as error:
        raise LookAgainError(operations) from error
    if left:
        raise KernelError(
            f"{len(left)} of {len(operations)} changes did not last; is another program at work on them? First: "
            f"{left[0].verb} {left[0].kind} {left[0].name}: {left[0].reason}"
        )
    return Outcome(operations, before, _live(subsystems, desired), clock.phases)


def _read_and_plan(subsystems: Mapping[str, Subsystem], desired: RuleSet, clock: _Clock) -> dict[str, list[Operation]]:
    """Plans by subsystem, in ORDER. All subsystems are read and planned before anything is written."""
    plans = {}
    for name in ORDER:
        if name in subsystems:
            start = time.monotonic()
            subsystems[name].read(desired)
            clock("read", start)
            start = time.monotonic()
            plans[name] = subsystems[name].plan(desired)
            clock("plan", start)
    return plans


def _apply(subsystems: Mapping[str, Subsystem], plans: dict[str, list[Operation]]) -> None:
    """Raises KernelError; an UnchangedError only where nothing was applied."""
    atomic = {name for name, subsystem in subsystems.items() if subsystem.atomic} | _removed_at_once(plans)
    grace = GRACE if _leaves_ipvs(plans) else 0.0
    for number, (name, phase) in enumerate(_phases(_in_write_order(plans), atomic)):
        if grace and phase[0].verb == REMOVE:
            time.sleep(grace)
            grace = 0.0
        try:
            subsystems[name].apply(phase)
        except UnchangedError as error:
            if number:
                raise KernelError(str(error)) from error
            raise


def _removed_at_once(plans: Mapping[str, list[Operation]]) -> set[str]:
    """Chains, where nothing else is removed that their rules may lead to: one restore then does for both phases."""
    removing = {name for name, plan in plans.items() if any(operation.verb == REMOVE for operation in plan)}
    return removing if all(name.startswith("chains ") for name in removing) else set()


def _leaves_ipvs(plans: Mapping[str, list[Operation]]) -> bool:
    """Whether chains or tables of another mode come, and the link goes that holds the addresses of IPVS."""
    added = (name for name, plan in plans.items() if any(operation.verb == ADD for operation in plan))
    gone = any((operation.verb, operation.kind) == (REMOVE, "link") for operation in plans.get("link", ()))
    return gone and any(name.startswith(("chains ", "nftables")) for name in added)


def _in_write_order(plans: dict[str, list[Operation]]) -> dict[str, list[Operation]]:
    """ORDER, but chains last where iptables mode is left for IPVS: they serve traffic until virtual servers do."""
    chains = {name: plan for name, plan in plans.items() if name.startswith("chains ")}
    leaves = any(
        operation.verb == REMOVE and operation.kind == "chain" and operation.payload.name.startswith(SERVICE_CHAINS)
        for plan in chains.values()
        for operation in plan
    )
    if leaves and any(operation.verb == ADD for operation in plans.get("virtual servers", ())):
        return {**{name: plan for name, plan in plans.items() if name not in chains}, **chains}
    return plans


def _phases(plans: Mapping[str, list[Operation]], atomic: Collection[str]) -> Iterator[tuple[str, list[Operation]]]:
    """What is added and changed, in ORDER; then what is removed, the other way round."""
    first = {name: [operation for operation in plan if operation.verb != REMOVE] for name, plan in plans.items()}
    first.update({name: plans[name] for name in atomic if first.get(name)})
    for name, operations in first.items():
        yield from _chosen(name, operations)
    for name, operations in reversed(list(plans.items())):
        if len(operations) > len(first[name]):
            yield from _chosen(name, [operation for operation in operations if operation.verb == REMOVE])


def _chosen(name: str, operations: list[Operation]) -> Iterator[tuple[str, list[Operation]]]:
    if operations:
        yield name, operations


def _expected(before: RuleSet, desired: RuleSet, operations: list[Operation]) -> RuleSet:
    """What a run would lead to. Sysctls do not go away, and the settings of a rule set are not in the kernel."""
    written = dict(operation.payload for operation in operations if operation.kind == "sysctl")
    return desired._replace(settings=before.settings, sysctls={**before.sysctls, **written})


def _live(subsystems: Mapping[str, Subsystem], desired: RuleSet) -> RuleSet:
    found = RuleSet.empty()
    for subsystem in subsystems.values():
        found = subsystem.live(found, desired)
    return found
