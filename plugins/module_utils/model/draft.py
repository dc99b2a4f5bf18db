# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Where both input forms meet: services as they are being read, then the checks that look at all of them together."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Tuple

from .address import family_of
from .errors import Problems
from .fields import service_ip
from .service import Endpoint, ServiceData, ServicePort
from .validation import check_port_names, check_services

# (family, port name, protocol) -> endpoints
Endpoints = Dict[Tuple[str, str, str], List[Endpoint]]


class Port(NamedTuple):
    """One port of a service as read; ``path`` is its place in the input."""

    path: str
    name: str
    protocol: str
    port: int
    node_port: int = 0


class Draft:
    """Service data in the making: the service ports read so far, each with its place in the input, and the problems."""

    def __init__(self) -> None:
        self.problems = Problems()
        self.service_cidrs: set[str] = set()
        self._service_ports: list[tuple[str, ServicePort]] = []
        self._services: list[tuple[str, str]] = []

    def add(
        self, path: str, service: ServicePort, cluster_ips: tuple[str, ...], ports: list[Port], endpoints: Endpoints
    ) -> None:
        """Adds a service: one service port per family and port.

        ``service`` holds what its ports have in common, with the addresses of both families.
        """
        if service.name:
            self._services.append((path, str(service)))
        check_port_names([(port.path, port.name, port.protocol) for port in ports], self.problems)
        for cluster_ip in cluster_ips:
            family = family_of(cluster_ip)
            common = service._replace(
                family=family,
                cluster_ip=cluster_ip,
                external_ips=of_family(family, service.external_ips),
                load_balancer_ips=of_family(family, service.load_balancer_ips),
                source_ranges=of_family(family, service.source_ranges),
            )
            for port in ports:
                service_port = common._replace(
                    port_name=port.name,
                    protocol=port.protocol,
                    port=port.port,
                    node_port=port.node_port,
                    endpoints=tuple(endpoints.get((family, port.name, port.protocol), ())),
                )
                self._service_ports.append((port.path, service_port))

    def finish(self) -> ServiceData:
        """Checks across services; raises InputError with all problems found up to here."""
        check_services(self._services, self._service_ports, self.problems)
        self.problems.raise_if_any()
        data = ServiceData.of([service_port for _path, service_port in self._service_ports])
        return data._replace(service_cidrs=tuple(sorted(self.service_cidrs)))


def one_per_family(texts: list[tuple[str, str]], problems: Problems) -> tuple[str, ...]:
    """Pairs of path and text -> cluster IPs: one address, or two of different families."""
    by_family: dict[str, str] = {}
    for path, text in texts:
        address = service_ip(text, path, problems)
        if address and by_family.setdefault(family_of(address), address) != address:
            problems.add(path, f"{text} is a second {family_of(address)} cluster IP")
    return tuple(by_family.values())


def of_family(family: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses, or networks, of one family."""
    return tuple([address for address in addresses if family_of(address) == family])


def is_external_local(policy: str, service_type: str, external_ips: tuple[str, ...]) -> bool:
    """externalTrafficPolicy Local counts only where a service can be reached from outside (data-plane 1.1.3)."""
    return policy == "Local" and (service_type in ("NodePort", "LoadBalancer") or bool(external_ips))
