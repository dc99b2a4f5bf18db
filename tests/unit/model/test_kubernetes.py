# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Kubernetes form: what kube-proxy takes from Service and EndpointSlice objects (data-plane 1.1.1 to 1.1.4)."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import kubernetes
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import (
    Endpoint,
    ServicePort,
    effective_source_ranges,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.model.version import VERSIONS

Object = dict[str, Any]

# cluster IPs 10.96.0.0/16 and fd00:96::/64, pods 10.244.0.0/16 and fd00:244::/64, external 198.51.100.0/24, load
# balancers 203.0.113.0/24
CLUSTER_IP = "10.96.0.10"
CLUSTER_IP6 = "fd00:96::a"
POD = "10.244.1.5"
READY = {"ready": True, "serving": True, "terminating": False}
PORT = {"port": 80, "protocol": "TCP", "targetPort": 8080}


def service(metadata: Object | None = None, status: Object | None = None, **spec: Any) -> Object:
    """A Service with some of its spec changed."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "uid": "1", **(metadata or {})},
        "spec": {"type": "ClusterIP", "clusterIP": CLUSTER_IP, "clusterIPs": [CLUSTER_IP], "ports": [PORT], **spec},
        "status": status or {"loadBalancer": {}},
    }


def endpoint_slice(endpoint: Object | None = None, metadata: Object | None = None, **keys: Any) -> Object:
    """An EndpointSlice of one endpoint."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {
            "name": "web-x",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"},
            **(metadata or {}),
        },
        "endpoints": [{"addresses": [POD], "conditions": READY, "nodeName": "node-a", **(endpoint or {})}],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        **keys,
    }


def parse(*objects: Object) -> tuple[ServicePort, ...]:
    return kubernetes.parse({"kind": "List", "items": list(objects)}).service_ports


def one(**spec: Any) -> ServicePort:
    """The one service port of a Service with this spec."""
    (service_port,) = parse(service(**spec))
    return service_port


def endpoints(*slices: Object, **spec: Any) -> tuple[Endpoint, ...]:
    """The endpoints of a Service with these slices."""
    (service_port,) = parse(service(**spec), *slices)
    return service_port.endpoints


def problems(*objects: Object) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse(*objects)
    return caught.value.problems


def test_a_service_and_its_slice() -> None:
    assert parse(service(), endpoint_slice()) == (
        ServicePort("default", "web", "", "tcp", "ipv4", CLUSTER_IP, 80, endpoints=(Endpoint(POD, 8080, "node-a"),)),
    )


BARE = {key: value for key, value in service().items() if key != "kind"}
BARE_SLICE = {key: value for key, value in endpoint_slice().items() if key != "kind"}


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "List", "items": [service(), endpoint_slice()]},
        [service(), endpoint_slice()],
        [endpoint_slice(), None, service()],
        [{"kind": "List", "items": [service()]}, {"kind": "List", "items": [endpoint_slice()]}],
        [{"kind": "ServiceList", "items": [BARE]}, {"kind": "EndpointSliceList", "items": [BARE_SLICE]}],
        [service(), endpoint_slice(), {"kind": "Endpoints", "subsets": 7}, {"kind": "Node"}, {"kind": "Gateway"}],
    ],
)
def test_every_way_to_hand_over_objects(document: object) -> None:
    assert kubernetes.parse(document).service_ports == parse(service(), endpoint_slice())


def test_a_single_object() -> None:
    assert kubernetes.parse(service()).service_ports == (one(),)


@pytest.mark.parametrize(
    "skipped",
    [
        service(clusterIP="None", clusterIPs=["None"]),
        service(clusterIP="", clusterIPs=[]),
        {
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"type": "ExternalName", "externalName": "example.org"},
        },
        service(type="ExternalName"),
        service({"labels": {"service.kubernetes.io/service-proxy-name": ""}}),
    ],
)
def test_services_that_are_skipped(skipped: Object) -> None:
    assert parse(skipped, endpoint_slice()) == ()


def test_service_cidrs_of_all_objects() -> None:
    cidrs = ([" 10.97.0.0/16"], ["fd00:96::/108", "10.96.0.0/16"], ["10.96.0.0/16"])
    objects = [{"kind": "ServiceCIDR", "metadata": {"name": "x"}, "spec": {"cidrs": found}} for found in cidrs]
    assert kubernetes.parse(objects).service_cidrs == ("10.96.0.0/16", "10.97.0.0/16", "fd00:96::/108")
    assert problems({"kind": "ServiceCIDR", "spec": {"cidrs": ["10.96.0.0"]}}) == [
        "items[0].spec.cidrs[0]: '10.96.0.0' is not a network such as 10.0.0.0/8; for one address write 10.96.0.0/32"
    ]


