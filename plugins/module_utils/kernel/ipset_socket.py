# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads IP sets of the types that kube-proxy uses over netlink, as ``ipset save`` would print them; writes members.

``ipset save`` looks up the name of the protocol in /etc/protocols for each member, which takes most of a run of many
services, and a process takes longer than to write a few members. Whatever kube-proxy's sets do not have, counters for
one, is left to ipset.
"""

from __future__ import annotations

import functools
import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from ..plan.operation import REMOVE
from ..state.ipset import IPSet
from .command import KernelError
from .netlink import KIND_MASK, NESTED, NetlinkClient, UnknownFormError, attribute, attributes, nested, number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ..plan.ipset import Member
    from ..plan.operation import Operation

_SUBSYSTEM, _LIST, _ADD, _DEL = 6 << 8, 7, 9, 10
# Spoken by all kernels since 2.6.39.
_PROTOCOL_VERSION = 6
_PROTOCOL, _NAME, _TYPE, _FAMILY, _DATA, _MEMBERS = 1, 2, 3, 5, 7, 8
_IP, _PORT, _PORT_TO, _PROTO, _IP2, _CIDR2 = 1, 4, 5, 7, 20, 21
_HASHSIZE, _MAXELEM = 18, 19
# Of each of these a member has a part between commas.
_PART_KINDS = frozenset({_IP, _PORT, _IP2})
# Kinds of an address inside an attribute; the kernel refuses one that does not say in which order its bytes are.
_NETWORK_BYTE_ORDER = 0x4000
_ADDRESSES = {4: 1 | _NETWORK_BYTE_ORDER, 6: 2 | _NETWORK_BYTE_ORDER}
# Initval, bucket size, elements, references, size in memory: nobody asks for them.
_TOLD_BY_KERNEL = frozenset({17, 21, 24, 25, 26})
_FAMILIES = {socket.AF_INET: "inet", socket.AF_INET6: "inet6"}
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
_PROTOCOL_NUMBERS = {name: number for number, name in _PROTOCOLS.items()}
_HEADER = struct.Struct("=HH")
# A kernel without the fixes of 2019 lets a set be renamed while it is listed: then parts of an unknown one come.
UNREADABLE = (KernelError, UnknownFormError, KeyError, ValueError, struct.error)


class SetsSocket(NetlinkClient):
    """Lists sets, and writes their members."""

    def read(self, wanted: Callable[[str], bool]) -> dict[str, IPSet] | None:
        """The wanted sets by name; None where the kernel refuses to tell, or only ipset can."""
        try:
            return decode(self._list(), wanted)
        except UNREADABLE:
            return None

    def read_one(self, name: str) -> IPSet | None:
        """One set; None where there is none, the kernel refuses to tell, or only ipset can."""
        try:
            asked = attribute(_NAME, name.encode() + b"\0")
            return decode(self._list(asked), lambda found: found == name).get(name)
        except UNREADABLE:
            return None

    def write(self, operations: Collection[Operation]) -> bool:
        """Adds and removes members, as ``ipset -exist`` does.

        False where it is left to ipset: members of a form that is not known here, anything but members, and what the
        kernel refuses, as ipset has the words for that. Some may be written then.
        """
        try:
            # All of them are known before the first is sent.
            bodies = [(_command(operation), _body(encode(operation.payload))) for operation in operations]
            for command in (_ADD, _DEL):
                self._socket.submit(_SUBSYSTEM | command, [body for of, body in bodies if of == command])
        except (*UNREADABLE, OverflowError):
            return False
        return True

    def _list(self, asked: bytes = b"") -> list[bytes]:
        return self._socket.dump(_SUBSYSTEM | _LIST, _body(asked))


def _body(asked: bytes) -> bytes:
    return struct.pack("=BBH", socket.AF_INET, 0, 0) + attribute(_PROTOCOL, bytes([_PROTOCOL_VERSION])) + asked


def _command(operation: Operation) -> int:
    if operation.kind != "member":
        raise UnknownFormError
    return _DEL if operation.verb == REMOVE else _ADD


def encode(member: Member) -> bytes:
    """A member and its set as the kernel is told them.

    Raises UnknownFormError, KeyError, ValueError or OverflowError where this is left to ipset.
    """
    kinds = FORMS[member.set_type][1]
    parts = member.entry.split(",")
    if member.options or len(parts) != len(_PART_KINDS.intersection(kinds)):
        raise UnknownFormError
    name = attribute(_NAME, member.set_name.encode() + b"\0")
    return name + nested(_DATA, *_values_told(kinds, parts))


def _values_told(kinds: tuple[int, ...], parts: list[str]) -> Iterator[bytes]:
    if _IP in kinds:
        yield _address_told(_IP, parts.pop(0))
    if _PORT in kinds:
        protocol, _colon, port = parts.pop(0).rpartition(":")
        yield attribute(_PORT | _NETWORK_BYTE_ORDER, int(port).to_bytes(2, "big"))
        if bool(protocol) != (_PROTO in kinds):
            raise UnknownFormError
        if protocol:
            yield attribute(_PROTO, bytes([_PROTOCOL_NUMBERS[protocol]]))
    if _IP2 in kinds:
        address, slash, length = parts.pop(0).partition("/")
        yield _address_told(_IP2, address)
        if slash and _CIDR2 not in kinds:
            raise UnknownFormError
        if slash:
            yield attribute(_CIDR2, bytes([int(length)]))


def _address_told(kind: int, text: str) -> bytes:
    address = ip_address(text)
    return nested(kind, attribute(_ADDRESSES[address.version], address.packed))


def decode(parts: list[bytes], wanted: Callable[[str], bool]) -> dict[str, IPSet]:
    """The messages of a dump -> the wanted sets. Raises UnknownFormError."""
    found: dict[str, IPSet] = {}
    members: dict[str, dict[str, str]] = {}
    for part in parts:
        message = attributes(part, 4)
        name = text(message[_NAME])
        if not wanted(name):
            continue
        if _TYPE in message:
            set_type = text(message[_TYPE])
            members[name] = {}
            found[name] = IPSet(name, set_type, tuple(_options(set_type, message)), members[name])
        if message.get(_MEMBERS):
            members[name].update(dict.fromkeys(_entries(found[name].type, message[_MEMBERS]), ""))
    return found


def _options(set_type: str, message: dict[int, bytes]) -> Iterator[tuple[str, str]]:
    """The create options. Raises UnknownFormError."""
    data = attributes(message.get(_DATA, b""))
    kinds = data.keys() - _TOLD_BY_KERNEL
    if set_type == "bitmap:port" and kinds == {_PORT, _PORT_TO}:
        yield "range", f"{number(data[_PORT])}-{number(data[_PORT_TO])}"
    elif set_type in FORMS and kinds == {_HASHSIZE, _MAXELEM}:
        yield "family", _FAMILIES[socket.AddressFamily(message[_FAMILY][0])]
        yield "hashsize", str(number(data[_HASHSIZE]))
        yield "maxelem", str(number(data[_MAXELEM]))
    else:
        raise UnknownFormError


class _Layout(NamedTuple):
    """Where the values of a member lie: ``record`` unpacks what is around each and the value, in turns."""

    record: struct.Struct
    around: tuple[bytes, ...]
    kinds: tuple[int, ...]


def _entries(set_type: str, data: bytes) -> Iterator[str]:
    """The members in the list of one message. Raises UnknownFormError."""
    layout = _layout(data)
    form, kinds = FORMS[set_type]
    if sorted(layout.kinds) != sorted(kinds) or len(data) % layout.record.size:
        raise UnknownFormError
    order = [2 * layout.kinds.index(kind) + 1 for kind in kinds]
    for fields in layout.record.iter_unpack(data):
        if fields[::2] != layout.around:
            raise UnknownFormError
        yield form(*(fields[index] for index in order))


def _layout(data: bytes) -> _Layout:
    """That of the first member, which all others have to share: the kernel writes those of a set in one way."""
    length = _HEADER.unpack_from(data)[0]
    values = list(_values(data, 4, length))
    pattern, position = "=", 0
    for _kind, start, end in values:
        pattern += f"{start - position}s{end - start}s"
        position = end
    record = struct.Struct(f"{pattern}{length - position}s")
    return _Layout(record, record.unpack_from(data)[::2], tuple(kind for kind, _start, _end in values))


def _values(data: bytes, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(kind, start, end) of each value; that of an address has the kind of what it is the address of."""
    while offset + 4 <= end:
        length, kind = _HEADER.unpack_from(data, offset)
        start = offset + (8 if kind & NESTED else 4)
        yield kind & KIND_MASK, start, offset + length
        offset += (length + 3) & ~3


