# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is planned for tables of nftables."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.nftables import applied, plan
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import ADD, CHANGE, REMOVE, Operation
from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import Chain, Element, Set, Table, Tables
from hypothesis import given
from hypothesis import strategies as st

OURS = ("ip kube-proxy", "ip6 kube-proxy")
TYPE = ("type", "ipv4_addr")
DYNAMIC = (TYPE, ("flags", "dynamic,timeout"))
HOOK = "type nat hook output priority -100; policy accept;"
BASE = Table(
    (("flags", "owner"), ("comment", '"x"')),
    {
        "ips": Set("map", (TYPE,), {"10.0.0.1": Element("goto web"), "10.0.0.2": Element("drop", "x")}),
        "seen": Set("set", DYNAMIC, {}),
    },
    {"output": Chain(HOOK, "", ("ip daddr vmap @ips",)), "web": Chain("", "", ("ip saddr @seen accept", "drop"))},
    {},
)

keys = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
elements = st.dictionaries(keys, st.builds(Element, st.sampled_from(["drop", "goto a"]), st.sampled_from(["", "c"])))
sets = st.builds(Set, st.sampled_from(["set", "map"]), st.sampled_from([(TYPE,), (TYPE, ("size", "9"))]), elements)
chains = st.builds(
    Chain,
    st.sampled_from(["", HOOK, HOOK.replace("100", "50")]),
    st.sampled_from(["", "c"]),
    st.lists(st.sampled_from(["drop", "ip saddr @a accept", "jump b"]), max_size=2).map(tuple),
)
others = st.dictionaries(st.sampled_from(["counter c", "quota q"]), st.just(("x",)))
names = st.sampled_from(["a", "b", "c"])
tables = st.builds(
    Table,
    st.sampled_from([(), (("flags", "dormant"),)]),
    st.dictionaries(names, sets, max_size=3),
    st.dictionaries(names, chains, max_size=3),
    others,
)
live = st.dictionaries(st.sampled_from([*OURS, "inet filter"]), tables, max_size=3)
wanted = st.dictionaries(st.sampled_from(OURS), tables.map(lambda t: t._replace(others={})), max_size=2)


def planned(actual: Tables, desired: Tables) -> list[Operation]:
    return plan(actual, desired, OURS.__contains__)


def brief(actual: Table, desired: Table) -> list[str]:
    """Operations on one table of ours as ``verb kind name``."""
    found = planned({OURS[0]: actual}, {OURS[0]: desired})
    return [f"{o.verb} {o.kind} {o.name.replace(OURS[0], '').strip()}".strip() for o in found]


def with_set(name: str, changed: Set | None) -> Table:
    rest = {key: value for key, value in BASE.sets.items() if key != name}
    return BASE._replace(sets={**rest, **({name: changed} if changed else {})})


def with_chain(name: str, changed: Chain | None) -> Table:
    rest = {key: value for key, value in BASE.chains.items() if key != name}
    return BASE._replace(chains={**rest, **({name: changed} if changed else {})})


@given(live, wanted)
def test_operations_lead_to_what_is_desired_and_spare_what_is_foreign(actual: Tables, desired: Tables) -> None:
    operations = planned(actual, desired)
    foreign = {name: table for name, table in actual.items() if name not in OURS}
    assert applied(actual, operations) == {**foreign, **desired}
    assert planned({**foreign, **desired}, desired) == []
    verbs = [operation.verb for operation in operations]
    assert verbs == sorted(verbs, key=lambda verb: verb == REMOVE)


@given(live, wanted)
def test_a_plan_does_not_change_what_it_was_made_from(actual: Tables, desired: Tables) -> None:
    before = repr((actual, desired))
    applied(actual, planned(actual, desired))
    assert repr((actual, desired)) == before


IPS, SEEN = BASE.sets["ips"], BASE.sets["seen"]
WEB, OUTPUT = BASE.chains["web"], BASE.chains["output"]


@pytest.mark.parametrize(
    ("actual", "operations"),
    [
        (BASE, []),
        (with_set("ips", IPS._replace(elements={"10.0.0.2": Element("drop", "x")})), ["add element ips 10.0.0.1"]),
        (
            with_set("ips", IPS._replace(elements={**IPS.elements, "10.0.0.2": Element("drop", "y")})),
            ["change element ips 10.0.0.2"],
        ),
        (
            with_set("ips", IPS._replace(elements={**IPS.elements, "10.0.0.9": Element("drop")})),
            ["remove element ips 10.0.0.9"],
        ),
        # what packets add is no difference
        (with_set("seen", SEEN._replace(elements={"192.0.2.1": Element()})), []),
        # options have no order
        (BASE._replace(options=BASE.options[::-1]), []),
        (with_set("seen", SEEN._replace(options=DYNAMIC[::-1])), []),
        # a set that is made anew takes the rules that name it along
        (
            with_set("seen", SEEN._replace(options=(*DYNAMIC, ("timeout", "1m")))),
            ["change set seen", "change chain web"],
        ),
        (with_set("seen", None), ["add set seen"]),
        (with_set("more", SEEN), ["remove set more"]),
        (with_chain("web", Chain("", "", ("drop",))), ["change chain web"]),
        (with_chain("web", None), ["add chain web"]),
        (with_chain("more", WEB), ["remove chain more"]),
        (with_chain("output", OUTPUT._replace(hook=HOOK.replace("100", "50"))), ["change chain output"]),
        # only a new table can have these differently
        (with_chain("output", Chain("", "", ())), ["change table"]),
        (with_chain("web", WEB._replace(comment="c")), ["change table"]),
        (BASE._replace(options=(("flags", "dormant"),)), ["change table"]),
        (BASE._replace(others={"counter hits": ("packets 1",)}), ["remove counter hits"]),
    ],
)
def test_what_differs_is_what_changes(actual: Table, operations: list[str]) -> None:
    assert brief(actual, BASE) == operations


def test_a_missing_table_is_added_whole_and_one_of_another_mode_removed() -> None:
    (added,) = planned({"inet filter": BASE}, {OURS[0]: BASE})
    assert (added.verb, added.kind, added.name) == (ADD, "table", OURS[0])
    (removed,) = planned({"inet filter": BASE, OURS[1]: BASE}, {})
    assert (removed.verb, removed.kind, removed.name) == (REMOVE, "table", OURS[1])


def test_reasons_say_what_is_there_instead() -> None:
    (operation,) = planned({OURS[0]: with_chain("web", Chain("", "", ("accept", "drop")))}, {OURS[0]: BASE})
    assert (operation.verb, operation.reason) == (CHANGE, "rule 1 of 2 is: accept")

    (operation,) = planned({OURS[0]: BASE._replace(options=())}, {OURS[0]: BASE})
    assert (operation.verb, operation.reason) == (CHANGE, 'has no options, not flags owner; comment "x"')


def test_reasons_name_only_what_a_chain_has() -> None:
    (operation,) = planned({OURS[0]: with_chain("web", WEB._replace(comment="c"))}, {OURS[0]: BASE})
    assert operation.reason == 'chain web has comment "c", not no hook'


def test_a_set_that_becomes_a_map_goes_as_the_set_that_it_is() -> None:
    operation, _names_it = planned({OURS[0]: with_set("ips", IPS._replace(kind="set"))}, {OURS[0]: BASE})
    assert (operation.kind, operation.payload.kind) == ("map", "set")


def test_wanted_objects_of_other_kinds_take_a_new_table_only_where_they_differ() -> None:
    counted = BASE._replace(others={"counter hits": ("packets 1",)})
    assert brief(counted, counted) == []
    assert brief(BASE, counted) == ["change table"]
