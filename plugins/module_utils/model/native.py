# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The native form: services as a person writes them (docs/guides/service_data.md).

It says the same as the Kubernetes form in fewer words. It is strict: a key that is unknown, or has no effect, is an
error.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .address import canonical_ip, family_of
from .draft import Draft, Endpoints, Port, is_external_local, one_per_family
from .errors import nearest
from .fields import Fields, network, service_ip, without_empty, without_repetition
from .scheduling import MAXIMUM_WEIGHT, scheduler, scheduler_flag
from .service import PROTOCOLS, Endpoint, ServiceData, ServicePort

TYPES = ("ClusterIP", "NodePort", "LoadBalancer")
POLICIES = ("Cluster", "Local")
# Below are the ports of the node's own programs.
NODE_PORTS = (1024, 65535)
SERVICE_KEYS = (
    *("name", "namespace", "type", "cluster_ip", "cluster_ips", "external_ips", "load_balancer_ips"),
    *("load_balancer_source_ranges", "session_affinity", "session_affinity_timeout", "internal_traffic_policy"),
    *("external_traffic_policy", "health_check_node_port", "scheduler", "scheduler_flags", "topology_mode"),
    *("ports", "endpoints"),
)
PORT_KEYS = ("name", "port", "protocol", "target_port", "node_port")
ENDPOINT_KEYS = ("address", "ports", "node", "weight", "ready", "serving", "terminating", "hints")
# Keys that make a service one of type LoadBalancer.
_LOAD_BALANCER_KEYS = ("load_balancer_ips", "load_balancer_source_ranges", "health_check_node_port")


class _Target(NamedTuple):
    """A port of the service, and the port of its endpoints unless an endpoint says otherwise."""

    name: str
    protocol: str
    number: int


class _Service:
    """One service while it is read: its fields, the families of its cluster IPs, its problems."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.problems = fields.problems
        self.cluster_ips = _cluster_ips(fields)
        self.families = [family_of(address) for address in self.cluster_ips]

    def usable(self, address: str, path: str) -> str:
        """The address, or network, if it is of one of the service's families; "" with a problem if not."""
        if address and self.families and family_of(address) not in self.families:
            family = family_of(address)
            self.problems.add(path, f"{address} is {family}, but the service has no {family} cluster IP")
            return ""
        return address

    def ips(self, key: str) -> tuple[str, ...]:
        """The addresses of the list under a key, as often as they are given: kube-proxy writes a rule for each."""
        texts = self.fields.texts(key)
        return without_empty(self.usable(service_ip(text, path, self.problems), path) for path, text in texts)

    def networks(self, key: str) -> tuple[str, ...]:
        """The networks of the list under a key, as often as they are given."""
        texts = self.fields.texts(key)
        return without_empty(self.usable(network(text, path, self.problems, exact=True), path) for path, text in texts)


def parse(document: object, path: str = "services") -> ServiceData:
    """A list of services, or ``{services: [...]}`` -> service data. Raises InputError with all problems found."""
    draft = Draft()
    if isinstance(document, dict):
        Fields(document, "", draft.problems).only(("services",))
        document = document.get("services", [])
    read(document, path, draft)
    return draft.finish()


def read(services: object, path: str, draft: Draft) -> None:
    """Adds the services of a list to the draft."""
    if not isinstance(services, (list, tuple)):
        draft.problems.add(path, "must be a list of services")
        return
    for index, item in enumerate(services):
        _read_service(Fields(item, f"{path}[{index}]", draft.problems), draft)


def _read_service(fields: Fields, draft: Draft) -> None:
    fields.only(SERVICE_KEYS)
    service = _Service(fields)
    external_ips = service.ips("external_ips")
    service_type = _type(fields)
    policy = fields.choice("external_traffic_policy", POLICIES, "Cluster")
    external_local = is_external_local(policy, service_type, external_ips)
    if policy == "Local" and not external_local:
        fields.wrong("external_traffic_policy", "has no effect without a node port, load balancer or external IP")
    scheduler_name, flags = _scheduling(fields)
    ports = _ports(fields, service_type)
    common = ServicePort(
        fields.dns_label("namespace", default="default"),
        fields.dns_label("name", default=None),
        port_name="",
        protocol="",
        family="",
        cluster_ip="",
        port=0,
        external_ips=external_ips,
        load_balancer_ips=service.ips("load_balancer_ips"),
        source_ranges=service.networks("load_balancer_source_ranges"),
        affinity_timeout=_affinity_timeout(fields),
        internal_local=fields.choice("internal_traffic_policy", POLICIES, "Cluster") == "Local",
        external_local=external_local,
        health_check_node_port=_health_check_node_port(fields, policy),
        topology_mode=fields.text("topology_mode"),
        scheduler=scheduler_name,
        scheduler_flags=flags,
    )
    endpoints = _endpoints(service, [target for _port, target in ports])
    draft.add(fields.path, common, service.cluster_ips, [port for port, _target in ports], endpoints)


def _cluster_ips(fields: Fields) -> tuple[str, ...]:
    if fields.has("cluster_ip") and fields.has("cluster_ips"):
        fields.wrong("cluster_ip", "contradicts cluster_ips; give one of them")
    if not fields.has("cluster_ips"):
        text = fields.text("cluster_ip", None)
        return one_per_family([(fields.at("cluster_ip"), text)] if text else [], fields.problems)
    if fields.values["cluster_ips"] == []:
        fields.wrong("cluster_ips", "must hold at least one address")
    return one_per_family(list(fields.texts("cluster_ips")), fields.problems)


