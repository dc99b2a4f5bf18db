# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""UDP flows of connection tracking, through ctnetlink."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING

from ..plan.conntrack import End, Flow
from .command import KernelError
from .netlink import NetlinkClient, NetlinkError, RefusedError, address_text, attribute, attributes, nested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..plan.operation import Operation

# Exists in every network namespace once nf_conntrack is loaded; /proc/sys/net follows the namespace of the reader.
TRACKING = "/proc/sys/net/netfilter/nf_conntrack_count"

_SUBSYSTEM, _GET, _DELETE = 1 << 8, 1, 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_TUPLE_IP, _TUPLE_PROTOCOL, _TUPLE_ZONE = 1, 2, 3
_PROTOCOL_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_FILTER_ORIGINAL, _FILTER_ON_PROTOCOL = 1, 1 << 3
# Family -> kinds of the source and the destination address.
_ADDRESS_KINDS = {socket.AF_INET: (1, 2), socket.AF_INET6: (3, 4)}
# What a kernel without (or with an unloadable) nf_conntrack_netlink answers.
_NO_CONNTRACK = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT)


class Conntrack(NetlinkClient):
    """Reads and deletes UDP flows.

    A kernel that tracks no connections, or does not show them, has no flows.
    """

    def read(self) -> list[Flow]:
        """The UDP flows of both families in the default zone: other zones are those of Open vSwitch and its like.

        Raises KernelError.
        """
        if not os.path.exists(TRACKING):
            return []
        found: list[Flow] = []
        for family in _ADDRESS_KINDS:
            # Kernels from 5.8 on send UDP flows only; older ones pass over the filter and send all.
            body = _header(family) + _protocol_filter()
            try:
                flows = self._socket.dump(_SUBSYSTEM | _GET, body)
            except NetlinkError as error:
                if error.number in _NO_CONNTRACK:
                    return []
                raise
            found += [flow for flow in (decode_flow(family, flow) for flow in flows) if flow]
        return found

    def apply(self, operations: Sequence[Operation]) -> None:
        """Deletes the flows of a plan, and those only. A flow that has ended meanwhile is done. Raises KernelError."""
        bodies = [encode_flow(operation.payload) for operation in operations]
        try:
            self._socket.submit(_SUBSYSTEM | _DELETE, bodies, lambda _index, number: number == errno.ENOENT)
        except RefusedError as error:
            name = operations[error.index].name
            done = f"{error.done} of {len(operations)} were removed"
            raise KernelError(f"cannot remove the flow {name}: {error}; {done}") from error


def _header(family: int) -> bytes:
    return struct.pack("=BBH", family, 0, 0)


def _protocol_filter() -> bytes:
    return nested(_TUPLE_ORIGINAL, nested(_TUPLE_PROTOCOL, _protocol_number())) + nested(
        _FILTER, attribute(_FILTER_ORIGINAL, struct.pack("=I", _FILTER_ON_PROTOCOL))
    )


def _protocol_number() -> bytes:
    return attribute(_PROTOCOL_NUMBER, bytes([socket.IPPROTO_UDP]))


def encode_flow(flow: Flow) -> bytes:
    """The message that deletes a flow, named by its reply tuple and its id.

    By its original tuple a later flow of the same client would match, one that is translated to a serving endpoint; and
    its id may be the same, as the kernel makes that of the original tuple and of the place in memory.
    """
    family = socket.AF_INET6 if ":" in flow.reply_source.address else socket.AF_INET
    source, destination = _ADDRESS_KINDS[family]
    reply = nested(
        _TUPLE_REPLY,
        nested(
            _TUPLE_IP,
            attribute(source, socket.inet_pton(family, flow.reply_source.address)),
            attribute(destination, socket.inet_pton(family, flow.reply_destination.address)),
        ),
        nested(
            _TUPLE_PROTOCOL,
            _protocol_number(),
            attribute(_SOURCE_PORT, struct.pack("!H", flow.reply_source.port)),
            attribute(_DESTINATION_PORT, struct.pack("!H", flow.reply_destination.port)),
        ),
    )
    return _header(family) + reply + attribute(_ID, struct.pack("!I", flow.id))


def decode_flow(family: int, body: bytes) -> Flow | None:
    """One flow of a dump; None where it is not UDP or not in the default zone."""
    flow = attributes(body, 4)
    original, reply = attributes(flow[_TUPLE_ORIGINAL]), attributes(flow[_TUPLE_REPLY])
    protocol = attributes(original[_TUPLE_PROTOCOL])[_PROTOCOL_NUMBER][0]
    if protocol != socket.IPPROTO_UDP or _ZONE in flow or _TUPLE_ZONE in {**original, **reply}:
        return None
    return Flow(*_decode_ends(family, original), *_decode_ends(family, reply), int.from_bytes(flow[_ID], "big"))


def _decode_ends(family: int, tuple_: dict[int, bytes]) -> tuple[End, End]:
    """Source and destination of one direction."""
    addresses, ports = attributes(tuple_[_TUPLE_IP]), attributes(tuple_[_TUPLE_PROTOCOL])
    source, destination = _ADDRESS_KINDS[socket.AddressFamily(family)]
    return (
        End(address_text(family, addresses[source]), int.from_bytes(ports[_SOURCE_PORT], "big")),
        End(address_text(family, addresses[destination]), int.from_bytes(ports[_DESTINATION_PORT], "big")),
    )
