# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kube-proxy makes of an address or a network that a service names twice: it does not look."""

from __future__ import annotations

from collections import Counter

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model.kubernetes import parse
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.rules import iptables, ipvs, nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.clusters import FACTS

NODE = Node("node-a", ("192.168.100.11",))
SERVICE = {
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.10",
        "externalIPs": ["198.51.100.9", "198.51.100.9"],
        "loadBalancerSourceRanges": ["10.0.0.0/8", "10.1.2.3/8"],
        "ports": [{"port": 80}],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}, {"ip": "203.0.113.10"}]}},
}
SLICE = {
    "kind": "EndpointSlice",
    "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.244.1.5"]}],
    "ports": [{"port": 8080}],
}


def repeated(desired: RuleSet, table: str) -> dict[str, int]:
    """How many rules a chain has more than once, for each chain that has any."""
    counts = {name: Counter(chain.rules) for name, chain in desired.tables["ipv4"][table].items()}
    return {name: more for name, rules in counts.items() if (more := sum(rules.values()) - len(rules))}


@pytest.mark.parametrize("version", ["1.30", "1.36"])
def test_iptables_mode_has_a_rule_for_each(version: str) -> None:
    configuration = ProxyConfiguration(mode="iptables", version=version)
    desired = iptables.render(parse([SERVICE, SLICE]), NODE, configuration, FACTS)
    firewall = next(name for name in desired.tables["ipv4"]["nat"] if name.startswith("KUBE-FW-"))
    # External IP and load balancer IP; source ranges; what did not pass them.
    assert repeated(desired, "nat") == {"KUBE-SERVICES": 2, firewall: 1}
    assert repeated(desired, "filter") == {"KUBE-PROXY-FIREWALL": 1}
    unanswered = iptables.render(parse([SERVICE]), NODE, configuration, FACTS)
    assert repeated(unanswered, "filter") == {"KUBE-EXTERNAL-SERVICES": 2}


def test_ipvs_mode_has_a_rule_for_each_that_is_closed_to_the_node() -> None:
    desired = ipvs.render(parse([SERVICE, SLICE]), NODE, ProxyConfiguration(mode="ipvs"), FACTS)
    assert repeated(desired, "nat") == {}
    assert repeated(desired, "filter") == {"KUBE-IPVS-OUT-FILTER": 1}
    assert len(desired.virtual_servers) == 3


def test_nftables_mode_has_elements_only_once() -> None:
    desired = nftables.render(parse([SERVICE, SLICE]), NODE, ProxyConfiguration(mode="nftables"), FACTS)
    table = desired.nftables["ip kube-proxy"]
    assert len(table.sets["service-ips"].elements) == 3
    rules = [rule for chain in table.chains.values() for rule in chain.rules]
    assert rules.count("ip saddr != { 10.0.0.0/8 } drop") == 1
