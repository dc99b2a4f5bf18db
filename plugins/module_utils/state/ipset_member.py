# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Members of IP sets as people write them -> as ``ipset save`` prints them.

An entry may stand for several members (ranges, networks in a set of addresses): ipset expands it, and so do we.
"""

from __future__ import annotations

import itertools
import math
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network, summarize_address_range

FAMILY_VERSION = {"inet": 4, "inet6": 6}
# One entry that expands to more is a mistake more often than a wish.
MAX_EXPANSION = 65536
MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$", re.IGNORECASE)
# The types whose networks may have the prefix length zero.
ZERO_CIDR_TYPES = frozenset({"hash:net,iface", "hash:net,port,net"})
# Protocols that ipset prints by another name than /etc/protocols' number.
PROTOCOL_NAMES = {"6": "tcp", "17": "udp", "132": "sctp", "1": "icmp", "58": "icmpv6", "136": "udplite"}


def normalise(set_type: str, family: str, entry: str) -> list[tuple[str, str]]:
    """An entry with its options -> (member, options) pairs as the kernel lists them.

    ``set_type`` is as ``hash:ip,port``; ``family`` is ``inet`` or ``inet6``. Raises ValueError saying what the set
    cannot hold and what to write instead.
    """
    text, _space, options = entry.strip().partition(" ")
    storage, _colon, kinds = set_type.partition(":")
    if storage == "list":
        return [(text, options.strip())]
    fields = kinds.split(",")
    parts = text.split(",")
    if len(parts) != len(fields):
        raise ValueError(f"{text!r} has {len(parts)} parts, a set of type {set_type} takes {len(fields)}: {kinds}")
    forms = [_forms(field, part, set_type, family) for field, part in zip(fields, parts)]
    if math.prod(map(len, forms)) > MAX_EXPANSION:
        raise ValueError(f"{text!r} stands for more than {MAX_EXPANSION} members: give fewer addresses or ports")
    return [(",".join(combination), options.strip()) for combination in itertools.product(*forms)]


def _forms(field: str, text: str, set_type: str, family: str) -> list[str]:
    if field == "ip":
        return _addresses(text, set_type, family)
    if field == "net":
        return _networks(text, set_type, family)
    if field == "port":
        return _ports(text, bare=set_type == "bitmap:port")
    if field == "mac":
        if not MAC.match(text):
            raise ValueError(f"{text!r} is not a MAC address")
        return [text.upper()]
    if field == "mark":
        return [f"0x{int(text, 0):08x}"]
    return [text]


def _addresses(text: str, set_type: str, family: str) -> list[str]:
    networks = _parse_networks(text, family)
    if sum(network.num_addresses for network in networks) > MAX_EXPANSION:
        raise ValueError(
            f"{text!r} stands for more than {MAX_EXPANSION} addresses: "
            f"use a set of networks ({set_type.replace('ip', 'net', 1).replace('bitmap', 'hash')})"
        )
    return [str(address) for network in networks for address in network]


def _networks(text: str, set_type: str, family: str) -> list[str]:
    found = []
    for network in _parse_networks(text, family):
        if network.prefixlen == 0 and set_type not in ZERO_CIDR_TYPES:
            halves = " and ".join(str(half) for half in network.subnets())
            raise ValueError(f"a set of type {set_type} cannot hold {network}: use {halves}")
        whole = network.prefixlen == network.max_prefixlen
        found.append(str(network.network_address if whole else network))
    return found


def _parse_networks(text: str, family: str) -> list[IPv4Network | IPv6Network]:
    version = FAMILY_VERSION[family]
    try:
        first, dash, last = text.partition("-")
        if dash:
            networks: list[IPv4Network | IPv6Network] = list(
                summarize_address_range(ip_address(first), ip_address(last))
            )
        else:
            networks = [ip_network(text, strict=False)]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text!r} is not an IP address, network or range: {error}") from error
    if networks[0].version != version:
        raise ValueError(f"{text!r} is IPv{networks[0].version}, the set's family is {family}")
    return networks


def _ports(text: str, bare: bool) -> list[str]:
    protocol, colon, ports = text.rpartition(":")
    protocol = PROTOCOL_NAMES.get(protocol, protocol.lower()) or "tcp"
    prefix = "" if bare else f"{protocol}:"
    if protocol in ("tcp", "udp", "sctp", "udplite") or not colon:
        first, dash, last = ports.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{text!r} is not a port number or range; write names of services as numbers")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers or numbers[-1] > 65535:
            raise ValueError(f"{text!r} is outside 0..65535")
        return [f"{prefix}{number}" for number in numbers]
    return [f"{prefix}{ports}"]
