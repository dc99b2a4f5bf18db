# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for the rule set of IPVS mode of any cluster, and for the plan from any to any other.

The clusters are those of tests/clusters.py. foreign objects  192.0.2.0/24, 2001:db8:2::/48, names without KUBE-
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import ownership_of
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import ServiceData, ServicePort
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import ipset as plan_ipset
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import iptables as plan_iptables
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import ipvs as plan_ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import node as plan_node
from ansible_collections.kubenode.proxy.plugins.module_utils.rules import ipvs as rules
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import DEVICE
from ansible_collections.kubenode.proxy.plugins.module_utils.state import ipset, iptables, ipvs, rule_set
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset_member import normalise
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain, Tables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables_rule import canonical, target
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import Link, LocalAddress
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clusters import FACTS, Cluster
from tests.strategies import clusters

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation
    from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

# What the kernel takes: XT_EXTENSION_MAXNAMELEN less the final zero, IPSET_MAXNAMELEN less the final zero.
MAX_CHAIN_NAME = 28
MAX_SET_NAME = 31
TARGETS = {"ACCEPT", "DROP", "RETURN", "REJECT", "MARK", "MASQUERADE"}
PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rendered(cluster: Cluster) -> RuleSet:
    return rules.render(cluster.data(), cluster.parsed_node(), cluster.parsed_configuration(), FACTS)


# ------------------------------------------------------------------------------------------------- rule set


@PROPERTY
@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_services_and_endpoints_does_not_matter(cluster: Cluster, order: random.Random) -> None:
    services = [
        # Of two endpoints with one address, order decides where nothing else does.
        {**service, "endpoints": list({endpoint["address"]: endpoint for endpoint in service["endpoints"]}.values())}
        for service in cluster.services
    ]
    shuffled = [
        {
            **service,
            "endpoints": order.sample(service["endpoints"], len(service["endpoints"])),
            "ports": order.sample(service["ports"], len(service["ports"])),
        }
        for service in order.sample(services, len(services))
    ]
    one, other = rendered(cluster._replace(services=services)), rendered(cluster._replace(services=shuffled))
    assert rule_set.render(one) == rule_set.render(other)


@PROPERTY
@given(clusters(), st.sets(st.sampled_from(["10.96.0.1", "10.96.0.2", "203.0.113.1", "10.200.0.99", "fd00:96::1"])))
def test_addresses_that_are_bound_already_do_not_matter(cluster: Cluster, bound: set[str]) -> None:
    """So a second run, and a run after any other state, finds the same rule set."""
    own = tuple(LocalAddress(DEVICE, address, 128 if ":" in address else 32) for address in sorted(bound))
    facts = FACTS._replace(addresses=FACTS.addresses + own)
    again = rules.render(cluster.data(), cluster.parsed_node(), cluster.parsed_configuration(), facts)
    assert rule_set.render(again) == rule_set.render(rendered(cluster))


@PROPERTY
@given(clusters())
def test_a_rule_set_is_read_as_it_was_written(cluster: Cluster) -> None:
    found = rendered(cluster)
    assert rule_set.parse(rule_set.render(found)) == found


@PROPERTY
@given(clusters())
def test_each_section_is_read_as_it_was_written(cluster: Cluster) -> None:
    found = rendered(cluster)
    assert ipset.parse(ipset.render(found.sets.values())) == found.sets
    assert ipvs.parse(ipvs.render(found.virtual_servers)) == found.virtual_servers
    for tables in found.tables.values():
        assert iptables.parse(iptables.render(tables)) == tables


@PROPERTY
@given(clusters())
def test_rules_name_sets_and_chains_that_are_there(cluster: Cluster) -> None:
    found = rendered(cluster)
    for tables in found.tables.values():
        for table, chains in tables.items():
            for chain in chains.values():
                for rule in chain.rules:
                    assert set(re.findall(r"--match-set (\S+)", rule)) <= set(found.sets)
                    assert target(rule) in TARGETS or target(rule) in chains, (table, rule)


@PROPERTY
@given(clusters())
def test_rules_are_canonical(cluster: Cluster) -> None:
    for family, tables in rendered(cluster).tables.items():
        for chains in tables.values():
            for chain in chains.values():
                for rule in chain.rules:
                    assert canonical(rule, family) == rule


@PROPERTY
@given(clusters())
def test_the_kernel_takes_all_names(cluster: Cluster) -> None:
    found = rendered(cluster)
    assert all(0 < len(name) <= MAX_SET_NAME for name in found.sets)
    assert all(name == one.name for name, one in found.sets.items())
    names = [name for tables in found.tables.values() for chains in tables.values() for name in chains]
    assert all(0 < len(name) <= MAX_CHAIN_NAME for name in names)


