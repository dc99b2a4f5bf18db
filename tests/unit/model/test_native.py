# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The native form: what its keys mean, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServicePort

# cluster IPs 10.96.0.0/16 and fd00:96::/64, pods 10.244.0.0/16 and fd00:244::/64, external 198.51.100.0/24, load
# balancers 203.0.113.0/24
CLUSTER_IP = "10.96.0.10"
CLUSTER_IP6 = "fd00:96::a"
POD = "10.244.1.5"


def service(**keys: Any) -> dict[str, Any]:
    """The smallest service, with some keys changed; None removes one."""
    merged = {"name": "web", "cluster_ip": CLUSTER_IP, "ports": [{"port": 80}], **keys}
    return {key: value for key, value in merged.items() if value is not None}


def one(**keys: Any) -> ServicePort:
    """The one service port of such a service."""
    (service_port,) = native.parse([service(**keys)]).service_ports
    return service_port


def problems(*services: Any) -> list[str]:
    """What is wrong with a list of services."""
    with pytest.raises(InputError) as caught:
        native.parse(list(services))
    return caught.value.problems


def test_the_smallest_service() -> None:
    assert one() == ServicePort("default", "web", "", "tcp", "ipv4", CLUSTER_IP, 80)


def test_the_largest_service() -> None:
    assert one(
        namespace="shop",
        type="LoadBalancer",
        external_ips=["198.51.100.50"],
        load_balancer_ips=["203.0.113.10"],
        load_balancer_source_ranges=["198.51.100.0/24"],
        session_affinity="ClientIP",
        session_affinity_timeout=60,
        internal_traffic_policy="Local",
        external_traffic_policy="Local",
        health_check_node_port=32000,
        scheduler="mh",
        scheduler_flags=["mh-port", "flag-3"],
        topology_mode="Auto",
        ports=[{"name": "dns", "port": 53, "protocol": "udp", "target_port": 5353, "node_port": 30053}],
        endpoints=[
            {
                "address": POD,
                "node": "node-a",
                "weight": 7,
                "ready": False,
                "serving": False,
                "terminating": True,
                "hints": {"zones": ["zone-1"], "nodes": ["node-a"]},
                "ports": {"dns": 5454},
            }
        ],
    ) == ServicePort(
        namespace="shop",
        name="web",
        port_name="dns",
        protocol="udp",
        family="ipv4",
        cluster_ip=CLUSTER_IP,
        port=53,
        node_port=30053,
        external_ips=("198.51.100.50",),
        load_balancer_ips=("203.0.113.10",),
        source_ranges=("198.51.100.0/24",),
        affinity_timeout=60,
        internal_local=True,
        external_local=True,
        health_check_node_port=32000,
        topology_mode="Auto",
        scheduler="mh",
        scheduler_flags=("flag-2", "flag-3"),
        endpoints=(Endpoint(POD, 5454, "node-a", False, False, True, ("zone-1",), ("node-a",), 7),),
    )


def test_a_mapping_with_services_is_the_same_as_the_list() -> None:
    assert native.parse({"services": [service()]}) == native.parse([service()])


def test_null_is_the_same_as_no_key() -> None:
    assert native.parse([{**service(), "endpoints": None, "scheduler": None}]) == native.parse([service()])


def test_numbers_that_a_template_made_text_are_numbers() -> None:
    assert one(ports=[{"port": "80", "node_port": "30080"}]).node_port == 30080


def test_session_affinity_lasts_three_hours_unless_said_otherwise() -> None:
    assert one(session_affinity="ClientIP").affinity_timeout == 10800


@pytest.mark.parametrize(
    ("keys", "implied"),
    [
        ({}, False),
        ({"ports": [{"port": 80, "node_port": 30080}]}, True),
        ({"load_balancer_ips": ["203.0.113.10"]}, True),
        ({"external_ips": ["198.51.100.50"]}, True),
    ],
)
def test_external_policy_local_counts_where_something_leads_in_from_outside(
    keys: dict[str, Any], implied: bool
) -> None:
    if implied:
        assert one(external_traffic_policy="Local", **keys).external_local
    else:
        assert problems(service(external_traffic_policy="Local")) == [
            "services[0].external_traffic_policy: has no effect without a node port, load balancer or external IP"
        ]


