# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people know from the listings of their own nodes: names of chains, probabilities, and how many rules there are.

kind-control-plane   172.18.0.3, pods 10.244.0.0/24 of 10.244.0.0/16
worker               192.168.31.11, pods 10.244.169.0/24 of 10.244.0.0/16
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import ownership_of
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServicePort
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.iptables import ChainContent, plan
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.iptables import (
    LARGE_CLUSTER_ENDPOINTS,
    endpoint_chain,
    identity,
    probability,
    service_hash,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Tables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress

Service = dict[str, Any]


def rendered(services: list[Service], node_ip: str = "172.18.0.3", name: str = "node-a", **variables: Any) -> Tables:
    """The IPv4 tables of iptables mode."""
    facts = NodeFacts((6, 1), (LocalAddress("lo", "127.0.0.1", 8), LocalAddress("eth0", node_ip, 24)))
    configuration = parse_configuration({"mode": "iptables", "cluster_cidrs": ["10.244.0.0/16"], **variables})
    return render(native.parse(services), Node(name, (node_ip,)), configuration, facts).tables["ipv4"]


def listing(tables: Tables, *chains: str) -> str:
    """Rules of these chains of nat, as ``iptables-save`` lists them."""
    return "".join(f"-A {name} {rule}\n" for name in chains for rule in tables["nat"][name].rules)


def service_port(text: str, family: str = "ipv4") -> ServicePort:
    """``namespace/name:port name/protocol`` -> a service port."""
    namespace, name, protocol = text.split("/")
    name, _colon, port_name = name.partition(":")
    return ServicePort(namespace, name, port_name, protocol, family, "10.96.0.1", 80)


KIND = [
    {
        "namespace": "kube-system",
        "name": "kube-dns",
        "cluster_ip": "10.96.0.10",
        "ports": [
            {"name": "dns", "port": 53, "protocol": "udp", "target_port": 53},
            {"name": "dns-tcp", "port": 53, "target_port": 53},
            {"name": "metrics", "port": 9153, "target_port": 9153},
        ],
        "endpoints": [{"address": "10.244.0.3"}, {"address": "10.244.0.4"}],
    },
    {
        "name": "kubernetes",
        "cluster_ip": "10.96.0.1",
        "ports": [{"name": "https", "port": 443, "target_port": 6443}],
        "endpoints": [{"address": "172.18.0.3"}],
    },
]
KIND_SERVICES = """\
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 \
-j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 \
-j KUBE-SVC-TCOU7JCQXEZGVUNU
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "kube-system/kube-dns:dns-tcp cluster IP" \
-m tcp --dport 53 -j KUBE-SVC-ERIFXISQEP7F7OF4
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "kube-system/kube-dns:metrics cluster IP" \
-m tcp --dport 9153 -j KUBE-SVC-JD5MR3NA4I4DYORP
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" \
-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
"""
KIND_DNS = """\
-A KUBE-SVC-TCOU7JCQXEZGVUNU ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p udp \
-m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-MARK-MASQ
-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "kube-system/kube-dns:dns -> 10.244.0.3:53" \
-m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-6E7XQMQ4RAYOWTTM
-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "kube-system/kube-dns:dns -> 10.244.0.4:53" \
-j KUBE-SEP-WXWGHGKZOCNYRYI7
-A KUBE-SEP-6E7XQMQ4RAYOWTTM -s 10.244.0.3/32 -m comment --comment "kube-system/kube-dns:dns" -j KUBE-MARK-MASQ
-A KUBE-SEP-6E7XQMQ4RAYOWTTM -p udp -m comment --comment "kube-system/kube-dns:dns" \
-m udp -j DNAT --to-destination 10.244.0.3:53
-A KUBE-SEP-WXWGHGKZOCNYRYI7 -s 10.244.0.4/32 -m comment --comment "kube-system/kube-dns:dns" -j KUBE-MARK-MASQ
-A KUBE-SEP-WXWGHGKZOCNYRYI7 -p udp -m comment --comment "kube-system/kube-dns:dns" \
-m udp -j DNAT --to-destination 10.244.0.4:53
"""


def test_the_chains_of_a_kind_node() -> None:
    tables = rendered(KIND, name="kind-control-plane")
    dns = ("KUBE-SVC-TCOU7JCQXEZGVUNU", "KUBE-SEP-6E7XQMQ4RAYOWTTM", "KUBE-SEP-WXWGHGKZOCNYRYI7")
    assert listing(tables, "KUBE-SERVICES") == KIND_SERVICES
    assert listing(tables, *dns) == KIND_DNS
    assert {name for name in tables["nat"] if name.startswith("KUBE-SVC-")} == {
        "KUBE-SVC-TCOU7JCQXEZGVUNU",
        "KUBE-SVC-ERIFXISQEP7F7OF4",
        "KUBE-SVC-JD5MR3NA4I4DYORP",
        "KUBE-SVC-NPX46M4PTMTKRN6Y",
    }
    assert tables["nat"]["KUBE-SVC-NPX46M4PTMTKRN6Y"].rules[-1].endswith("-j KUBE-SEP-QKX4QX54UKWK6JIY")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kube-system/kube-dns:dns/udp", "TCOU7JCQXEZGVUNU"),
        ("kube-system/kube-dns:dns-tcp/tcp", "ERIFXISQEP7F7OF4"),
        ("kube-system/kube-dns:metrics/tcp", "JD5MR3NA4I4DYORP"),
        ("default/kubernetes:https/tcp", "NPX46M4PTMTKRN6Y"),
        ("default/nginx-nodeport/tcp", "CGFVTWEXQTKV5QXW"),
        ("default/pod-check/tcp", "A26F6BALGETXAGKG"),
        ("default/hypriot/tcp", "ZR2S66X4UHNZHQUQ"),
        ("ns1/svc1:p80/tcp", "XPGD46QRK7WJZT7O"),
        ("ns2/svc2:p80/tcp", "GNZBNJ2PO5MGZ6GT"),
        ("ns3/svc3:p80/tcp", "X27LE4BHSL4DOUIK"),
        ("ns4/svc4:p80/tcp", "4SW47YFZTEDKD3PK"),
        ("ns5/svc5:p80/tcp", "NUKIZ6OKUXPJNT4C"),
        ("shop/web:http/tcp", "67NZLRHBNDSAWJRO"),
        ("shop/edge:https/tcp", "TFCKRJ4VVZESZDQY"),
    ],
)
def test_hashes_of_service_ports(name: str, expected: str) -> None:
    assert service_hash(service_port(name)) == expected