@PROPERTY
@given(clusters())
def test_members_are_as_the_kernel_lists_them(cluster: Cluster) -> None:
    for one in rendered(cluster).sets.values():
        for member in one.members:
            assert normalise(one.type, one.family, member) == [(member, "")]


@PROPERTY
@given(clusters())
def test_every_address_that_is_served_from_the_device_has_a_virtual_server(cluster: Cluster) -> None:
    found = rendered(cluster)
    assert found.link is not None
    bound = {address.partition("/")[0] for address in found.link.addresses}
    assert bound <= {key.address for key in found.virtual_servers}
    elsewhere = {local.address for local in FACTS.addresses}
    served = {key.address for key in found.virtual_servers}
    assert served <= bound | elsewhere


def test_loopback_is_bound_though_the_node_has_it() -> None:
    addresses = ("127.0.0.1", "192.168.100.11", "203.0.113.10")
    port = ServicePort("default", "web", "", "tcp", "ipv4", "10.96.0.10", 80, load_balancer_ips=addresses)
    facts = FACTS._replace(addresses=tuple(LocalAddress("any", address, 24) for address in addresses[:2]))
    found = rules.render(ServiceData((port,)), Node("node-a"), ProxyConfiguration(), facts)
    assert found.link is not None
    assert found.link.addresses == {"10.96.0.10/32", "127.0.0.1/32", "203.0.113.10/32"}


# ----------------------------------------------------------------------------------------------------- plan


def plan_all(actual: RuleSet, desired: RuleSet, recorded: RuleSet | None = None) -> dict[str, list[Operation]]:
    """Plans of all subsystems; the virtual servers of ``recorded``, which is ``actual`` by default, are ours."""
    ownership = ownership_of((recorded or actual).virtual_servers, only_owner=False, exclude_cidrs=())
    found = {
        "sets": plan_ipset.plan(actual.sets, desired.sets, ownership.sets),
        "virtual servers": plan_ipvs.plan(
            actual.virtual_servers, {}, desired.virtual_servers, ownership.virtual_servers
        ),
        "link": plan_node.plan_link(actual.link, desired.link),
        "sysctls": plan_node.plan_sysctls(actual.sysctls, desired.sysctls),
        "timeouts": plan_node.plan_timeouts(actual.ipvs_timeouts, desired.ipvs_timeouts),
    }
    for family, tables in desired.tables.items():
        found[family] = plan_iptables.plan(actual.tables[family], tables, ownership, family)
    return found


@PROPERTY
@given(clusters())
def test_there_is_nothing_to_do_where_all_is_as_desired(cluster: Cluster) -> None:
    found = rendered(cluster)
    assert not any(plan_all(found, found).values())


@PROPERTY
@given(clusters(), clusters())
def test_the_operations_lead_from_any_state_to_any_other(first: Cluster, second: Cluster) -> None:
    actual, desired = rendered(first), rendered(second)
    plans = plan_all(actual, desired)
    assert apply_sets(actual.sets, plans["sets"]) == desired.sets
    assert apply_servers(actual.virtual_servers, plans["virtual servers"]) == desired.virtual_servers
    assert apply_link(actual.link, plans["link"]) == desired.link
    assert apply_sysctls(actual.sysctls, plans["sysctls"]) == {**actual.sysctls, **desired.sysctls}


@PROPERTY
@given(clusters())
def test_the_operations_lead_from_nothing_to_any_state_and_back(cluster: Cluster) -> None:
    desired, nothing = rendered(cluster), rule_set.RuleSet.empty()
    there, back = plan_all(nothing, desired), plan_all(desired, nothing)
    assert {operation.verb for plan in there.values() for operation in plan} <= {"add", "change"}
    assert {operation.verb for plan in back.values() for operation in plan} <= {"remove"}
    assert apply_sets({}, there["sets"]) == desired.sets
    assert apply_servers({}, there["virtual servers"]) == desired.virtual_servers
    assert apply_link(None, there["link"]) == desired.link
    assert apply_sets(desired.sets, back["sets"]) == {}
    assert apply_servers(desired.virtual_servers, back["virtual servers"]) == {}
    assert apply_link(desired.link, back["link"]) is None


def apply_sets(sets: Mapping[str, ipset.IPSet], operations: list[Operation]) -> dict[str, ipset.IPSet]:
    """What ipset makes of operations: an error where a set or member is missing, or is there already."""
    found = {name: one._replace(members=dict(one.members)) for name, one in sets.items()}
    for operation in operations:
        payload = operation.payload
        if operation.kind == "set":
            assert (operation.name in found) == (operation.verb != "add")
            if operation.verb == "remove":
                del found[operation.name]
            else:
                found[operation.name] = payload if operation.verb == "add" else payload.wanted
        else:
            members = dict(found[payload.set_name].members)
            assert (payload.entry in members) == (operation.verb != "add")
            if operation.verb == "remove":
                del members[payload.entry]
            else:
                members[payload.entry] = payload.options
            found[payload.set_name] = found[payload.set_name]._replace(members=members)
    return found


