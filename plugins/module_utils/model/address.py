# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""IP addresses and networks as text in canonical form: what equal addresses have in common, however they were written.

Text in and text out, cached, because the same few addresses come by again and again and ``ipaddress`` objects are slow.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_is_ipv4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}").fullmatch
_is_special_ipv4 = re.compile(r"(?P<unspecified>0\.)|(?P<loopback>127\.)|(?P<multicast>2(?:2[4-9]|3[0-9])\.)").match
_is_special_ipv6 = re.compile(r"(?P<unspecified>::$)|(?P<loopback>::1$)|(?P<multicast>ff[0-9a-f]{2}:)").match
_has_leading_zero = re.compile(r"(?:[0-9]+\.){3}[0-9]+").fullmatch


# The prefix length of one address.
WHOLE_ADDRESS = {"ipv4": 32, "ipv6": 128}


def family_of(address: str) -> str:
    """``ipv4`` or ``ipv6``, of an address or a network in canonical form."""
    return "ipv6" if ":" in address else "ipv4"


@lru_cache(maxsize=1 << 18)
def canonical_ip(text: str) -> str:
    """The address as kube-proxy writes it (IPv6 compressed, lower case); "" where the text is not one IP address.

    An IPv6 address with a zone (``fe80::1%eth0``) or one that stands for an IPv4 address (``::ffff:10.0.0.1``) is none.
    """
    if ":" not in text:
        return text if _is_ipv4(text) else ""
    if "%" in text:
        return ""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return ""
    return "" if address.ipv4_mapped else str(address)


@lru_cache(maxsize=1 << 12)
def canonical_network(text: str) -> str:
    """``10.1.2.3/8`` -> ``10.0.0.0/8``; "" where the text is not an address with a prefix length."""
    address, slash, length = text.partition("/")
    if not canonical_ip(address) or not slash or not re.fullmatch("[0-9]{1,3}", length):
        return ""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return ""


@lru_cache(maxsize=1 << 18)
def special_range(address: str) -> str:
    """``unspecified``, ``loopback`` or ``multicast``: the ranges to which no service leads; "" for others."""
    match = _is_special_ipv6(address) if ":" in address else _is_special_ipv4(address)
    return str(match.lastgroup) if match else ""


def why_no_ip(text: str) -> str:
    """What a person should know about text that ``canonical_ip`` does not take."""
    if "/" in text:
        return "is a network; give one address without a prefix length"
    if "%" in text:
        return "has a zone; give an address that needs none"
    if _has_leading_zero(text) and re.search(r"(?:^|\.)0[0-9]", text):
        return "has leading zeros, which some programs read as octal; leave them out"
    if ":" in text and text.rpartition(":")[2].count(".") == 3:
        return "stands for an IPv4 address; write that one"
    if "-" in text and re.fullmatch(r"[0-9a-f.:]+ *- *[0-9a-f.:]+", text):
        return "is a range; list the addresses"
    if re.search("[g-z]", text.lower()):
        return "is not an IP address; names are not resolved"
    return "is not an IP address"
