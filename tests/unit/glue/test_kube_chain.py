# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of kube_chain -> tables, and what of them is ours."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import kube_chain
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables import Backend, Tool
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import render

from tests.unit.glue.arguments import parameters, problems

IPV4_ONLY = Backend(
    {"ipv4": Tool("iptables", "nft", lambda: ("nft", (1, 8, 9)))}, {"ipv6": "the kernel runs without IPv6"}, ()
)


def params(**arguments: Any) -> dict[str, Any]:
    return parameters(kube_chain.OPTIONS, arguments)


def desired(**arguments: Any) -> dict[str, kube_chain.FamilyChains]:
    return kube_chain.desired_chains(params(**arguments))


def test_a_chain_with_rules_and_jumps() -> None:
    found = desired(
        name="OFFICE",
        rules=["-j RETURN --protocol tcp --dport 80", "-m comment --comment x -j MASQUERADE"],
        jumps=[{"chain": "POSTROUTING", "rule": '-m comment --comment "office"'}, {"chain": "OUTPUT"}],
    )
    for family in ("ipv4", "ipv6"):
        assert render(found[family].tables).splitlines() == [
            "*nat",
            ":OUTPUT ACCEPT",
            ":POSTROUTING ACCEPT",
            ":OFFICE -",
            "-A OUTPUT -j OFFICE",
            "-A POSTROUTING -m comment --comment office -j OFFICE",
            "-A OFFICE -p tcp -m tcp --dport 80 -j RETURN",
            "-A OFFICE -m comment --comment x -j MASQUERADE",
            "COMMIT",
        ]


def test_jumps_of_several_chains_keep_their_order() -> None:
    jumps = [{"chain": "INPUT"}]
    found = desired(
        chains=[{"name": name, "table": "filter", "family": "ipv4", "jumps": jumps} for name in ("B", "A")],
    )
    assert found["ipv4"].tables["filter"]["INPUT"].rules == ("-j B", "-j A")
    assert found["ipv6"].tables == {}


def test_only_named_chains_are_ours() -> None:
    own = desired(chains=[{"name": "A"}, {"name": "B", "state": "absent"}])["ipv4"].ownership()
    assert own.chains("nat", "A")
    assert own.chains("nat", "B")
    assert not own.chains("filter", "A")
    assert not own.chains("nat", "KUBE-SERVICES")
    assert not own.sets("KUBE-CLUSTER-IP")


def test_jumps_are_ours_where_they_are_given_and_where_the_chain_goes() -> None:
    chains = [{"name": "LEFT"}, {"name": "NONE", "jumps": []}, {"name": "GONE", "state": "absent"}]
    own = desired(chains=chains)["ipv4"].ownership()
    assert not own.jumps("nat", "OUTPUT", "LEFT")
    assert own.jumps("nat", "OUTPUT", "NONE")
    assert own.jumps("nat", "PREROUTING", "GONE")
    assert not own.jumps("nat", "OUTPUT", "KUBE-SERVICES")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"name": "PREROUTING"},
            "name: PREROUTING is a built-in chain: give a chain of your own, and jump to it from PREROUTING with jumps",
        ),
        (
            {"name": "KUBE-FIREWALL", "table": "filter", "state": "absent"},
            "name: KUBE-FIREWALL is kubelet's, which would write it anew: give a chain of your own",
        ),
        (
            {"name": "KUBE-KUBELET-CANARY"},
            "name: KUBE-KUBELET-CANARY is kubelet's, which would write it anew: give a chain of your own",
        ),
        (
            {"name": "KUBE-IPTABLES-HINT"},
            "name: KUBE-IPTABLES-HINT is kubelet's, which would write it anew: give a chain of your own",
        ),
        ({"name": "DROP"}, "name: DROP is a target of iptables, not a chain"),
        ({"name": "A" * 29}, f"name: {'A' * 29} is longer than 28 characters"),
        ({"name": "-X"}, "name: '-X' is not the name of a chain"),
        ({"name": "A B"}, "name: 'A B' is not the name of a chain"),
        ({"chains": [{"name": "A"}, {"name": "A", "family": "ipv6"}]}, "chains[1].name: A is given twice for ipv6 nat"),
        (
            {"name": "A", "rules": ["-A A -j DROP"], "family": "ipv4"},
            "rules[0]: leave -A A out: give the rule alone, such as '-p tcp -j ACCEPT'",
        ),
        ({"name": "A", "rules": ['-m comment --comment "x'], "family": "ipv4"}, 'rules[0]: a quote is open: "x'),
        (
            {"name": "A", "rules": ["-s 10.0.0.0/8 -j DROP"]},
            "rules[0]: 10.0.0.0/8 is ipv4, the chain's family is both: give one chain for each family",
        ),
        (
            {"chains": [{"name": "A"}, {"name": "B", "rules": ["-j RETURN", "-d fd00::1 -j DROP"], "family": "ipv4"}]},
            "chains[1].rules[1]: fd00::1 is ipv6, the chain's family is ipv4: set family to ipv6",
        ),
        (
            {"name": "A", "table": "filter", "jumps": [{"chain": "PREROUTING"}], "family": "ipv4"},
            "jumps[0].chain: PREROUTING is not a built-in chain of the table filter: INPUT, FORWARD, OUTPUT",
        ),
        (
            {"name": "A", "jumps": [{"chain": "OUTPUT", "rule": "-p tcp -j A"}], "family": "ipv4"},
            "jumps[0].rule: leave A out: the rule jumps to A",
        ),
    ],
)
def test_a_chain_that_cannot_be_is_refused(arguments: dict[str, Any], problem: str) -> None:
    assert problems(kube_chain.desired_chains, params(**arguments)) == [problem]


def test_a_chain_may_differ_by_table_and_family() -> None:
    chains = [{"name": "A", "family": "ipv4"}, {"name": "A", "family": "ipv6"}, {"name": "A", "table": "raw"}]
    assert sorted(desired(chains=chains)["ipv6"].named) == [("nat", "A"), ("raw", "A")]


def test_both_is_what_the_node_has_and_a_family_by_name_is_required() -> None:
    kube_chain.check_families(params(name="A"), IPV4_ONLY)
    kube_chain.check_families(params(name="A", family="ipv6", state="absent"), IPV4_ONLY)
    with pytest.raises(KernelError, match="chain A is for ipv6, which is not available: the kernel runs without IPv6"):
        kube_chain.check_families(params(name="A", family="ipv6"), IPV4_ONLY)
