# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What to change in the tables of one address family.

User-defined chains of ours are rewritten whole where they differ. In a built-in chain only our jumps are touched: as in
kube-proxy, a jump that is there is right wherever it stands among foreign rules, and the first goes to the head. What
kube-proxy does not do: keep our jumps in their order, and take away surplus ones. A jump to a chain that others share
is theirs as well, so it is never moved.

In dispatch chains rules that exclude each other may stand in any order, as kube-proxy's is random there.

Rules are deleted by their text, never by number: a number may be another program's rule by the time it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..state.iptables import Chain, Tables
from ..state.iptables_rule import canonical, target
from .operation import ADD, CHANGE, REMOVE, Operation, Ownership
from .rule_order import in_normal_order

NO_CHAIN = Chain(None, ())
# A table that nobody has used yet has its built-in chains all the same.
BUILT_IN = Chain("ACCEPT", ())


class ChainContent(NamedTuple):
    """Payload of a ``chain`` operation: all rules that the chain will hold; None deletes the chain."""

    table: str
    name: str
    rules: tuple[str, ...] | None


class JumpChange(NamedTuple):
    """Payload of a ``jump`` operation: rules to delete, one entry for each copy, and the rule to insert, "" for none.

    ``position`` counts from 1, in the chain as it is after all deletions and the preceding insertions of the same
    phase; 0 is the end of the chain.
    """

    table: str
    chain: str
    delete: tuple[str, ...]
    insert: str = ""
    position: int = 0


def plan(actual: Tables, desired: Tables, ownership: Ownership, family: str) -> list[Operation]:
    """Operations that turn ``actual`` into ``desired``, in order; ``family`` is ``ipv4`` or ``ipv6``.

    ``desired`` holds whole user-defined chains, which refer to each other only, and our jumps in the built-in chains.
    All that adds or changes comes before all that removes: :func:`phases` cuts there.
    """
    operations: list[Operation] = []
    for table in sorted({*actual, *desired}):
        operations += _plan_table(_Table(table, family, actual.get(table, {}), desired.get(table, {}), ownership))
    first, second = phases(operations)
    return first + second


def phases(operations: Iterable[Operation]) -> tuple[list[Operation], list[Operation]]:
    """Operations -> those that add or change, those that remove. Each part can be applied alone, in this order."""
    found = list(operations)
    return [op for op in found if op.verb != REMOVE], [op for op in found if op.verb == REMOVE]


def applied(actual: Tables, operations: list[Operation]) -> Tables:
    """The tables after operations of one phase, or of all, as one restore for each table carries them out."""
    tables = {name: dict(chains) for name, chains in actual.items()}
    for operation in operations:
        change = operation.payload
        chains = tables.setdefault(change.table, {})
        if isinstance(change, ChainContent) and change.rules is not None:
            chains[change.name] = Chain(None, change.rules)
    for removes in (False, True):
        _apply_jumps(tables, [op for op in operations if (op.verb == REMOVE) == removes])
    for operation in operations:
        change = operation.payload
        if isinstance(change, ChainContent) and change.rules is None:
            del tables[change.table][change.name]
    return tables


def growth(before: Tables, after: Tables, tables: Iterable[str]) -> dict[str, int]:
    """How many entries more the legacy back end holds of each of the tables."""
    return {table: _entries(after[table]) - _entries(before.get(table, {})) for table in tables}


def _entries(chains: Mapping[str, Chain]) -> int:
    """How many entries chains are to the legacy back end: a user-defined one has two more than rules, name and end."""
    return sum(len(chain.rules) + (2 if chain.policy is None else 0) for chain in chains.values())


def _apply_jumps(tables: Tables, operations: list[Operation]) -> None:
    changes = [operation.payload for operation in operations if isinstance(operation.payload, JumpChange)]
    rules: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        found = tables[change.table].get(change.chain, NO_CHAIN).rules
        rules.setdefault((change.table, change.chain), list(found))
        for rule in change.delete:
            rules[change.table, change.chain].remove(rule)
    for change in changes:
        if change.insert:
            into = rules[change.table, change.chain]
            into.insert(change.position - 1 if change.position else len(into), change.insert)
    for (table, chain), left in rules.items():
        tables[table][chain] = tables[table].get(chain, BUILT_IN)._replace(rules=tuple(left))


class _Table(NamedTuple):
    """One table, as it is and as it should be."""

    name: str
    family: str
    actual: dict[str, Chain]
    desired: dict[str, Chain]
    ownership: Ownership

    def object(self, chain: str) -> str:
        """How an operation names a chain."""
        return f"{self.family} {self.name} {chain}"

    def shared(self) -> list[str]:
        """Chains into which others write too: the built-in ones of either side, and shared ones that are there."""
        sides = (self.actual, self.desired)
        built_in = {name for side in sides for name, chain in side.items() if chain.policy is not None}
        shared = {
            name for name in self.actual if name in self.desired and self.ownership.shared_chains(self.name, name)
        }
        return sorted(built_in | shared)


