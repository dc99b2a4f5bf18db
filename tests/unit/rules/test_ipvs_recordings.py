# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rendered rule set of every recording equals what the real kube-proxy programmed; no kernel takes part."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import kubernetes
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import (
    parse_configuration,
    parse_kube_proxy_configuration,
    parse_node,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.rules import ipvs as rules
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.state import ipset, iptables, ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

RECORDINGS = Path(__file__).parents[3].parent / "shared" / "recordings"
CASES = sorted(path.parents[2].name for path in RECORDINGS.glob("*/v1.36/ipvs/sysctl"))

# The node of the recordings: lo, eth0 and eth1 as recordings/README.md lists them.
FACTS = NodeFacts(
    kernel=(6, 1),
    addresses=(
        LocalAddress("lo", "127.0.0.1", 8),
        LocalAddress("lo", "::1", 128),
        LocalAddress("eth0", "192.168.100.11", 24),
        LocalAddress("eth0", "fd00:100::11", 64),
        LocalAddress("eth0", "fe80::1", 64),
        LocalAddress("eth1", "10.200.0.11", 24),
        LocalAddress("eth1", "fe80::2", 64),
    ),
)

# recordings/README.md: kube-proxy was told to leave these alone.
CONNTRACK_LEFT_ALONE = {
    "conntrack_max_per_core": 0,
    "conntrack_min": 0,
    "conntrack_tcp_established_timeout": 0,
    "conntrack_tcp_close_wait_timeout": 0,
}


def recorded(case: str, name: str) -> str:
    path = RECORDINGS / case / "v1.36" / "ipvs" / name
    return path.read_text() if path.exists() else ""


def rendered(case: str) -> RuleSet:
    document = yaml.safe_load((RECORDINGS / case / "input.yaml").read_text())
    variables = parse_kube_proxy_configuration(document.get("config") or {}, "ipvs")
    configuration = parse_configuration({**variables, **CONNTRACK_LEFT_ALONE, "mode": "ipvs"})
    return rules.render(kubernetes.parse(document["objects"]), parse_node(document["node"]), configuration, FACTS)


@pytest.mark.skipif(not CASES, reason="no recordings beside this checkout")
@pytest.mark.parametrize("case", CASES or ["none"])
def test_rule_set_equals_recording(case: str) -> None:
    rule_set = rendered(case)
    assert sorted(ipset.render(rule_set.sets.values()).split("\n")) == sorted(recorded(case, "ipset.save").split("\n"))
    assert rule_set.virtual_servers == ipvs.parse(recorded(case, "ipvs.save"))
    for family, name in (("ipv4", "iptables.rules"), ("ipv6", "ip6tables.rules")):
        found = iptables.parse(recorded(case, name))
        for chain in found["nat"]["INPUT"], found["filter"]["INPUT"]:
            assert chain.policy == "ACCEPT"
        del found["nat"]["INPUT"]
        assert comparable(rule_set.tables[family]) == comparable(found)
    wanted = {line.split()[0] for line in recorded(case, "addresses").splitlines()[1:]}
    assert rule_set.link is not None
    assert rule_set.link.addresses == wanted
    live = dict(line.split(" = ") for line in recorded(case, "sysctl").splitlines())
    assert {name: live[name] for name in rule_set.sysctls} == rule_set.sysctls


def comparable(tables: iptables.Tables) -> iptables.Tables:
    """Rules of different virtual servers in KUBE-IPVS-OUT-FILTER exclude each other: kube-proxy's order there is
    random."""
    out = {table: dict(chains) for table, chains in tables.items()}
    chain = out["filter"]["KUBE-IPVS-OUT-FILTER"]
    out["filter"]["KUBE-IPVS-OUT-FILTER"] = chain._replace(rules=tuple(sorted(chain.rules)))
    return out
