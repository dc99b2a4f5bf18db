# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a diff shows of chains: nothing where nothing would change."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import ownership_of
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.subsystems import Chains
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables import Backend
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.nftables import NftablesSocket
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

A = "-d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-A"
B = "-d 10.96.0.2/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-B"
LAST = "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
OLDER_SPELLING = A.replace("10.96.0.1/32", "10.96.0.1")


@pytest.mark.parametrize(
    ("name", "live", "shown_as_wanted"),
    [
        ("KUBE-SERVICES", (A, B, LAST), True),
        ("KUBE-SERVICES", (B, A, LAST), True),
        ("KUBE-SERVICES", (OLDER_SPELLING, B, LAST), True),
        ("KUBE-SERVICES", (A, LAST, B), False),
        ("KUBE-SERVICES", (A, LAST), False),
        ("KUBE-POSTROUTING", (B, A, LAST), False),
        ("KUBE-POSTROUTING", (OLDER_SPELLING, B, LAST), True),
    ],
)
def test_an_order_or_spelling_that_makes_no_difference_is_none_to_show(
    name: str, live: tuple[str, ...], shown_as_wanted: bool
) -> None:
    wanted = (A, B, LAST)
    ownership = ownership_of((), only_owner=False, exclude_cidrs=())
    chains = Chains(Runner(), Backend({}, {}, ()), "ipv4", ownership, NftablesSocket())
    chains.live_tables = {"nat": {name: Chain(None, live)}}
    desired = RuleSet.empty()._replace(tables={"ipv4": {"nat": {name: Chain(None, wanted)}}, "ipv6": {}})
    shown = chains.live(RuleSet.empty(), desired).tables["ipv4"]["nat"][name].rules
    assert shown == (wanted if shown_as_wanted else live)
    assert bool(chains.plan(desired)) is not shown_as_wanted
