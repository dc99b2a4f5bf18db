# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The paths of services through the rule sets of all modes, and what of them a kernel lacks.

web  default/web:http  10.96.0.10:80/tcp, 203.0.113.5, balancer 203.0.113.6, node port 30080
     -> 10.244.1.5:8080, 10.244.2.7:8080
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node
from ansible_collections.kubenode.proxy.plugins.module_utils.model.selection import select
from ansible_collections.kubenode.proxy.plugins.module_utils.model.version import VERSIONS
from ansible_collections.kubenode.proxy.plugins.module_utils.rules import paths
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.paths import Graph, Link
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet
from hypothesis import given
from hypothesis import strategies as st

from tests.clusters import FACTS
from tests.strategies import clusters

MODES = ("ipvs", "iptables", "nftables")
WEB = {
    "name": "web",
    "cluster_ip": "10.96.0.10",
    "external_ips": ["203.0.113.5"],
    "load_balancer_ips": ["203.0.113.6"],
    "ports": [{"name": "http", "port": 80, "target_port": 8080, "node_port": 30080}],
    "endpoints": ["10.244.1.5", "10.244.2.7"],
}
PODS = {"10.244.1.5:8080", "10.244.2.7:8080"}


def rendered(mode: str, **changes: Any) -> Any:
    """The service port of WEB, and the rule set of its mode."""
    data = native.parse([{**WEB, **changes}])
    node = parse_node({"name": "node-a", "addresses": ["192.168.100.11"]})
    (port,) = data.service_ports
    return port, render(data, node, parse_configuration({"mode": mode}), FACTS)


def links(mode: str, **changes: Any) -> list[Link]:
    port, rule_set = rendered(mode, **changes)
    return paths.path(paths.graph(rule_set, "ipv4", [port]), port)


def ends(found: list[Link]) -> set[str]:
    """Where a path leads in the end."""
    return {link.target for link in found} - {link.source for link in found}


@pytest.mark.parametrize("mode", MODES)
def test_every_address_leads_to_the_endpoints(mode: str) -> None:
    found = links(mode)
    assert ends(found) == PODS
    assert {link.source for link in found} >= {"10.96.0.10:80", "203.0.113.5:80", "203.0.113.6:80", "*:30080"}


def test_addresses_have_their_kinds() -> None:
    port, _rule_set = rendered("ipvs")
    assert paths.entries(port) == [
        ("cluster IP", "10.96.0.10:80"),
        ("external IP", "203.0.113.5:80"),
        ("load balancer IP", "203.0.113.6:80"),
        ("node port", "*:30080"),
    ]


def test_a_service_port_without_node_port_has_no_entry_of_one() -> None:
    port, _rule_set = rendered("ipvs", ports=[{"name": "http", "port": 80}], external_ips=[], load_balancer_ips=[])
    assert paths.entries(port) == [("cluster IP", "10.96.0.10:80")]


@pytest.mark.parametrize("mode", MODES)
def test_a_kernel_that_holds_nothing_has_no_steps(mode: str) -> None:
    port, rule_set = rendered(mode)
    nothing = RuleSet.empty()._replace(settings=rule_set.settings)
    assert paths.graph(nothing, "ipv4", [port]) == Graph.empty()


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize("affinity", [{}, {"session_affinity": "ClientIP"}], ids=["none", "client"])
def test_shares(mode: str, affinity: dict[str, Any]) -> None:
    assert [link.label for link in links(mode, **affinity) if link.label] == ["50 %", "50 %"]


def test_shares_of_three_endpoints_are_thirds() -> None:
    found = links("iptables", endpoints=["10.244.1.5", "10.244.2.7", "10.244.2.8"])
    assert [link.label for link in found if link.label] == ["33 %"] * 3


def test_virtual_servers_have_schedulers_and_weights() -> None:
    found = links("ipvs")
    assert Link("*:30080", "tcp *:30080", "rr") in found
    assert Link("tcp 10.96.0.10:80", "10.244.1.5:8080", "weight 1") in found


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_without_endpoints_connections_are_refused(mode: str) -> None:
    found = links(mode, endpoints=[])
    assert ends(found) == {"refused"}
    assert {link.source for link in found} == {"10.96.0.10:80", "203.0.113.5:80", "203.0.113.6:80", "*:30080"}


@pytest.mark.parametrize("rule", ["-d 10.96.0.10/32 -p tcp -j DROP", "-p tcp -m tcp --dport 80 -j ACCEPT"])
def test_a_rule_in_a_dispatch_chain_that_leads_to_no_service_is_no_step(rule: str) -> None:
    _port, rule_set = rendered("iptables")
    tables = rule_set.tables["ipv4"]
    services = tables["nat"]["KUBE-SERVICES"]
    more = {**tables, "nat": {**tables["nat"], "KUBE-SERVICES": services._replace(rules=(rule, *services.rules))}}
    assert paths.iptables_graph(more) == paths.iptables_graph(tables)


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_paths_end_where_the_selection_says(mode: str, data: st.DataObject) -> None:
    cluster = data.draw(clusters(mode=mode))
    services, node = cluster.data(), cluster.parsed_node()
    # Nftables mode is written as of 1.36 only.
    version = {"version": "1.36"} if mode == "nftables" else {}
    configuration = parse_configuration({**cluster.configuration, **version})
    rule_set = render(services, node, configuration, FACTS)
    for family in ("ipv4", "ipv6"):
        ports = [port for port in services.service_ports if port.family == family]
        graph = paths.graph(rule_set, family, ports)
        lead_nowhere = {name for name, found in graph.links.items() if not found}
        for port in ports:
            selection = select(port, node, VERSIONS[configuration.version])
            found = paths.path(graph, port)
            assert ends(found) <= {*map(str, selection.reachable), "refused", "dropped", *lead_nowhere}
            if not port.internal_local:
                assert {link.target for link in found} >= set(map(str, selection.cluster))


def test_what_a_kernel_lacks_has_too_much_and_has_changed() -> None:
    desired = [Link("a", "b"), Link("b", "c", "weight 1"), Link("b", "d", "weight 1")]
    live = [Link("a", "b"), Link("b", "c", "weight 7"), Link("b", "e")]
    assert [tuple(step.values()) for step in paths.compare(desired, live)] == [
        ("a", "b", "", "live"),
        ("b", "c", "weight 7, not weight 1", "changed"),
        ("b", "d", "weight 1", "missing"),
        ("b", "e", "", "extra"),
    ]
