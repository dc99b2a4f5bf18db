# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What to change in tables of nftables. A table is ours as a whole, or not at all.

Chains are rewritten whole where they differ, sets and maps get and lose elements. What the kernel does not change in a
set or a base chain - type, flags, timeout, priority - takes a new one in its place; the rules that name the set are
then written again. What only a new table can have differently, such as the comment of a chain, replaces the table.

All operations of a plan belong into one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from ..state.nftables import Chain, Element, Set, Table, Tables
from .operation import ADD, CHANGE, REMOVE, Operation

MISSING = "is missing"
UNWANTED = "is no longer wanted"
_Content = TypeVar("_Content")
SET_NAMES = re.compile(r"@(\S+)")


class TableChange(NamedTuple):
    """Payload of a ``table`` operation: the table to make, None for none."""

    table: str
    content: Table | None


class SetChange(NamedTuple):
    """Payload of a ``set`` or ``map`` operation: what to make with its elements, None for none.

    ``kind`` is that of the live one, "" where there is none.
    """

    table: str
    kind: str
    name: str
    content: Set | None


class ElementChange(NamedTuple):
    """Payload of an ``element`` operation. ``content`` None removes."""

    table: str
    set_name: str
    key: str
    content: Element | None


class ChainChange(NamedTuple):
    """Payload of a ``chain`` operation: all that the chain will hold, None for none.

    ``anew``: it is deleted and made again, as its hook changes.
    """

    table: str
    name: str
    content: Chain | None
    anew: bool = False


class OtherChange(NamedTuple):
    """Payload of the removal of an object of another kind: ``what`` is kind and name."""

    table: str
    what: str


def plan(actual: Tables, desired: Tables, owns: Callable[[str], bool]) -> list[Operation]:
    """Operations that turn ``actual`` into ``desired``. Live tables that are neither desired nor ours do not take part.

    All that adds or changes comes before all that removes; within a transaction that order is possible too.
    """
    operations: list[Operation] = []
    for name, table in desired.items():
        if name not in actual:
            operations.append(Operation(ADD, "table", name, MISSING, TableChange(name, table)))
        else:
            operations += _plan_table(name, actual[name], table)
    for name in actual:
        if name not in desired and owns(name):
            operations.append(Operation(REMOVE, "table", name, UNWANTED, TableChange(name, None)))
    return [op for op in operations if op.verb != REMOVE] + [op for op in operations if op.verb == REMOVE]


def applied(actual: Tables, operations: list[Operation]) -> Tables:
    """The tables after the operations."""
    tables = {
        name: Table(
            found.options,
            {key: value._replace(elements=dict(value.elements)) for key, value in found.sets.items()},
            dict(found.chains),
            dict(found.others),
        )
        for name, found in actual.items()
    }
    for operation in operations:
        change = operation.payload
        if isinstance(change, TableChange):
            _put(tables, change.table, change.content)
        elif isinstance(change, SetChange):
            _put(tables[change.table].sets, change.name, change.content)
        elif isinstance(change, ElementChange):
            _put(tables[change.table].sets[change.set_name].elements, change.key, change.content)
        elif isinstance(change, ChainChange):
            _put(tables[change.table].chains, change.name, change.content)
        elif isinstance(change, OtherChange):
            del tables[change.table].others[change.what]
    return tables


def _put(into: dict[str, _Content], name: str, content: _Content | None) -> None:
    if content is None:
        del into[name]
    else:
        into[name] = content


def _plan_table(name: str, actual: Table, desired: Table) -> list[Operation]:
    reason = _needs_new_table(actual, desired)
    if reason:
        return [Operation(CHANGE, "table", name, reason, TableChange(name, desired))]
    replaced = {
        set_name
        for set_name, wanted in desired.sets.items()
        if set_name in actual.sets and _definition(actual.sets[set_name]) != _definition(wanted)
    }
    return [
        *_sets(name, actual, desired, replaced),
        *_chains(name, actual, desired, replaced),
        *_stale(name, actual, desired),
    ]


