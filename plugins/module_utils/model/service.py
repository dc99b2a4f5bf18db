# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Services as the rules see them: one service port per (namespace, name, port name, protocol, family)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .version import Version

FAMILIES = ("ipv4", "ipv6")
PROTOCOLS = ("tcp", "udp", "sctp")


class Endpoint(NamedTuple):
    """One address that a service port may send to.

    ``ip`` is in canonical text form. ``node`` is the name of the node it runs on, "" if unknown. ``zones`` and
    ``nodes`` are the hints of the EndpointSlice: for whom this endpoint is meant. ``weight`` is for IPVS only.
    ``other_proxy``: the EndpointSlice has the label service.kubernetes.io/service-proxy-name.
    """

    ip: str
    port: int
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    weight: int = 1
    other_proxy: bool = False

    def __str__(self) -> str:
        """The endpoint string that kube-proxy hashes, sorts by and writes into comments."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


class ServicePort(NamedTuple):
    """One port of one service in one family. Addresses are in canonical text form and of that family only.

    ``affinity_timeout`` is in seconds, 0 where session affinity is off. ``node_port`` and ``health_check_node_port``
    are 0 where there is none. ``source_ranges`` are networks in canonical form (``10.0.0.0/8``) as the service has
    them: ``effective_source_ranges`` says which of them count.
    ``scheduler`` ("" for the node's own) and ``scheduler_flags`` (``flag-1``..``flag-3``) are for IPVS only.
    ``topology_mode`` is the value of the annotation service.kubernetes.io/topology-mode.
    ``headless``: the Service has the label service.kubernetes.io/headless, and a cluster IP nevertheless.
    ``endpoints`` may hold one ip:port twice (two EndpointSlices): which of them counts depends on version and node.
    """

    namespace: str
    name: str
    port_name: str
    protocol: str
    family: str
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity_timeout: int = 0
    internal_local: bool = False
    external_local: bool = False
    health_check_node_port: int = 0
    topology_mode: str = ""
    scheduler: str = ""
    scheduler_flags: tuple[str, ...] = ()
    headless: bool = False
    endpoints: tuple[Endpoint, ...] = ()

    def __str__(self) -> str:
        """The service port name string that kube-proxy hashes and writes into comments (data-plane 1.1.1)."""
        base = f"{self.namespace}/{self.name}"
        return f"{base}:{self.port_name}" if self.port_name else base

    @property
    def externally_accessible(self) -> bool:
        """Whether anything but the cluster IP leads to it."""
        return bool(self.node_port or self.load_balancer_ips or self.external_ips)


class ServiceData(NamedTuple):
    """All service ports, sorted by family, namespace, name, port name and protocol; or some of them.

    ``left_out`` tells by family how many endpoints those have that are not among these. ``service_cidrs`` are the
    networks of the cluster's ServiceCIDR objects, sorted.
    """

    service_ports: tuple[ServicePort, ...]
    left_out: Mapping[str, int] = MappingProxyType({})
    service_cidrs: tuple[str, ...] = ()

    @classmethod
    def of(cls, service_ports: list[ServicePort]) -> ServiceData:
        """Sorts: kube-proxy leaves the order of services open, we impose one."""
        return cls(tuple(sorted(service_ports, key=lambda p: (p.family, p.namespace, p.name, p.port_name, p.protocol))))

    def as_of(self, version: Version) -> ServiceData:
        """What of it a version of kube-proxy looks at."""
        if version.labels_apart:
            return self
        ports = (port for port in self.service_ports if not port.headless)
        counting = (p._replace(endpoints=tuple(e for e in p.endpoints if not e.other_proxy)) for p in ports)
        return self._replace(service_ports=tuple(counting))

    def without_external_ips(self) -> ServiceData:
        """As if no service had any."""
        return self._replace(service_ports=tuple(port._replace(external_ips=()) for port in self.service_ports))

    def node_like(self, name: str) -> str:
        """A node of endpoints that this one may be by another name (``node-a`` and ``node-a.example.com``); "" where
        there is none, or endpoints are on a node of this name.
        """
        nodes = {endpoint.node for port in self.service_ports for endpoint in port.endpoints if endpoint.node}
        alike = (node for node in nodes if node.startswith(f"{name}.") or name.startswith(f"{node}."))
        return "" if name in nodes else min(alike, default="")

    def endpoint_counts(self) -> dict[str, int]:
        """How many endpoints there are by family, counted once for each service port, with those left out."""
        found = {family: self.left_out.get(family, 0) for family in FAMILIES}
        for port in self.service_ports:
            found[port.family] += len({(endpoint.ip, endpoint.port) for endpoint in port.endpoints})
        return found


def effective_source_ranges(service_port: ServicePort, zero_cidr_means_any: bool) -> tuple[str, ...]:
    """The source ranges to write rules for; none means that all sources are allowed.

    From 1.34 on, kube-proxy takes a zero CIDR among them (``0.0.0.0/0``, ``::/0``) for "any"; before, it writes them
    all (data-plane 3.1).
    """
    ranges = service_port.source_ranges
    return () if zero_cidr_means_any and any(network.endswith("/0") for network in ranges) else ranges