def apply_servers(servers: ipvs.VirtualServers, operations: list[Operation]) -> ipvs.VirtualServers:
    """What IPVS makes of operations; a change of a virtual server keeps its real servers."""
    found = dict(servers)
    for operation in operations:
        payload = operation.payload
        if operation.kind == "virtual server":
            assert (payload.key in found) == (operation.verb != "add")
            if operation.verb == "remove":
                del found[payload.key]
            else:
                kept = found[payload.key].real_servers if operation.verb == "change" else {}
                found[payload.key] = payload.server._replace(real_servers=kept)
        else:
            real_servers = dict(found[payload.virtual_server].real_servers)
            assert (payload.key in real_servers) == (operation.verb != "add")
            if operation.verb == "remove":
                del real_servers[payload.key]
            else:
                real_servers[payload.key] = payload.real_server
            found[payload.virtual_server] = found[payload.virtual_server]._replace(real_servers=real_servers)
    return found


def apply_link(link: Link | None, operations: list[Operation]) -> Link | None:
    for operation in operations:
        if operation.kind == "link":
            assert (link is None) == (operation.verb == "add")
            link = Link(operation.payload, frozenset()) if operation.verb == "add" else None
        else:
            assert link is not None
            name, address = operation.payload
            assert name == link.name
            assert (address in link.addresses) == (operation.verb == "remove")
            link = Link(name, link.addresses ^ {address})
    return link


def apply_sysctls(sysctls: Mapping[str, str], operations: list[Operation]) -> dict[str, str]:
    return {**sysctls, **dict(operation.payload for operation in operations)}


# -------------------------------------------------------------------------------------------------- foreign

FOREIGN_NAMES = st.one_of(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,20}", fullmatch=True).filter(lambda name: not name.startswith("KUBE-")),
    # kubelet's, kube-router's, and names that only look like ours
    st.sampled_from(["KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT", "KUBE-FIREWALL", "KUBE-ROUTER-INPUT", "KUBE-SRC-X"]),
)
FOREIGN_ADDRESSES = st.one_of(
    st.integers(1, 254).map("192.0.2.{}".format), st.integers(1, 0xFFFF).map("2001:db8:2::{:x}".format)
)


@st.composite
def foreign_sets(draw: st.DrawFn) -> dict[str, ipset.IPSet]:
    members = dict.fromkeys(draw(st.lists(st.integers(1, 254).map("192.0.2.{}".format), max_size=3)), "")
    names = draw(st.lists(FOREIGN_NAMES, max_size=3))
    return {name: ipset.IPSet(name, "hash:ip", (("family", "inet"),), members) for name in names}


@st.composite
def foreign_servers(draw: st.DrawFn) -> ipvs.VirtualServers:
    found: ipvs.VirtualServers = {}
    for address in draw(st.lists(FOREIGN_ADDRESSES, max_size=3)):
        family = "ipv6" if ":" in address else "ipv4"
        key = ipvs.VirtualServerKey(family, draw(st.sampled_from(["tcp", "udp", "sctp"])), address, 80)
        found[key] = ipvs.VirtualServer("wlc", (), 0, 0, {ipvs.RealServerKey(address, 81): ipvs.RealServer("route")})
    for mark in draw(st.lists(st.integers(1, 9), max_size=2)):
        found[ipvs.VirtualServerKey("ipv4", "", "", 0, mark)] = ipvs.VirtualServer("rr", (), 0, 0, {})
    return found


@st.composite
def foreign_tables(draw: st.DrawFn) -> Tables:
    """Chains of others, with rules that lead to each other, and their rules in built-in chains."""
    found: Tables = {}
    for table, built_in in (("nat", ("PREROUTING", "POSTROUTING")), ("filter", ("INPUT", "FORWARD"))):
        names = draw(st.lists(FOREIGN_NAMES, unique=True, max_size=3))
        texts = ["-j ACCEPT", "-s 192.0.2.1/32 -j DROP", *(f"-j {name}" for name in names)]
        rule_lists = st.lists(st.sampled_from(texts), max_size=3).map(tuple)
        found[table] = {name: Chain(None, draw(rule_lists)) for name in names}
        found[table].update(
            {name: Chain(draw(st.sampled_from(["ACCEPT", "DROP"])), draw(rule_lists)) for name in built_in}
        )
    return found


