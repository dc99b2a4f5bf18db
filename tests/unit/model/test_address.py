# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses and networks as text: one canonical form, and a helpful word where there is none."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import address
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.96.0.10", "10.96.0.10"),
        ("255.255.255.255", "255.255.255.255"),
        ("FD00:0:0::000A", "fd00::a"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("010.0.0.1", ""),
        ("10.0.0.256", ""),
        ("10.0.0", ""),
        ("10.0.0.1 ", ""),
        ("10.0.0.1/32", ""),
        ("fe80::1%eth0", ""),
        ("::ffff:10.0.0.1", ""),
        ("example.org", ""),
        ("\u0661\u0660.0.0.1", ""),
        ("", ""),
    ],
)
def test_canonical_ip(text: str, canonical: str) -> None:
    assert address.canonical_ip(text) == canonical


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6).filter(lambda ip: not getattr(ip, "ipv4_mapped", None)))
def test_canonical_ip_agrees_with_the_standard_library(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert address.canonical_ip(ip.exploded.upper()) == str(ip)
    assert address.family_of(str(ip)) == f"ipv{ip.version}"


@given(st.ip_addresses().filter(lambda ip: not getattr(ip, "ipv4_mapped", None)))
def test_special_range_agrees_with_the_standard_library(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    this_network = ip in ipaddress.ip_network("0.0.0.0/8") if ip.version == 4 else ip.is_unspecified
    expected = (
        "unspecified" if this_network else "loopback" if ip.is_loopback else "multicast" if ip.is_multicast else ""
    )
    assert address.special_range(str(ip)) == expected


@pytest.mark.parametrize(
    ("text", "special"),
    [
        ("0.0.0.0", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("223.255.255.255", ""),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", ""),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::2", ""),
        ("ff02::1", "multicast"),
        ("ff::1", ""),
    ],
)
def test_special_range(text: str, special: str) -> None:
    assert address.special_range(text) == special


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("FD00::1/48", "fd00::/48"),
        ("10.0.0.1", ""),
        ("10.0.0.0/33", ""),
        ("10.0.0.0/255.0.0.0", ""),
        ("010.0.0.0/8", ""),
        ("fd00::/129", ""),
        ("10.0.0.0/", ""),
    ],
)
def test_canonical_network(text: str, canonical: str) -> None:
    assert address.canonical_network(text) == canonical


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.0/24", "is a network; give one address without a prefix length"),
        ("fe80::1%eth0", "has a zone; give an address that needs none"),
        ("10.0.0.010", "has leading zeros, which some programs read as octal; leave them out"),
        ("::ffff:10.0.0.1", "stands for an IPv4 address; write that one"),
        ("10.0.0.1-10.0.0.9", "is a range; list the addresses"),
        ("lb.example.org", "is not an IP address; names are not resolved"),
        ("10.0.0.300", "is not an IP address"),
        ("node.01", "is not an IP address; names are not resolved"),
    ],
)
def test_why_no_ip(text: str, why: str) -> None:
    assert address.why_no_ip(text) == why
