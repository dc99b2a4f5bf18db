# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What refers to IP sets: the kernel counts references, rules of iptables and sets of sets account for most."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from ..plan import set_references as plan
from ..state import ipset as state
from .command import KernelError, Runner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

PROGRAMS = ("iptables", "ip6tables")
LOCK_SECONDS = 30
HEADER = re.compile(r"^Name: (.+)$|^References: (\d+)$", re.MULTILINE)
# So many referrers an error names.
SHOWN = 5


def used_by_rules(runner: Runner, names: Collection[str]) -> frozenset[str]:
    """Those of the sets that rules of iptables name. Raises KernelError where anything else refers to one of them."""
    counts = _counts(runner)
    if not any(counts.get(name) for name in names):
        return frozenset()
    by_rules = Counter(name for _program, saved in _saved(runner) for rule in plan.rules(saved) for name in rule.sets)
    for name in sorted(names):
        if counts.get(name, 0) > by_rules[name]:
            raise KernelError(
                f"the set {name} cannot be replaced by one of another type while it is in use by more than rules of "
                f"iptables: the kernel counts {counts[name]} references, and {by_rules[name]} are rules; "
                f"{_others(runner, name)}. Nothing was changed"
            )
    return frozenset(name for name in names if by_rules[name])


def switch(runner: Runner, names: Mapping[str, str]) -> None:
    """Has every rule that names one of the sets name another: in its place, with its counters, one restore a program.

    Raises KernelError; a table is either switched as a whole or as it was.
    """
    for program, saved in list(_saved(runner)):
        text = plan.switch_input(saved, names)
        if text:
            runner.run([f"{program}-restore", "-w", str(LOCK_SECONDS), "--noflush"], stdin=text)


def referrers(runner: Runner, name: str) -> str:
    """What refers to a set, in words, as far as it can be told."""
    found = [
        f"{program} {rule}" for program, saved in _saved(runner) for rule in plan.rules(saved) if name in rule.sets
    ]
    found += _sets_of_sets(runner, name)
    if not found:
        return "no rule of iptables and no set names it: maybe a tc filter does, or a rule that iptables cannot show"
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"in use by {', '.join(found[:SHOWN])}{more}"


def _others(runner: Runner, name: str) -> str:
    sets = _sets_of_sets(runner, name)
    return f"it is a member of {', '.join(sets)}" if sets else "maybe a tc filter, or a rule that iptables cannot show"


def _sets_of_sets(runner: Runner, name: str) -> list[str]:
    sets = state.parse(runner.run(["ipset", "save"]).stdout)
    return [f"the set {other.name}" for other in sets.values() if other.type == "list:set" and name in other.members]


def _counts(runner: Runner) -> dict[str, int]:
    counts, name = {}, ""
    for found in HEADER.finditer(runner.run(["ipset", "list", "-terse"]).stdout):
        if found.group(1):
            name = found.group(1)
        else:
            counts[name] = int(found.group(2))
    return counts


def _saved(runner: Runner) -> Iterator[tuple[str, str]]:
    """Program and text of its ``iptables-save -c``, for every back end of every family that the node has.

    A back end that cannot be read counts as one without rules: what it holds shows as references without a rule.
    """
    for family in PROGRAMS:
        variants = [f"{family}-{kind}" for kind in ("nft", "legacy") if runner.find(f"{family}-{kind}-save")]
        for program in variants or [family]:
            if runner.find(f"{program}-save"):
                yield program, runner.run([f"{program}-save", "-c"], check=False).stdout