@pytest.mark.parametrize(
    ("name", "ip", "port", "expected"),
    [
        ("kube-system/kube-dns:dns/udp", "10.244.0.3", 53, "6E7XQMQ4RAYOWTTM"),
        ("kube-system/kube-dns:dns/udp", "10.244.0.4", 53, "WXWGHGKZOCNYRYI7"),
        ("default/kubernetes:https/tcp", "172.18.0.3", 6443, "QKX4QX54UKWK6JIY"),
        ("default/nginx-nodeport/tcp", "10.244.169.140", 80, "2WK7DTGWWQGBECK5"),
        ("default/pod-check/tcp", "10.244.169.191", 80, "I57WEEY5SFOMRE2L"),
        ("ns5/svc5:p80/tcp", "10.180.0.3", 80, "I77PXRDZVX7PMWMN"),
        ("default/web:http/tcp", "fd00:10:244::5", 8080, "VBF3M44FXEMK7CYW"),
    ],
)
def test_chains_of_endpoints(name: str, ip: str, port: int, expected: str) -> None:
    found = endpoint_chain(identity(service_port(name)), str(Endpoint(ip, port)))
    assert found == f"KUBE-SEP-{expected}"
    # The kernel takes 28 characters.
    assert len(found) <= 28


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        (2, "0.50000000000"),
        (3, "0.33333333349"),
        (4, "0.25000000000"),
        (5, "0.20000000019"),
        (6, "0.16666666651"),
        (7, "0.14285714272"),
        (8, "0.12500000000"),
        (9, "0.11111111101"),
        (10, "0.10000000009"),
    ],
)
def test_probabilities(endpoints: int, expected: str) -> None:
    assert probability(endpoints) == expected


def pod_check(*endpoints: str) -> list[Service]:
    service = {
        "name": "pod-check",
        "cluster_ip": "10.104.11.117",
        "ports": [{"port": 80, "target_port": 80}],
        "endpoints": [{"address": address} for address in endpoints],
    }
    return [*KIND, service]


