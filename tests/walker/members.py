# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an IP set holds what a packet shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address, ip_network

from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset import IPSet
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset_member import normalise

from .rule import UnknownFormError

TYPES = {"hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port"}


@lru_cache(maxsize=1 << 16)
def within(address: str, network: str) -> bool:
    """Whether an address is in a network, or is that address."""
    return ip_address(address) in ip_network(network)


def bare(text: str) -> str:
    """An address without the brackets that IPv6 has before a port."""
    return text.strip("[]")


def verify(ip_set: IPSet) -> None:
    """Raises ValueError for members that the kernel would refuse or list in another form, and for an unknown type."""
    if ip_set.type not in TYPES:
        raise UnknownFormError(f"a set of type {ip_set.type}")
    for member, options in ip_set.members.items():
        if options or normalise(ip_set.type, ip_set.family, member) != [(member, "")]:
            raise UnknownFormError(f"member {member} {options} of {ip_set.name}")


def contains(ip_set: IPSet, fields: str, addresses: Callable[[str], str], protocol: str, port: int) -> bool:
    """``fields`` are those of ``--match-set``: ``dst,dst,src``. ``addresses`` maps src and dst to an address."""
    directions = fields.split(",")
    kinds = ip_set.type.partition(":")[2].split(",")
    ports = [direction for kind, direction in zip(kinds, directions, strict=False) if kind == "port"]
    if len(directions) != len(kinds) or not set(directions) <= {"src", "dst"} or ports not in ([], ["dst"]):
        raise UnknownFormError(f"--match-set {ip_set.name} {fields}, which is of type {ip_set.type}")
    if ip_set.type == "bitmap:port":
        return str(port) in ip_set.members
    seen = [
        f"{protocol}:{port}" if kind == "port" else addresses(direction)
        for kind, direction in zip(kinds, directions, strict=True)
    ]
    if kinds[-1] != "net":
        return ",".join(seen) in ip_set.members
    return any(_holds(member.split(","), seen) for member in ip_set.members)


def _holds(member: list[str], seen: list[str]) -> bool:
    return member[:-1] == seen[:-1] and within(seen[-1], member[-1])


def is_of_family(ip_set: IPSet, family: str) -> bool:
    """A bitmap of ports is of both."""
    return ip_set.type == "bitmap:port" or (ip_set.family == "inet6") == (family == "ipv6")