def _plan_table(table: _Table) -> list[Operation]:
    shared = table.shared()
    operations: list[Operation] = []
    for name, chain in table.desired.items():
        if name not in shared and table.actual.get(name) != chain:
            operations += _chain(table, name, chain.rules)
    foreign: dict[str, str] = {}
    for name in shared:
        jumps = _Jumps(table, name)
        operations += jumps.operations()
        foreign.update((target(rule), name) for rule in jumps.foreign())
    return operations + _stale_chains(table, foreign)


def _chain(table: _Table, name: str, rules: tuple[str, ...]) -> list[Operation]:
    """A user-defined chain: add it, rewrite it, or nothing."""
    if name not in table.actual:
        verb, reason = ADD, "is missing"
    else:
        any_order = table.ownership.dispatch_chains(table.name, name)
        difference = chain_difference(table.actual[name].rules, rules, table.family, any_order)
        if difference is None:
            return []
        verb, reason = CHANGE, difference
    return [Operation(verb, "chain", table.object(name), reason, ChainContent(table.name, name, rules))]


def chain_difference(have: tuple[str, ...], want: tuple[str, ...], family: str, any_order: bool) -> str | None:
    """How the rules of a chain differ, None if they do not.

    With ``any_order`` rules that exclude each other may have changed places; ``want`` is then in the form of
    ``iptables-save``.
    """
    if have == want:
        return None
    if any_order:
        return _difference_in_any_order(have, want, family)
    for number, (is_, should) in enumerate(zip(have, want), 1):
        if is_ != should and _canonical(is_, family) != _canonical(should, family):
            return f"rule {number} of {len(want)} is: {is_}"
    if len(have) == len(want):
        return None
    return f"has {len(have)} rules, not {len(want)}"


def _difference_in_any_order(have: tuple[str, ...], want: tuple[str, ...], family: str) -> str | None:
    known = frozenset(want)
    live: list[str] = []
    for number, rule in enumerate(have, 1):
        live.append(rule if rule in known else _canonical(rule, family))
        if live[-1] not in known:
            return f"rule {number} of {len(want)} is: {rule}"
    if in_normal_order(live) == in_normal_order(want):
        return None
    surplus, missing = Counter(live) - Counter(want), Counter(want) - Counter(live)
    if surplus:
        return f"has a rule more than once: {next(iter(surplus))}"
    if missing:
        return f"has {len(have)} rules, not {len(want)}; the first that is missing: {next(iter(missing))}"
    return "has rules of one destination out of order"


def _canonical(rule: str, family: str) -> str:
    try:
        return canonical(rule, family)
    except ValueError:
        return rule


def _stale_chains(table: _Table, foreign: dict[str, str]) -> list[Operation]:
    """Chains of ours that are no longer desired.

    ``foreign`` maps what foreign rules in built-in chains jump to, to the name of that built-in chain.
    The kernel does not delete a chain that a rule jumps to: one that a foreign rule names is emptied, and stays.
    """
    stale = {
        name
        for name, chain in table.actual.items()
        if chain.policy is None and name not in table.desired and table.ownership.chains(table.name, name)
    }
    if not stale:
        return []
    referrers = dict(foreign)
    for name, chain in table.actual.items():
        if chain.policy is None and name not in stale and name not in table.desired:
            referrers.update((target(rule), name) for rule in chain.rules)
    operations = []
    for name in sorted(stale):
        reason, rules = "is no longer wanted", None
        if name in referrers:
            if not table.actual[name].rules:
                continue
            reason, rules = f"is no longer wanted; emptied only, as a foreign rule in {referrers[name]} jumps to it", ()
        operations.append(Operation(REMOVE, "chain", table.object(name), reason, ChainContent(table.name, name, rules)))
    return operations