def _needs_new_table(actual: Table, desired: Table) -> str:
    """Why the table has to be made anew, "" if it has not."""
    if sorted(actual.options) != sorted(desired.options):
        return f"has {_text(actual.options)}, not {_text(desired.options)}"
    for name, chain in desired.chains.items():
        live = actual.chains.get(name)
        # Rules and verdict maps hold on to a regular chain; nothing leads to a base chain.
        if live and (live.comment != chain.comment or bool(live.hook) != bool(chain.hook)):
            return f"chain {name} has {_head(live)}, not {_head(chain)}"
    if actual.others != desired.others and desired.others:
        return "objects other than sets, maps and chains differ"
    return ""


def _text(options: tuple[tuple[str, str], ...]) -> str:
    return "; ".join(" ".join(option) for option in options) or "no options"


def _head(chain: Chain) -> str:
    return " ".join(filter(None, [f'comment "{chain.comment}"' if chain.comment else "", chain.hook])) or "no hook"


def _definition(found: Set) -> tuple[str, list[tuple[str, str]]]:
    return found.kind, sorted(found.options)


def _sets(table: str, actual: Table, desired: Table, replaced: set[str]) -> Iterator[Operation]:
    for name, wanted in desired.sets.items():
        live = actual.sets.get(name)
        change = SetChange(table, live.kind if live else "", name, wanted)
        if live is None:
            yield Operation(ADD, wanted.kind, f"{table} {name}", MISSING, change)
        elif name in replaced:
            reason = f"is {live.kind} with {_text(live.options)}, not {wanted.kind} with {_text(wanted.options)}"
            yield Operation(CHANGE, wanted.kind, f"{table} {name}", reason, change)
        elif not wanted.dynamic:
            yield from _elements(table, name, live.elements, wanted.elements)


def _elements(table: str, set_name: str, live: dict[str, Element], wanted: dict[str, Element]) -> Iterator[Operation]:
    if live == wanted:
        return
    for key, element in wanted.items():
        found = live.get(key)
        if found != element:
            verb, reason = (ADD, MISSING) if found is None else (CHANGE, f"is: {_element_text(found)}")
            yield Operation(
                verb, "element", f"{table} {set_name} {key}", reason, ElementChange(table, set_name, key, element)
            )
    for key in live:
        if key not in wanted:
            change = ElementChange(table, set_name, key, None)
            yield Operation(REMOVE, "element", f"{table} {set_name} {key}", UNWANTED, change)


def _element_text(element: Element) -> str:
    comment = f'comment "{element.comment}"' if element.comment else ""
    return " : ".join(filter(None, [comment, element.data])) or "without comment"


def _chains(table: str, actual: Table, desired: Table, replaced: set[str]) -> Iterator[Operation]:
    for name, chain in desired.chains.items():
        live = actual.chains.get(name)
        if live is None:
            yield Operation(ADD, "chain", f"{table} {name}", MISSING, ChainChange(table, name, chain))
            continue
        reason, anew = "", live.hook != chain.hook
        if anew:
            reason = f"has {live.hook}, not {chain.hook}"
        elif live.rules != chain.rules:
            reason = _difference(live.rules, chain.rules)
        elif replaced:
            named = sorted(replaced.intersection(SET_NAMES.findall(" ".join(chain.rules))))
            reason = f"names {', '.join(named)}, which is made anew" if named else ""
        if reason:
            yield Operation(CHANGE, "chain", f"{table} {name}", reason, ChainChange(table, name, chain, anew))


def _difference(have: tuple[str, ...], want: tuple[str, ...]) -> str:
    for number, (is_, should) in enumerate(zip(have, want), 1):
        if is_ != should:
            return f"rule {number} of {len(want)} is: {is_}"
    return f"has {len(have)} rules, not {len(want)}"


def _stale(table: str, actual: Table, desired: Table) -> Iterator[Operation]:
    for name in actual.chains:
        if name not in desired.chains:
            yield Operation(REMOVE, "chain", f"{table} {name}", UNWANTED, ChainChange(table, name, None))
    for name, found in actual.sets.items():
        if name not in desired.sets:
            change = SetChange(table, found.kind, name, None)
            yield Operation(REMOVE, found.kind, f"{table} {name}", UNWANTED, change)
    for what in actual.others:
        if what not in desired.others:
            kind, _space, name = what.partition(" ")
            yield Operation(REMOVE, kind, f"{table} {name}", UNWANTED, OtherChange(table, what))
