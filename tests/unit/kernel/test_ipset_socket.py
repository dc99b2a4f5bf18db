# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from socket import AF_INET

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipset_socket import decode, encode
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.netlink import UnknownFormError, attribute, nested
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.ipset import Member
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset import IPSet

# Kinds of attributes, as in linux/netfilter/ipset/ip_set.h.
NAME, TYPE, FAMILY, DATA, MEMBERS = 2, 3, 5, 7, 8
IP, PORT, PORT_TO, PROTOCOL, FLAGS, HASHSIZE, MAXELEM, REFERENCES = 1, 4, 5, 7, 8, 18, 19, 25
OPTIONS = (("family", "inet"), ("hashsize", "64"), ("maxelem", "9"))


def part(name: str, *attributes: bytes) -> bytes:
    return bytes(4) + attribute(NAME, name.encode("latin-1") + b"\0") + b"".join(attributes)


def created(set_type: str, *options: bytes) -> list[bytes]:
    numbers = [
        attribute(kind, value.to_bytes(4, "big")) for kind, value in ((HASHSIZE, 64), (MAXELEM, 9), (REFERENCES, 2))
    ]
    return [
        attribute(TYPE, set_type.encode() + b"\0"),
        attribute(FAMILY, bytes([AF_INET])),
        nested(DATA, *numbers, *options),
    ]


def members(*found: bytes) -> bytes:
    return nested(MEMBERS, *found)


def member(last: int, port: int = 80, protocol: int = 6, more: bytes = b"") -> bytes:
    address = nested(IP, attribute(1, bytes([10, 9, 0, last])))
    return nested(DATA, address, attribute(PORT, port.to_bytes(2, "big")), attribute(PROTOCOL, bytes([protocol])), more)


def read(*parts: bytes) -> dict[str, IPSet]:
    return decode(list(parts), lambda name: name.startswith("A"))


def test_a_set_may_take_several_messages() -> None:
    first = part("A", *created("hash:ip,port"), members(member(1), member(2, 53, 17)))
    found = read(first, part("A", members(member(3, 38412, 132))), part("AB", *created("hash:ip,port"), members()))
    entries = dict.fromkeys(["10.9.0.1,tcp:80", "10.9.0.2,udp:53", "10.9.0.3,sctp:38412"], "")
    assert found == {"A": IPSet("A", "hash:ip,port", OPTIONS, entries), "AB": IPSet("AB", "hash:ip,port", OPTIONS, {})}


def test_what_is_not_asked_for_is_not_decoded() -> None:
    assert read(part("B", *created("hash:mac"), members(b"\xff" * 8))) == {}
    assert read(part("\xe4, not UTF-8", *created("hash:ip"))) == {}


@pytest.mark.parametrize(
    "of_a_set",
    [
        created("hash:net"),
        created("hash:ip", attribute(6, bytes(4))),
        created("hash:ip,port", attribute(FLAGS, bytes(4))),
        [*created("hash:ip"), members(member(1))],
        [*created("hash:ip,port"), members(member(1, protocol=1))],
        [*created("hash:ip,port"), members(member(1), member(2, more=attribute(FLAGS, bytes(4))))],
        [*created("hash:ip,port"), members(member(1, more=attribute(FLAGS, bytes(4))))],
        # Of the same length, and yet not the same kinds.
        [*created("hash:ip,port"), members(member(1), member(2).replace(b"\x05\x00\x07\x00", b"\x05\x00\x08\x00"))],
    ],
)
def test_what_kube_proxy_does_not_write_is_left_to_ipset(of_a_set: list[bytes]) -> None:
    with pytest.raises(UnknownFormError):
        read(part("A", *of_a_set))


@pytest.mark.parametrize(
    ("set_type", "entry"),
    [
        ("bitmap:port", "65535"),
        ("hash:ip", "fd00::1"),
        ("hash:ip,port", "10.9.0.1,udp:53"),
        ("hash:ip,port,ip", "fd00::1,sctp:9,fd00::2"),
        ("hash:ip,port,net", "10.9.0.1,tcp:80,10.9.0.0/24"),
    ],
)
def test_a_member_is_told_as_the_kernel_tells_it(set_type: str, entry: str) -> None:
    told = encode(Member("A", set_type, entry, ""))
    name = attribute(NAME, b"A\0")
    assert told.startswith(name)
    assert read(part("A", *created_as(set_type), members(told[len(name) :])))["A"].members == {entry: ""}


def created_as(set_type: str) -> list[bytes]:
    if set_type != "bitmap:port":
        return created(set_type)
    ends = [attribute(kind, value.to_bytes(2, "big")) for kind, value in ((PORT, 0), (PORT_TO, 65535))]
    return [attribute(TYPE, set_type.encode() + b"\0"), nested(DATA, *ends)]


@pytest.mark.parametrize(
    ("set_type", "entry", "options"),
    [
        ("hash:net", "10.9.0.0/24", ""),
        ("hash:ip", "10.9.0.1", "timeout 5"),
        ("hash:ip", "10.9.0.0/24", ""),
        ("hash:ip,port", "10.9.0.1", ""),
        ("hash:ip,port", "10.9.0.1,80", ""),
        ("hash:ip,port", "10.9.0.1,tcp:65536", ""),
        ("hash:ip,port", "10.9.0.1,tcp:80,10.9.0.1", ""),
        ("hash:ip,port", "10.9.0.1,icmp:ping", ""),
        ("hash:ip,port,ip", "10.9.0.1,tcp:80,10.9.0.0/24", ""),
        ("hash:ip,port,net", "10.9.0.1,tcp:80,10.9.0.0/256", ""),
        ("bitmap:port", "tcp:80", ""),
    ],
)
def test_a_member_of_another_form_is_left_to_ipset(set_type: str, entry: str, options: str) -> None:
    """The set may be in a file that somebody has edited."""
    with pytest.raises((UnknownFormError, KeyError, ValueError, OverflowError)):
        encode(Member("A", set_type, entry, options))