HEADLESS, PROXY_NAME = "service.kubernetes.io/headless", "service.kubernetes.io/service-proxy-name"


@pytest.mark.parametrize(
    ("on_service", "on_slice", "old", "new"),
    [
        ("other", "other", [1], [1]),
        (PROXY_NAME, "other", [], []),
        (HEADLESS, "other", [], [1]),
        ("other", PROXY_NAME, [0], [1]),
        ("other", HEADLESS, [0], [0]),
    ],
)
def test_labels_by_which_versions_skip_services_and_slices(
    on_service: str, on_slice: str, old: list[int], new: list[int]
) -> None:
    """``old`` and ``new`` are how many endpoints each service port has."""
    labels = {"kubernetes.io/service-name": "web", on_slice: ""}
    data = kubernetes.parse([service({"labels": {on_service: ""}}), endpoint_slice(metadata={"labels": labels})])
    counts = {name: [len(p.endpoints) for p in data.as_of(VERSIONS[name]).service_ports] for name in VERSIONS}
    assert counts == {"1.30": old, "1.36": new}


def test_slices_of_other_services_namespaces_and_address_types_do_not_count() -> None:
    assert (
        endpoints(
            endpoint_slice(metadata={"labels": {"kubernetes.io/service-name": "api"}}),
            endpoint_slice(metadata={"namespace": "shop"}),
            endpoint_slice({"addresses": ["example.org"]}, addressType="FQDN"),
        )
        == ()
    )


def test_what_the_api_would_fill_in_may_be_missing() -> None:
    (port,) = parse(
        {"kind": "Service", "metadata": {"name": "web"}, "spec": {"clusterIP": CLUSTER_IP, "ports": [{"port": 80}]}}
    )
    assert port == ServicePort("default", "web", "", "tcp", "ipv4", CLUSTER_IP, 80)


def test_dual_stack() -> None:
    first, second = parse(
        service(
            clusterIPs=[CLUSTER_IP6, CLUSTER_IP],
            externalIPs=["198.51.100.50", "2001:db8::50"],
            loadBalancerSourceRanges=["198.51.100.0/24", " 2001:db8:1::/48 "],
            status={"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}, {"ip": "2001:db8::10"}]}},
        ),
        endpoint_slice(),
        endpoint_slice({"addresses": ["fd00:244::5"]}, addressType="IPv6"),
    )
    assert (first.family, first.cluster_ip, first.external_ips) == ("ipv4", CLUSTER_IP, ("198.51.100.50",))
    assert (first.load_balancer_ips, first.source_ranges) == (("203.0.113.10",), ("198.51.100.0/24",))
    assert first.endpoints == (Endpoint(POD, 8080, "node-a"),)
    assert (second.family, second.cluster_ip, second.external_ips) == ("ipv6", CLUSTER_IP6, ("2001:db8::50",))
    assert (second.load_balancer_ips, second.source_ranges) == (("2001:db8::10",), ("2001:db8:1::/48",))
    assert second.endpoints == (Endpoint("fd00:244::5", 8080, "node-a"),)


def test_addresses_of_a_family_without_cluster_ip_are_dropped() -> None:
    port = one(externalIPs=["2001:db8::50"], loadBalancerSourceRanges=["::/0"])
    assert (port.external_ips, port.source_ranges) == ((), ())


@pytest.mark.parametrize(
    ("ingress", "ips"),
    [
        ([{"ip": "203.0.113.10"}], ("203.0.113.10",)),
        ([{"ip": "203.0.113.10", "ipMode": "VIP"}], ("203.0.113.10",)),
        ([{"ip": "203.0.113.10", "ipMode": "Proxy"}], ()),
        ([{"ip": "127.0.0.5"}], ("127.0.0.5",)),
        ([{"hostname": "lb.example.org"}], ()),
        (
            [{"ip": "203.0.113.10"}, {"ip": "203.0.113.9"}, {"ip": "203.0.113.10"}],
            ("203.0.113.10", "203.0.113.9", "203.0.113.10"),
        ),
        (None, ()),
    ],
)
def test_load_balancer_ips(ingress: object, ips: tuple[str, ...]) -> None:
    (port,) = parse(service(status={"loadBalancer": {"ingress": ingress}}))
    assert port.load_balancer_ips == ips


@pytest.mark.parametrize(
    ("spec", "timeout"),
    [
        ({"sessionAffinity": "None"}, 0),
        ({"sessionAffinity": "ClientIP"}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 60),
    ],
)
def test_session_affinity(spec: Object, timeout: int) -> None:
    assert one(**spec).affinity_timeout == timeout


@pytest.mark.parametrize(
    ("spec", "local"),
    [
        ({"type": "NodePort", "externalTrafficPolicy": "Local"}, True),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, True),
        ({"type": "ClusterIP", "externalTrafficPolicy": "Local"}, False),
        ({"type": "ClusterIP", "externalTrafficPolicy": "Local", "externalIPs": ["198.51.100.50"]}, True),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}, False),
        ({"type": "LoadBalancer"}, False),
    ],
)
def test_external_traffic_policy(spec: Object, local: bool) -> None:
    assert one(**spec).external_local == local


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, 32000),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}, 0),
        ({"type": "NodePort", "externalTrafficPolicy": "Local"}, 0),
    ],
)
def test_health_check_node_port(spec: Object, number: int) -> None:
    assert one(healthCheckNodePort=32000, **spec).health_check_node_port == number


