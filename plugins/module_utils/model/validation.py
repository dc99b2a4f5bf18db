# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Checks on services that have been read, whatever their form: what may be there only once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Dict, Tuple

from .errors import Problems
from .service import ServicePort

# What is taken (address, port and protocol, or node port and protocol) -> by whom: identity and path
_Owner = Tuple[Tuple[str, ...], str]
_Taken = Dict[Tuple[object, ...], _Owner]


def check_services(
    services: Iterable[tuple[str, str]], service_ports: Iterable[tuple[str, ServicePort]], problems: Problems
) -> None:
    """``services`` are pairs of path and ``namespace/name``, ``service_ports`` pairs of path and service port."""
    first: dict[str, str] = {}
    for path, name in services:
        if first.setdefault(name, path) != path:
            problems.add(path, f"service {name} is already at {first[name]}")
    taken: _Taken = {}
    for path, service_port in service_ports:
        if service_port.port:
            _take_all(taken, path, service_port, problems)


def check_port_names(ports: Iterable[tuple[str, str, str]], problems: Problems) -> None:
    """``ports`` are path, name and protocol of the ports of one service: the last two together identify a port."""
    first: dict[tuple[str, str], str] = {}
    for path, name, protocol in ports:
        if first.setdefault((name, protocol), path) != path:
            named = f"{protocol} port named {name!r}" if name else f"{protocol} port without a name"
            problems.add(path, f"is a second {named}, after {first[name, protocol]}")


def _take_all(taken: _Taken, path: str, port: ServicePort, problems: Problems) -> None:
    # The family is no part of it: one service port has the same node port in both.
    owner = ((port.namespace, port.name, port.port_name, port.protocol), path)
    for ip in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
        _take(taken, (ip, port.port, port.protocol), owner, problems)
    if port.node_port:
        _take(taken, (port.node_port, port.protocol), owner, problems)
    if port.health_check_node_port:
        service = ((port.namespace, port.name), path)
        _take(taken, (port.health_check_node_port, "tcp"), service, problems)


def _take(taken: _Taken, what: tuple[object, ...], owner: _Owner, problems: Problems) -> None:
    (identity, path), (other, other_path) = owner, taken.setdefault(what, owner)
    if identity == other:
        return
    *address, protocol = what
    name = f"node port {address[0]}/{protocol}" if len(address) == 1 else f"{address[0]} port {address[1]}/{protocol}"
    problems.add(path, f"{name} is already taken by {other[0]}/{other[1]} ({other_path})")
