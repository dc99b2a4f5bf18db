# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is planned for the chains and jumps of one table.

In the short form of a built-in chain, an upper-case letter X is our jump to KUBE-X, X' is the same with another match,
and a lower-case letter is a rule of someone else's. Ours are the targets KUBE-A to KUBE-M.
"""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables import restore_input
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.iptables import (
    ChainContent,
    applied,
    growth,
    phases,
    plan,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import REMOVE, Operation, Ownership
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain, Tables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables_rule import canonical, target
from hypothesis import given, settings
from hypothesis import strategies as st

OURS = tuple(f"KUBE-{letter}" for letter in "ABCDEFGHIJKLM")
OWNERSHIP = Ownership(
    chains=lambda table, name: name in OURS,
    jumps=lambda table, chain, to: to in OURS,
    sets=lambda name: False,
    virtual_servers=lambda key: False,
)


class RefusedError(Exception):
    """The kernel would refuse this."""


def restore(tables: Tables, text: str) -> Tables:
    """What ``iptables-restore --noflush`` makes of the tables. Raises RefusedError."""
    made = {table: {name: (c.policy, list(c.rules)) for name, c in chains.items()} for table, chains in tables.items()}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = made.setdefault(line[1:], {})
        elif line.startswith(":"):
            assert chains.get(line[1:].split()[0], (None, []))[0] is None, "a built-in chain is declared"
            chains[line[1:].split()[0]] = (None, [])
        elif line != "COMMIT":
            flag, name, *rest = line.split(" ", 2)
            _edit(chains, flag, name, rest[0] if rest else "")
    return {
        table: {name: Chain(policy, tuple(rules)) for name, (policy, rules) in found.items()}
        for table, found in made.items()
    }


def _edit(chains: dict[str, tuple[str | None, list[str]]], flag: str, name: str, rest: str) -> None:
    if flag == "-X":
        if chains[name][1] or any(target(rule) == name for _policy, rules in chains.values() for rule in rules):
            raise RefusedError(f"{name} is in use")
        del chains[name]
        return
    rules = chains.setdefault(name, ("ACCEPT", []))[1]
    if flag == "-A":
        rules.append(canonical(rest, "ipv4"))
    elif flag == "-I":
        number, rule = rest.split(" ", 1)
        if int(number) > len(rules):
            raise RefusedError(f"{name} has no rule {number}")
        rules.insert(int(number) - 1, canonical(rule, "ipv4"))
    elif flag == "-D":
        if rest not in rules:
            raise RefusedError(f"{name} has no rule {rest}")
        rules.remove(rest)


def make(actual: Tables, desired: Tables) -> Tables:
    """The tables after both phases."""
    for phase in phases(plan(actual, desired, OWNERSHIP, "ipv4")):
        expected = applied(actual, phase)
        actual = restore(actual, restore_input(phase))
        assert printed(expected) == printed(actual)
    return actual


def printed(tables: Tables) -> Tables:
    """Tables as iptables-save prints them, but for those that nobody has touched."""
    return {
        table: {
            name: Chain(found.policy, tuple(canonical(rule, "ipv4") for rule in found.rules))
            for name, found in chains.items()
        }
        for table, chains in tables.items()
        if chains
    }


def chain(short: str) -> Chain:
    """A built-in chain from its short form."""
    rules = []
    for word in short.split():
        match = "-m mark --mark 0x1 " if word.endswith("'") else ""
        rules.append(f"-s 192.0.2.{ord(word)}/32 -j ACCEPT" if word.islower() else f"{match}-j KUBE-{word[0]}")
    return Chain("ACCEPT", tuple(rules))


def user_chains(names: str) -> dict[str, Chain]:
    return {f"KUBE-{name}": Chain(None, ("-j RETURN",)) for name in names}


def brief(operations: list[Operation]) -> str:
    """Operations as ``verb X``."""
    return ", ".join(f"{operation.verb} {operation.name.rsplit('-', 1)[1]}" for operation in operations)


@pytest.mark.parametrize(
    ("actual", "desired", "result", "operations"),
    [
        ("", "A B", "A B", "add A, add B"),
        ("f g", "A B", "A B f g", "add A, add B"),
        ("A B", "A B", "A B", ""),
        ("f A g B h", "A B", "f A g B h", ""),
        ("f A B g C", "A B C", "f A B g C", ""),
        # a missing jump goes next to its neighbour
        ("f B g", "A B", "f A B g", "add A"),
        ("f A g", "A B", "f A B g", "add B"),
        ("f A g C h", "A B C", "f A g B C h", "add B"),
        ("f A g", "A B C", "f A B C g", "add B, add C"),
        ("f C g", "A B C", "f A B C g", "add A, add B"),
        ("f B g", "A B C", "f A B C g", "add A, add C"),
        # out of order: the fewest move
        ("f B g A h", "A B", "f g A B h", "change B"),
        ("B C D A", "A B C D", "A B C D", "change A"),
        ("f D g A h B i C", "A B C D", "f g A h B i C D", "change D"),
        # edited: corrected where it stands
        ("f A' g", "A", "f A g", "change A"),
        ("f A g", "A'", "f A' g", "change A"),
        ("f A' g B h", "A B", "f A g B h", "change A"),
        ("f B g A' h", "A B", "f A B g h", "change A"),
        ("A f B'", "A B", "A f B", "change B"),
        ("A' f A'", "A", "A f", "change A, remove A"),
        # more than once
        ("A f A", "A", "f A", "remove A"),
        ("A f A g A", "A", "f g A", "remove A, remove A"),
        ("A A' f", "A", "A f", "remove A"),
        ("A f B g A", "A B", "A f B g", "change A"),
        ("f A g", "A A", "f A A g", "add A"),
        ("A A A", "A A", "A A", "remove A"),
        # no longer wanted
        ("f A g B", "B", "f g B", "remove A"),
        ("A f", "", "f", "remove A"),
        ("A f B", "C", "C f", "add C, remove A, remove B"),
        ("A f B g", "C B", "f C B g", "add C, remove A"),
        # of someone else's
        ("X f", "", "X f", ""),
        ("X", "A", "A X", "add A"),
    ],
)
def test_jumps(actual: str, desired: str, result: str, operations: str) -> None:
    chains = user_chains("ABCDX")
    have: Tables = {"filter": {"INPUT": chain(actual), **chains}}
    want: Tables = {"filter": {"INPUT": chain(desired), **{name: chains[name] for name in chains if name in OURS}}}
    planned = plan(have, want, OWNERSHIP, "ipv4")
    assert brief(planned) == operations
    assert applied(have, planned)["filter"]["INPUT"] == make(have, want)["filter"]["INPUT"] == chain(result)
    assert plan(make(have, want), want, OWNERSHIP, "ipv4") == []


@pytest.mark.parametrize(
    ("actual", "desired", "reasons"),
    [
        ("A", "A B", ["is missing"]),
        ("B A", "A B", ["stands out of order"]),
        ("A'", "A", ["is: -m mark --mark 0x1 -j KUBE-A"]),
        ("A A", "A", ["is there more than once"]),
        ("A", "", ["is no longer wanted"]),
    ],
)
def test_reasons_of_jumps(actual: str, desired: str, reasons: list[str]) -> None:
    have: Tables = {"filter": {"INPUT": chain(actual), **user_chains("AB")}}
    want: Tables = {"filter": {"INPUT": chain(desired), **user_chains("AB")}}
    assert [operation.reason for operation in plan(have, want, OWNERSHIP, "ipv4")] == reasons


def test_equal_state_needs_nothing() -> None:
    tables: Tables = {"nat": {"OUTPUT": chain("f A g"), **user_chains("A")}}
    desired: Tables = {"nat": {"OUTPUT": chain("A"), **user_chains("A")}}
    assert plan(tables, desired, OWNERSHIP, "ipv4") == []


def test_a_built_in_chain_that_is_not_desired_loses_our_jumps_only() -> None:
    have: Tables = {"nat": {"OUTPUT": chain("f A X"), **user_chains("AX")}}
    made = make(have, {})
    assert made == {"nat": {"OUTPUT": chain("f X"), **user_chains("X")}}


def test_tables_that_the_kernel_does_not_have_yet_are_filled() -> None:
    desired: Tables = {
        "nat": {"OUTPUT": chain("A"), **user_chains("A")},
        "filter": {"INPUT": chain("B"), **user_chains("B")},
    }
    assert make({}, desired) == desired


def test_policies_are_not_touched() -> None:
    have: Tables = {"filter": {"INPUT": chain("f")._replace(policy="DROP")}}
    assert make(have, {"filter": {"INPUT": chain("A"), **user_chains("A")}})["filter"]["INPUT"].policy == "DROP"


def test_rules_that_differ_in_spelling_only_are_equal() -> None:
    written = Chain(None, ("-p tcp -d 10.0.0.1 --dport 80 -j MARK --or-mark 0x4000",))
    saved = Chain(None, ("-d 10.0.0.1/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x4000/0x4000",))
    jump, saved_jump = (
        "-m comment --comment a_b -s 10.0.0.0/8 -j KUBE-A",
        "-s 10.0.0.0/8 -m comment --comment a_b -j KUBE-A",
    )
    have: Tables = {"nat": {"OUTPUT": Chain("ACCEPT", (saved_jump,)), "KUBE-A": saved}}
    want: Tables = {"nat": {"OUTPUT": Chain("ACCEPT", (jump,)), "KUBE-A": written}}
    assert plan(have, want, OWNERSHIP, "ipv4") == plan(want, have, OWNERSHIP, "ipv4") == []


@pytest.mark.parametrize(
    ("have", "want", "reason"),
    [
        (("-j A", "-j B"), ("-j A", "-j C"), "rule 2 of 2 is: -j B"),
        (("-j A",), ("-j A", "-j C"), "has 1 rules, not 2"),
        (("-j A", "-j B"), (), "has 2 rules, not 0"),
        (("-j B", "-j A"), ("-j A", "-j B"), "rule 1 of 2 is: -j B"),
        (("[unsupported revision]",), ("-j A",), "rule 1 of 1 is: [unsupported revision]"),
    ],
)
def test_a_chain_that_differs_is_rewritten_whole(have: tuple[str, ...], want: tuple[str, ...], reason: str) -> None:
    found = plan({"nat": {"KUBE-A": Chain(None, have)}}, {"nat": {"KUBE-A": Chain(None, want)}}, OWNERSHIP, "ipv6")
    assert found == [Operation("change", "chain", "ipv6 nat KUBE-A", reason, ChainContent("nat", "KUBE-A", want))]


def test_stale_chains_that_refer_to_each_other_go_together() -> None:
    have: Tables = {"nat": {"OUTPUT": chain("f A"), "KUBE-A": chain("B")._replace(policy=None), **user_chains("B")}}
    found = plan(have, {}, OWNERSHIP, "ipv4")
    assert brief(found) == "remove A, remove A, remove B"
    assert make(have, {}) == {"nat": {"OUTPUT": chain("f")}}


def test_a_stale_chain_that_a_foreign_chain_jumps_to_is_emptied_and_then_left_alone() -> None:
    foreign = Chain(None, ("-j KUBE-A",))
    have: Tables = {"nat": {"OUTPUT": chain("f"), "FOREIGN": foreign, **user_chains("A")}}
    (operation,) = plan(have, {}, OWNERSHIP, "ipv4")
    assert (operation.verb, operation.payload) == (REMOVE, ChainContent("nat", "KUBE-A", ()))
    assert "a foreign rule in FOREIGN jumps to it" in operation.reason
    made = make(have, {})
    assert made["nat"] == {"OUTPUT": chain("f"), "FOREIGN": foreign, "KUBE-A": Chain(None, ())}
    assert plan(made, {}, OWNERSHIP, "ipv4") == []


def test_a_stale_chain_that_a_foreign_rule_of_a_built_in_chain_jumps_to_is_emptied() -> None:
    nobody_s_jumps = OWNERSHIP._replace(jumps=lambda table, chain, to: False)
    have: Tables = {"nat": {"OUTPUT": chain("A"), **user_chains("A")}}
    (operation,) = plan(have, {}, nobody_s_jumps, "ipv4")
    assert "a foreign rule in OUTPUT jumps to it" in operation.reason


def test_additions_and_changes_come_before_removals_over_all_tables() -> None:
    have: Tables = {
        "filter": {"INPUT": chain("A"), **user_chains("A")},
        "nat": {"OUTPUT": chain("B'"), **user_chains("B")},
    }
    want: Tables = {"nat": {"OUTPUT": chain("B"), **user_chains("BC")}}
    found = plan(have, want, OWNERSHIP, "ipv4")
    assert [operation.verb for operation in found] == ["add", "change", "remove", "remove"]
    assert phases(found) == (found[:2], found[2:])


def test_a_large_table_is_planned_fast_and_exactly() -> None:
    """12,000 chains and 200,000 rules: only what differs costs."""
    chains = {
        f"KUBE-SEP-{i}": Chain(None, tuple(f"-s 10.0.0.{j}/32 -j RETURN" for j in range(17))) for i in range(12000)
    }
    other = {**chains, "KUBE-SEP-7": Chain(None, ("-j RETURN",))}
    found = plan({"nat": chains}, {"nat": other}, OWNERSHIP, "ipv4")
    assert [operation.name for operation in found] == ["ipv4 nat KUBE-SEP-7"]


# The property. KUBE-N and KUBE-O are user-defined chains of someone else's.
CHAINS = ("KUBE-A", "KUBE-B", "KUBE-C", "KUBE-D")
FOREIGN = ("KUBE-N", "KUBE-O")
MATCHES = ("", "-m mark --mark 0x1 ", "-p tcp -m tcp --dport 80 ")
SPELLINGS = {"-p tcp -m tcp --dport 80 ": "-m tcp -p tcp --dport 0x50 ", "-m mark --mark 0x1 ": "-m mark --mark 1 "}


def rules_to(targets: tuple[str, ...], spelt: bool) -> st.SearchStrategy[str]:
    matches = st.sampled_from(MATCHES + (tuple(SPELLINGS.values()) if spelt else ()))
    return st.builds(lambda match, to: f"{match}-j {to}", matches, st.sampled_from(targets))


@st.composite
def actual_tables(draw: st.DrawFn) -> Tables:
    """Live tables, in which every jump has its chain."""
    foreign_targets = ("ACCEPT", *FOREIGN, *CHAINS)
    own = draw(st.sets(st.sampled_from(CHAINS)))
    present = (*sorted(own), *FOREIGN)
    reachable = tuple(to for to in foreign_targets if to in present or to == "ACCEPT")
    any_rules = st.lists(rules_to(reachable, spelt=False), max_size=6).map(tuple)
    chains = {
        name: Chain("DROP", draw(any_rules)) for name in draw(st.sampled_from([(), ("INPUT",), ("INPUT", "OUTPUT")]))
    }
    chains.update({name: Chain(None, draw(any_rules)) for name in present})
    return {"filter": chains}


@st.composite
def desired_tables(draw: st.DrawFn) -> Tables:
    """A rule set, whose chains refer to each other only."""
    own = tuple(sorted(draw(st.sets(st.sampled_from(CHAINS), min_size=1))))
    content = st.lists(rules_to((*own, "RETURN"), spelt=True), max_size=3).map(tuple)
    jumps = st.lists(rules_to(own, spelt=True), max_size=5).map(tuple)
    chains = {name: Chain("ACCEPT", draw(jumps)) for name in draw(st.sets(st.sampled_from(["INPUT", "OUTPUT"])))}
    chains.update({name: Chain(None, draw(content)) for name in own})
    return {"filter": chains}


def canonically(rules: tuple[str, ...]) -> list[str]:
    return [canonical(rule, "ipv4") for rule in rules]


def own_jumps(found: Chain) -> list[str]:
    return [rule for rule in found.rules if target(rule) in OURS]


def foreign_rules(found: Chain) -> list[str]:
    return [rule for rule in found.rules if target(rule) not in OURS]


@settings(max_examples=400, deadline=None)
@given(actual_tables(), desired_tables())
def test_applied_plans_give_the_desired_state_and_leave_the_rest_alone(actual: Tables, desired: Tables) -> None:
    found = plan(actual, desired, OWNERSHIP, "ipv4")
    made = make(actual, desired)
    assert plan(made, desired, OWNERSHIP, "ipv4") == []
    assert restore(actual, restore_input(found)) == made, "in one restore as in two"
    assert printed(applied(actual, found)) == printed(made)
    have, want, result = actual["filter"], desired["filter"], made.get("filter", {})
    for name in ("INPUT", "OUTPUT"):
        before, after = have.get(name, Chain("ACCEPT", ())), result.get(name, Chain("ACCEPT", ()))
        assert own_jumps(after) == canonically(want[name].rules if name in want else ())
        assert foreign_rules(after) == foreign_rules(before)
        assert after.policy == before.policy
    for name in FOREIGN:
        assert result[name] == have[name]
    for name in CHAINS:
        if name in want:
            assert canonically(result[name].rules) == canonically(want[name].rules)
        elif name in result:
            assert result[name] == Chain(None, ())
            assert any(target(rule) == name for other in FOREIGN for rule in have[other].rules)


def entries(tables: Tables) -> int:
    """How many there are of rules, and of the beginnings and ends of user-defined chains."""
    return sum(len(c.rules) + (0 if c.policy else 2) for chains in tables.values() for c in chains.values())


@settings(max_examples=200, deadline=None)
@given(actual_tables(), desired_tables())
def test_tables_grow_by_their_entries(actual: Tables, desired: Tables) -> None:
    after = applied(actual, plan(actual, desired, OWNERSHIP, "ipv4"))
    assert growth(actual, after, ["filter"]) == {"filter": entries(after) - entries(actual)}
    assert growth({}, after, ["filter"]) == {"filter": entries(after)}


@settings(max_examples=200, deadline=None)
@given(actual_tables(), desired_tables())
def test_the_first_phase_alone_makes_all_that_is_desired_reachable(actual: Tables, desired: Tables) -> None:
    first, _second = phases(plan(actual, desired, OWNERSHIP, "ipv4"))
    made = restore(actual, restore_input(first)).get("filter", {})
    for name, chain_ in desired["filter"].items():
        rules = iter(canonically(made[name].rules if name in made else ()))
        assert all(rule in rules for rule in canonically(chain_.rules)), "a subsequence"


@settings(max_examples=200, deadline=None)
@given(actual_tables(), desired_tables())
def test_operations_name_nothing_foreign(actual: Tables, desired: Tables) -> None:
    for operation in plan(actual, desired, OWNERSHIP, "ipv4"):
        if operation.kind == "chain":
            assert operation.payload.name in OURS
        else:
            assert all(target(rule) in OURS for rule in (*operation.payload.delete, operation.payload.insert) if rule)


def test_the_last_chains_are_declared_first() -> None:
    """The lists of the tools find their places at once then: a large restore takes half the time."""
    desired = {"filter": {name: Chain(None, ("-j RETURN",)) for name in ("KUBE-B", "KUBE-A", "KUBE-AB", "KUBE-C")}}
    lines = restore_input(plan({}, desired, OWNERSHIP, "ipv4")).split("\n")
    declared = [line.split()[0] for line in lines if line.startswith(":")]
    assert declared == [":KUBE-C", ":KUBE-B", ":KUBE-AB", ":KUBE-A"]
