# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the demonstration asks of the services in examples/services.yml, and what it expects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServiceData, ServicePort

from tests.lab.node import CHECKOUT
from tests.world import layout
from tests.world.cases import NODE_IP
from tests.world.expectation import (
    DROPPED,
    MASQUERADED,
    OWN,
    Expectation,
    Request,
    refused,
    shares,
    spread,
    sticks,
)

WHO = "a1 a2 a3 are pods of the node, b1 b2 those of another; client and stranger are outside"
SERVICES = CHECKOUT / "examples/services.yml"
POD_NAMES = {address: name for name, pod in layout.PODS.items() for address in (pod.ipv4, pod.ipv6)}


class Row(NamedTuple):
    """Requests of a host to a service, and what they show."""

    service: str
    source: str
    address: str
    expect: Expectation
    shows: str
    port: int = 80
    protocol: str = "tcp"
    shows_without_ipvs: str = ""

    def note(self, mode: str) -> str:
        """What the row shows in a mode."""
        return self.shows if mode == "ipvs" else self.shows_without_ipvs or self.shows

    @property
    def request(self) -> Request:
        return Request(self.source, self.address, self.expect, self.port, self.protocol)


ROWS = [
    Row("web", "a3", "10.96.10.1", spread("a1 a2 b1", OWN), "spread; pods keep their address"),
    Row("web", "node", "10.96.10.1", spread("a1 a2 b1", MASQUERADED), "from the node itself"),
    Row("front", "client", NODE_IP, spread("a1 b1", MASQUERADED), "node port: the client is masqueraded", 30080),
    Row("audit", "client", NODE_IP, spread("a2", OWN), "node port, Local: the client is seen", 30081),
    Row("store", "client", "203.0.113.4", spread("a1 a2", MASQUERADED), "load balancer, source is allowed"),
    Row("store", "stranger", "203.0.113.4", DROPPED, "source is not allowed: dropped"),
    Row("edge", "client", "203.0.113.5", spread("a3", OWN), "load balancer, Local: the client is seen"),
    Row("partner", "client", "192.0.2.6", spread("a3 b2", MASQUERADED), "external IP"),
    Row("cart", "a3", "10.96.10.7", sticks("a1 a2 b1"), "ClientIP affinity"),
    Row("cart", "client", "10.96.10.7", sticks("a1 a2 b1"), "another client"),
    Row("dns", "a3", "10.96.0.53", spread("a2 b2", OWN), "UDP", 53, "udp"),
    Row("dns-tcp", "a3", "fd00:96::53", spread("a2 b2", OWN), "IPv6", 53),
    Row(
        *("canary", "a3", "10.96.10.8", shares(a1=3, b2=1), "weights 3 and 1 (wrr)"),
        shows_without_ipvs="weights count in IPVS mode only",
    ),
    Row("batch", "a3", "10.96.10.9", spread("b1"), "only a terminating endpoint is left"),
    Row("mirror", "a1", "10.96.10.10", spread("a1", MASQUERADED), "a pod reaches itself"),
    Row("soon", "a3", "10.96.10.11", refused("3/3"), "no endpoints: refused at once"),
]


def services() -> ServiceData:
    return source.parse(yaml.safe_load(SERVICES.read_text()))


def overview(data: ServiceData) -> Iterator[tuple[str, str, str]]:
    """Service, address and endpoints; a service that has several addresses takes as many lines."""
    yield "SERVICE", "ADDRESS", "ENDPOINTS"
    ports: dict[str, list[ServicePort]] = {}
    for port in data.service_ports:
        ports.setdefault(str(port), []).append(port)
    for name, families in sorted(ports.items()):
        endpoints = " ".join(dict.fromkeys(_endpoint(endpoint) for port in families for endpoint in port.endpoints))
        first = name, endpoints or "none"
        for address in [address for port in families for address in _addresses(port)]:
            yield first[0], address, first[1]
            first = "", ""


def _addresses(port: ServicePort) -> Iterator[str]:
    yield end(port.cluster_ip, port.port, port.protocol)
    for address in port.load_balancer_ips:
        allowed = f", for {' '.join(port.source_ranges)}" if port.source_ranges else ""
        yield f"{end(address, port.port)} load balancer{_local(port)}{allowed}"
    for address in port.external_ips:
        yield f"{end(address, port.port)} external IP"
    if port.node_port:
        yield f"node port {port.node_port}{_local(port)}"


def _local(port: ServicePort) -> str:
    return ", Local" if port.external_local else ""


def end(address: str, port: int, protocol: str = "tcp") -> str:
    name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return name if protocol == "tcp" else f"{name} {protocol}"


def _endpoint(endpoint: Endpoint) -> str:
    notes = [
        *([f"weight {endpoint.weight}"] if endpoint.weight != 1 else []),
        *(["terminating"] if endpoint.terminating else [] if endpoint.ready else ["not ready"]),
    ]
    return POD_NAMES[endpoint.ip] + (f" ({', '.join(notes)})" if notes else "")