def test_internal_traffic_policy() -> None:
    assert one(internalTrafficPolicy="Local").internal_local
    assert not one(internalTrafficPolicy="Cluster").internal_local


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_node_ports(policy: str) -> None:
    assert one(type="NodePort", externalTrafficPolicy=policy, ports=[{**PORT, "nodePort": 30080}]).node_port == 30080
    assert one(type="NodePort", externalTrafficPolicy=policy, ports=[{**PORT, "nodePort": 0}]).node_port == 0
    # An API server may be told to give out any.
    assert one(type="NodePort", externalTrafficPolicy=policy, ports=[{**PORT, "nodePort": 443}]).node_port == 443


@pytest.mark.parametrize(
    ("annotations", "mode"),
    [
        ({}, ""),
        ({"service.kubernetes.io/topology-mode": "Auto"}, "Auto"),
        ({"service.kubernetes.io/topology-aware-hints": "auto"}, "auto"),
        (
            {"service.kubernetes.io/topology-mode": "Auto", "service.kubernetes.io/topology-aware-hints": "Disabled"},
            "Disabled",
        ),
    ],
)
def test_topology_mode(annotations: Object, mode: str) -> None:
    (port,) = parse(service({"annotations": annotations}))
    assert port.topology_mode == mode


def test_source_ranges_stay_as_given_and_the_version_says_what_a_zero_cidr_means() -> None:
    port = one(loadBalancerSourceRanges=["198.51.100.7/24", "0.0.0.0/0", "198.51.100.0/24"])
    assert port.source_ranges == ("198.51.100.0/24", "0.0.0.0/0", "198.51.100.0/24")
    assert effective_source_ranges(port, zero_cidr_means_any=False) == port.source_ranges
    assert effective_source_ranges(port, zero_cidr_means_any=True) == ()
    limited = one(loadBalancerSourceRanges=["198.51.100.0/24"])
    assert effective_source_ranges(limited, zero_cidr_means_any=True) == ("198.51.100.0/24",)


def test_annotations_of_this_collection() -> None:
    annotations = {"kubenode.proxy/scheduler": "sh", "kubenode.proxy/scheduler-flags": "sh-port, sh-fallback"}
    weights = {"annotations": {"kubenode.proxy/weights": '{"10.244.1.5": 3, "10.244.1.99": 1}'}}
    (port,) = parse(service({"annotations": annotations}), endpoint_slice(metadata=weights))
    assert (port.scheduler, port.scheduler_flags) == ("sh", ("flag-1", "flag-2"))
    assert port.endpoints == (Endpoint(POD, 8080, "node-a", weight=3),)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ({"conditions": {}}, Endpoint(POD, 8080, "node-a")),
        ({"conditions": None}, Endpoint(POD, 8080, "node-a")),
        ({"conditions": {"ready": None}}, Endpoint(POD, 8080, "node-a")),
        ({"conditions": {"ready": False}}, Endpoint(POD, 8080, "node-a", ready=False)),
        (
            {"conditions": {"ready": False, "serving": False, "terminating": True}},
            Endpoint(POD, 8080, "node-a", False, False, True),
        ),
        ({"nodeName": None}, Endpoint(POD, 8080)),
        ({"addresses": [POD, "10.244.1.6"]}, Endpoint(POD, 8080, "node-a")),
        (
            {"hints": {"forZones": [{"name": "zone-1"}, {"name": "zone-2"}], "forNodes": [{"name": "node-b"}]}},
            Endpoint(POD, 8080, "node-a", zones=("zone-1", "zone-2"), nodes=("node-b",)),
        ),
    ],
)
def test_endpoints(endpoint: Object, expected: Endpoint) -> None:
    assert endpoints(endpoint_slice(endpoint)) == (expected,)


