# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Netlink messages and attributes, and what IPVS and connection tracking put into them. No kernel takes part."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from ipaddress import IPv6Address

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import conntrack, ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.netlink import (
    GENERIC,
    Message,
    NetlinkError,
    NetlinkSocket,
    RefusedError,
    address_text,
    attribute,
    attributes,
    frame,
    messages,
    nested,
    status,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.conntrack import End, Flow
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import (
    RealServer,
    RealServerKey,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
)
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.binary(max_size=40)
KINDS = st.integers(1, 0x3FFF)
# Addresses of one family inside the other are none of Kubernetes'.
IPV6 = st.ip_addresses(v=6).filter(lambda address: IPv6Address(address).ipv4_mapped is None)
ADDRESSES = {"ipv4": st.ip_addresses(v=4).map(str), "ipv6": IPV6.map(str)}
PORTS = st.integers(0, 65535)
COUNTS = st.integers(0, 2**31 - 1)


@given(st.dictionaries(KINDS, VALUES))
def test_attributes_round_trip(found: dict[int, bytes]) -> None:
    data = b"".join(attribute(kind, value) for kind, value in found.items())
    assert len(data) % 4 == 0
    assert attributes(data) == found
    assert attributes(b"head" + data, 4) == found


@given(KINDS, st.dictionaries(KINDS, VALUES))
def test_nested_attributes_round_trip(kind: int, found: dict[int, bytes]) -> None:
    data = nested(kind, *(attribute(inner, value) for inner, value in found.items()))
    assert attributes(attributes(data)[kind]) == found


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 65535), st.integers(0, 2**32 - 1), VALUES)))
def test_messages_round_trip(found: list[tuple[int, int, int, bytes]]) -> None:
    data = b"".join(frame(*message) for message in found)
    assert list(messages(data)) == [Message(*message) for message in found]


def test_the_bytes_of_an_attribute() -> None:
    little = b"\x07\x00\x05\x80abc\x00"
    assert nested(5, b"abc") == (little if sys.byteorder == "little" else b"\x00\x07\x80\x05abc\x00")


@pytest.mark.parametrize("text", ["10.96.0.1", "::", "::1", "::a00:1", "fd00:0:1::1", "2001:db8:0:1:1:1:1:1"])
def test_an_address_is_text_in_canonical_form(text: str) -> None:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    assert address_text(family, socket.inet_pton(family, text)) == text


@pytest.mark.parametrize("data", [struct.pack("=HH", 3, 1), struct.pack("=HH", 9, 1) + b"abcd"], ids=["short", "long"])
def test_a_broken_attribute_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="attribute 1 at byte 0"):
        attributes(data)


@pytest.mark.parametrize("length", [15, 21])
def test_a_broken_message_is_an_error(length: int) -> None:
    with pytest.raises(ValueError, match="netlink message at byte 0"):
        list(messages(struct.pack("=IHHII", length, 2, 0, 1, 0) + b"abcd"))


def refusal(number: int, flags: int, tail: bytes) -> Message:
    return Message(2, flags, 1, struct.pack("=iIHHII", -number, 20, 16, 5, 1, 0) + tail)


@pytest.mark.parametrize(
    "message, expected",
    [
        (refusal(0, 0x100, b""), None),
        (Message(3, 2, 1, struct.pack("=i", 0)), None),
        (Message(3, 2, 1, b""), None),
        (refusal(errno.ENOENT, 0x100, b""), "ENOENT: No such file or directory"),
        (refusal(errno.EINVAL, 0x300, attribute(1, b"bad weight\0")), "EINVAL: bad weight"),
        (refusal(errno.EINVAL, 0x200, b"body" + attribute(1, b"bad weight\0")), "EINVAL: bad weight"),
        (refusal(errno.EINVAL, 0x300, attribute(2, b"\1\0\0\0")), "EINVAL: Invalid argument"),
        (Message(3, 2, 1, struct.pack("=i", -errno.EBUSY)), "EBUSY: Device or resource busy"),
    ],
    ids=["acknowledged", "done", "done, bare", "refused", "text", "text after the echo", "no text", "dump failed"],
)
def test_what_the_kernel_answers(message: Message, expected: str | None) -> None:
    error = status(message)
    assert (str(error) if error else None) == expected


def test_an_error_names_the_missing_right() -> None:
    assert "CAP_NET_ADMIN" in str(NetlinkError(errno.EPERM))


class ScriptedSocket:
    """Answers with the datagrams and errors of a script, in their order."""

    def __init__(self, *script: bytes | OSError) -> None:
        self.script = list(script)
        self.sent: list[Message] = []

    def send(self, data: bytes) -> int:
        self.sent += messages(data)
        return len(data)

    def recv(self, _size: int, _flags: int = 0) -> bytes:
        answer = self.script.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


def scripted(monkeypatch: pytest.MonkeyPatch, *script: bytes | OSError) -> tuple[NetlinkSocket, ScriptedSocket]:
    found, fake = NetlinkSocket(GENERIC), ScriptedSocket(*script)
    monkeypatch.setattr(found, "_opened", fake)
    return found, fake


