# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""(live sets, desired sets) -> operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .operation import ADD, CHANGE, REMOVE, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..state.ipset import IPSet

# What ipset prints of a member that is counted down or up by the kernel.
STATISTICS = re.compile(r"\b(timeout|packets|bytes) \d+ ?")


class Member(NamedTuple):
    """One member of a set, as the payload of an operation."""

    set_name: str
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
    for name, wanted in desired.items():
        live = actual.get(name)
        if live is None:
            operations.append(Operation(ADD, "set", name, f"missing, with {len(wanted.members)} members", wanted))
        elif live.definition != wanted.definition:
            operations.append(Operation(CHANGE, "set", name, _difference(live, wanted), _merged(live, wanted, exact)))
        else:
            operations += _plan_members(live, wanted, exact)
    stale = [name for name in actual if name not in desired and owns(name)]
    # A set of sets holds references to others, so it goes first.
    stale.sort(key=lambda name: (actual[name].type != "list:set", name))
    operations += [Operation(REMOVE, "set", name, "not in the desired state", actual[name]) for name in stale]
    return operations


def _plan_members(live: IPSet, wanted: IPSet, exact: bool) -> list[Operation]:
    if live.members == wanted.members:
        return []
    operations = []
    for entry, options in wanted.members.items():
        found = live.members.get(entry)
        if found is None:
            operations.append(_member(ADD, wanted, entry, options, "missing"))
        elif found != options and _identity(found) != _identity(options):
            reason = f"has {found or 'no options'!r}, not {options or 'none'!r}"
            operations.append(_member(CHANGE, wanted, entry, options, reason))
    if exact:
        extra = [entry for entry in live.members if entry not in wanted.members]
        operations += [_member(REMOVE, live, entry, live.members[entry], "not in the desired state") for entry in extra]
    return operations


def _member(verb: str, ip_set: IPSet, entry: str, options: str, reason: str) -> Operation:
    return Operation(verb, "member", f"{ip_set.name} {entry}", reason, Member(ip_set.name, entry, options))


def _identity(options: str) -> str:
    return STATISTICS.sub("", options).strip()


def _difference(live: IPSet, wanted: IPSet) -> str:
    before, after = (
        f"{t} {' '.join(' '.join(pair).strip() for pair in o)}" for t, o in (live.definition, wanted.definition)
    )
    return f"is {before}, not {after}"


def _merged(live: IPSet, wanted: IPSet, exact: bool) -> IPSet:
    """What takes the place of a set of another definition; members of the old one stay only if its type is the same."""
    if exact or live.type != wanted.type:
        return wanted
    return wanted._replace(members={**live.members, **wanted.members})
