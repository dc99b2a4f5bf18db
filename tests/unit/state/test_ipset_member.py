# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members as people write them, and as ipset prints them. That the kernel agrees is tests/integration's to show.

addresses  10.9.0.0/16, fd00:9::/64
"""

from __future__ import annotations

import re

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset_member import normalise
from hypothesis import given
from hypothesis import strategies as st

NO_ADDRESS = "is not an IP address, network or range"


@pytest.mark.parametrize(
    ("set_type", "family", "entry", "members"),
    [
        # addresses
        ("hash:ip", "inet", "10.9.0.1", ["10.9.0.1"]),
        ("hash:ip", "inet", " 10.9.0.1 ", ["10.9.0.1"]),
        ("hash:ip", "inet6", "FD00:9:0:0::1", ["fd00:9::1"]),
        ("hash:ip", "inet", "10.9.0.1/32", ["10.9.0.1"]),
        ("hash:ip", "inet6", "fd00:9::1/128", ["fd00:9::1"]),
        ("hash:ip", "inet", "10.9.0.5/30", ["10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.7"]),
        ("hash:ip", "inet", "10.9.0.254-10.9.1.1", ["10.9.0.254", "10.9.0.255", "10.9.1.0", "10.9.1.1"]),
        ("bitmap:ip", "inet", "10.9.0.1-10.9.0.2", ["10.9.0.1", "10.9.0.2"]),
        # networks
        ("hash:net", "inet", "10.9.1.2/16", ["10.9.0.0/16"]),
        ("hash:net", "inet", "10.9.1.2", ["10.9.1.2"]),
        ("hash:net", "inet", "10.9.1.2/32", ["10.9.1.2"]),
        ("hash:net", "inet6", "FD00:9::1/64", ["fd00:9::/64"]),
        ("hash:net", "inet6", "fd00:9::1/128", ["fd00:9::1"]),
        ("hash:net", "inet", "10.9.0.1-10.9.0.4", ["10.9.0.1", "10.9.0.2/31", "10.9.0.4"]),
        ("hash:net,iface", "inet", "0.0.0.0/0,eth0", ["0.0.0.0/0,eth0"]),
        ("hash:net,net", "inet", "10.9.1.1/24,10.9.0.7/32", ["10.9.1.0/24,10.9.0.7"]),
        # ports
        ("bitmap:port", "inet", "80", ["80"]),
        ("bitmap:port", "inet", "tcp:80-82", ["80", "81", "82"]),
        ("hash:ip,port", "inet", "10.9.0.1,80", ["10.9.0.1,tcp:80"]),
        ("hash:ip,port", "inet", "10.9.0.1,TCP:80", ["10.9.0.1,tcp:80"]),
        ("hash:ip,port", "inet", "10.9.0.1,6:80", ["10.9.0.1,tcp:80"]),
        ("hash:ip,port", "inet", "10.9.0.1,17:53", ["10.9.0.1,udp:53"]),
        ("hash:ip,port", "inet6", "fd00:9::1,sctp:9", ["fd00:9::1,sctp:9"]),
        ("hash:ip,port", "inet", "10.9.0.1,udp:1-2", ["10.9.0.1,udp:1", "10.9.0.1,udp:2"]),
        ("hash:ip,port", "inet", "10.9.0.1,0", ["10.9.0.1,tcp:0"]),
        ("hash:ip,port", "inet", "10.9.0.1,icmp:ping", ["10.9.0.1,icmp:ping"]),
        # several parts
        ("hash:ip,port,ip", "inet", "10.9.0.1,tcp:80,10.9.0.1", ["10.9.0.1,tcp:80,10.9.0.1"]),
        ("hash:ip,port,net", "inet", "10.9.0.1,tcp:80,10.9.7.7/24", ["10.9.0.1,tcp:80,10.9.7.0/24"]),
        ("hash:ip,port,net", "inet", "10.9.0.1,tcp:80,10.9.7.7/32", ["10.9.0.1,tcp:80,10.9.7.7"]),
        (
            "hash:ip,port",
            "inet",
            "10.9.0.0/31,1-2",
            ["10.9.0.0,tcp:1", "10.9.0.0,tcp:2", "10.9.0.1,tcp:1", "10.9.0.1,tcp:2"],
        ),
        # others
        ("hash:mac", "inet", "aa:bb:cc:00:00:01", ["AA:BB:CC:00:00:01"]),
        ("bitmap:ip,mac", "inet", "10.9.0.1,aa:bb:cc:00:00:01", ["10.9.0.1,AA:BB:CC:00:00:01"]),
        ("hash:ip,mark", "inet", "10.9.0.1,255", ["10.9.0.1,0x000000ff"]),
        ("hash:ip,mark", "inet", "10.9.0.1,0xFF", ["10.9.0.1,0x000000ff"]),
        ("list:set", "inet", "OTHER", ["OTHER"]),
    ],
)
def test_members(set_type: str, family: str, entry: str, members: list[str]) -> None:
    assert normalise(set_type, family, entry) == [(member, "") for member in members]
    for member in members:
        assert normalise(set_type, family, member) == [(member, "")]


@pytest.mark.parametrize(
    ("set_type", "entry", "members"),
    [
        ("hash:net", "10.9.0.0/24 nomatch", [("10.9.0.0/24", "nomatch")]),
        ("hash:ip", '10.9.0.1  timeout 5 comment "a b"', [("10.9.0.1", 'timeout 5 comment "a b"')]),
        ("hash:ip", "10.9.0.0/31 timeout 5", [("10.9.0.0", "timeout 5"), ("10.9.0.1", "timeout 5")]),
        ("list:set", "OTHER timeout 5", [("OTHER", "timeout 5")]),
    ],
)
def test_every_member_takes_the_options_of_its_entry(set_type: str, entry: str, members: list[tuple[str, str]]) -> None:
    assert normalise(set_type, "inet", entry) == members


@pytest.mark.parametrize(
    ("set_type", "family", "entry", "message"),
    [
        ("hash:ip,port", "inet", "10.9.0.1", "'10.9.0.1' has 1 parts, a set of type hash:ip,port takes 2: ip,port"),
        ("hash:ip", "inet", "10.9.0.1,80", "'10.9.0.1,80' has 2 parts, a set of type hash:ip takes 1: ip"),
        ("hash:ip", "inet", "fd00:9::1", "'fd00:9::1' is IPv6, the set's family is inet"),
        ("hash:ip", "inet6", "10.9.0.1", "'10.9.0.1' is IPv4, the set's family is inet6"),
        (
            "hash:ip",
            "inet",
            "www.example.org",
            f"'www.example.org' {NO_ADDRESS}: 'www.example.org' does not appear to be an IPv4 or IPv6 network",
        ),
        (
            "hash:ip",
            "inet",
            "10.9.0.2-10.9.0.1",
            f"'10.9.0.2-10.9.0.1' {NO_ADDRESS}: last IP address must be greater than first",
        ),
        (
            "hash:ip",
            "inet",
            "10.9.0.1-fd00:9::1",
            f"'10.9.0.1-fd00:9::1' {NO_ADDRESS}: 10.9.0.1 and fd00:9::1 are not of the same version",
        ),
        (
            "hash:ip,port",
            "inet",
            "10.0.0.0/8,80",
            "'10.0.0.0/8' stands for more than 65536 addresses: use a set of networks (hash:net,port)",
        ),
        (
            "hash:ip,port",
            "inet",
            "10.0.0.0/24,tcp:0-65535",
            "'10.0.0.0/24,tcp:0-65535' stands for more than 65536 members: give fewer addresses or ports",
        ),
        (
            "bitmap:ip",
            "inet",
            "10.0.0.0-10.255.255.255",
            "'10.0.0.0-10.255.255.255' stands for more than 65536 addresses: use a set of networks (hash:net)",
        ),
        (
            "hash:net",
            "inet",
            "0.0.0.0/0",
            "a set of type hash:net cannot hold 0.0.0.0/0: use 0.0.0.0/1 and 128.0.0.0/1",
        ),
        (
            "hash:ip,port,net",
            "inet6",
            "fd00:9::1,80,::/0",
            "a set of type hash:ip,port,net cannot hold ::/0: use ::/1 and 8000::/1",
        ),
        (
            "bitmap:port",
            "inet",
            "http",
            "'http' is not a port number or range; write names of services as numbers",
        ),
        (
            "hash:ip,port",
            "inet",
            "10.9.0.1,tcp:1-",
            "'tcp:1-' is not a port number or range; write names of services as numbers",
        ),
        ("bitmap:port", "inet", "65536", "'65536' is outside 0..65535"),
        ("bitmap:port", "inet", "9-8", "'9-8' is outside 0..65535"),
        ("hash:mac", "inet", "aa:bb", "'aa:bb' is not a MAC address"),
    ],
)
def test_what_a_set_cannot_hold_is_refused(set_type: str, family: str, entry: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        normalise(set_type, family, entry)


@given(st.ip_addresses(v=4), st.integers(0, 65535), st.integers(1, 32))
def test_any_member_is_its_own_canonical_form(address: object, port: int, length: int) -> None:
    for member, _options in normalise("hash:ip,port,net", "inet", f"{address},{port},{address}/{length}"):
        assert normalise("hash:ip,port,net", "inet", member) == [(member, "")]
