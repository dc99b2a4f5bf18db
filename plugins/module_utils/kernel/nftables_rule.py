# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Rules of nftables, from the kernel's expressions to the words of nft; the forms of nftables mode alone.

A rule is a program: expressions load registers, later ones compare them or do something with them. What is loaded and
not used, or used and not loaded, raises UnknownFormError, as does every expression that is not known to the letter.
"""

from __future__ import annotations

import sys
from ipaddress import ip_address, summarize_address_range
from typing import TYPE_CHECKING, Callable, NamedTuple

from .netlink import UnknownFormError, address_text, attribute_list, attributes, number, text
from .nftables_codec import (
    FAMILIES,
    HEADER_BYTES,
    INTERVAL,
    PROTOCOLS,
    SetHeader,
    Value,
    comment,
    fields,
    known,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS_BYTES = {"ip": 4, "ip6": 16}
NETWORK, TRANSPORT = 1, 2
# family -> (base, offset, bytes) -> field
PAYLOADS = {
    "ip": {(NETWORK, 12, 4): "ip saddr", (NETWORK, 16, 4): "ip daddr", (TRANSPORT, 2, 2): "th dport"},
    "ip6": {(NETWORK, 8, 16): "ip6 saddr", (NETWORK, 24, 16): "ip6 daddr", (TRANSPORT, 2, 2): "th dport"},
}
META = {3: "meta mark", 6: "iifname", 16: "meta l4proto"}
CT = {0: "ct state", 2: "ct status"}
# The bits of ct that nftables mode asks for
CT_BITS = {"ct state": {8: "new"}, "ct status": {32: "dnat"}}
FIB = {1: "fib saddr type", 2: "fib daddr type"}
ADDRESS_TYPE, LOCAL = 3, 2
EQUAL, UNEQUAL = 0, 1
RANDOM = 1
DNAT, GIVEN = 1, 1 | 2
FULLY_RANDOM = 1 << 4
UPDATE = 1
# What "reject" alone means, by family: type and code
REJECTS = {"ip": (0, 3), "ip6": (0, 4)}
# The verdict's register; of the others, numbers from 8 on count four bytes, 1 to 4 sixteen.
VERDICT_REGISTER, FIRST_SMALL = 0, 8
ALL = 0xFFFFFFFF

# Name of an anonymous set -> its elements as nft prints them: {...}
Anonymous = Callable[[str], str]


class Load(NamedTuple):
    """What a register holds: ``words`` as nft prints them.

    ``masked`` are the bytes of the mask of a bitwise operation, ``mask`` and ``xor`` its numbers. ``prefix``: bits of
    an address, if not all of them were loaded.
    """

    register: int
    size: int
    words: str
    mask: int = 0
    xor: int = 0
    masked: bytes = b""
    prefix: int = 0


def rule(message: bytes, family: str, anonymous: Anonymous) -> tuple[str, str]:
    """-> (chain, rule as nft prints it). ``family`` is ip or ip6. Raises UnknownFormError."""
    found = attributes(message, HEADER_BYTES)
    if 5 in found:
        raise UnknownFormError("a rule of iptables")
    reader = _Reader(family, anonymous)
    for expression in attribute_list(found.get(4, b"")):
        parts = attributes(expression)
        name = text(parts[1])
        if name not in _EXPRESSIONS:
            raise UnknownFormError(f"expression {name}")
        _EXPRESSIONS[name](reader, parts.get(2, b""))
    remark = comment(found.get(7, b""))
    return text(found[2]), reader.finish() + (f' comment "{remark}"' if remark else "")


def _place(register: bytes) -> int:
    """The first byte of a register among all."""
    given = number(register)
    return (given - FIRST_SMALL) * 4 if given >= FIRST_SMALL else (given - 1) * 16


def _host(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


class _Reader:
    """One rule, expression by expression."""

    def __init__(self, family: str, anonymous: Anonymous) -> None:
        self.family = family
        self.anonymous = anonymous
        self.words: list[str] = []
        self.loads: list[Load] = []
        self.address_bytes = ADDRESS_BYTES[family]

    def finish(self) -> str:
        if self.loads:
            raise UnknownFormError(f"{self.loads[0].words} is loaded, and not used")
        return " ".join(self.words)

    def load(self, register: bytes, size: int, words: str, prefix: int = 0) -> None:
        self.loads.append(Load(_place(register), size, words, prefix=prefix))

    def take(self, register: bytes) -> str:
        """All that is loaded, as a concatenation from this register on."""
        place = _place(register)
        for one in self.loads:
            if one.register != place or one.masked or one.prefix:
                raise UnknownFormError(f"{one.words} is not where it is looked for")
            place += (one.size + 3) & ~3
        shown = " . ".join(one.words for one in self.loads)
        self.loads = []
        return shown

    def take_one(self, register: bytes) -> Load:
        if len(self.loads) != 1 or self.loads[0].register != _place(register):
            raise UnknownFormError("something else is loaded")
        return self.loads.pop()

    def payload(self, data: bytes) -> None:
        found = known(data, 1, 2, 3, 4)
        base, offset, size = (number(found[kind]) for kind in (2, 3, 4))
        for (base_, offset_, whole), words in PAYLOADS[self.family].items():
            # nft loads less of an address where a prefix of whole bytes is all it compares.
            if (base, offset) == (base_, offset_) and (size == whole or (base == NETWORK and size < whole)):
                self.load(found[1], size, words, prefix=size * 8 if size < whole else 0)
                return
        raise UnknownFormError(f"payload {base} {offset} {size}")

    def meta(self, data: bytes) -> None:
        found = known(data, 1, 2, 3)
        words = META.get(number(found[2]))
        if words is None:
            raise UnknownFormError(f"meta {number(found[2])}")
        if 3 in found:
            self._set_mark(words, self.take_one(found[3]))
        else:
            self.load(found[1], 1 if words == "meta l4proto" else 16 if words == "iifname" else 4, words)

    def _set_mark(self, words: str, value: Load) -> None:
        if words != "meta mark" or value.words != "meta mark" or not value.masked:
            raise UnknownFormError(f"{words} set {value.words}")
        if value.mask == ALL:
            change = f"^ 0x{value.xor:08x}"
        elif value.mask == ALL ^ value.xor:
            change = f"| 0x{value.xor:08x}"
        else:
            raise UnknownFormError(f"meta mark set with mask {value.mask:x}")
        self.words.append(f"meta mark set meta mark {change}")

    def ct(self, data: bytes) -> None:
        found = known(data, 1, 2)
        if number(found[2]) not in CT:
            raise UnknownFormError(f"ct {number(found[2])}")
        self.load(found[1], 4, CT[number(found[2])])

    def fib(self, data: bytes) -> None:
        found = known(data, 1, 2, 3)
        if number(found[2]) != ADDRESS_TYPE or number(found[3]) not in FIB:
            raise UnknownFormError("fib")
        self.load(found[1], 4, FIB[number(found[3])])

    def numgen(self, data: bytes) -> None:
        found = known(data, 1, 2, 3, 4)
        if number(found[3]) != RANDOM or number(found.get(4, b"")):
            raise UnknownFormError("numgen")
        self.load(found[1], 4, f"numgen random mod {number(found[2])}")

    def bitwise(self, data: bytes) -> None:
        found = known(data, 1, 2, 3, 4, 5, 6)
        if number(found.get(6, b"")) or found[1] != found[2]:
            raise UnknownFormError("bitwise")
        before = self.take_one(found[1])
        mask, xor = (attributes(found[kind])[1] for kind in (4, 5))
        if before.masked or before.prefix or len(mask) != before.size:
            raise UnknownFormError("bitwise, twice or in part")
        self.loads.append(before._replace(masked=mask, mask=_host(mask), xor=_host(xor)))

    def cmp(self, data: bytes) -> None:
        found = known(data, 1, 2, 3)
        left, operator, value = self.take_one(found[1]), number(found[2]), attributes(found[3])[1]
        if operator not in (EQUAL, UNEQUAL):
            raise UnknownFormError(f"comparison {operator}")
        self.words.append(self._comparison(left, "!= " if operator == UNEQUAL else "", value))

    def _comparison(self, left: Load, unless: str, value: bytes) -> str:
        words = left.words
        if words in CT_BITS:
            return self._bit(left, unless, value)
        if words == "meta mark" and left.masked and unless and not any(value) and not left.xor:
            # A mask of the highest bits alone is a prefix to nft.
            masked = f"& 0x{left.mask:08x} != 0x00000000" if left.mask != 1 << 31 else "!= 0x00000000/1"
            return f"{words} {masked}"
        if words.startswith(self.family):
            return f"{words} {unless}{self._network(left, value)}"
        if left.masked:
            raise UnknownFormError(f"{words} with a mask")
        if words == "iifname":
            name = text(value)
            return f'{words} {unless}"{name}{"" if len(value) == left.size else "*"}"'
        if words == "meta l4proto" and len(value) == 1 and value[0] in PROTOCOLS:
            return f"{words} {unless}{PROTOCOLS[value[0]]}"
        if words in FIB.values() and _host(value) == LOCAL:
            return f"{words} {unless}local"
        raise UnknownFormError(f"{words} {unless}{value.hex()}")

    def _bit(self, left: Load, unless: str, value: bytes) -> str:
        bit = CT_BITS[left.words].get(left.mask)
        if bit is None or left.xor or any(value) or not unless:
            raise UnknownFormError(f"{left.words} & {left.mask}")
        return f"{left.words} {bit}"

    def _network(self, left: Load, value: bytes) -> str:
        length = left.prefix or self.address_bytes * 8
        if left.masked:
            bits = int.from_bytes(left.masked, "big")
            length = bin(bits).count("1")
            if left.xor or bits != ((1 << length) - 1) << (self.address_bytes * 8 - length):
                raise UnknownFormError("a mask that is no prefix")
        address = self._address(value + bytes(self.address_bytes - len(value)))
        return address if length == self.address_bytes * 8 else f"{address}/{length}"

    def _address(self, data: bytes) -> str:
        return address_text(FAMILIES[self.family], data)

    def range(self, data: bytes) -> None:
        found = known(data, 1, 2, 3, 4)
        left = self.take_one(found[1])
        if not left.words.startswith(self.family) or left.masked or left.prefix:
            raise UnknownFormError(f"range of {left.words}")
        first, last = (self._address(attributes(found[kind])[1]) for kind in (3, 4))
        self.words.append(f"{left.words} {'!= ' if number(found[2]) == UNEQUAL else ''}{first}-{last}")

    def lookup(self, data: bytes) -> None:
        found = known(data, 1, 2, 3, 4, 5)
        name, inverted = text(found[1]), number(found.get(5, b""))
        left = self.take(found[2])
        shown = self.anonymous(name) if name.startswith("__") else f"@{name}"
        if 3 not in found:
            self.words.append(f"{left} {'!= ' if inverted else ''}{shown}")
        elif number(found[3]) == VERDICT_REGISTER and not inverted:
            self.words.append(f"{left} vmap {shown}")
        else:
            self.load(found[3], self.address_bytes + 2, f"{left} map {shown}")

    def immediate(self, data: bytes) -> None:
        found = known(data, 1, 2)
        value = attributes(found[2])
        if number(found[1]) == VERDICT_REGISTER:
            self.words.append(verdict(value[2]))
        elif len(value[1]) == 2:
            self.load(found[1], 2, str(number(value[1])))
        elif len(value[1]) == self.address_bytes:
            self.load(found[1], self.address_bytes, self._address(value[1]))
        else:
            raise UnknownFormError("immediate")

    def nat(self, data: bytes) -> None:
        found = known(data, 1, 2, 3, 4, 5, 6, 7)
        if number(found[1]) != DNAT or number(found.get(7, b"")) & ~GIVEN or 3 not in found or 5 not in found:
            raise UnknownFormError("nat")
        if (4 in found and found[4] != found[3]) or (6 in found and found[6] != found[5]):
            raise UnknownFormError("nat to a range")
        if len(self.loads) == 2:
            port, address = self.loads.pop(), self.loads.pop()
            if (address.register, port.register) != (_place(found[3]), _place(found[5])):
                raise UnknownFormError("nat to something else")
            shown = f"[{address.words}]" if self.family == "ip6" else address.words
            self.words.append(f"dnat to {shown}:{port.words}")
        elif _place(found[5]) == _place(found[3]) + self.address_bytes:
            self.words.append(f"dnat {self.family} to {self.take(found[3])}")
        else:
            raise UnknownFormError("nat")

    def masq(self, data: bytes) -> None:
        if number(known(data, 1).get(1, b"")) != FULLY_RANDOM:
            raise UnknownFormError("masquerade")
        self.words.append("masquerade fully-random")

    def reject(self, data: bytes) -> None:
        found = known(data, 1, 2)
        if (number(found[1]), number(found[2])) != REJECTS[self.family]:
            raise UnknownFormError("reject")
        self.words.append("reject")

    def dynset(self, data: bytes) -> None:
        found = known(data, 1, 2, 3, 4, 6, 9)
        if number(found[3]) != UPDATE or number(found.get(6, b"")) or number(found.get(9, b"")):
            raise UnknownFormError("dynset")
        self.words.append(f"update @{text(found[1])} {{ {self.take(found[4])} }}")


def anonymous_text(header: SetHeader, values: list[Value], family: str) -> str:
    """An anonymous set as nft prints it. Raises UnknownFormError."""
    if header.flags & INTERVAL:
        return f"{{ {', '.join(_intervals(values, family))} }}"
    if any(value.end or value.comment or not value.data for value in values):
        raise UnknownFormError("an anonymous set that is no map")
    ordered = sorted(values, key=lambda value: _host(value.key))
    return f"{{ {', '.join(f'{fields(header.key, value.key)} : {value.data}' for value in ordered)} }}"


def _intervals(values: list[Value], family: str) -> Iterator[str]:
    """Networks, as an interval set keeps them: where each begins, and what comes after its end."""
    size = ADDRESS_BYTES[family]
    edges = sorted((value.key, not value.end) for value in values)
    # The end of what would be before the first network
    edges = edges[1:] if edges and not edges[0][1] else edges
    if len(edges) % 2:
        edges.append((b"", False))
    for (first, starts), (after, starts_again) in zip(edges[::2], edges[1::2]):
        if not starts or starts_again or any(value.data or value.comment for value in values):
            raise UnknownFormError("intervals")
        last = int.from_bytes(after, "big") - 1 if after else (1 << size * 8) - 1
        yield _interval(*(address_text(FAMILIES[family], one) for one in (first, last.to_bytes(size, "big"))))


def _interval(first: str, last: str) -> str:
    """Addresses from one to another, as nft prints them."""
    found = [str(network) for network in summarize_address_range(ip_address(first), ip_address(last))]
    return first if first == last else found[0] if len(found) == 1 else f"{first}-{last}"


_EXPRESSIONS: dict[str, Callable[[_Reader, bytes], None]] = {
    "bitwise": _Reader.bitwise,
    "cmp": _Reader.cmp,
    "ct": _Reader.ct,
    "dynset": _Reader.dynset,
    "fib": _Reader.fib,
    "immediate": _Reader.immediate,
    "lookup": _Reader.lookup,
    "masq": _Reader.masq,
    "meta": _Reader.meta,
    "nat": _Reader.nat,
    "numgen": _Reader.numgen,
    "payload": _Reader.payload,
    "range": _Reader.range,
    "reject": _Reader.reject,
}
