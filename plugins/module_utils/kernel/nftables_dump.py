# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads tables of nftables mode from the kernel: a few dumps, where ``nft list`` takes the square of the services.

What takes that time is that the kernel looks for a set by its name from the first one on, and each service has a map of
its own in its rule. The kernel lets nobody change such an anonymous set, and gives its handle to no other set of the
table, nor the table's to another one of the namespace. So its elements are read once, and remembered for as long as
all three are there. All else - which sets there are, rules, chains, named sets - is read every time.
"""

from __future__ import annotations

import contextlib
import errno
import re
import struct
from typing import TYPE_CHECKING

from ..state.nftables import Chain, Set, Table
from .command import KernelError
from .netlink import NetlinkError, UnknownFormError, attribute, attributes, number, text
from .nftables_codec import (
    FAMILIES,
    HEADER_BYTES,
    SetHeader,
    Value,
    chain,
    comment,
    named_set,
    set_header,
    values,
)
from .nftables_rule import anonymous_text, rule
from .run_file import RunFile

if TYPE_CHECKING:
    from collections.abc import Collection

    from .netlink import NetlinkSocket

SUBSYSTEM = 10 << 8
GET_TABLE, GET_CHAIN, GET_RULE, GET_SET, GET_ELEMENTS, GET_GENERATION = 1, 4, 7, 10, 13, 16
GET_OBJECT, GET_FLOWTABLE = 19, 23
_GENERATION_ID, _TABLE_NAME, _TABLE_FLAGS, _TABLE_HANDLE, _TABLE_USERDATA = 1, 1, 2, 4, 6
_OF_TABLE, _SET_NAME, _SET_HANDLE, _RULE_CHAIN = 1, 2, 16, 2
# As nft has the kernel name an anonymous set, in the expressions of a rule; and as it prints its elements.
ANONYMOUS_NAME = re.compile(rb"(__(?:map|set)\d+)\0")
ANONYMOUS_TEXT = re.compile(r"\{[^}]*\}")
# A table that changes during each of them is left to nft.
ATTEMPTS = 5
UNREADABLE = (UnknownFormError, ValueError, KeyError, IndexError, struct.error)


def header(family: int) -> bytes:
    """The start of each message: struct nfgenmsg."""
    return struct.pack("=BBH", family, 0, 0)


def generation(connection: NetlinkSocket) -> int | None:
    """How many transactions there were, of all tables of the network namespace; None where the kernel is silent.

    Equal counts, equal rules. What packets add to sets does not count.
    """
    try:
        replies = connection.request(SUBSYSTEM | GET_GENERATION, header(0))
        return number(attributes(replies[0], HEADER_BYTES)[_GENERATION_ID])
    except (NetlinkError, IndexError, KeyError):
        return None


class Memory:
    """What is known of anonymous sets: their text, by the table's name and handle, and by their own handle.

    ``path`` is that of a :class:`RunFile`.
    """

    def __init__(self, path: str | None = None) -> None:
        self._file = RunFile(path)
        self._tables: dict[str, tuple[int, dict[str, str]]] | None = None

    def recall(self, name: str, handle: int) -> dict[str, str]:
        """Handle of a set -> its text."""
        of_handle, known = self._of_tables().get(name, (handle, {}))
        return known if of_handle == handle else {}

    def replace(self, name: str, handle: int, known: dict[str, str]) -> None:
        """All that there is to remember of a table."""
        self._of_tables()[name] = (handle, known)

    def save(self, names: Collection[str]) -> None:
        """Writes the file, about the tables that are there. Where it cannot be written, the next run reads again."""
        kept = {name: one for name, one in self._of_tables().items() if name in names}
        if kept:
            self._file.save(kept)
        else:
            with contextlib.suppress(KernelError):
                self._file.remove()

    def _of_tables(self) -> dict[str, tuple[int, dict[str, str]]]:
        if self._tables is None:
            self._tables = self._load()
        return self._tables

    def _load(self) -> dict[str, tuple[int, dict[str, str]]]:
        try:
            return {name: (int(handle), dict(sets)) for name, (handle, sets) in self._file.load().items()}
        except (ValueError, TypeError, OverflowError):
            return {}


def read_table(connection: NetlinkSocket, name: str, memory: Memory) -> Table | None:
    """A live table, by family and name; None where it holds what nftables mode does not write, or changes all the time.

    Raises NetlinkError.
    """
    for _attempt in range(ATTEMPTS):
        before = generation(connection)
        try:
            found = _Table(connection, memory, *name.split(" ")).read()
        except UNREADABLE:
            return None
        except NetlinkError as error:
            # What the dump before had named is gone.
            if error.number != errno.ENOENT:
                raise
            continue
        if before is not None and before == generation(connection):
            return found
    return None


def learn_table(connection: NetlinkSocket, name: str, written: Table) -> tuple[int, dict[str, str]] | None:
    """The handle of a table, and what its anonymous sets hold by their handles; None where it is not to be read.

    It holds for a caller that knows the table to be as ``written``, from before this call until after it.
    """
    try:
        return _Table(connection, Memory(), *name.split(" ")).learn(written)
    except (*UNREADABLE, NetlinkError):
        return None


class _Table:
    """The dumps of one table."""

    def __init__(self, connection: NetlinkSocket, memory: Memory, family: str, name: str) -> None:
        self.connection = connection
        self.family = family
        self.header = header(FAMILIES[family])
        self.name = name
        self.full_name = f"{family} {name}"
        self.memory = memory
        self.remembered: dict[str, str] = {}
        # What is remembered of sets that are still there
        self.known: dict[str, str] = {}
        self.headers: dict[str, SetHeader] = {}

    def read(self) -> Table:
        found = self._own()
        if number(found[_TABLE_FLAGS]) or self._dump(GET_OBJECT) or self._dump(GET_FLOWTABLE):
            raise UnknownFormError("flags of the table, or objects other than sets, maps and chains")
        self.remembered = self.memory.recall(self.full_name, number(found[_TABLE_HANDLE]))
        self.headers = {one.name: one for one in map(set_header, self._dump(GET_SET))}
        sets = {one.name: self._named_set(one) for one in self.headers.values() if not one.anonymous}
        remark = comment(found.get(_TABLE_USERDATA, b""))
        options = (("comment", f'"{remark}"'),) if remark else ()
        chains = self._chains()
        self.memory.replace(self.full_name, number(found[_TABLE_HANDLE]), self.known)
        return Table(options, sets, chains, {})

    def learn(self, written: Table) -> tuple[int, dict[str, str]]:
        """The rules are there as written, in this order: only which set belongs to which is left to find out."""
        of_name: dict[str, str] = {}
        rules = {chain_: iter(content.rules) for chain_, content in written.chains.items()}
        for message in self._dump(GET_RULE):
            # Not just in its expressions: what looks like the name of a set elsewhere makes two of them, or none there.
            names = ANONYMOUS_NAME.findall(message)
            content = ANONYMOUS_TEXT.findall(next(rules[self._chain_of(message)], ""))
            if len(names) == len(content) == 1:
                of_name[names[0].decode()] = content[0]
        sets = (attributes(message, HEADER_BYTES) for message in self._dump(GET_SET))
        handles = {text(one[_SET_NAME]): str(number(one[_SET_HANDLE])) for one in sets}
        known = {handles[name]: content for name, content in of_name.items()}
        return number(self._own()[_TABLE_HANDLE]), known

    def _own(self) -> dict[int, bytes]:
        body = self.header + attribute(_TABLE_NAME, self.name.encode() + b"\0")
        return attributes(self.connection.request(SUBSYSTEM | GET_TABLE, body)[0], HEADER_BYTES)

    def _dump(self, kind: int, more: bytes = b"") -> list[bytes]:
        """What belongs to the table: of chains the kernel gives those of all tables."""
        own = self.name.encode() + b"\0"
        of_table = attribute(_OF_TABLE, own)
        found = self.connection.dump(SUBSYSTEM | kind, self.header + of_table + more)
        # The kernel begins each message so; to take all of them apart for it would take a while.
        return [
            body
            for body in found
            if body.startswith(of_table, HEADER_BYTES) or attributes(body, HEADER_BYTES)[_OF_TABLE] == own
        ]

    def _chain_of(self, message: bytes) -> str:
        """The chain of a rule, which is what the kernel tells next after its table."""
        start = HEADER_BYTES + len(attribute(_OF_TABLE, self.name.encode() + b"\0"))
        length, kind = struct.unpack_from("=HH", message, start)
        if kind != _RULE_CHAIN:
            return text(attributes(message, HEADER_BYTES)[_RULE_CHAIN])
        return text(message[start + 4 : start + length])

    def _elements(self, of: SetHeader) -> list[Value]:
        return values(self._dump(GET_ELEMENTS, attribute(_SET_NAME, of.name.encode() + b"\0")), of)

    def _named_set(self, found: SetHeader) -> Set:
        return named_set(found, [] if found.dynamic else self._elements(found))

    def _anonymous(self, name: str) -> str:
        found = self.headers[name]
        shown = self.remembered.get(str(found.handle))
        if shown is None:
            shown = anonymous_text(found, self._elements(found), self.family)
        self.known[str(found.handle)] = shown
        return shown

    def _chains(self) -> dict[str, Chain]:
        rules: dict[str, list[str]] = {}
        for message in self._dump(GET_RULE):
            of_chain, line = rule(message, self.family, self._anonymous)
            rules.setdefault(of_chain, []).append(line)
        found = dict(map(chain, self._dump(GET_CHAIN)))
        return {name: one._replace(rules=tuple(rules.get(name, ()))) for name, one in found.items()}
