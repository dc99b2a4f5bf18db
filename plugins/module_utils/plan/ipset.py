# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""(live sets, desired sets) -> operations."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from .operation import ADD, CHANGE, REMOVE, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..state.ipset import IPSet

# What ipset prints of a member that is counted down or up by the kernel; a comment is none of it.
STATISTICS = re.compile(r'("[^"]*")|\b(?:timeout|packets|bytes) \d+ ?')
UNTOLD = frozenset({"forceadd"})
# Sets of such a name stand in for another while that is replaced.
TEMPORARY_PREFIX = "kubenode-proxy-"


def temporary_name(name: str) -> str:
    """The name of the set that stands in for another: 31 characters, the most that the kernel takes."""
    return TEMPORARY_PREFIX + hashlib.sha256(name.encode()).hexdigest()[:16]


class Replacement(NamedTuple):
    """A live set and the one of another definition that is to take its place, as the payload of an operation.

    ``leftover`` tells that there is a set of the temporary name, from a run that was ended half-way.
    """

    live: IPSet
    wanted: IPSet
    leftover: bool = False

    @property
    def temporary(self) -> IPSet:
        """The wanted set under its temporary name."""
        return self.wanted._replace(name=temporary_name(self.wanted.name))

    @property
    def swappable(self) -> bool:
        """Whether the kernel exchanges the two under their names, whatever refers to them."""
        return (self.live.type, self.live.family) == (self.wanted.type, self.wanted.family)


class Leftover(NamedTuple):
    """A set that a run which was ended half-way left, as the payload of an operation.

    ``stands_for`` is the set that its rules should name again, "" where that is not there.
    """

    name: str
    stands_for: str


class Member(NamedTuple):
    """One member of a set, as the payload of an operation."""

    set_name: str
    set_type: str
    entry: str
    options: str

    def __str__(self) -> str:
        return f"{self.entry} {self.options}".rstrip()


def plan(
    actual: Mapping[str, IPSet], desired: Mapping[str, IPSet], owns: Callable[[str], bool], exact: bool = True
) -> list[Operation]:
    """Operations that turn ``actual`` into ``desired``, in an order in which they can be applied.

    ``exact`` removes members that are not desired; without it they stay. Live sets that are ours by ``owns`` and not
    desired are removed; all others are left alone.
    """
    operations: list[Operation] = []
    # A set of sets names others, so it comes after them.
    for name, wanted in sorted(desired.items(), key=lambda item: item[1].type == "list:set"):
        live = actual.get(name)
        if live is None:
            operations.append(Operation(ADD, "set", name, f"missing, with {len(wanted.members)} members", wanted))
        elif _comparable(live) != _comparable(wanted):
            payload = Replacement(live, _merged(live, wanted, exact), temporary_name(name) in actual)
            operations.append(Operation(CHANGE, "set", name, _difference(live, wanted), payload))
        else:
            operations += _plan_members(live, wanted, exact)
    stale = [name for name in actual if name not in desired and owns(name)]
    # For the same reason it goes before them.
    stale.sort(key=lambda name: (actual[name].type != "list:set", name))
    operations += [Operation(REMOVE, "set", name, "not in the desired state", actual[name]) for name in stale]
    return operations + _plan_leftovers(actual, desired)


def only_set(operations: Iterable[Operation]) -> str:
    """The name of the set whose members are all that operations change; "" where they change anything else."""
    names = {operation.payload.set_name if operation.kind == "member" else "" for operation in operations}
    return names.pop() if len(names) == 1 else ""


def expected(actual: Mapping[str, IPSet], desired: Mapping[str, IPSet], exact: bool) -> dict[str, IPSet]:
    """What the operations of `plan` lead to."""
    return {
        name: _merged(actual[name], wanted, exact) if name in actual else wanted for name, wanted in desired.items()
    }


def _plan_leftovers(actual: Mapping[str, IPSet], desired: Mapping[str, IPSet]) -> list[Operation]:
    """Removes what stands in for a set at hand, unless that is replaced now: then it makes way by itself."""
    if not any(name.startswith(TEMPORARY_PREFIX) for name in actual):
        return []
    operations = []
    for name in sorted({*actual, *desired}):
        live, wanted, temporary = actual.get(name), desired.get(name), temporary_name(name)
        replaced = live and wanted and _comparable(live) != _comparable(wanted)
        if temporary in actual and not replaced:
            reason = f"stood in for {name} in a run that was ended"
            operations.append(Operation(REMOVE, "set", temporary, reason, Leftover(temporary, name if wanted else "")))
    return operations


def _plan_members(live: IPSet, wanted: IPSet, exact: bool) -> list[Operation]:
    if live.members == wanted.members:
        return []
    # Where another entry takes the place of one, to delete that one would delete the new one as well.
    places = {_place(live, entry): entry for entry in live.members}
    operations = []
    for entry, options in wanted.members.items():
        found = places.pop(_place(wanted, entry), None)
        if found is None:
            operations.append(_member(ADD, wanted, entry, options, "missing"))
            continue
        has = live.members[found]
        if found != entry:
            operations.append(_member(CHANGE, wanted, entry, options, f"is {found}"))
        elif has != options and _identity(has) != _identity(options):
            reason = f"has {has or 'no options'!r}, not {options or 'none'!r}"
            operations.append(_member(CHANGE, wanted, entry, options, reason))
    if exact:
        extra = places.values()
        operations += [_member(REMOVE, live, entry, live.members[entry], "not in the desired state") for entry in extra]
    return operations


def _place(ip_set: IPSet, entry: str) -> str:
    """What the kernel knows a member by."""
    return entry.partition(",")[0] if ip_set.type == "bitmap:ip,mac" else entry


def _member(verb: str, ip_set: IPSet, entry: str, options: str, reason: str) -> Operation:
    return Operation(verb, "member", f"{ip_set.name} {entry}", reason, Member(ip_set.name, ip_set.type, entry, options))


def _identity(options: str) -> str:
    return STATISTICS.sub(lambda found: found.group(1) or "", options).strip()


def _comparable(ip_set: IPSet) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Type and create options, but for those of which ipset does not tell whether a set has them."""
    set_type, options = ip_set.definition
    return set_type, tuple(pair for pair in options if pair[0] not in UNTOLD)


def _difference(live: IPSet, wanted: IPSet) -> str:
    before, after = (
        f"{t} {' '.join(' '.join(pair).strip() for pair in o)}" for t, o in (_comparable(live), _comparable(wanted))
    )
    return f"is {before}, not {after}"


def _merged(live: IPSet, wanted: IPSet, exact: bool) -> IPSet:
    """What takes the place of a live set; without ``exact`` its members stay where its type does."""
    if exact or not Replacement(live, wanted).swappable:
        return wanted
    taken = {_place(wanted, entry) for entry in wanted.members}
    kept = {entry: options for entry, options in live.members.items() if _place(live, entry) not in taken}
    return wanted._replace(members={**kept, **wanted.members})