class _Jumps:
    """Our jumps in one built-in chain.

    Wanted are the desired rules in their relative order. A rule of ours that a longest common subsequence leaves out is
    surplus: it has moved, was edited, or is stale.
    """

    def __init__(self, table: _Table, chain: str) -> None:
        self.table = table
        self.chain = chain
        self.have = table.actual.get(chain, NO_CHAIN).rules
        self.want = tuple(_canonical(rule, table.family) for rule in table.desired.get(chain, NO_CHAIN).rules)
        # index in self.have -> the rule, canonical where it may equal a desired one
        self.own = self._find_own()
        self._leave_misplaced()
        # index in self.want -> index in self.have
        self.kept = self._keep()

    def foreign(self) -> list[str]:
        """The rules that are not ours."""
        return [rule for index, rule in enumerate(self.have) if index not in self.own]

    def operations(self) -> list[Operation]:
        """Changes of the chain, in the order in which the insertions count their positions."""
        if tuple(self.own.values()) == self.want:
            return []
        surplus = [index for index in self.own if index not in self.kept.values()]
        # index in self.want -> indexes in self.have
        replaced: dict[int, list[int]] = {}
        for wanted in range(len(self.want)):
            if wanted not in self.kept:
                replaced[wanted] = self._replaced(wanted, surplus)
                surplus = [index for index in surplus if index not in replaced[wanted]]
        return self._insertions(replaced) + [self._removal(index) for index in surplus]

    def _find_own(self) -> dict[int, str]:
        targets = {target(rule) for rule in self.want}
        own = {}
        for index, rule in enumerate(self.have):
            to = target(rule)
            spelt = rule if rule in self.want or to not in targets else _canonical(rule, self.table.family)
            if spelt in self.want or self.table.ownership.jumps(self.table.name, self.chain, to):
                own[index] = spelt
        return own

    def _leave_misplaced(self) -> None:
        """Where our jumps are out of order, those that are others' as well count as foreign, and stay."""
        rules = list(self.own.values())
        if len(_common(rules, self.want)) < sum(rule in rules for rule in self.want):
            shared = {rule for rule in self.want if self.table.ownership.shared_chains(self.table.name, target(rule))}
            shared.intersection_update(rules)
            self.want = tuple(rule for rule in self.want if rule not in shared)
            self.own = {index: rule for index, rule in self.own.items() if rule not in shared}

    def _keep(self) -> dict[int, int]:
        places = list(self.own)
        rules = list(self.own.values())
        kept = {j: places[i] for i, j in _common(rules, self.want)}
        # Deletion by text takes the first copy: a rule can only stay where its surplus copies precede it.
        for rule, copies in Counter(rules).items():
            all_places = [place for place in places if self.own[place] == rule]
            mine = [kept[j] for j in kept if self.want[j] == rule]
            if len(mine) < copies and (mine != all_places[-len(mine) :] or self.want.count(rule) > len(mine)):
                kept = {j: place for j, place in kept.items() if self.want[j] != rule}
        return kept

    def _replaced(self, wanted: int, surplus: list[int]) -> list[int]:
        """Surplus rules whose place a missing one takes: all copies of it, else one that jumps to the same chain."""
        rule = self.want[wanted]
        copies = [index for index in surplus if self.own[index] == rule]
        edited = [i for i in surplus if self.own[i] not in self.want and target(self.own[i]) == target(rule)]
        return copies or edited[:1]

    def _insertions(self, replaced: dict[int, list[int]]) -> list[Operation]:
        layout = self._layout(replaced)
        last_present = max((at for at, (present, _index) in enumerate(layout) if present), default=-1)
        operations = []
        for at, (present, index) in enumerate(layout):
            if present:
                continue
            gone = replaced[index]
            verb, reason = ADD, "is missing"
            if gone:
                moved = self.own[gone[0]] == self.want[index]
                verb, reason = CHANGE, "stands out of order" if moved else f"is: {self.have[gone[0]]}"
            # Positions ascend: each is that of a rule which the kernel holds already, not of one from the same input.
            position = at + 1 if at < last_present else 0
            operations.append(self._operation(verb, reason, gone, self.want[index], position))
        return operations

    def _layout(self, replaced: dict[int, list[int]]) -> list[tuple[bool, int]]:
        """The chain after the first phase: (True, index in self.have) or (False, index in self.want)."""
        deleted = {index for indexes in replaced.values() for index in indexes}
        layout = [(True, index) for index in range(len(self.have)) if index not in deleted]
        for wanted in sorted(replaced, reverse=True):
            before = [self.kept[other] for other in self.kept if other < wanted]
            low = layout.index((True, max(before))) + 1 if before else 0
            high, place = len(layout), low
            if wanted + 1 < len(self.want):
                follower = wanted + 1
                high = place = layout.index((True, self.kept[follower]) if follower in self.kept else (False, follower))
            for gone in replaced[wanted][:1]:
                old = next((at for at, (present, i) in enumerate(layout) if present and i > gone), len(layout))
                place = old if low <= old <= high else place
            layout.insert(place, (False, wanted))
        return layout

    def _removal(self, index: int) -> Operation:
        reason = "is there more than once" if self.own[index] in self.want else "is no longer wanted"
        return self._operation(REMOVE, reason, [index])

    def _operation(self, verb: str, reason: str, gone: list[int], insert: str = "", position: int = 0) -> Operation:
        delete = tuple(self.have[index] for index in gone)
        name = f"{self.table.object(self.chain)} -> {target(insert or delete[0])}"
        return Operation(verb, "jump", name, reason, JumpChange(self.table.name, self.chain, delete, insert, position))


def _common(have: Sequence[str], want: Sequence[str]) -> list[tuple[int, int]]:
    """Index pairs of a longest common subsequence, of the last copies where there are several."""
    lengths = [[0] * (len(want) + 1) for _row in range(len(have) + 1)]
    for i, is_ in enumerate(have):
        for j, should in enumerate(want):
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if is_ == should else max(lengths[i][j + 1], lengths[i + 1][j])
    pairs = []
    i, j = len(have), len(want)
    while i and j:
        if have[i - 1] == want[j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif lengths[i][j - 1] == lengths[i][j]:
            j -= 1
        else:
            i -= 1
    return pairs[::-1]