def test_dual_stack_gives_a_service_port_per_family_each_with_its_own_addresses() -> None:
    first, second = native.parse(
        [
            service(
                cluster_ip=None,
                cluster_ips=[CLUSTER_IP, CLUSTER_IP6],
                external_ips=["198.51.100.50", "2001:DB8::50"],
                load_balancer_ips=["2001:db8::10", "203.0.113.10"],
                load_balancer_source_ranges=["198.51.100.0/24", "2001:db8:1::/48"],
                endpoints=[POD, "fd00:244::5"],
                ports=[{"port": 80, "node_port": 30080}],
            )
        ]
    ).service_ports
    assert (first.family, first.cluster_ip, first.external_ips) == ("ipv4", CLUSTER_IP, ("198.51.100.50",))
    assert (first.load_balancer_ips, first.source_ranges) == (("203.0.113.10",), ("198.51.100.0/24",))
    assert first.endpoints == (Endpoint(POD, 80),)
    assert (second.family, second.cluster_ip, second.external_ips) == ("ipv6", CLUSTER_IP6, ("2001:db8::50",))
    assert (second.load_balancer_ips, second.source_ranges) == (("2001:db8::10",), ("2001:db8:1::/48",))
    assert second.endpoints == (Endpoint("fd00:244::5", 80),)
    assert first.node_port == second.node_port == 30080


@pytest.mark.parametrize(
    ("item", "endpoint"),
    [
        (POD, Endpoint(POD, 8080)),
        (f"{POD}:9090", Endpoint(POD, 9090)),
        ({"address": POD}, Endpoint(POD, 8080)),
        ({"address": f"{POD}:9090"}, Endpoint(POD, 9090)),
        ({"address": POD, "ports": {"http": 9090}}, Endpoint(POD, 9090)),
        ({"address": POD, "node": "Node-A"}, Endpoint(POD, 8080, "node-a")),
        ({"address": POD, "weight": 0}, Endpoint(POD, 8080, weight=0)),
        ({"address": POD, "terminating": True}, Endpoint(POD, 8080, ready=False, terminating=True)),
        ({"address": POD, "terminating": True, "ready": True}, Endpoint(POD, 8080, terminating=True)),
        ({"address": POD, "ready": "no"}, Endpoint(POD, 8080, ready=False)),
    ],
)
def test_endpoints(item: object, endpoint: Endpoint) -> None:
    assert one(ports=[{"name": "http", "port": 80, "target_port": 8080}], endpoints=[item]).endpoints == (endpoint,)


def test_an_ipv6_endpoint_with_port_is_in_brackets() -> None:
    assert one(cluster_ip=CLUSTER_IP6, endpoints=["[FD00:244::5]:8080", "fd00:244::6"]).endpoints == (
        Endpoint("fd00:244::5", 8080),
        Endpoint("fd00:244::6", 80),
    )


@pytest.mark.parametrize("number", [1, 65535])
def test_an_endpoint_may_have_any_port(number: int) -> None:
    assert one(endpoints=[f"{POD}:{number}"]).endpoints == (Endpoint(POD, number),)


def test_each_port_leads_to_its_own_target() -> None:
    ports = [{"name": "http", "port": 80, "target_port": 8080}, {"name": "metrics", "port": 9090}]
    data = native.parse([service(ports=ports, endpoints=[{"address": POD, "ports": {"metrics": 9191}}])])
    assert [(p.port_name, str(p.endpoints[0])) for p in data.service_ports] == [
        ("http", f"{POD}:8080"),
        ("metrics", f"{POD}:9191"),
    ]


def test_endpoints_keep_their_order_and_repetitions() -> None:
    assert [e.ip for e in one(endpoints=["10.244.9.9", POD, "10.244.9.9"]).endpoints] == [
        "10.244.9.9",
        POD,
        "10.244.9.9",
    ]


def test_repeated_addresses_stay() -> None:
    assert one(external_ips=["198.51.100.50", "198.51.100.50"]).external_ips == ("198.51.100.50", "198.51.100.50")


def test_service_ports_are_sorted_by_family_namespace_and_name() -> None:
    data = native.parse(
        [
            service(name="b", cluster_ip="10.96.0.2"),
            service(name="c", cluster_ip="fd00:96::1"),
            service(name="a", cluster_ip="10.96.0.1"),
            service(name="z", cluster_ip="10.96.0.3", namespace="aaa"),
        ]
    )
    assert [str(port) for port in data.service_ports] == ["aaa/z", "default/a", "default/b", "default/c"]


