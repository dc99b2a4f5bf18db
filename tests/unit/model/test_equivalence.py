# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the native form says, Kubernetes objects say as well: both become the same service data."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.model import kubernetes, native
from hypothesis import given
from hypothesis import strategies as st

Mapping = dict[str, Any]
PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}


def to_objects(service: Mapping) -> list[Mapping]:
    """One native service -> its Service and one EndpointSlice per endpoint."""
    annotations = {
        "kubenode.proxy/scheduler": service["scheduler"],
        "kubenode.proxy/scheduler-flags": ",".join(service["scheduler_flags"]),
        "service.kubernetes.io/topology-mode": service["topology_mode"],
    }
    spec = {
        "type": service["type"],
        "clusterIP": service["cluster_ips"][0],
        "clusterIPs": service["cluster_ips"],
        "externalIPs": service["external_ips"],
        "loadBalancerSourceRanges": service.get("load_balancer_source_ranges"),
        "sessionAffinity": service["session_affinity"],
        "internalTrafficPolicy": service["internal_traffic_policy"],
        "externalTrafficPolicy": service.get("external_traffic_policy"),
        "healthCheckNodePort": service.get("health_check_node_port"),
        "ports": [
            {
                "name": port["name"],
                "port": port["port"],
                "protocol": PROTOCOLS[port["protocol"]],
                "targetPort": port["target_port"],
                "nodePort": port.get("node_port"),
            }
            for port in service["ports"]
        ],
    }
    if service["session_affinity"] == "ClientIP":
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": service["session_affinity_timeout"]}}
    metadata = {"name": service["name"], "namespace": service["namespace"], "annotations": annotations}
    ingress = [{"ip": ip} for ip in service.get("load_balancer_ips", ())]
    status = {"loadBalancer": {"ingress": ingress}}
    objects = [{"kind": "Service", "metadata": metadata, "spec": spec, "status": status}]
    return objects + [to_slice(service, endpoint) for endpoint in service["endpoints"]]


def to_slice(service: Mapping, endpoint: Mapping) -> Mapping:
    return {
        "kind": "EndpointSlice",
        "addressType": "IPv6" if ":" in endpoint["address"] else "IPv4",
        "metadata": {
            "namespace": service["namespace"],
            "name": f"{service['name']}-x",
            "labels": {"kubernetes.io/service-name": service["name"]},
            "annotations": {"kubenode.proxy/weights": json.dumps({endpoint["address"]: endpoint["weight"]})},
        },
        "endpoints": [
            {
                "addresses": [endpoint["address"]],
                "nodeName": endpoint["node"],
                "conditions": {key: endpoint[key] for key in ("ready", "serving", "terminating")},
                "hints": {
                    "forZones": [{"name": zone} for zone in endpoint["hints"]["zones"]],
                    "forNodes": [{"name": node} for node in endpoint["hints"]["nodes"]],
                },
            }
        ],
        "ports": [
            {
                "name": port["name"],
                "protocol": PROTOCOLS[port["protocol"]],
                "port": endpoint["ports"].get(port["name"], port["target_port"]),
            }
            for port in service["ports"]
        ],
    }


@st.composite
def services(draw: st.DrawFn) -> list[Mapping]:
    """A few native services that say everything; numbers are made from the index, so that nothing is taken twice."""
    return [draw(service(index)) for index in range(draw(st.integers(0, 3)))]


@st.composite
def service(draw: st.DrawFn, index: int) -> Mapping:
    families = draw(st.sampled_from([("ipv4",), ("ipv6",), ("ipv4", "ipv6"), ("ipv6", "ipv4")]))
    ips = [f"10.96.0.{index}" if family == "ipv4" else f"fd00:96::{index}" for family in families]
    external = [f"198.51.100.{index}" if family == "ipv4" else f"2001:db8::{index}" for family in families]
    ranges = ["0.0.0.0/0" if family == "ipv4" else "2001:db8::/32" for family in families]
    service_type = draw(st.sampled_from(native.TYPES))
    ports = draw(port_lists(index, service_type))
    found: Mapping = {
        "name": f"web-{index}",
        "namespace": draw(st.sampled_from(["default", "shop"])),
        "type": service_type,
        "cluster_ips": ips,
        "external_ips": draw(st.sampled_from([[], external])),
        "session_affinity": draw(st.sampled_from(["None", "ClientIP"])),
        "internal_traffic_policy": draw(st.sampled_from(native.POLICIES)),
        "scheduler": draw(st.sampled_from(["", "rr", "mh"])),
        "scheduler_flags": draw(st.sampled_from([[], ["flag-1"], ["flag-3", "flag-2"]])),
        "topology_mode": draw(st.sampled_from(["", "Auto"])),
        "ports": ports,
        "endpoints": draw(st.lists(endpoint(families, [port["name"] for port in ports]), max_size=4)),
    }
    if found["session_affinity"] == "ClientIP":
        found["session_affinity_timeout"] = draw(st.integers(1, 86400))
    if service_type != "ClusterIP" or found["external_ips"]:
        found["external_traffic_policy"] = draw(st.sampled_from(native.POLICIES))
    if service_type == "LoadBalancer":
        found["load_balancer_ips"] = draw(st.sampled_from([[], [ip.replace("100", "113") for ip in external]]))
        found["load_balancer_source_ranges"] = draw(st.sampled_from([[], ranges]))
        if found["external_traffic_policy"] == "Local":
            found["health_check_node_port"] = 32000 + index
    return found


@st.composite
def port_lists(draw: st.DrawFn, index: int, service_type: str) -> list[Mapping]:
    names = draw(st.sampled_from([["http"], ["http", "dns"]]))
    return [
        {
            "name": name,
            "port": 80 + number,
            "protocol": draw(st.sampled_from(sorted(PROTOCOLS))),
            "target_port": draw(st.sampled_from([8080, 9090])),
            **({} if service_type == "ClusterIP" else {"node_port": 30000 + 10 * index + number}),
        }
        for number, name in enumerate(names)
    ]


@st.composite
def endpoint(draw: st.DrawFn, families: tuple[str, ...], port_names: list[str]) -> Mapping:
    address = {"ipv4": "10.244.1.{}", "ipv6": "fd00:244::{}"}[draw(st.sampled_from(families))]
    return {
        "address": address.format(draw(st.integers(1, 9))),
        "node": draw(st.sampled_from(["", "node-a", "node-b"])),
        "weight": draw(st.integers(0, 65535)),
        "ready": draw(st.booleans()),
        "serving": draw(st.booleans()),
        "terminating": draw(st.booleans()),
        "hints": draw(st.sampled_from([{"zones": [], "nodes": []}, {"zones": ["zone-1"], "nodes": ["node-a"]}])),
        "ports": draw(st.sampled_from([{}, {port_names[0]: 7070}])),
    }


@given(services())
def test_both_forms_become_the_same_service_data(document: list[Mapping]) -> None:
    objects = [item for native_service in document for item in to_objects(native_service)]
    assert kubernetes.parse({"kind": "List", "items": objects}) == native.parse(document)