def part(sequence: int, body: bytes, flags: int = 2) -> bytes:
    return frame(20, flags, sequence, body)


def done(sequence: int, number: int = 0) -> bytes:
    return frame(3, 2, sequence, struct.pack("=i", -number))


def answer(sequence: int, number: int = 0) -> bytes:
    return frame(2, 0x100, sequence, struct.pack("=iIHHII", -number, 20, 20, 5, sequence, 0))


def test_a_dump_of_several_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    late = part(0, b"late")
    found, fake = scripted(monkeypatch, late, part(1, b"one.") + part(1, b"two."), part(1, b"3..."), done(1))
    assert found.dump(20, b"what") == [b"one.", b"two.", b"3..."]
    assert [(m.kind, m.flags, m.body) for m in fake.sent] == [(20, 0x301, b"what")]
    assert found.messages == 1


def test_a_dump_starts_again_if_the_table_changed_or_the_buffer_ran_over(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _fake = scripted(
        monkeypatch,
        *(part(1, b"old.", flags=0x12), done(1)),
        *(
            part(2, b"old."),
            OSError(errno.ENOBUFS, "overrun"),
            part(2, b"rest"),
            BlockingIOError(errno.EAGAIN, "empty"),
        ),
        *(part(3, b"new."), done(3)),
    )
    assert found.dump(20, b"") == [b"new."]
    assert found.messages == 3


def test_a_dump_that_never_settles_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _fake = scripted(monkeypatch, *(done_ for n in range(1, 6) for done_ in (part(n, b"", 0x12), done(n))))
    with pytest.raises(KernelError, match="changed during each of 5 dumps"):
        found.dump(20, b"")


def test_a_dump_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _fake = scripted(monkeypatch, part(1, b"one."), done(1, errno.ENOMEM))
    with pytest.raises(NetlinkError, match="ENOMEM"):
        found.dump(20, b"")


def test_no_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _fake = scripted(monkeypatch, BlockingIOError(errno.EAGAIN, "timeout"))
    with pytest.raises(NetlinkError, match="ETIMEDOUT: no answer in 30 s"):
        found.request(20, b"")


def test_a_request_returns_its_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    found, fake = scripted(monkeypatch, part(1, b"data", 0), answer(1))
    assert found.request(20, b"") == [b"data"]
    assert [m.flags for m in fake.sent] == [0x5]


def test_a_batch_is_acknowledged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, fake = scripted(monkeypatch, answer(64), answer(70))
    found.submit(20, [b"body"] * 70)
    assert [m.sequence for m in fake.sent if m.flags == 0x5] == [64, 70]
    assert {m.flags for m in fake.sent} == {0x1, 0x5}
    assert found.messages == 70


def test_the_first_refusal_ends_a_submission_after_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    found, fake = scripted(monkeypatch, answer(64), answer(67, errno.ESRCH), answer(70, errno.EINVAL), answer(128))
    with pytest.raises(RefusedError) as caught:
        found.submit(20, [b"body"] * 200, lambda _index, number: number == errno.ESRCH)
    assert (caught.value.index, caught.value.done, caught.value.number) == (69, 127, errno.EINVAL)
    assert len(fake.sent) == 128


HEADER = b"\1\1\0\0"
FLAG_NAMES = ("flag-1", "flag-2", "flag-3", "one-packet")
FLAGS = st.sets(st.sampled_from(FLAG_NAMES)).map(lambda flags: tuple(sorted(flags)))


@st.composite
def virtual_servers(draw: st.DrawFn) -> tuple[VirtualServerKey, VirtualServer]:
    family = draw(st.sampled_from(["ipv4", "ipv6"]))
    key = VirtualServerKey(family, draw(st.sampled_from(["tcp", "udp", "sctp"])), draw(ADDRESSES[family]), draw(PORTS))
    if draw(st.booleans()):
        key = VirtualServerKey(family, "", "", 0, draw(st.integers(1, 2**32 - 1)))
    timeout = draw(st.sampled_from([0, 1, 10800]))
    netmask = draw(st.integers(0, 127 if family == "ipv6" else 31)) if timeout else 0
    engine = draw(st.sampled_from(["", "sip"]))
    return key, VirtualServer(draw(st.sampled_from(["rr", "none"])), draw(FLAGS), timeout, netmask, {}, engine)


@st.composite
def real_servers(draw: st.DrawFn) -> tuple[RealServerKey, RealServer]:
    key = RealServerKey(draw(st.one_of(*ADDRESSES.values())), draw(PORTS))
    forwarding = draw(st.sampled_from(["masquerade", "route", "tunnel"]))
    checksum = draw(st.sampled_from(["nocsum", "csum", "remcsum"]))
    tunnel = Tunnel(draw(st.sampled_from(["ipip", "gue", "gre"])), draw(PORTS), checksum)
    thresholds = draw(COUNTS), draw(COUNTS)
    return key, RealServer(forwarding, draw(COUNTS), *thresholds, tunnel if forwarding == "tunnel" else Tunnel())


@given(virtual_servers())
def test_a_virtual_server_round_trips(found: tuple[VirtualServerKey, VirtualServer]) -> None:
    assert ipvs.decode_virtual_server(HEADER + ipvs.encode_virtual_server(*found)) == found


@given(virtual_servers(), real_servers())
def test_a_real_server_round_trips(
    owner: tuple[VirtualServerKey, VirtualServer], found: tuple[RealServerKey, RealServer]
) -> None:
    parts = attributes(ipvs.encode_real_server(owner[0], *found))
    counts = b"".join(attribute(kind, struct.pack("=I", kind)) for kind in (7, 8, 9))
    body = HEADER + attribute(2, parts[2] + counts)
    assert ipvs.decode_real_server(owner[0], body) == (*found, (7, 8, 9))
    assert attributes(ipvs.encode_virtual_server_key(owner[0]))[1] == parts[1]


@given(virtual_servers(), real_servers())
def test_a_real_server_is_named_by_address_port_and_family(
    owner: tuple[VirtualServerKey, VirtualServer], found: tuple[RealServerKey, RealServer]
) -> None:
    key, family = found[0], socket.AF_INET6 if ":" in found[0].address else socket.AF_INET
    address = socket.inet_pton(family, key.address).ljust(16, b"\0")
    assert attributes(attributes(ipvs.encode_real_server(owner[0], key, None))[2]) == {
        1: address,
        2: struct.pack("!H", key.port),
        11: struct.pack("=H", family),
    }


def test_flags_of_the_kernel_itself_are_no_configuration() -> None:
    key, server = VirtualServerKey("ipv4", "tcp", "10.96.0.1", 80), VirtualServer("rr", ("flag-1",), 0, 0, {})
    service = attributes(attributes(ipvs.encode_virtual_server(key, server))[1])
    service[7] = struct.pack("=II", struct.unpack("=II", service[7])[0] | 0x2, 0xFFFFFFFF)
    body = HEADER + nested(1, *(attribute(kind, value) for kind, value in service.items()))
    assert ipvs.decode_virtual_server(body)[1] == server


@pytest.mark.parametrize(
    "family, prefix_length, expected",
    [
        ("ipv4", 0, b"\xff\xff\xff\xff"),
        ("ipv4", 24, b"\xff\xff\xff\x00"),
        ("ipv6", 0, struct.pack("=I", 128)),
        ("ipv6", 64, struct.pack("=I", 64)),
    ],
)
def test_a_netmask_is_a_mask_for_ipv4_and_a_length_for_ipv6(family: str, prefix_length: int, expected: bytes) -> None:
    key = VirtualServerKey(family, "tcp", "10.96.0.1" if family == "ipv4" else "fd00::1", 80)
    server = VirtualServer("rr", (), 60, prefix_length, {})
    assert attributes(attributes(ipvs.encode_virtual_server(key, server))[1])[9] == expected


def flow_body(flow: Flow, family: int, protocol: int = 17, extra: bytes = b"") -> bytes:
    """A flow as ctnetlink dumps it."""

    def ends(kind: int, source: End, destination: End) -> bytes:
        first = 3 if family == socket.AF_INET6 else 1
        return nested(
            kind,
            nested(
                1,
                attribute(first, socket.inet_pton(family, source.address)),
                attribute(first + 1, socket.inet_pton(family, destination.address)),
            ),
            nested(
                2,
                attribute(1, bytes([protocol])),
                attribute(2, struct.pack("!H", source.port)),
                attribute(3, struct.pack("!H", destination.port)),
            ),
        )

    original = ends(1, flow.source, flow.destination)
    reply = ends(2, flow.reply_source, flow.reply_destination)
    return bytes([family, 0, 0, 0]) + original + reply + attribute(12, struct.pack("!I", flow.id)) + extra


ENDS = {version: st.builds(End, ADDRESSES[version], PORTS) for version in ADDRESSES}
FLOWS = st.one_of(*(st.builds(Flow, *[ENDS[version]] * 4, st.integers(0, 2**32 - 1)) for version in ("ipv4", "ipv6")))


@given(FLOWS)
def test_a_flow_is_decoded_and_named_by_its_reply(flow: Flow) -> None:
    family = socket.AF_INET6 if ":" in flow.source.address else socket.AF_INET
    body = flow_body(flow, family)
    assert conntrack.decode_flow(family, body) == flow
    named, dumped = attributes(conntrack.encode_flow(flow), 4), attributes(body, 4)
    assert named == {kind: dumped[kind] for kind in (2, 12)}


FLOW = Flow(End("10.0.0.5", 1), End("10.96.0.10", 53), End("10.244.0.9", 53), End("10.0.0.5", 1), 7)


@pytest.mark.parametrize(
    "body",
    [flow_body(FLOW, socket.AF_INET, protocol=6), flow_body(FLOW, socket.AF_INET, extra=attribute(18, b"\0\5"))],
    ids=["tcp", "in another zone"],
)
def test_other_flows_are_passed_over(body: bytes) -> None:
    assert conntrack.decode_flow(socket.AF_INET, body) is None
