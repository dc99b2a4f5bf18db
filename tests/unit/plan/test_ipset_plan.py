# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changes between live and desired sets, and in which order.

members  10.9.0.0/24
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.ipset import (
    Leftover,
    Replacement,
    expected,
    only_set,
    plan,
    temporary_name,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset import IPSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation

INET = (("family", "inet"), ("hashsize", "1024"), ("maxelem", "65536"))
INET6 = (("family", "inet6"), *INET[1:])
RANGE = (("range", "10.9.0.0-10.9.0.255"),)


def ip_set(name: str, *members: str, set_type: str = "hash:ip", options: tuple[tuple[str, str], ...] = INET) -> IPSet:
    """A set; a member may have options after a blank."""
    return IPSet(name, set_type, options, {m.partition(" ")[0]: m.partition(" ")[2] for m in members})


def sets(*found: IPSet) -> dict[str, IPSet]:
    return {one.name: one for one in found}


def lines(operations: Iterable[Operation]) -> list[str]:
    return [f"{o.verb} {o.kind} {o.name}: {o.reason}" for o in operations]


def owns_k(name: str) -> bool:
    return name.startswith("K-")


@pytest.mark.parametrize(
    ("live", "wanted", "expected_name"),
    [
        (ip_set("A", "10.9.0.1", "10.9.0.2"), ip_set("A", "10.9.0.2", "10.9.0.3"), "A"),
        (ip_set("A"), ip_set("A", set_type="hash:net"), ""),
        (ip_set("A"), ip_set("A"), ""),
        (ip_set("K-1"), ip_set("A"), ""),
    ],
    ids=["members", "set", "nothing", "sets"],
)
def test_one_set_is_all_that_changes_only_by_its_members(live: IPSet, wanted: IPSet, expected_name: str) -> None:
    assert only_set(plan(sets(live), sets(wanted), owns_k)) == expected_name


def test_members_of_two_sets_are_not_of_one() -> None:
    live, wanted = (sets(*(ip_set(name, *members) for name in "AB")) for members in ((), ("10.9.0.1",)))
    assert only_set(plan(live, wanted, owns_k)) == ""


def test_nothing_to_do() -> None:
    state = sets(ip_set("A", "10.9.0.1"))
    assert plan(state, state, owns_k) == []


def test_a_new_set_comes_with_its_members() -> None:
    wanted = ip_set("A", "10.9.0.1", "10.9.0.2")
    operations = plan({}, sets(wanted), owns_k)
    assert lines(operations) == ["add set A: missing, with 2 members"]
    assert operations[0].payload == wanted


def test_members_are_added_and_removed_one_by_one() -> None:
    operations = plan(sets(ip_set("A", "10.9.0.1", "10.9.0.2")), sets(ip_set("A", "10.9.0.3", "10.9.0.2")), owns_k)
    assert lines(operations) == [
        "add member A 10.9.0.3: missing",
        "remove member A 10.9.0.1: not in the desired state",
    ]


def test_merging_leaves_members_that_are_not_desired() -> None:
    live, wanted = sets(ip_set("A", "10.9.0.1")), sets(ip_set("A", "10.9.0.2"))
    assert lines(plan(live, wanted, owns_k, exact=False)) == ["add member A 10.9.0.2: missing"]


def test_what_is_expected_of_a_run_keeps_members_where_they_stay() -> None:
    live, wanted = sets(ip_set("A", "10.9.0.1")), sets(ip_set("A", "10.9.0.2"), ip_set("B", "10.9.0.3"))
    assert expected(live, wanted, exact=True) == wanted
    assert expected(live, wanted, exact=False) == sets(ip_set("A", "10.9.0.1", "10.9.0.2"), ip_set("B", "10.9.0.3"))


def test_what_is_expected_of_a_run_has_one_mac_address_an_address() -> None:
    old, new, other = "10.9.0.1,02:00:00:00:00:01", "10.9.0.1,02:00:00:00:00:02", "10.9.0.2,02:00:00:00:00:01"
    live = sets(ip_set("A", old, other, set_type="bitmap:ip,mac", options=RANGE))
    wanted = sets(ip_set("A", new, set_type="bitmap:ip,mac", options=RANGE))
    assert set(expected(live, wanted, exact=False)["A"].members) == {new, other}


@pytest.mark.parametrize(
    ("live", "wanted", "reason"),
    [
        ("10.9.0.1", "10.9.0.1 nomatch", "has 'no options', not 'nomatch'"),
        ("10.9.0.1 nomatch", "10.9.0.1", "has 'nomatch', not 'none'"),
        ('10.9.0.1 comment "a"', '10.9.0.1 comment "b"', """has 'comment "a"', not 'comment "b"'"""),
        (
            '10.9.0.1 comment "timeout 1 s"',
            '10.9.0.1 comment "timeout 2 s"',
            """has 'comment "timeout 1 s"', not 'comment "timeout 2 s"'""",
        ),
    ],
)
def test_a_member_takes_over_other_options(live: str, wanted: str, reason: str) -> None:
    operations = plan(sets(ip_set("A", live)), sets(ip_set("A", wanted)), owns_k)
    assert lines(operations) == [f"change member A 10.9.0.1: {reason}"]
    assert str(operations[0].payload) == wanted


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ("10.9.0.1 timeout 12", "10.9.0.1"),
        ("10.9.0.1 timeout 299", "10.9.0.1 timeout 300"),
        ("10.9.0.1 packets 7 bytes 70", "10.9.0.1"),
        ('10.9.0.1 timeout 3 packets 7 bytes 70 comment "x"', '10.9.0.1 comment "x"'),
    ],
)
def test_what_the_kernel_counts_makes_no_difference(live: str, wanted: str) -> None:
    assert plan(sets(ip_set("A", live)), sets(ip_set("A", wanted)), owns_k) == []


