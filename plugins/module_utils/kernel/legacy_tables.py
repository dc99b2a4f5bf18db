# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Tables of the legacy back end: which are in use, and whether they are the same as at another time.

The kernel gives a table as it holds it: one entry (``struct ipt_entry``, ``struct ip6t_entry``) for each rule, policy
and name of a chain, with its counters. Since 4.11 it clears what is only its own in matches and targets. A rule holds
the number of a set that it names; the set keeps it while the rule is there, after that another one may get it.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

PROC_NET = "/proc/thread-self/net"
_GET_INFO, _GET_ENTRIES = 64, 65
# Both requests begin with the name of the table.
_NAME_LENGTH = 32
# The rest of struct ipt_getinfo: hooks, their first entries, their policies, number of entries, bytes of all entries
_INFO = struct.Struct("=I5I5III")
# The rest of struct ipt_get_entries: bytes of the entries, which follow
_ENTRIES = struct.Struct("=I4x")
# The match that names a set, and the target that names up to three, as in struct xt_entry_match, which begins at a
# multiple of eight bytes: the size of less than 256 bytes, of which this is the upper one, the name, and after 32 bytes
# struct xt_set_info_match, which begins with the number of the set.
_SET_MATCH, _SET_TARGET = b"\0set\0", b"\0SET\0"
_ALIGNMENT, _SET_NUMBER = 8, 32
# What iptables asks for the name of a set: struct ip_set_req_get_set, in the oldest version that all kernels speak.
_SO_IP_SET, _GET_BY_NUMBER, _SET_PROTOCOL = 83, 7, 6
_ASK_FOR_SET = struct.Struct("=IIH30x")
# How often to ask for a table that others write meanwhile.
_ATTEMPTS = 5


class _Family(NamedTuple):
    """The file with the tables in use; how to ask for them; bytes from an entry's start to fields of it."""

    in_use: str
    address_family: int
    level: int
    next_offset: int
    counters: int


_FAMILIES = {
    "ipv4": _Family("ip_tables_names", socket.AF_INET, socket.IPPROTO_IP, 90, 96),
    "ipv6": _Family("ip6_tables_names", socket.AF_INET6, socket.IPPROTO_IPV6, 142, 152),
}


class Seen(NamedTuple):
    """A table at one time.

    ``digest`` differs where any rule, chain or policy does, and where a rule names another set; counters make no
    difference. ``entries`` are those that an empty table does not have.
    """

    digest: str
    entries: int


def in_use(family: str, proc_net: str = PROC_NET) -> list[str]:
    """Names of the tables that the network namespace has in use; none where the kernel does not tell."""
    try:
        return _names(family, proc_net)
    except OSError:
        return []


def _names(family: str, proc_net: str) -> list[str]:
    """Names of the tables in use; none where the kernel has no legacy back end. Raises OSError."""
    try:
        with open(f"{proc_net}/{_FAMILIES[family].in_use}", encoding="ascii") as names:
            return names.read().split()
    except FileNotFoundError:
        return []


def look(family: str, tables: Iterable[str]) -> dict[str, Seen] | None:
    """What the kernel holds of the tables.

    Those that are not in use are left out: to ask the kernel for one puts it to use. None where a rule adds to sets, or
    the kernel does not answer, or not in the form that is known here.
    """
    asked = _FAMILIES[family]
    # A program of 32 bits gets entries of another form.
    if sys.maxsize < 2**32 or sys.byteorder != "little":
        return None
    found: dict[str, Seen] = {}
    try:
        names = sorted(set(tables).intersection(_names(family, PROC_NET)))
        with socket.socket(asked.address_family, socket.SOCK_RAW, socket.IPPROTO_RAW) as connection:
            for table in names:
                info, content = _read(connection, asked, table)
                if any(_starts(content, _SET_TARGET)):
                    return None
                found[table] = _seen(info, content)
    except (OSError, ValueError, IndexError):
        return None
    return found


def state(found: Mapping[str, Seen] | None) -> str | None:
    """A text that differs where any of the tables does, None where they are not known."""
    return None if found is None else hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