def planned(before: list[Service], after: list[Service]) -> list[Operation]:
    return plan(rendered(before), rendered(after), ownership_of((), False, ()), "ipv4")


ONE = ("10.244.169.191",)
THREE = (*ONE, "10.244.169.192", "10.244.169.193")
SVC = "KUBE-SVC-A26F6BALGETXAGKG"
SEPS = [endpoint_chain(identity(service_port("default/pod-check/tcp")), str(Endpoint(ip, 80))) for ip in THREE]


def balancing(*endpoints: tuple[str, str, str]) -> tuple[str, ...]:
    """The rules of the service's chain: (share, address, chain)."""
    from_outside = (
        '! -s 10.244.0.0/16 -d 10.104.11.117/32 -p tcp -m comment --comment "default/pod-check cluster IP" '
        "-m tcp --dport 80 -j KUBE-MARK-MASQ"
    )
    rules = []
    for share, address, chain in endpoints:
        random = f"-m statistic --mode random --probability {share} " if share else ""
        rules.append(f'-m comment --comment "default/pod-check -> {address}:80" {random}-j {chain}')
    return (from_outside, *rules)


def endpoint_rules(address: str) -> tuple[str, ...]:
    text = '-m comment --comment "default/pod-check"'
    return (f"-s {address}/32 {text} -j KUBE-MARK-MASQ", f"-p tcp {text} -m tcp -j DNAT --to-destination {address}:80")


def test_scaling_writes_the_chains_that_change_and_no_other() -> None:
    shares = ("0.33333333349", "0.50000000000", "")
    three = balancing(*zip(shares, THREE, SEPS, strict=True))
    assert SEPS[0] == "KUBE-SEP-I57WEEY5SFOMRE2L"
    reason = "rule 2 of 4 is: " + balancing(("", ONE[0], SEPS[0]))[1]
    assert planned(pod_check(*ONE), pod_check(*THREE)) == [
        Operation("change", "chain", f"ipv4 nat {SVC}", reason, ChainContent("nat", SVC, three)),
        *(
            Operation(
                "add", "chain", f"ipv4 nat {sep}", "is missing", ChainContent("nat", sep, endpoint_rules(address))
            )
            for sep, address in zip(SEPS[1:], THREE[1:], strict=True)
        ),
    ]


def test_scaling_back_deletes_the_chains_of_the_endpoints_that_are_gone() -> None:
    one = balancing(("", ONE[0], SEPS[0]))
    found = planned(pod_check(*THREE), pod_check(*ONE))
    assert [(operation.verb, operation.payload) for operation in found] == [
        ("change", ChainContent("nat", SVC, one)),
        *(("remove", ChainContent("nat", sep, None)) for sep in sorted(SEPS[1:])),
    ]


def test_scaling_to_zero_moves_the_cluster_ip_from_nat_to_a_refusal_in_filter() -> None:
    found = planned(pod_check(*ONE), pod_check())
    assert [(operation.verb, operation.name) for operation in found] == [
        ("change", "ipv4 filter KUBE-SERVICES"),
        ("change", "ipv4 nat KUBE-SERVICES"),
        ("remove", f"ipv4 nat {SEPS[0]}"),
        ("remove", f"ipv4 nat {SVC}"),
    ]
    refused = (
        '-d 10.104.11.117/32 -p tcp -m comment --comment "default/pod-check has no endpoints" -m tcp --dport 80 '
        "-j REJECT --reject-with icmp-port-unreachable"
    )
    assert found[0].payload.rules == (refused,)


def count(tables: Tables) -> tuple[int, int]:
    """How many rules and user-defined chains there are."""
    chains = [chain for table in tables.values() for chain in table.values()]
    return sum(len(chain.rules) for chain in chains), sum(chain.policy is None for chain in chains)


def many(services: int, endpoints: int, extra: Callable[[int], Service]) -> list[Service]:
    """Services of so many endpoints, every second of which is on this node."""
    return [
        {
            "name": f"s{number}",
            "cluster_ip": f"10.96.{number // 250}.{number % 250 + 1}",
            "ports": [{"port": 80, "target_port": 8080, **extra(number).get("port", {})}],
            "endpoints": [
                {"address": f"10.244.{place // 250}.{place % 250 + 1}", "node": "node-a" if place % 2 else "node-b"}
                for place in range(endpoints)
            ],
            **{key: value for key, value in extra(number).items() if key != "port"},
        }
        for number in range(services)
    ]


