# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Messages of the kernel about nftables -> the state, in the words of nft; of rules, the forms of nftables mode alone.

Whatever else there is raises UnknownFormError: a caller can then ask nft. Numbers are those of the kernel's header
nf_tables.h.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Dict, NamedTuple

from ..state.nftables import Chain, Element, Set, duration
from .netlink import UnknownFormError, address_text, attribute_list, attributes, number, text

Attributes = Dict[int, bytes]
# struct nfgenmsg
HEADER_BYTES = 4
FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
# (hook, priority) -> as nft prints it; for these hooks it has no more names, or none that nftables mode uses.
PRIORITIES = {
    ("prerouting", -110): "dstnat - 10",
    ("prerouting", -100): "dstnat",
    ("postrouting", 100): "srcnat",
    ("input", 0): "filter",
    ("forward", 0): "filter",
    ("output", 0): "filter",
    ("output", -100): "-100",
    ("output", -110): "-110",
}
POLICIES = ("drop", "accept")
PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
VERDICTS = {0: "drop", 1: "accept", -5: "return", -3: "jump", -4: "goto"}
ANONYMOUS, CONSTANT, INTERVAL, MAP, TIMEOUT, DYNAMIC = 1, 2, 4, 8, 16, 32
INTEGER, IPV4, IPV6, PROTOCOL, SERVICE = 4, 7, 8, 12, 13
TYPES = {IPV4: "ipv4_addr", IPV6: "ipv6_addr", PROTOCOL: "inet_proto", SERVICE: "inet_service"}
# Bytes, each field of a concatenation being padded to four.
SIZES = {IPV4: 4, IPV6: 16, PROTOCOL: 4, SERVICE: 4, INTEGER: 4}
VERDICT = 0xFFFFFF00
TYPE_BITS, TYPE_MASK = 6, 63


class SetHeader(NamedTuple):
    """A set without its elements. ``key`` and ``data`` are the numbers of the types of their fields; [] for a verdict.

    ``handle`` is never given again to another set of the table.
    """

    name: str
    handle: int
    flags: int
    key: list[int]
    data: list[int]
    size: int
    timeout: int
    comment: str

    @property
    def anonymous(self) -> bool:
        """Whether it is part of a rule. Such a set is constant too: it never changes while it is there."""
        return bool(self.flags & ANONYMOUS)

    @property
    def dynamic(self) -> bool:
        """Whether packets add the elements."""
        return bool(self.flags & DYNAMIC)


class Value(NamedTuple):
    """An element as the kernel has it. ``data`` is "" in a set; ``end``: it ends an interval, and is not part of it."""

    key: bytes
    data: str
    comment: str
    end: bool


def known(data: bytes, *kinds: int) -> Attributes:
    """Attributes, if there are none but of these kinds. Raises UnknownFormError."""
    found = attributes(data)
    if not found.keys() <= set(kinds):
        raise UnknownFormError(f"attributes {sorted(found.keys() - set(kinds))}")
    return found


def comment(userdata: bytes, of_kind: int = 0) -> str:
    """The comment that nft keeps in an object's user data. Raises UnknownFormError where it keeps more there."""
    found, offset = "", 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        value = userdata[offset + 2 : offset + 2 + length]
        if kind == of_kind:
            found = text(value)
        # Of a set: how to print it, and flags that are not set.
        elif not of_kind or (kind not in (0, 1, 3, 4) and any(value)):
            raise UnknownFormError(f"user data {kind}")
        offset += 2 + length
    return found


def chain(message: bytes) -> tuple[str, Chain]:
    """-> (name, chain without its rules). Raises UnknownFormError."""
    found = attributes(message, HEADER_BYTES)
    hook = ""
    if 4 in found:
        where = known(found[4], 1, 2)
        name = HOOKS[number(where[1])]
        (priority,) = struct.unpack(">i", where[2])
        shown = PRIORITIES.get((name, priority))
        if shown is None or 8 in found:
            raise UnknownFormError(f"priority {priority} at {name}, or counters")
        policy = POLICIES[number(found[5])]
        hook = f"type {text(found[7])} hook {name} priority {shown}; policy {policy};"
    return text(found[3]), Chain(hook, comment(found.get(12, b"")), ())


