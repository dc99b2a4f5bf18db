# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads links and their addresses over netlink, and writes those of a dummy link with one ``ip``."""

from __future__ import annotations

import os
import re
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from ..plan.operation import REMOVE, Operation
from ..state.node import Link, LocalAddress
from .command import CommandError, KernelError, Runner
from .netlink import ROUTE, NetlinkClient, address_text, attribute, attributes, text

if TYPE_CHECKING:
    from collections.abc import Iterable

FAILED_LINE = re.compile(r"^Command failed -:(\d+)", re.MULTILINE)
# As the kernel says it, and as newer ones explain it.
NO_DUMMY = re.compile(r"not supported|Unknown device type")

_GET_LINK, _GET_ADDRESS = 18, 22
# Family, hardware type, index, flags, mask of flags.
_LINK = struct.Struct("=BxHiII")
_NAME, _INFO, _EXTENT = 3, 18, 29
_INFO_KIND, _NO_STATISTICS = 1, 8
# What has no kind of its own: by the kernel's if_arp.h.
_HARDWARE = {1: "ether", 772: "loopback"}
# Family, prefix length, flags, scope, index of the link.
_ADDRESS = struct.Struct("=BBBBi")
_ADDRESS_OR_PEER, _LOCAL = 1, 2
_SCOPE_LINK, _SCOPE_HOST = 253, 254


class _Address(NamedTuple):
    address: str
    prefix_length: int
    scope: int


class Links(NamedTuple):
    """Links by name -> what kind of link each is, and its addresses, in the kernel's order."""

    kinds: dict[str, str]
    bound: dict[str, list[_Address]]

    def addresses(self) -> tuple[LocalAddress, ...]:
        """Every address of every link."""
        return tuple(LocalAddress(name, *found[:2]) for name, bound in self.bound.items() for found in bound)

    def dummy(self, name: str) -> Link | None:
        """The dummy link of this name, None where there is none. Raises KernelError where the link is of another
        type."""
        kind = self.kinds.get(name)
        if kind is None:
            return None
        if kind != "dummy":
            raise KernelError(f"link {name} is of type {kind}, not dummy: rename or delete it")
        # The kernel itself puts link-local addresses on a link.
        bound = [found for found in self.bound[name] if found.scope not in (_SCOPE_LINK, _SCOPE_HOST)]
        return Link(name, frozenset(f"{found.address}/{found.prefix_length}" for found in bound))


class LinksSocket(NetlinkClient):
    """Reads the links of the network namespace."""

    def __init__(self) -> None:
        super().__init__(ROUTE)

    def read(self) -> Links:
        """All links and their addresses, in two dumps. Raises KernelError."""
        ask = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(_EXTENT, struct.pack("=I", _NO_STATISTICS))
        links = self._socket.dump(_GET_LINK, ask)
        return decode(links, self._socket.dump(_GET_ADDRESS, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)))


def decode(links: Iterable[bytes], addresses: Iterable[bytes]) -> Links:
    """The messages of both dumps -> links. An address of a link that came after the first dump is left out."""
    names: dict[int, str] = {}
    found = Links({}, {})
    for body in links:
        _family, hardware, index, _flags, _change = _LINK.unpack_from(body)
        told = attributes(body, _LINK.size)
        name = names[index] = text(told[_NAME])
        kind = text(attributes(told.get(_INFO, b"")).get(_INFO_KIND, b""))
        found.kinds[name], found.bound[name] = kind or _HARDWARE.get(hardware, str(hardware)), []
    for body in addresses:
        family, prefix_length, _flags, scope, index = _ADDRESS.unpack_from(body)
        if family in (socket.AF_INET, socket.AF_INET6) and index in names:
            told = attributes(body, _ADDRESS.size)
            # Where a link has a peer, the other attribute is the address of that.
            own = told[_LOCAL] if _LOCAL in told else told[_ADDRESS_OR_PEER]
            found.bound[names[index]].append(_Address(address_text(family, own), prefix_length, scope))
    return found


def apply(runner: Runner, operations: Iterable[Operation]) -> None:
    """Applies operations of the kinds ``link`` and ``address``, with one ``ip``. Raises KernelError.

    A new link stays down, as kube-proxy leaves it: its addresses answer all the same.
    """
    found = list(operations)
    if not found:
        return
    try:
        runner.run(["ip", "-batch", "-"], "".join(f"{_command(operation)}\n" for operation in found))
    except CommandError as error:
        line = FAILED_LINE.search(error.stderr)
        if line is None:
            raise
        raise KernelError(_refusal(found[int(line.group(1)) - 1], error.stderr[: line.start()].strip())) from error


def _command(operation: Operation) -> str:
    verb = "delete" if operation.verb == REMOVE else "add"
    if operation.kind == "link":
        return f"link {verb} {operation.payload} type dummy"
    link, address = operation.payload
    # Of its own accord, ip gives 127.0.0.0/8 the scope of what the kernel itself puts on a link.
    return f"address {verb} {address} dev {link} scope global"


def _refusal(operation: Operation, said: str) -> str:
    hint = ""
    if operation.kind == "link" and NO_DUMMY.search(said):
        hint = f": kernel {os.uname().release} has no dummy links and cannot load the module dummy"
    return f"cannot {operation.verb} {operation.kind} {operation.name}: {said}{hint}"