@functools.lru_cache(maxsize=None)
def _address(value: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)


@functools.lru_cache(maxsize=None)
def _service(protocol: bytes, port: bytes) -> str:
    name = _PROTOCOLS.get(protocol[0])
    if name is None:
        raise UnknownFormError
    return f"{name}:{number(port)}"


def _ip_port(ip: bytes, protocol: bytes, port: bytes) -> str:
    return f"{_address(ip)},{_service(protocol, port)}"


def _ip_port_ip(ip: bytes, protocol: bytes, port: bytes, source: bytes) -> str:
    return f"{_address(ip)},{_service(protocol, port)},{_address(source)}"


def _ip_port_net(ip: bytes, protocol: bytes, port: bytes, source: bytes, length: bytes) -> str:
    network = _address(source) if length[0] == 8 * len(source) else f"{_address(source)}/{length[0]}"
    return f"{_address(ip)},{_service(protocol, port)},{network}"


# Type of a set -> what prints a member, and the kinds of its values in that order.
FORMS: dict[str, tuple[Callable[..., str], tuple[int, ...]]] = {
    "bitmap:port": (lambda port: str(number(port)), (_PORT,)),
    "hash:ip": (_address, (_IP,)),
    "hash:ip,port": (_ip_port, (_IP, _PROTO, _PORT)),
    "hash:ip,port,ip": (_ip_port_ip, (_IP, _PROTO, _PORT, _IP2)),
    "hash:ip,port,net": (_ip_port_net, (_IP, _PROTO, _PORT, _IP2, _CIDR2)),
}
