# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""nfacct objects: named counters that rules count in, through nfnetlink."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from ..plan.operation import REMOVE
from .command import KernelError
from .netlink import NetlinkClient, NetlinkError, attribute, attributes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..plan.operation import Operation

_SUBSYSTEM, _NEW, _GET, _DELETE = 7 << 8, 0, 1, 3
_NAME = 1
_HEADER = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)


class AccountingObjects(NetlinkClient):
    """Reads, adds and removes nfacct objects of the network namespace."""

    def read(self) -> frozenset[str] | None:
        """Names of the objects; None where the kernel does not answer for them: it has no nfacct."""
        try:
            found = self._socket.dump(_SUBSYSTEM | _GET, _HEADER)
        except NetlinkError:
            return None
        return frozenset(attributes(body, len(_HEADER))[_NAME].rstrip(b"\0").decode() for body in found)

    def apply(self, operations: Iterable[Operation]) -> None:
        """Applies operations of the kind ``accounting object``. Raises KernelError."""
        for operation in operations:
            verb, done = (_DELETE, errno.ENOENT) if operation.verb == REMOVE else (_NEW, errno.EBUSY)
            body = _HEADER + attribute(_NAME, operation.payload.encode() + b"\0")
            try:
                self._socket.request(_SUBSYSTEM | verb, body)
            except NetlinkError as error:
                if error.number != done:
                    raise KernelError(f"cannot {operation.verb} nfacct object {operation.payload}: {error}") from error