def set_header(message: bytes) -> SetHeader:
    """Raises UnknownFormError."""
    found = attributes(message, HEADER_BYTES)
    flags = number(found.get(3, b""))
    if flags & ANONYMOUS and flags & ~(ANONYMOUS | CONSTANT | INTERVAL | MAP):
        raise UnknownFormError(f"an anonymous set with flags {flags}")
    # Policy, garbage collection, objects, expressions
    if any(number(found.get(kind, b"")) for kind in (8, 12, 15)) or {17, 18} & found.keys():
        raise UnknownFormError("a set with more than nftables mode gives it")
    data = number(found[6]) if flags & MAP else 0
    return SetHeader(
        text(found[2]),
        number(found[16]),
        flags,
        _types(number(found[4])),
        [] if data == VERDICT else _types(data),
        number(attributes(found.get(9, b"")).get(1, b"")),
        number(found.get(11, b"")),
        # What nft notes about an anonymous set is how to print it.
        "" if flags & ANONYMOUS else comment(found.get(13, b""), 7),
    )


def _types(packed: int) -> list[int]:
    types: list[int] = []
    while packed:
        types.insert(0, packed & TYPE_MASK)
        packed >>= TYPE_BITS
    if not SIZES.keys() >= set(types):
        raise UnknownFormError(f"types {types}")
    return types


def named_set(header: SetHeader, values: list[Value]) -> Set:
    """Raises UnknownFormError."""
    names = " . ".join(TYPES[one] for one in header.key)
    options = [("type", f"{names} : verdict" if header.flags & MAP else names)]
    if header.flags & ~(MAP | TIMEOUT | DYNAMIC) or header.data or bool(header.flags & TIMEOUT) != header.dynamic:
        raise UnknownFormError(f"set {header.name} with flags {header.flags}")
    if header.size:
        options.append(("size", str(header.size)))
    if header.dynamic:
        options += [("flags", "dynamic,timeout"), ("timeout", _seconds(header.timeout))]
    if header.comment:
        options.append(("comment", f'"{header.comment}"'))
    elements = {fields(header.key, value.key): Element(value.data, value.comment) for value in values}
    return Set("map" if header.flags & MAP else "set", tuple(options), elements)


def _seconds(milliseconds: int) -> str:
    if not milliseconds or milliseconds % 1000:
        raise UnknownFormError(f"{milliseconds} ms")
    return duration(milliseconds // 1000)


def values(messages: list[bytes], header: SetHeader) -> list[Value]:
    """The elements of a dump. Raises UnknownFormError."""
    found = []
    for message in messages:
        for element in attribute_list(attributes(message, HEADER_BYTES).get(3, b"")):
            parts = known(element, 1, 2, 3, 6)
            flags = number(parts.get(3, b""))
            if flags & ~1:
                raise UnknownFormError(f"element with flags {flags}")
            data = _data(header.data, parts[2]) if 2 in parts else ""
            found.append(Value(attributes(parts[1])[1], data, comment(parts.get(6, b"")), bool(flags)))
    return found


def _data(types: list[int], data: bytes) -> str:
    found = attributes(data)
    return fields(types, found[1]) if types else verdict(found[2])


def verdict(data: bytes) -> str:
    """``goto CHAIN``, ``drop``. Raises UnknownFormError."""
    found = known(data, 1, 2)
    (code,) = struct.unpack(">i", found[1])
    if code not in VERDICTS:
        raise UnknownFormError(f"verdict {code}")
    return f"{VERDICTS[code]} {text(found[2])}" if 2 in found else VERDICTS[code]


def fields(types: list[int], data: bytes) -> str:
    """A concatenation as nft prints it. Raises UnknownFormError."""
    shown, offset = [], 0
    for one in types:
        size = SIZES[one]
        shown.append(_field(one, data[offset : offset + size]))
        offset += size
    return " . ".join(shown)


def _field(of_type: int, data: bytes) -> str:
    if of_type in (IPV4, IPV6):
        return address_text(socket.AF_INET if of_type == IPV4 else socket.AF_INET6, data)
    if of_type == SERVICE:
        return str(data[0] << 8 | data[1])
    if of_type == INTEGER:
        return str(int.from_bytes(data, sys.byteorder))
    if data[0] not in PROTOCOLS:
        raise UnknownFormError(f"protocol {data[0]}")
    return PROTOCOLS[data[0]]