LABEL = "is not a DNS label: lower-case letters, digits and inner hyphens only"
BALANCED = {"load_balancer_ips": ["203.0.113.10"]}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"clusterip": 1}, "clusterip: unknown key (did you mean 'cluster_ip'?)"),
        ({"xyzzy": 1}, "xyzzy: unknown key"),
        ({"name": None}, "name: is required"),
        ({"name": 7}, "name: must be text, not 7"),
        ({"name": "Web"}, f"name: 'Web' {LABEL}"),
        ({"name": "-web"}, f"name: '-web' {LABEL}"),
        ({"name": "w" * 64}, f"name: '{'w' * 64}' is longer than 63 characters"),
        ({"namespace": "n" * 64}, f"namespace: '{'n' * 64}' is longer than 63 characters"),
        ({"cluster_ip": None}, "cluster_ip: is required"),
        ({"cluster_ip": "None"}, "cluster_ip: 'None' is not an IP address; names are not resolved"),
        ({"cluster_ip": "0.0.0.0"}, "cluster_ip: 0.0.0.0 is an unspecified address"),
        ({"cluster_ip": "224.0.0.1"}, "cluster_ip: 224.0.0.1 is a multicast address"),
        ({"cluster_ips": ["10.96.0.11"]}, "cluster_ip: contradicts cluster_ips; give one of them"),
        ({"cluster_ip": None, "cluster_ips": []}, "cluster_ips: must hold at least one address"),
        (
            {"cluster_ip": None, "cluster_ips": [CLUSTER_IP, "10.96.0.11"]},
            "cluster_ips[1]: 10.96.0.11 is a second ipv4 cluster IP",
        ),
        ({"type": "ExternalName"}, "type: 'ExternalName' is not one of ClusterIP, NodePort, LoadBalancer"),
        (
            {"type": "Nodeport"},
            "type: 'Nodeport' is not one of ClusterIP, NodePort, LoadBalancer (did you mean 'NodePort'?)",
        ),
        (
            {"type": "ClusterIP", **BALANCED},
            "load_balancer_ips: needs type LoadBalancer, the service is of type ClusterIP",
        ),
        ({"type": "NodePort"}, "ports[0].node_port: is required for type NodePort"),
        (
            {"type": "ClusterIP", "ports": [{"port": 80, "node_port": 30080}]},
            "ports[0].node_port: needs type NodePort or LoadBalancer, the service is of type ClusterIP",
        ),
        ({"external_ips": "198.51.100.50"}, "external_ips: must be a list, not '198.51.100.50'"),
        ({"external_ips": [1]}, "external_ips[0]: must be text, not 1"),
        ({"external_ips": ["127.0.0.1"]}, "external_ips[0]: 127.0.0.1 is a loopback address"),
        (
            {"external_ips": ["2001:db8::1"]},
            "external_ips[0]: 2001:db8::1 is ipv6, but the service has no ipv6 cluster IP",
        ),
        (
            {"load_balancer_source_ranges": ["10.0.0.0/8"]},
            "load_balancer_source_ranges: needs type LoadBalancer, the service is of type ClusterIP",
        ),
        (
            {**BALANCED, "load_balancer_source_ranges": ["10.0.0.1"]},
            (
                "load_balancer_source_ranges[0]: '10.0.0.1' is not a network such as 10.0.0.0/8; "
                "for one address write 10.0.0.1/32"
            ),
        ),
        (
            {**BALANCED, "load_balancer_source_ranges": ["10.0.0.1/8"]},
            "load_balancer_source_ranges[0]: 10.0.0.1/8 has bits set beyond its prefix length; write 10.0.0.0/8",
        ),
        (
            {**BALANCED, "load_balancer_source_ranges": ["fd00::/8"]},
            "load_balancer_source_ranges[0]: fd00::/8 is ipv6, but the service has no ipv6 cluster IP",
        ),
        (
            {**BALANCED, "health_check_node_port": 32000},
            "health_check_node_port: has no effect without external_traffic_policy: Local",
        ),
        (
            {**BALANCED, "external_traffic_policy": "Local", "health_check_node_port": 99},
            "health_check_node_port: 99 is outside 1024..65535",
        ),
        (
            {"external_ips": ["203.0.113.1"], "external_traffic_policy": "Local", "health_check_node_port": 32000},
            "health_check_node_port: needs type LoadBalancer, the service is of type ClusterIP",
        ),
        (
            {"session_affinity": "clientip"},
            "session_affinity: 'clientip' is not one of None, ClientIP (did you mean 'ClientIP'?)",
        ),
        (
            {"session_affinity_timeout": 60},
            "session_affinity_timeout: has no effect without session_affinity: ClientIP",
        ),
        (
            {"session_affinity": "ClientIP", "session_affinity_timeout": 86401},
            "session_affinity_timeout: 86401 is outside 1..86400",
        ),
        (
            {"internal_traffic_policy": "local"},
            "internal_traffic_policy: 'local' is not one of Cluster, Local (did you mean 'Local'?)",
        ),
        (
            {"scheduler": "wlcc"},
            (
                "scheduler: 'wlcc' is not an IPVS scheduler "
                "(rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos) (did you mean 'wlc'?)"
            ),
        ),
        (
            {"scheduler_flags": ["sh-port"]},
            "scheduler_flags[0]: 'sh-port' is not a flag of a service that names no scheduler (flag-1, flag-2, flag-3)",
        ),
        (
            {"scheduler": "sh", "scheduler_flags": ["mh-port"]},
            (
                "scheduler_flags[0]: 'mh-port' is not a flag of scheduler sh "
                "(flag-1, flag-2, flag-3, sh-fallback, sh-port) (did you mean 'sh-port'?)"
            ),
        ),
        ({"ports": None}, "ports: must hold at least one port"),
        ({"ports": {"port": 80}}, "ports: must be a list, not a mapping"),
        ({"ports": [80]}, "ports[0]: must be a mapping, not 80"),
        ({"ports": [{"port": 80, "nodeport": 1}]}, "ports[0].nodeport: unknown key (did you mean 'node_port'?)"),
        ({"ports": [{}]}, "ports[0].port: is required"),
        ({"ports": [{"port": 0}]}, "ports[0].port: 0 is outside 1..65535"),
        ({"ports": [{"port": 65536}]}, "ports[0].port: 65536 is outside 1..65535"),
        ({"ports": [{"port": 80.5}]}, "ports[0].port: must be a whole number, not 80.5"),
        ({"ports": [{"port": True}]}, "ports[0].port: must be a whole number, not true"),
        (
            {"ports": [{"port": 80, "protocol": "TCP"}]},
            "ports[0].protocol: 'TCP' is not one of tcp, udp, sctp (did you mean 'tcp'?)",
        ),
        ({"ports": [{"port": 80, "target_port": "http"}]}, "ports[0].target_port: must be a whole number, not 'http'"),
        ({"ports": [{"port": 80, "node_port": 80}]}, "ports[0].node_port: 80 is outside 1024..65535"),
        (
            {"ports": [{"port": 80, "name": "a-name-too-long-x"}]},
            "ports[0].name: 'a-name-too-long-x' is longer than 15 characters",
        ),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81}]}, "ports[1].name: is required"),
        ({"endpoints": POD}, f"endpoints: must be a list, not '{POD}'"),
        ({"endpoints": [7]}, "endpoints[0]: must be a mapping, not 7"),
        ({"endpoints": ["pod-1"]}, "endpoints[0]: 'pod-1' is not an IP address; names are not resolved"),
        ({"endpoints": [f"{POD}:0"]}, "endpoints[0]: port 0 is outside 1..65535"),
        ({"endpoints": ["127.0.0.1:80"]}, "endpoints[0]: 127.0.0.1 is a loopback address"),
        ({"endpoints": ["fd00::1"]}, "endpoints[0]: fd00::1 is ipv6, but the service has no ipv6 cluster IP"),
        ({"endpoints": [{}]}, "endpoints[0].address: is required"),
        ({"endpoints": [{"address": POD, "nod": "a"}]}, "endpoints[0].nod: unknown key (did you mean 'node'?)"),
        ({"endpoints": [{"address": POD, "weight": -1}]}, "endpoints[0].weight: -1 is outside 0..65535"),
        ({"endpoints": [{"address": POD, "weight": 65536}]}, "endpoints[0].weight: 65536 is outside 0..65535"),
        ({"endpoints": [{"address": POD, "ready": 1}]}, "endpoints[0].ready: must be true or false, not 1"),
        (
            {"endpoints": [{"address": POD, "hints": {"zone": []}}]},
            "endpoints[0].hints.zone: unknown key (did you mean 'zones'?)",
        ),
        (
            {"ports": [{"name": "http", "port": 80}], "endpoints": [{"address": POD, "ports": {"htp": 1}}]},
            "endpoints[0].ports.htp: the service has no port of that name (did you mean 'http'?)",
        ),
        (
            {"ports": [{"name": "http", "port": 80}], "endpoints": [{"address": POD, "ports": {"http": 0}}]},
            "endpoints[0].ports.http: 0 is outside 1..65535",
        ),
        (
            {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}], "endpoints": [f"{POD}:80"]},
            "endpoints[0]: the service has several ports; name them under the endpoint's ports",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_path(keys: dict[str, Any], problem: str) -> None:
    assert problems(service(**keys)) == [f"services[0].{problem}"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("web", "services: must be a list of services"),
        ({"services": "web"}, "services: must be a list of services"),
        ({"service": []}, "service: unknown key (did you mean 'services'?)"),
        (["web"], "services[0]: must be a mapping, not 'web'"),
    ],
)
def test_documents_that_are_no_list_of_services(document: object, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        native.parse(document)
    assert caught.value.problems[0] == problem


def test_all_problems_are_collected() -> None:
    assert problems(service(name="A"), service(name="b", ports=[{"port": 0}])) == [
        f"services[0].name: 'A' {LABEL}",
        "services[1].ports[0].port: 0 is outside 1..65535",
    ]


def test_only_the_first_fifty_problems_are_shown_and_the_others_counted() -> None:
    found = problems(*(service(name=f"web-{i}", cluster_ip="x") for i in range(60)))
    assert len(found) == 51
    assert found[-1] == "... and 10 more problems"
