# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubelet's chains are kubelet's: whoever comes first, and whichever mode comes after.

Of KUBE-FIREWALL, which both write into, the rest of kubelet's rules is kubelet's.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import ownership_of
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables import restore_input
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.iptables import phases, plan
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain, Tables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress

from tests.unit.plan.test_iptables_plan import restore

OWNERSHIP = ownership_of((), False, ())
GUARD = (
    '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)
# What kubelet wrote there until 1.27, and what an administrator may have added.
MARKED = '-m comment --comment "kubernetes firewall for dropping marked packets" -m mark --mark 0x8000/0x8000 -j DROP'
ADDED = "-s 192.0.2.1/32 -j ACCEPT"
JUMP = "-j KUBE-FIREWALL"
FOREIGN = "-s 192.0.2.66/32 -j DROP"
SERVICE = {
    "name": "web",
    "cluster_ip": "10.96.0.1",
    "ports": [{"port": 80, "target_port": 8080, "node_port": 30080}],
    "endpoints": [{"address": "10.244.1.5", "node": "node-a"}],
}
EMPTY = Chain(None, ())


def built_in(*rules: str, policy: str = "ACCEPT") -> Chain:
    return Chain(policy, rules)


def kubelet_s(*firewall: str, before: tuple[str, ...] = (), after: tuple[str, ...] = (FOREIGN,)) -> Tables:
    """A node on which kubelet runs, and kube-proxy never did."""
    jumps = built_in(*before, JUMP, *after)
    return {
        "mangle": {
            "PREROUTING": built_in(),
            "KUBE-IPTABLES-HINT": EMPTY,
            "KUBE-KUBELET-CANARY": EMPTY,
        },
        "filter": {
            "INPUT": jumps._replace(policy="DROP"),
            "FORWARD": built_in(*after),
            "OUTPUT": jumps,
            "KUBE-FIREWALL": Chain(None, firewall),
            "KUBE-KUBELET-CANARY": EMPTY,
        },
        "nat": {
            "POSTROUTING": built_in("-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"),
            "KUBE-KUBELET-CANARY": EMPTY,
            # Left over from a kubelet before 1.28.
            "KUBE-MARK-DROP": Chain(None, ("-j MARK --set-xmark 0x8000/0x8000",)),
        },
    }


def desired(mode: str, family: str = "ipv4", **variables: Any) -> Tables:
    facts = NodeFacts((6, 1), (LocalAddress("lo", "127.0.0.1", 8), LocalAddress("eth0", "192.168.1.11", 24)))
    configuration = parse_configuration({"mode": mode, "cluster_cidrs": ["10.244.0.0/16"], **variables})
    return render(native.parse([SERVICE]), Node("node-a", ("192.168.1.11",)), configuration, facts).tables[family]


def planned(tables: Tables, wanted: Tables, family: str = "ipv4") -> list[Operation]:
    return plan(tables, wanted, OWNERSHIP, family)


def converged(tables: Tables, wanted: Tables, family: str = "ipv4") -> Tables:
    """The tables after a run, which leaves nothing to do."""
    for phase in phases(planned(tables, wanted, family)):
        tables = restore(tables, restore_input(phase))
    assert planned(tables, wanted, family) == []
    return tables


def without_kube_proxy_s(tables: Tables) -> Tables:
    """What is not kube-proxy's by name, and not one of its jumps; of KUBE-FIREWALL, the chain and all rules."""
    return {
        table: {
            name: chain._replace(
                rules=tuple(
                    rule
                    for rule in chain.rules
                    if chain.policy is None or not OWNERSHIP.jumps(table, name, rule.rpartition("-j ")[2])
                )
            )
            for name, chain in chains.items()
            if not OWNERSHIP.chains(table, name)
        }
        for table, chains in tables.items()
    }


def foreign_in(tables: Tables) -> Tables:
    """The same, without built-in chains in which nothing is left: our jumps had made them."""
    return {
        table: {name: chain for name, chain in chains.items() if chain != built_in()}
        for table, chains in without_kube_proxy_s(tables).items()
    }


KUBELETS = {
    "of today": kubelet_s(GUARD),
    "with rules of its own before and after": kubelet_s(MARKED, GUARD, ADDED),
    "with foreign rules before its jumps": kubelet_s(GUARD, before=(FOREIGN,), after=("-j ACCEPT",)),
}


@pytest.mark.parametrize("mode", ["iptables", "ipvs"])
@pytest.mark.parametrize("localhost", [True, False], ids=["localhost node ports", "none"])
@pytest.mark.parametrize("tables", KUBELETS.values(), ids=KUBELETS)
def test_what_kubelet_made_stays_as_it_is(tables: Tables, localhost: bool, mode: str) -> None:
    made = converged(tables, desired(mode, localhost_node_ports=localhost))
    assert foreign_in(made) == foreign_in(tables)
    # By way of the other mode, and of nothing at all.
    for wanted in (desired("ipvs"), desired("iptables"), desired("ipvs"), {}):
        made = converged(made, wanted)
        assert foreign_in(made) == foreign_in(tables)
    assert without_kube_proxy_s(made) == made


@pytest.mark.parametrize("mode", ["iptables", "ipvs"])
@pytest.mark.parametrize("tables", KUBELETS.values(), ids=KUBELETS)
def test_no_operation_is_about_what_is_kubelet_s(tables: Tables, mode: str) -> None:
    kubelet = ("KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT", "KUBE-MARK-DROP")
    operations = planned(tables, desired(mode)) + planned(converged(tables, desired(mode)), {})
    assert operations
    assert [one.name for one in operations if one.name.endswith(kubelet)] == []


def test_the_jumps_of_both_are_in_kube_proxy_s_order_where_kubelet_came_first() -> None:
    made = converged(kubelet_s(GUARD), desired("iptables"))
    chains = [rule.rpartition("-j ")[2] for rule in made["filter"]["INPUT"].rules]
    assert chains == ["KUBE-FIREWALL", "KUBE-PROXY-FIREWALL", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "DROP"]


def test_a_jump_of_kubelet_s_is_right_wherever_it_stands() -> None:
    """A kubelet that starts before kube-proxy has it at the end: kube-proxy puts its jumps at the head."""
    wanted = desired("iptables")
    made = converged({}, wanted)
    jumps = made["filter"]["INPUT"].rules
    for at in range(len(jumps)):
        others = [rule for rule in jumps if rule != JUMP]
        made["filter"]["INPUT"] = built_in(*others[:at], JUMP, *others[at:])
        assert planned(made, wanted) == []
    made["filter"]["INPUT"] = built_in(jumps[2], jumps[1], *jumps[3:], JUMP)
    assert converged(made, wanted)["filter"]["INPUT"] == built_in(*jumps[1:], JUMP)


def test_a_jump_that_is_ours_alone_goes_with_others_out_of_order() -> None:
    """Where kubelet never was, what iptables mode left goes with IPVS mode."""
    wanted = desired("ipvs")
    made = converged({}, wanted)
    jumps = made["filter"]["INPUT"].rules
    made["filter"]["INPUT"] = built_in(*jumps[::-1], JUMP)
    ownership = OWNERSHIP._replace(
        jumps=lambda table, chain, to: to == "KUBE-FIREWALL" or OWNERSHIP.jumps(table, chain, to)
    )
    removed = [one.name for one in plan(made, wanted, ownership, "ipv4") if one.verb == "remove"]
    assert removed == ["ipv4 filter INPUT -> KUBE-FIREWALL"]


def test_a_lost_jump_of_both_comes_back_where_others_are_out_of_order() -> None:
    wanted = desired("iptables")
    made = converged({}, wanted)
    jumps = made["filter"]["INPUT"].rules
    made["filter"]["INPUT"] = built_in(*jumps[:0:-1])
    assert converged(made, wanted)["filter"]["INPUT"] == built_in(*jumps)


def test_our_guard_joins_the_rules_that_are_there() -> None:
    made = converged(kubelet_s(MARKED, ADDED), desired("iptables"))
    assert set(made["filter"]["KUBE-FIREWALL"].rules) == {MARKED, ADDED, GUARD}
    (operation,) = [one for one in planned(kubelet_s(MARKED), desired("iptables")) if "KUBE-FIREWALL" in one.name]
    assert (operation.verb, operation.kind, operation.payload.insert) == ("add", "jump", GUARD)
    assert operation.payload.delete == ()


def test_a_kubelet_that_comes_later_finds_what_it_would_write() -> None:
    """It checks for its rule and jumps, as iptables -C does, and adds none."""
    made = converged({}, desired("iptables"))
    assert made["filter"]["KUBE-FIREWALL"] == Chain(None, (GUARD,))
    assert all(JUMP in made["filter"][chain].rules for chain in ("INPUT", "OUTPUT"))


def test_what_a_later_kubelet_adds_to_our_chain_stays() -> None:
    made = converged({}, desired("iptables"))
    made["filter"]["KUBE-FIREWALL"] = Chain(None, (MARKED, GUARD))
    assert planned(made, desired("iptables")) == []
    assert converged(made, desired("ipvs"))["filter"]["KUBE-FIREWALL"] == Chain(None, (MARKED, GUARD))


@pytest.mark.parametrize("wanted", [desired("ipvs"), {}], ids=["IPVS mode", "nothing"])
def test_the_guard_and_its_jumps_are_left_to_kubelet(wanted: Tables) -> None:
    """Nobody can tell whose they are, and without them kubelet's node is open until kubelet looks again."""
    made = converged(converged({}, desired("iptables")), wanted)
    assert made["filter"]["KUBE-FIREWALL"] == Chain(None, (GUARD,))
    assert all(JUMP in made["filter"][chain].rules for chain in ("INPUT", "OUTPUT"))


def test_the_guard_stays_where_localhost_node_ports_are_switched_off() -> None:
    made = converged(converged({}, desired("iptables")), desired("iptables", localhost_node_ports=False))
    assert made["filter"]["KUBE-FIREWALL"] == Chain(None, (GUARD,))


def test_the_empty_chain_of_ipv6() -> None:
    """kubelet makes it with IPv6 too, without a rule."""
    tables = {"filter": kubelet_s()["filter"], "mangle": kubelet_s()["mangle"]}
    made = converged(tables, desired("iptables", "ipv6"), "ipv6")
    assert foreign_in(made)["filter"] == foreign_in(tables)["filter"]
    assert foreign_in(converged(made, desired("ipvs", "ipv6"), "ipv6"))["filter"] == foreign_in(tables)["filter"]


def test_a_jump_of_kubelet_s_that_was_lost_comes_back() -> None:
    tables = kubelet_s(GUARD)
    tables["filter"]["INPUT"] = built_in(FOREIGN)
    (operation,) = [one for one in planned(tables, desired("iptables")) if "-> KUBE-FIREWALL" in one.name]
    assert (operation.verb, operation.name) == ("add", "ipv4 filter INPUT -> KUBE-FIREWALL")
