# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The Kubernetes form: Service and EndpointSlice objects, from ``kubectl get services,endpointslices -A -o json``.

What kube-proxy takes from them and what it skips is data-plane 1.1.1 to 1.1.4. Real objects have many more keys: those
are passed over; a wrong value in a key that counts is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .address import family_of
from .draft import Draft, Endpoints, Port, is_external_local, one_per_family
from .errors import Problems
from .fields import Fields, describe, ip, service_ip, whole_number, without_empty, without_repetition
from .scheduling import MAXIMUM_WEIGHT, scheduler, scheduler_flag
from .service import Endpoint, ServiceData, ServicePort

PROTOCOLS = ("TCP", "UDP", "SCTP")
TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
POLICIES = ("Cluster", "Local")
# 0 for none. Which ones a cluster gives out is set at its API server (--service-node-port-range).
NODE_PORTS = (0, 65535)

LABEL_PROXY_NAME = "service.kubernetes.io/service-proxy-name"
LABEL_HEADLESS = "service.kubernetes.io/headless"
LABEL_SERVICE_NAME = "kubernetes.io/service-name"
# In order of precedence: it is presence that counts, not the value.
TOPOLOGY_ANNOTATIONS = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
ANNOTATION_SCHEDULER = "kubenode.proxy/scheduler"
ANNOTATION_SCHEDULER_FLAGS = "kubenode.proxy/scheduler-flags"
ANNOTATION_WEIGHTS = "kubenode.proxy/weights"


class _Metadata(NamedTuple):
    name: str
    namespace: str
    labels: Mapping[object, object]
    fields: Fields


def parse(objects: object) -> ServiceData:
    """One object, a ``List``, or a list of both -> service data. Other kinds are passed over. Raises InputError."""
    draft = Draft()
    read(list(objects_in(objects, "objects" if isinstance(objects, list) else "", draft.problems)), draft)
    return draft.finish()


def objects_in(document: object, path: str, problems: Problems, kind: str = "") -> Iterator[tuple[str, Fields]]:
    """Kind and fields of each object in the document; lists of any depth are unfolded, empty documents left out.

    ``kind`` is for objects that name none themselves: the items of a ``ServiceList``.
    """
    if isinstance(document, (list, tuple)):
        for index, item in enumerate(document):
            yield from objects_in(item, f"{path}[{index}]", problems, kind)
        return
    if document is None:
        return
    fields = Fields(document, path, problems)
    kind = fields.text("kind", kind) if isinstance(document, dict) else ""
    if kind.endswith("List") and fields.has("items"):
        for item_path, item in fields.items("items"):
            yield from objects_in(item, item_path, problems, kind[: -len("List")])
    elif kind:
        yield kind, fields
    elif isinstance(document, dict):
        fields.wrong("kind", "is required")


def read(objects: list[tuple[str, Fields]], draft: Draft) -> None:
    """Adds the services among the objects, with the endpoints of their slices, and their networks to the draft."""
    slices: dict[tuple[str, str], list[Fields]] = {}
    first = dict(reversed(objects))
    if "Endpoints" in first and "EndpointSlice" not in first:
        first["Endpoints"].wrong("kind", "is not what kube-proxy reads: give EndpointSlices (endpointslices) instead")
    for kind, fields in objects:
        if kind == "EndpointSlice":
            metadata = _metadata(fields)
            if LABEL_HEADLESS not in metadata.labels:
                service_name = str(metadata.labels.get(LABEL_SERVICE_NAME, ""))
                slices.setdefault((metadata.namespace, service_name), []).append(fields)
        elif kind == "ServiceCIDR":
            draft.service_cidrs.update(fields.fields("spec").networks("cidrs"))
    for kind, fields in objects:
        if kind == "Service":
            metadata = _metadata(fields)
            if LABEL_PROXY_NAME not in metadata.labels:
                _read_service(fields, metadata, slices.get((metadata.namespace, metadata.name), []), draft)


def _metadata(fields: Fields) -> _Metadata:
    metadata = fields.fields("metadata")
    return _Metadata(
        metadata.text("name", None),
        metadata.text("namespace") or "default",
        metadata.fields("labels").values,
        metadata,
    )


def _read_service(fields: Fields, metadata: _Metadata, slices: list[Fields], draft: Draft) -> None:
    spec = fields.fields("spec")
    service_type = spec.choice("type", TYPES, "ClusterIP")
    cluster_ips = _cluster_ips(spec)
    if service_type == "ExternalName" or not cluster_ips:
        return
    external_ips = spec.service_ips("externalIPs")
    policy = spec.choice("externalTrafficPolicy", POLICIES, "Cluster")
    is_checked = service_type == "LoadBalancer" and policy == "Local"
    annotations = metadata.fields.fields("annotations")
    scheduler_name, flags = _scheduling(annotations)
    service = ServicePort(
        metadata.fields.dns_label("namespace") or "default",
        metadata.fields.dns_label("name"),
        port_name="",
        protocol="",
        family="",
        cluster_ip="",
        port=0,
        external_ips=external_ips,
        load_balancer_ips=_load_balancer_ips(fields),
        source_ranges=spec.networks("loadBalancerSourceRanges"),
        affinity_timeout=_affinity_timeout(spec),
        internal_local=spec.choice("internalTrafficPolicy", POLICIES, "Cluster") == "Local",
        external_local=is_external_local(policy, service_type, external_ips),
        health_check_node_port=spec.integer("healthCheckNodePort", *NODE_PORTS) if is_checked else 0,
        topology_mode=_topology_mode(annotations),
        scheduler=scheduler_name,
        scheduler_flags=flags,
        headless=LABEL_HEADLESS in metadata.labels,
    )
    draft.add(fields.path, service, cluster_ips, _ports(spec), _endpoints(slices))