@PROPERTY
@given(clusters(3), clusters(3), foreign_sets(), foreign_servers(), foreign_tables())
def test_foreign_objects_are_in_no_plan(
    first: Cluster, second: Cluster, sets: dict[str, ipset.IPSet], servers: ipvs.VirtualServers, tables: Tables
) -> None:
    """The plan is the same with them as without, but for the places of jumps that stand among foreign rules."""
    ours, desired = rendered(first), rendered(second)
    both = ours._replace(
        sets={**sets, **ours.sets},
        virtual_servers={**servers, **ours.virtual_servers},
        tables={family: _with_foreign(own, tables) for family, own in ours.tables.items()},
    )
    alone, among = plan_all(ours, desired), plan_all(both, desired, recorded=ours)
    assert _reports(among) == _reports(alone)
    assert all(among[name] == alone[name] for name in ("sets", "virtual servers"))


@PROPERTY
@given(clusters(3), foreign_sets(), foreign_servers(), foreign_tables())
def test_all_but_foreign_objects_can_be_removed(
    cluster: Cluster, sets: dict[str, ipset.IPSet], servers: ipvs.VirtualServers, tables: Tables
) -> None:
    ours = rendered(cluster)
    both = ours._replace(sets={**sets, **ours.sets}, virtual_servers={**servers, **ours.virtual_servers})
    left = plan_all(both, rule_set.RuleSet.empty(), recorded=ours)
    assert apply_sets(both.sets, left["sets"]) == sets
    assert apply_servers(both.virtual_servers, left["virtual servers"]) == servers
    for family, own in ours.tables.items():
        actual = _with_foreign(own, tables)
        ownership = ownership_of((), only_owner=False, exclude_cidrs=())
        for operation in plan_iptables.plan(actual, {}, ownership, family):
            assert operation.verb == "remove"
            if operation.kind == "chain":
                assert operation.payload.name not in tables[operation.payload.table]
            else:
                foreign_chain = tables[operation.payload.table].get(operation.payload.chain, Chain(None, ()))
                assert not set(operation.payload.delete) & set(foreign_chain.rules)


@given(foreign_servers())
def test_an_only_owner_still_leaves_firewall_marks_and_excluded_networks_alone(servers: ipvs.VirtualServers) -> None:
    ownership = ownership_of((), only_owner=True, exclude_cidrs=["192.0.2.0/24"])
    removed = {operation.payload.key for operation in plan_ipvs.plan(servers, {}, {}, ownership.virtual_servers)}
    assert removed == {key for key in servers if key.address.startswith("2001:db8:2::")}


def _with_foreign(own: Tables, foreign: Tables) -> Tables:
    """Foreign rules of a built-in chain before and after ours."""
    found: Tables = {}
    for table in {*own, *foreign}:
        mine, theirs = own.get(table, {}), foreign.get(table, {})
        found[table] = {**mine, **theirs}
        for name in set(mine) & set(theirs):
            half = len(theirs[name].rules) // 2
            rules_ = (*theirs[name].rules[:half], *mine[name].rules, *theirs[name].rules[half:])
            found[table][name] = Chain(theirs[name].policy, rules_)
    return found


def _reports(plans: Mapping[str, list[Operation]]) -> list[dict[str, str]]:
    return [operation.report() for plan in plans.values() for operation in plan]


def test_timeouts_that_nobody_sets_are_the_kernel_s() -> None:
    cluster = Cluster([], {"name": "node-a"}, {"tcp_timeout": 900})
    assert rendered(cluster).ipvs_timeouts == {"tcp": 900}


def test_node_ports_that_no_address_of_the_node_serves_are_in_no_set() -> None:
    service = {
        "name": "web",
        "cluster_ip": "10.96.0.1",
        "ports": [{"port": 80, "node_port": 30080}],
        "load_balancer_ips": ["203.0.113.1"],
        "external_traffic_policy": "Local",
        "health_check_node_port": 32000,
    }
    found = rendered(Cluster([service], {"name": "node-a"}, {"node_port_addresses": ["203.0.113.0/24"]}))
    assert {name for name, one in found.sets.items() if one.members} == {
        *("KUBE-CLUSTER-IP", "KUBE-IPVS-IPS", "KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL")
    }


def test_a_cluster_without_services_has_all_sets_and_no_address() -> None:
    cluster = Cluster([], {"name": "node-a"}, {})
    assert native.parse(cluster.services).service_ports == ()
    found = rendered(cluster)
    assert len(found.sets) == 34
    assert not any(one.members for one in found.sets.values())
    assert found.link == Link(DEVICE, frozenset())