def _seen(info: bytearray, content: bytearray) -> Seen:
    hooks, *_offsets, count, _size = _INFO.unpack(info)
    # An empty table has a policy for each hook, and an end.
    return Seen(_digest(info, content, *_names_of_sets(_set_numbers(content))), count - bin(hooks).count("1") - 1)


def _set_numbers(content: bytearray) -> set[int]:
    """Those of all sets that rules name with a match."""
    numbers = (start + _SET_NUMBER for start in _starts(content, _SET_MATCH))
    return {int.from_bytes(content[at : at + 2], sys.byteorder) for at in numbers}


def _starts(content: bytearray, extension: bytes) -> Iterator[int]:
    """Where matches or targets of a name begin. In comments and names of chains the same bytes lie elsewhere."""
    at = content.find(extension)
    while at >= 0:
        if (at - 1) % _ALIGNMENT == 0:
            yield at - 1
        at = content.find(extension, at + 1)


def _names_of_sets(numbers: Collection[int]) -> list[bytearray]:
    """Answers with the names, empty for a number that no set has. Raises OSError."""
    if not numbers:
        return []
    found = [bytearray(_ASK_FOR_SET.pack(_GET_BY_NUMBER, _SET_PROTOCOL, number)) for number in sorted(numbers)]
    # Of this address family whatever the sets hold.
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as connection:
        for answer in found:
            _get(connection, socket.IPPROTO_IP, _SO_IP_SET, answer)
    return found


def _digest(*parts: bytearray) -> str:
    """To put large parts together would take as much memory again."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _read(connection: socket.socket, family: _Family, table: str) -> tuple[bytearray, bytearray]:
    """-> (numbers of struct ipt_getinfo, struct ipt_get_entries with all counters zero).

    Raises OSError, and ValueError or IndexError for entries that do not fill their bytes.
    """
    name = table.encode().ljust(_NAME_LENGTH, b"\0")
    for _attempt in range(_ATTEMPTS):
        info = bytearray(name + bytes(_INFO.size))
        _get(connection, family.level, _GET_INFO, info)
        *_hooks, count, size = _INFO.unpack_from(info, _NAME_LENGTH)
        head = name + _ENTRIES.pack(size)
        content = bytearray(len(head) + size)
        content[: len(head)] = head
        try:
            _get(connection, family.level, _GET_ENTRIES, content)
        except OSError as error:
            # The size has changed in between.
            if error.errno != errno.EAGAIN:
                raise
            continue
        if _clear_counters(memoryview(content)[len(head) :], family) != count:
            raise ValueError(f"the kernel's table {table} does not have {count} entries")
        return info[_NAME_LENGTH:], content
    raise BlockingIOError(errno.EAGAIN, f"the table {table} changes all the time")


def _clear_counters(entries: memoryview, family: _Family) -> int:
    """Sets the counters of all entries to zero. -> number of entries.

    Raises ValueError or IndexError where the entries do not fill the bytes.
    """
    if len(entries) % 8:
        raise ValueError("entries that are not aligned")
    # There are 100,000 entries in a large cluster.
    halves, words = entries.cast("H"), entries.cast("Q")
    packets, next_offset = family.counters // 8, family.next_offset // 2
    start = count = 0
    while start < len(words):
        words[start + packets] = words[start + packets + 1] = 0
        length = halves[4 * start + next_offset] // 8
        if not length:
            raise ValueError("an entry without length")
        start += length
        count += 1
    if start != len(words):
        raise ValueError("the last entry does not end with the table")
    return count


def _get(connection: socket.socket, level: int, option: int, buffer: bytearray) -> None:
    """getsockopt(2), of which the kernel reads the buffer, too, and fills it. Raises OSError.

    Python's own takes at most 1,024 bytes.
    """
    library = ctypes.CDLL(None, use_errno=True)
    length = ctypes.c_uint32(len(buffer))
    memory = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    if library.getsockopt(connection.fileno(), level, option, memory, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