def _cluster_ips(spec: Fields) -> tuple[str, ...]:
    """Empty for a headless service."""
    texts = list(spec.texts("clusterIPs")) or [(spec.at("clusterIP"), spec.text("clusterIP"))]
    return () if texts[0][1] in ("", "None") else one_per_family(texts, spec.problems)


def _load_balancer_ips(fields: Fields) -> tuple[str, ...]:
    """Those that are to be programmed: an address of ipMode Proxy is for the load balancer itself.

    As external IPs and source ranges, kube-proxy takes one that is given twice twice.
    """
    found: list[str] = []
    for ingress in fields.fields("status").fields("loadBalancer").mappings("ingress"):
        text = ingress.text("ip")
        if text and ingress.choice("ipMode", ("VIP", "Proxy"), "VIP") == "VIP":
            found.append(service_ip(text, ingress.at("ip"), ingress.problems, loopback=True))
    return without_empty(found)


def _affinity_timeout(spec: Fields) -> int:
    if spec.choice("sessionAffinity", ("None", "ClientIP"), "None") == "None":
        return 0
    return spec.fields("sessionAffinityConfig").fields("clientIP").integer("timeoutSeconds", 1, 86400, 10800)


def _topology_mode(annotations: Fields) -> str:
    return next((annotations.text(key) for key in TOPOLOGY_ANNOTATIONS if annotations.has(key)), "")


def _scheduling(annotations: Fields) -> tuple[str, tuple[str, ...]]:
    path = annotations.at(ANNOTATION_SCHEDULER)
    name = scheduler(annotations.text(ANNOTATION_SCHEDULER).strip(), path, annotations.problems)
    path = annotations.at(ANNOTATION_SCHEDULER_FLAGS)
    words = [word.strip() for word in annotations.text(ANNOTATION_SCHEDULER_FLAGS).split(",")]
    flags = [scheduler_flag(word, name, path, annotations.problems) for word in words if word]
    return name, tuple(sorted(without_repetition(flags)))


def _ports(spec: Fields) -> list[Port]:
    ports: list[Port] = []
    for port in spec.mappings("ports"):
        ports.append(
            Port(
                port.path,
                port.dns_label("name"),
                port.choice("protocol", PROTOCOLS, "TCP").lower(),
                port.integer("port", 1, 65535, None),
                port.integer("nodePort", *NODE_PORTS),
            )
        )
    return ports


def _endpoints(slices: list[Fields]) -> Endpoints:
    """The endpoints of the slices of one service, in the order given."""
    endpoints: Endpoints = {}
    for fields in slices:
        if fields.values.get("addressType") == "FQDN":
            continue
        ports = [
            (port.dns_label("name"), port.choice("protocol", PROTOCOLS, "TCP").lower(), number)
            for port in fields.mappings("ports")
            for number in (port.integer("port", 0, 65535),)
            if number
        ]
        weights = _weights(fields)
        for endpoint in _slice_endpoints(fields, weights):
            family = family_of(endpoint.ip)
            for name, protocol, number in ports:
                endpoints.setdefault((family, name, protocol), []).append(endpoint._replace(port=number))
    return endpoints


def _slice_endpoints(fields: Fields, weights: dict[str, int]) -> Iterator[Endpoint]:
    """The endpoints of one slice, without port number. Of several addresses, kube-proxy uses the first only."""
    address_type = fields.choice("addressType", ("IPv4", "IPv6"), "") if fields.has("addressType") else ""
    other_proxy = LABEL_PROXY_NAME in fields.fields("metadata").fields("labels").values
    for item in fields.mappings("endpoints"):
        addresses = item.values.get("addresses")
        if not isinstance(addresses, list) or not addresses or not isinstance(addresses[0], str):
            item.wrong("addresses", "must be a list of at least one address")
            continue
        path = item.at("addresses[0]")
        address = service_ip(addresses[0], path, item.problems)
        if not address:
            continue
        if address_type and family_of(address) != address_type.lower():
            item.problems.add(path, f"{address} is not of the slice's addressType {address_type}")
        conditions = item.fields("conditions")
        hints = item.fields("hints")
        yield Endpoint(
            address,
            0,
            item.text("nodeName"),
            conditions.boolean("ready", True),
            conditions.boolean("serving", True),
            conditions.boolean("terminating", False),
            _hint_names(hints, "forZones"),
            _hint_names(hints, "forNodes"),
            weights.get(address, 1),
            other_proxy,
        )


def _hint_names(hints: Fields, key: str) -> tuple[str, ...]:
    return tuple([hint.text("name", None) for hint in hints.mappings(key)]) if hints.has(key) else ()


def _weights(fields: Fields) -> dict[str, int]:
    """The annotation with the IPVS weights of a slice's endpoints: a JSON object of address -> weight."""
    annotations = fields.fields("metadata").fields("annotations")
    text = annotations.text(ANNOTATION_WEIGHTS)
    if not text:
        return {}
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        annotations.wrong(ANNOTATION_WEIGHTS, 'must be a JSON object such as {"10.244.1.5": 3}')
        return {}
    weights: dict[str, int] = {}
    for address, value in values.items():
        path = annotations.at(f"{ANNOTATION_WEIGHTS}[{address}]")
        weight = whole_number(value)
        if weight is None or not 0 <= weight <= MAXIMUM_WEIGHT:
            annotations.problems.add(path, f"{describe(value)} is not a weight from 0 to {MAXIMUM_WEIGHT}")
        else:
            weights[ip(address, path, annotations.problems)] = weight
    return weights