def test_an_address_with_a_mac_address_is_one_member() -> None:
    """To delete the old entry would delete the new one: the kernel looks at the address only."""
    live = ip_set("A", "10.9.0.1,00:00:00:00:00:01", "10.9.0.2,00:00:00:00:00:02", set_type="bitmap:ip,mac")
    wanted = ip_set("A", "10.9.0.1,00:00:00:00:00:11", set_type="bitmap:ip,mac")
    assert lines(plan(sets(live), sets(wanted), owns_k)) == [
        "change member A 10.9.0.1,00:00:00:00:00:11: is 10.9.0.1,00:00:00:00:00:01",
        "remove member A 10.9.0.2,00:00:00:00:00:02: not in the desired state",
    ]


def test_own_sets_that_are_not_desired_go_and_foreign_ones_stay() -> None:
    live = sets(ip_set("K-B"), ip_set("K-A"), ip_set("other"))
    assert lines(plan(live, {}, owns_k)) == [
        "remove set K-A: not in the desired state",
        "remove set K-B: not in the desired state",
    ]


def test_a_set_of_sets_comes_last_and_goes_first() -> None:
    listing = ip_set("K-1", "K-0", "K-2", set_type="list:set", options=(("size", "8"),))
    found = sets(listing, ip_set("K-2"), ip_set("K-0"))
    assert [o.name for o in plan({}, found, owns_k)] == ["K-2", "K-0", "K-1"]
    assert [o.name for o in plan(found, {}, owns_k)] == ["K-1", "K-0", "K-2"]


# ---------------------------------------------------------------------------------------------- replacement


@pytest.mark.parametrize(
    ("live", "wanted", "reason", "swappable"),
    [
        (
            ip_set("A"),
            ip_set("A", options=(*INET[:2], ("maxelem", "9"))),
            "is hash:ip family inet maxelem 65536, not hash:ip family inet maxelem 9",
            True,
        ),
        (
            ip_set("A"),
            ip_set("A", options=(*INET, ("counters", ""))),
            "is hash:ip family inet maxelem 65536, not hash:ip counters family inet maxelem 65536",
            True,
        ),
        (
            ip_set("A"),
            ip_set("A", options=INET6),
            "is hash:ip family inet maxelem 65536, not hash:ip family inet6 maxelem 65536",
            False,
        ),
        (
            ip_set("A", set_type="bitmap:ip", options=RANGE),
            ip_set("A"),
            "is bitmap:ip range 10.9.0.0-10.9.0.255, not hash:ip family inet maxelem 65536",
            False,
        ),
    ],
)
def test_another_definition_takes_a_new_set(live: IPSet, wanted: IPSet, reason: str, swappable: bool) -> None:
    operations = plan(sets(live), sets(wanted), owns_k)
    assert lines(operations) == [f"change set A: {reason}"]
    assert operations[0].payload == Replacement(live, wanted)
    assert operations[0].payload.swappable == swappable


def test_what_the_kernel_grows_or_draws_makes_no_difference() -> None:
    grown = (("family", "inet"), ("hashsize", "4096"), ("maxelem", "65536"), ("bucketsize", "12"), ("initval", "0x1"))
    assert plan(sets(ip_set("A", options=grown)), sets(ip_set("A")), owns_k) == []


def test_an_option_that_ipset_does_not_tell_makes_no_difference() -> None:
    assert plan(sets(ip_set("A")), sets(ip_set("A", options=(*INET, ("forceadd", "")))), owns_k) == []


def test_merging_keeps_members_in_a_new_set_of_the_same_type_only() -> None:
    live = ip_set("A", "10.9.0.1")
    for wanted, kept in (
        (ip_set("A", "10.9.0.2", options=(*INET[:2], ("maxelem", "9"))), True),
        (ip_set("A", "fd00:9::1", options=INET6), False),
        (ip_set("A", "10.9.0.0/24", set_type="hash:net"), False),
    ):
        payload = plan(sets(live), sets(wanted), owns_k, exact=False)[0].payload
        assert payload.wanted.members == {**(live.members if kept else {}), **wanted.members}


def test_the_kernel_takes_temporary_names() -> None:
    names = {temporary_name(name) for name in ("A", "B", "K" * 31)}
    assert len(names) == 3
    assert {len(name) for name in names} == {31}


def test_a_replacement_knows_of_the_leftover_that_is_in_its_way() -> None:
    live = sets(ip_set("A"), ip_set(temporary_name("A"), set_type="hash:net"))
    operations = plan(live, sets(ip_set("A", set_type="hash:net")), owns_k)
    assert [o.payload.leftover for o in operations] == [True]


@pytest.mark.parametrize(
    ("live", "desired", "stands_for"),
    [
        # its set is there again, is missing, or is not wanted
        ((ip_set("A"), ip_set(temporary_name("A"))), (ip_set("A"),), "A"),
        ((ip_set(temporary_name("A")),), (ip_set("A"),), "A"),
        ((ip_set("K-A"), ip_set(temporary_name("K-A"))), (), ""),
    ],
)
def test_a_leftover_goes_last(live: tuple[IPSet, ...], desired: tuple[IPSet, ...], stands_for: str) -> None:
    last = plan(sets(*live), sets(*desired), owns_k)[-1]
    name = (stands_for or "K-A", temporary_name(stands_for or "K-A"))
    assert lines([last]) == [f"remove set {name[1]}: stood in for {name[0]} in a run that was ended"]
    assert last.payload == Leftover(name[1], stands_for)


def test_a_leftover_of_a_set_that_is_not_at_hand_stays() -> None:
    assert plan(sets(ip_set(temporary_name("other"))), sets(ip_set("A")), owns_k)[1:] == []