def node_port(number: int) -> Service:
    return {"port": {"node_port": 30000 + number}}


def load_balancer(number: int) -> Service:
    """Two addresses, three ranges."""
    return {
        "type": "LoadBalancer",
        "load_balancer_ips": [f"203.0.113.{number + 1}", f"198.51.100.{number + 1}"],
        "load_balancer_source_ranges": ["192.0.2.0/24", "198.18.0.0/16", "10.0.0.0/8"],
    }


LOCAL = {"external_traffic_policy": "Local"}
STICKY = {"session_affinity": "ClientIP"}


@pytest.mark.parametrize("services", [0, 1, 7])
@pytest.mark.parametrize("endpoints", [2, 10])
@pytest.mark.parametrize(
    ("extra", "rules", "chains"),
    [
        # Per service: its dispatch rule, that of masquerading, a rule per endpoint, and two in each endpoint's chain.
        (lambda number: {}, lambda m: 2 + 3 * m, lambda m: 1 + m),
        # Affinity: one more per endpoint.
        (lambda number: STICKY, lambda m: 2 + 4 * m, lambda m: 1 + m),
        # A dispatch rule and KUBE-EXT with two.
        (node_port, lambda m: 2 + 3 * m + 3, lambda m: 2 + m),
        # KUBE-EXT has four, and KUBE-SVL a rule per local endpoint.
        (lambda number: {**node_port(number), **LOCAL}, lambda m: 2 + 3 * m + 5 + m // 2, lambda m: 3 + m),
        # Two dispatch rules and two that drop, KUBE-EXT with two, KUBE-FW with one per range and one.
        (load_balancer, lambda m: 2 + 3 * m + 2 * 2 + 2 + (3 + 1), lambda m: 3 + m),
        # KUBE-SVL takes the place of KUBE-SVC.
        (lambda number: {"internal_traffic_policy": "Local"}, lambda m: 2 + 3 * (m // 2), lambda m: 1 + m // 2),
    ],
    ids=["cluster IP", "affinity", "node port", "node port, Local", "load balancer", "internal Local"],
)
def test_the_number_of_rules_and_chains(
    services: int,
    endpoints: int,
    extra: Callable[[int], Service],
    rules: Callable[[int], int],
    chains: Callable[[int], int],
) -> None:
    found = count(rendered(many(services, endpoints, extra)))
    # Of no service: 14 jumps, and in chains 5 of nat and 4 of filter; 4 chains of nat and 6 of filter.
    assert found == (23 + services * rules(endpoints), 10 + services * chains(endpoints))


def test_services_without_endpoints_cost_one_rule() -> None:
    assert count(rendered(many(9, 0, lambda number: {}))) == (23 + 9, 10)


def test_a_large_cluster_has_no_comments_on_rules_of_endpoints() -> None:
    per_service = 100
    largest = LARGE_CLUSTER_ENDPOINTS // per_service
    small = rendered(many(largest, per_service, lambda number: STICKY))
    large = rendered([*many(largest, per_service, lambda number: STICKY), *KIND[1:]])
    assert count(large) == (count(small)[0] + 5, count(small)[1] + 2)
    for tables, commented in ((small, True), (large, False)):
        chains = [chain for name, chain in tables["nat"].items() if name.startswith(("KUBE-SVC-", "KUBE-SEP-"))]
        rules = [rule for chain in chains for rule in chain.rules if "cluster IP" not in rule]
        assert {"--comment" in rule for rule in rules} == {commented}
        assert all("--comment" in rule for rule in tables["nat"]["KUBE-SERVICES"].rules)
    masquerade = large["nat"]["KUBE-SVC-NPX46M4PTMTKRN6Y"].rules[0]
    assert '--comment "default/kubernetes:https cluster IP"' in masquerade


def test_endpoints_of_the_other_family_do_not_make_a_cluster_large() -> None:
    other = [
        {
            "name": "six",
            "cluster_ip": "fd00:96::1",
            "ports": [{"port": 80, "target_port": 80}],
            "endpoints": [{"address": f"fd00:244::{number:x}"} for number in range(1, LARGE_CLUSTER_ENDPOINTS + 2)],
        }
    ]
    assert rendered([*KIND, *other]) == rendered(KIND)