@pytest.mark.parametrize(
    ("slice_ports", "targets"),
    [
        ([{"name": "", "port": 8080, "protocol": "TCP"}], [f"{POD}:8080"]),
        ([{"port": 8080}], [f"{POD}:8080"]),
        ([{"name": "http", "port": 8080, "protocol": "TCP"}], []),
        ([{"name": "", "port": 8080, "protocol": "UDP"}], []),
        ([{"name": "", "port": None, "protocol": "TCP"}], []),
        ([{"name": "", "port": 0, "protocol": "TCP"}], []),
        ([{"name": "", "port": 8080}, {"name": "", "port": 8081}], [f"{POD}:8080", f"{POD}:8081"]),
        (None, []),
    ],
)
def test_slice_ports_belong_to_the_service_port_of_that_name_and_protocol(
    slice_ports: object, targets: list[str]
) -> None:
    assert [str(e) for e in endpoints(endpoint_slice(ports=slice_ports))] == targets


def test_endpoints_of_several_slices_keep_their_order_and_repetitions() -> None:
    found = endpoints(endpoint_slice({"addresses": ["10.244.9.9"]}), endpoint_slice(), endpoint_slice())
    assert [e.ip for e in found] == ["10.244.9.9", POD, POD]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"ports": [{"port": 80, "nodePort": 65536}]}, "spec.ports[0].nodePort: 65536 is outside 0..65535"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port: 0 is outside 1..65535"),
        ({"ports": [{"name": "x"}]}, "spec.ports[0].port: is required"),
        (
            {"ports": [{"port": 80, "protocol": "tcp"}]},
            "spec.ports[0].protocol: 'tcp' is not one of TCP, UDP, SCTP (did you mean 'TCP'?)",
        ),
        (
            {"ports": [{"port": 80, "name": "p" * 64}]},
            f"spec.ports[0].name: '{'p' * 64}' is longer than 63 characters",
        ),
        (
            {"ports": [{"port": 80, "name": 'p"\nflush ruleset'}]},
            (
                "spec.ports[0].name: 'p\"\\nflush ruleset' is not a DNS label: lower-case letters, digits and inner "
                "hyphens only"
            ),
        ),
        ({"ports": 80}, "spec.ports: must be a list, not 80"),
        (
            {"ports": [PORT, {**PORT, "port": 81}]},
            "spec.ports[1]: is a second tcp port without a name, after items[0].spec.ports[0]",
        ),
        ({"clusterIPs": ["10.96.0.300"]}, "spec.clusterIPs[0]: '10.96.0.300' is not an IP address"),
        (
            {"clusterIP": "x.y", "clusterIPs": None},
            "spec.clusterIP: 'x.y' is not an IP address; names are not resolved",
        ),
        ({"clusterIPs": [CLUSTER_IP, "10.96.0.11"]}, "spec.clusterIPs[1]: 10.96.0.11 is a second ipv4 cluster IP"),
        ({"externalIPs": ["0.0.0.0"]}, "spec.externalIPs[0]: 0.0.0.0 is an unspecified address"),
        (
            {"loadBalancerSourceRanges": ["any"]},
            "spec.loadBalancerSourceRanges[0]: 'any' is not a network such as 10.0.0.0/8",
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 is outside 1..86400",
        ),
        (
            {"externalTrafficPolicy": "local"},
            "spec.externalTrafficPolicy: 'local' is not one of Cluster, Local (did you mean 'Local'?)",
        ),
        (
            {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 70000},
            "spec.healthCheckNodePort: 70000 is outside 0..65535",
        ),
        ({"metadata": {"name": "w" * 64}}, f"metadata.name: '{'w' * 64}' is longer than 63 characters"),
        (
            {"metadata": {"name": "w\n-F INPUT\n#"}},
            ("metadata.name: 'w\\n-F INPUT\\n#' is not a DNS label: lower-case letters, digits and inner hyphens only"),
        ),
        ({"metadata": {"name": 5}}, "metadata.name: must be text, not 5"),
        ({"metadata": {"name": None}}, "metadata.name: is required"),
        ({"metadata": {"namespace": "n" * 64}}, f"metadata.namespace: '{'n' * 64}' is longer than 63 characters"),
        (
            {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.010"}]}}},
            (
                "status.loadBalancer.ingress[0].ip: '203.0.113.010' has leading zeros, which some programs read as "
                "octal; leave them out"
            ),
        ),
        (
            {"metadata": {"annotations": {"kubenode.proxy/scheduler": "best"}}},
            (
                "metadata.annotations.kubenode.proxy/scheduler: 'best' is not an IPVS scheduler "
                "(rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos)"
            ),
        ),
        (
            {"metadata": {"annotations": {"kubenode.proxy/scheduler-flags": "flag-4"}}},
            (
                "metadata.annotations.kubenode.proxy/scheduler-flags: 'flag-4' is not a flag of a service that names "
                "no scheduler (flag-1, flag-2, flag-3) (did you mean 'flag-3'?)"
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_service(spec: Object, problem: str) -> None:
    assert problems(service(**spec)) == [f"items[0].{problem}"]


ADDRESSES = "endpoints[0].addresses"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"endpoint": {"addresses": []}}, f"{ADDRESSES}: must be a list of at least one address"),
        ({"endpoint": {"addresses": ["fd00::1"]}}, f"{ADDRESSES}[0]: fd00::1 is not of the slice's addressType IPv4"),
        ({"endpoint": {"addresses": ["127.0.0.1"]}}, f"{ADDRESSES}[0]: 127.0.0.1 is a loopback address"),
        (
            {"endpoint": {"conditions": {"ready": "si"}}},
            "endpoints[0].conditions.ready: must be true or false, not 'si'",
        ),
        ({"endpoint": {"nodeName": 7}}, "endpoints[0].nodeName: must be text, not 7"),
        ({"endpoint": {"hints": {"forZones": [{}]}}}, "endpoints[0].hints.forZones[0].name: is required"),
        ({"ports": [{"port": 70000}]}, "ports[0].port: 70000 is outside 0..65535"),
        ({"addressType": "ipv4"}, "addressType: 'ipv4' is not one of IPv4, IPv6 (did you mean 'IPv4'?)"),
    ],
)
def test_what_is_wrong_with_a_slice(keys: Object, problem: str) -> None:
    assert problems(service(), endpoint_slice(**keys)) == [f"items[1].{problem}"]


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ("3", ': must be a JSON object such as {"10.244.1.5": 3}'),
        ("{", ': must be a JSON object such as {"10.244.1.5": 3}'),
        ('{"10.244.1.5": 65536}', "[10.244.1.5]: 65536 is not a weight from 0 to 65535"),
        ('{"10.244.1.5": true}', "[10.244.1.5]: true is not a weight from 0 to 65535"),
        ('{"web-1": 1}', "[web-1]: 'web-1' is not an IP address; names are not resolved"),
    ],
)
def test_what_is_wrong_with_weights(weights: str, problem: str) -> None:
    objects = service(), endpoint_slice(metadata={"annotations": {"kubenode.proxy/weights": weights}})
    assert problems(*objects) == [f"items[1].metadata.annotations.kubenode.proxy/weights{problem}"]


def test_a_service_that_is_there_twice() -> None:
    assert problems(service(), service()) == ["items[1]: service default/web is already at items[0]"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([{"metadata": {}}], "objects[0].kind: is required"),
        ([7], "objects[0]: must be a mapping, not 7"),
        ([{"kind": "List", "items": [7]}], "objects[0].items[0]: must be a mapping, not 7"),
        ({"kind": "List", "items": 7}, "items: must be a list, not 7"),
        ("kind: Service", "must be a mapping, not 'kind: Service'"),
    ],
)
def test_what_is_no_object(document: object, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        kubernetes.parse(document)
    assert caught.value.problems == [problem]
