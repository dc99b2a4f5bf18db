# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stages of a large change: each can be applied on its own, and traffic reaches only what is complete."""

from __future__ import annotations

import random

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables_stages import (
    STAGE_CHAINS,
    is_large,
    stages,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.iptables import ChainContent, JumpChange
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import ADD, REMOVE, Operation
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables_rule import target

# More than one stage takes.
COUNT = STAGE_CHAINS + 100


def chain(name: str, *targets: str, table: str = "nat", verb: str = ADD) -> Operation:
    rules = None if verb == REMOVE else tuple(f"-j {to}" for to in targets)
    return Operation(verb, "chain", name, "", ChainContent(table, name, rules))


def jump(name: str, table: str = "nat", verb: str = ADD) -> Operation:
    return Operation(verb, "jump", name, "", JumpChange(table, "PREROUTING", (), f"-j {name}", 1))


def services(count: int) -> list[Operation]:
    """``count`` services of two endpoints each below one dispatch chain, the dispatch chain first."""
    operations = [chain("SERVICES", *(f"SVC-{i}" for i in range(count)))]
    for i in range(count):
        operations += [chain(f"SVC-{i}", f"SEP-{i}-0", f"SEP-{i}-1"), chain(f"SEP-{i}-0"), chain(f"SEP-{i}-1")]
    random.Random(1).shuffle(operations)
    return [jump("SERVICES"), *operations]


def test_a_change_is_large_from_one_chain_more_than_a_stage_holds() -> None:
    operations = [chain(f"C{i}") for i in range(STAGE_CHAINS)]
    assert not is_large([*operations, jump("C0")])
    assert is_large([*operations, chain("D")])


def test_every_chain_is_written_once_and_after_those_it_jumps_to() -> None:
    written: list[str] = []
    operations = services(500)
    parts = list(stages(operations))
    for part in parts:
        assert len(part) <= STAGE_CHAINS
        names = [operation.payload.name for operation in part if isinstance(operation.payload, ChainContent)]
        for operation in part:
            if isinstance(operation.payload, ChainContent):
                assert {target(rule) for rule in operation.payload.rules or ()} <= {*written, *names}
        written += names
    assert sorted(written) == sorted(o.name for o in operations if o.kind == "chain")
    assert [operation.kind for operation in parts[-1]] == ["jump"]


def test_the_dispatch_chain_comes_last() -> None:
    *_others, dispatch, _jumps = list(stages(services(500)))
    assert dispatch[-1].name == "SERVICES"


def test_a_stage_is_of_one_table() -> None:
    mixed = [chain(f"C{i}", table=("nat", "filter")[i % 2]) for i in range(2 * COUNT)]
    tables = [{operation.payload.table for operation in part} for part in stages(mixed)]
    assert tables == [{"filter"}, {"filter"}, {"nat"}, {"nat"}]


def test_removed_chains_are_emptied_before_the_first_is_deleted() -> None:
    operations = [jump("C0", verb=REMOVE), *(chain(f"C{i}", verb=REMOVE) for i in range(COUNT))]
    jumps, *rest = list(stages(operations))
    assert [operation.kind for operation in jumps] == ["jump"]
    contents = [operation.payload.rules for part in rest for operation in part]
    assert contents == [()] * COUNT + [None] * COUNT


@pytest.mark.parametrize("seed", range(5))
def test_chains_that_jump_in_a_random_order_are_sorted(seed: int) -> None:
    rng = random.Random(seed)
    names = [f"C{i}" for i in range(COUNT)]
    operations = [chain(name, *rng.sample(names[:index], min(index, 3))) for index, name in enumerate(names)]
    rng.shuffle(operations)
    done: set[str] = set()
    for part in stages(operations):
        for operation in part:
            assert {target(rule) for rule in operation.payload.rules} <= done
            done.add(operation.payload.name)
    assert done == set(names)
