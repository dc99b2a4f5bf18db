# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads the same attributes out of thousands of netlink messages."""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from .netlink import KIND_MASK, attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HEADER = struct.Struct("=HH")
# Where attributes begin, after the header of generic netlink.
_START = 4


class AttributeReader:
    """Reads attributes inside the attribute ``owner`` of messages of generic netlink.

    ``formats`` maps their kinds to the struct formats of their values, "" for bytes of any length. The kernel writes
    messages of one sort alike, so where the values lie is learned from the first message of each length; one that has
    an attribute of another kind or length than that first one is taken apart attribute by attribute.
    """

    def __init__(self, owner: int, formats: Mapping[int, str]) -> None:
        self._owner = owner
        self._formats = formats
        self._layouts: dict[int, _Layout | None] = {}

    def read(self, body: bytes) -> tuple[Any, ...]:
        """The values in the order of ``formats``, None for an attribute that is not there. ``body``: of one message.

        Raises ValueError, KeyError or struct.error for what is no such message.
        """
        layout = self._layouts.get(len(body))
        if layout:
            fields = layout.record.unpack(body)
            if fields[::2] == layout.headers:
                return layout.values((*fields, None))
        found = attributes(attributes(body, _START)[self._owner])
        values = tuple(_value(form, found.get(kind)) for kind, form in self._formats.items())
        if len(body) not in self._layouts:
            self._layouts[len(body)] = _layout(body, self._formats)
        return values


class _Layout(NamedTuple):
    """Of all messages with these headers: ``record`` unpacks a header and the value after it, in turns.

    ``values`` picks those that are asked for out of these fields and a None behind them.
    """

    record: struct.Struct
    headers: tuple[bytes, ...]
    values: Callable[[tuple[Any, ...]], tuple[Any, ...]]


def _value(form: str, value: bytes | None) -> Any:
    return struct.unpack(f"={form}", value)[0] if form and value is not None else value


def _layout(body: bytes, formats: Mapping[int, str]) -> _Layout | None:
    """Of a sound message. None where the owner is not all of it, or a value has another size than its format."""
    pattern, kinds = f"={_START}x", []
    # The first header comes with that of the owner before it.
    offset, header = _START, 8
    while offset + header <= len(body):
        length, bits = _HEADER.unpack_from(body, offset + header - 4)
        kind, size = bits & KIND_MASK, length - 4
        form = formats.get(kind) or f"{size}s"
        if struct.calcsize(f"={form}") != size:
            return None
        pattern += f"{header}s{form}{-length % 4}x"
        kinds.append(kind)
        offset, header = offset + header + size + -length % 4, 4
    record = struct.Struct(pattern)
    if record.size != len(body) or _HEADER.unpack_from(body, _START)[0] != len(body) - _START:
        return None
    places = {kind: 2 * index + 1 for index, kind in enumerate(kinds)}
    fields = record.unpack(body)
    return _Layout(record, fields[::2], itemgetter(*(places.get(kind, -1) for kind in formats)))