def _type(fields: Fields) -> str:
    """The type as given, or as the other keys imply it."""
    ports = fields.values.get("ports")
    has_node_port = isinstance(ports, list) and any(isinstance(port, dict) and port.get("node_port") for port in ports)
    implied = "LoadBalancer" if fields.has("load_balancer_ips") else "NodePort" if has_node_port else "ClusterIP"
    service_type = fields.choice("type", TYPES, implied)
    for key in _LOAD_BALANCER_KEYS:
        if fields.has(key) and service_type != "LoadBalancer":
            fields.wrong(key, f"needs type LoadBalancer, the service is of type {service_type}")
    return service_type


def _affinity_timeout(fields: Fields) -> int:
    affinity = fields.choice("session_affinity", ("None", "ClientIP"), "None")
    timeout = fields.integer("session_affinity_timeout", 1, 86400, 10800)
    if affinity == "ClientIP":
        return timeout
    if fields.has("session_affinity_timeout"):
        fields.wrong("session_affinity_timeout", "has no effect without session_affinity: ClientIP")
    return 0


def _health_check_node_port(fields: Fields, policy: str) -> int:
    if fields.has("health_check_node_port") and policy != "Local":
        fields.wrong("health_check_node_port", "has no effect without external_traffic_policy: Local")
    return _node_port(fields, "health_check_node_port")


def _node_port(fields: Fields, key: str) -> int:
    """A node port, or a health check node port; 0 for none."""
    return 0 if fields.values.get(key) == 0 else fields.integer(key, *NODE_PORTS)


def _scheduling(fields: Fields) -> tuple[str, tuple[str, ...]]:
    name = scheduler(fields.text("scheduler"), fields.at("scheduler"), fields.problems)
    flags = [scheduler_flag(text, name, path, fields.problems) for path, text in fields.texts("scheduler_flags")]
    return name, tuple(sorted(without_repetition(flags)))


def _ports(fields: Fields, service_type: str) -> list[tuple[Port, _Target]]:
    ports: list[tuple[Port, _Target]] = []
    items = list(fields.mappings("ports"))
    if fields.values.get("ports") in (None, []) and fields.is_mapping:
        fields.wrong("ports", "must hold at least one port")
    for item in items:
        item.only(PORT_KEYS)
        name = item.dns_label("name", 15, None if len(items) > 1 else "")
        protocol = item.choice("protocol", PROTOCOLS, "tcp")
        number = item.integer("port", 1, 65535, None)
        if service_type == "ClusterIP" and item.has("node_port"):
            item.wrong("node_port", "needs type NodePort or LoadBalancer, the service is of type ClusterIP")
        if service_type == "NodePort" and not item.has("node_port"):
            item.wrong("node_port", "is required for type NodePort")
        target = _Target(name, protocol, item.integer("target_port", 1, 65535, number))
        ports.append((Port(item.path, name, protocol, number, _node_port(item, "node_port")), target))
    return ports


def _endpoints(service: _Service, targets: list[_Target]) -> Endpoints:
    endpoints: Endpoints = {}
    for path, item in service.fields.items("endpoints"):
        numbers: dict[str, int] = {}
        if isinstance(item, str):
            endpoint = Endpoint(*_address(service, item, path, targets))
        else:
            endpoint, numbers = _endpoint(service, Fields(item, path, service.problems), targets)
        if endpoint.ip:
            family = family_of(endpoint.ip)
            for target in targets:
                number = numbers.get(target.name) or endpoint.port or target.number
                key = (family, target.name, target.protocol)
                endpoints.setdefault(key, []).append(endpoint._replace(port=number))
    return endpoints


def _address(service: _Service, text: str, path: str, targets: list[_Target]) -> tuple[str, int]:
    """``10.244.1.5`` or ``10.244.1.5:8080`` -> address, and port or 0. With several ports, it is open which one."""
    address, number = canonical_ip(text), 0
    if not address:
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([^:\[\]]+)):([0-9]{1,5})", text)
        if match:
            text, number = match[1] or match[2], int(match[3])
            if not 1 <= number <= 65535:
                service.problems.add(path, f"port {number} is outside 1..65535")
            elif len(targets) > 1:
                service.problems.add(path, "the service has several ports; name them under the endpoint's ports")
    return service.usable(service_ip(text, path, service.problems), path), number


def _endpoint(service: _Service, item: Fields, targets: list[_Target]) -> tuple[Endpoint, dict[str, int]]:
    """An endpoint, and its port numbers by port name as far as it gives any."""
    item.only(ENDPOINT_KEYS)
    text = item.text("address", None)
    address, number = _address(service, text, item.at("address"), targets) if text else ("", 0)
    terminating = item.boolean("terminating", False)
    hints = item.fields("hints")
    hints.only(("zones", "nodes"))
    ports = item.fields("ports")
    names = [target.name for target in targets]
    for name in ports.values:
        if name not in names:
            ports.wrong(str(name), f"the service has no port of that name{nearest(str(name), names)}")
    endpoint = Endpoint(
        address,
        number,
        item.text("node").lower(),
        item.boolean("ready", not terminating),
        item.boolean("serving", True),
        terminating,
        tuple([zone for _path, zone in hints.texts("zones")]),
        tuple([node.lower() for _path, node in hints.texts("nodes")]),
        item.integer("weight", 0, MAXIMUM_WEIGHT, 1),
    )
    return endpoint, {name: ports.integer(name, 1, 65535) for name in names if ports.has(name)}
