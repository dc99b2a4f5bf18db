# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Netlink: framing, attributes, requests with acknowledgement, dumps, batches; generic netlink families.

One socket serves one caller at a time. Nothing here knows what the messages mean.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from .command import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

ROUTE = 0
NETFILTER = 12
GENERIC = 16

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_STATUS = struct.Struct("=i")

_NOOP, _ERROR, _DONE, _OVERRUN = 1, 2, 3, 4
_REQUEST, _ACK, _DUMP, _DUMP_INTERRUPTED = 0x1, 0x4, 0x300, 0x10
_CAPPED, _ACK_ATTRIBUTES = 0x100, 0x200
NESTED = 0x8000
# The two high bits of an attribute's kind say "nested" and "network byte order".
KIND_MASK = 0x3FFF

_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_EXTENDED_TEXT = 1
_TIMEOUT_SECONDS = 30
# The kernel sizes a dump's parts after the reader's buffer, up to 32 KiB.
_RECEIVE_BYTES = 65536
# The send buffer limits a batch (212,992 bytes by default); beyond some ten messages a batch gains nothing more.
_BATCH_MESSAGES = 64
_DUMP_ATTEMPTS = 5

_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2


class NetlinkError(KernelError):
    """The kernel refused a message. ``number`` is the errno."""

    def __init__(self, number: int, text: str = "") -> None:
        self.number = number
        self.name = errno.errorcode.get(number, str(number))
        self.text = text
        hint = " (root, or the capability CAP_NET_ADMIN, is needed)" if number == errno.EPERM else ""
        super().__init__(f"{self.name}: {text or os.strerror(number)}{hint}")


class RefusedError(NetlinkError):
    """The kernel refused messages of a batch: ``index`` is the first one's, ``done`` how many it accepted."""

    def __init__(self, cause: NetlinkError, index: int, done: int) -> None:
        super().__init__(cause.number, cause.text)
        self.index = index
        self.done = done


class UnknownFormError(Exception):
    """What the kernel tells is correct, and of a form that the reader does not know."""


class Message(NamedTuple):
    """One netlink message; ``body`` is what follows the netlink header."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes. ``value`` is at most 65,531 bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes_: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes_))


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Kind -> value of the attributes from ``offset`` on; the last one wins where a kind repeats. Raises ValueError."""
    found = {}
    end = len(data)
    unpack = _ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, kind = unpack(data, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"attribute {kind & KIND_MASK} at byte {offset} has length {length} of {end - offset}")
        found[kind & KIND_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def attribute_list(data: bytes) -> list[bytes]:
    """The values of attributes, in order, whatever their kinds: of a list. Raises ValueError."""
    found = []
    offset, end = 0, len(data)
    while offset + 4 <= end:
        length = _ATTRIBUTE.unpack_from(data, offset)[0]
        if length < 4 or offset + length > end:
            raise ValueError(f"attribute at byte {offset} has length {length} of {end - offset}")
        found.append(data[offset + 4 : offset + length])
        offset += (length + 3) & ~3
    return found


def number(value: bytes) -> int:
    """A number in network byte order, as most attributes of netfilter have it."""
    return int.from_bytes(value, "big")


def text(value: bytes) -> str:
    """A name; it need not be UTF-8."""
    return value.rstrip(b"\0").decode("utf-8", "surrogateescape")


def address_text(family: int, data: bytes) -> str:
    """Address in network byte order -> canonical text, which is that of Python's ipaddress."""
    text = socket.inet_ntop(family, data)
    # The C library writes ::10.0.0.1 for ::a00:1.
    return str(ipaddress.IPv6Address(data)) if "." in text and len(data) == 16 else text


def frame(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One message with its netlink header, padded to four bytes."""
    return _HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises ValueError."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > end:
            raise ValueError(f"netlink message at byte {offset} has length {length} of {end - offset}")
        yield Message(kind, flags, sequence, data[offset + 16 : offset + length])
        offset += (length + 3) & ~3


def status(message: Message) -> NetlinkError | None:
    """What an error message or the end of a dump reports; None for an acknowledgement."""
    number = -_STATUS.unpack_from(message.body)[0] if len(message.body) >= 4 else 0
    if number == 0:
        return None
    text = b""
    if message.kind == _ERROR and message.flags & _ACK_ATTRIBUTES and len(message.body) >= 20:
        echoed = 16 if message.flags & _CAPPED else (_HEADER.unpack_from(message.body, 4)[0] + 3) & ~3
        text = attributes(message.body, 4 + echoed).get(_EXTENDED_TEXT, b"")
    return NetlinkError(number, text.rstrip(b"\0").decode("utf-8", "replace"))


def _nothing(_index: int, _number: int) -> bool:
    return False


def _open(protocol: int) -> socket.socket:
    if sys.platform != "linux":
        raise KernelError("netlink exists on Linux only")
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise NetlinkError(error.errno or 0, f"netlink protocol {protocol}: {error.strerror}") from error
    opened.bind((0, 0))
    for option in (_CAP_ACK, _EXT_ACK):
        # Kernels before 4.12 have no extended error text; the errno is enough.
        with contextlib.suppress(OSError):
            opened.setsockopt(_SOL_NETLINK, option, 1)
    # socket.settimeout() would cost a poll() for each message.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _TIMEOUT_SECONDS, 0))
    return opened


class NetlinkSocket:
    """A netlink socket of one protocol, opened for its first message, in the network namespace of that moment.

    ``messages`` counts what was sent.
    """

    def __init__(self, protocol: int) -> None:
        self.messages = 0
        self._protocol = protocol
        self._sequence = 0
        self._opened: socket.socket | None = None

    @property
    def _socket(self) -> socket.socket:
        if self._opened is None:
            self._opened = _open(self._protocol)
        return self._opened

    def close(self) -> None:
        """Closes the socket. A further message opens another."""
        if self._opened:
            self._opened.close()
            self._opened = None

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(self, kind: int, body: bytes) -> list[bytes]:
        """Sends one message and waits for its acknowledgement; returns the replies' bodies. Raises NetlinkError."""
        self._send(kind, [body], _REQUEST | _ACK)
        replies = []
        for message in self._receive(self._sequence):
            if message.kind == _ERROR:
                error = status(message)
                if error:
                    raise error
                break
            replies.append(message.body)
        return replies

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of a dump's messages.

        Starts again where the kernel says that its table changed meanwhile or that the receive buffer ran over.
        Raises NetlinkError.
        """
        for _attempt in range(_DUMP_ATTEMPTS):
            try:
                found = self._dump_once(kind, body)
            except NetlinkError as error:
                if error.number != errno.ENOBUFS:
                    raise
                self._drain()
                continue
            if found is not None:
                return found
        raise KernelError(f"the kernel's table changed during each of {_DUMP_ATTEMPTS} dumps")

    def submit(self, kind: int, bodies: Sequence[bytes], tolerates: Callable[[int, int], bool] = _nothing) -> None:
        """Sends messages in batches, and stops after the first batch in which the kernel refused one.

        ``tolerates(index, errno)`` says which refusals are none. The kernel works through a batch before send()
        returns, and goes on after an error; it acknowledges the last message only, as an acknowledgement for each
        costs ten times the work. Raises RefusedError.
        """
        for start in range(0, len(bodies), _BATCH_MESSAGES):
            batch = bodies[start : start + _BATCH_MESSAGES]
            refused = {start + index: error for index, error in self._submit_batch(kind, batch).items()}
            refused = {index: error for index, error in refused.items() if not tolerates(index, error.number)}
            if refused:
                first = min(refused)
                raise RefusedError(refused[first], first, start + len(batch) - len(refused))

    def _submit_batch(self, kind: int, bodies: Sequence[bytes]) -> dict[int, NetlinkError]:
        first = self._sequence + 1
        self._send(kind, bodies, _REQUEST)
        errors: dict[int, NetlinkError] = {}
        for message in self._receive(first):
            error = status(message) if message.kind == _ERROR else None
            if error:
                errors[message.sequence - first] = error
            if message.kind == _ERROR and message.sequence == self._sequence:
                break
        return errors

    def _send(self, kind: int, bodies: Sequence[bytes], flags: int) -> None:
        frames = []
        for body in bodies:
            self._sequence += 1
            frames.append(frame(kind, flags, self._sequence, body))
        if not flags & (_DUMP | _ACK):
            frames[-1] = frame(kind, flags | _ACK, self._sequence, bodies[-1])
        try:
            self._socket.send(b"".join(frames))
        except OSError as error:
            raise NetlinkError(error.errno or 0, f"cannot send to the kernel: {error.strerror}") from error
        self.messages += len(bodies)

    def _receive(self, first: int) -> Iterator[Message]:
        """Messages that answer sequence number ``first`` or a later one, for as long as the caller asks."""
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError as error:
                raise NetlinkError(errno.ETIMEDOUT, f"no answer in {_TIMEOUT_SECONDS} s") from error
            except OSError as error:
                raise NetlinkError(error.errno or 0) from error
            for message in messages(data):
                if message.sequence >= first and message.kind != _NOOP:
                    yield message

    def _dump_once(self, kind: int, body: bytes) -> list[bytes] | None:
        self._send(kind, [body], _REQUEST | _DUMP)
        interrupted = 0
        found = []
        for message in self._receive(self._sequence):
            interrupted |= message.flags & _DUMP_INTERRUPTED
            if message.kind in (_DONE, _ERROR):
                error = status(message)
                if error:
                    raise error
                break
            if message.kind == _OVERRUN:
                raise NetlinkError(errno.ENOBUFS)
            found.append(message.body)
        return None if interrupted else found

    def _drain(self) -> None:
        """Takes what is left of a broken dump, so that the next one is not refused with EBUSY."""
        while True:
            try:
                self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise NetlinkError(error.errno or 0) from error


class NetlinkClient:
    """What asks the kernel over a socket of its own. ``messages`` counts what was sent."""

    def __init__(self, protocol: int = NETFILTER) -> None:
        self._socket = NetlinkSocket(protocol)

    @property
    def messages(self) -> int:
        """How many messages were sent."""
        return self._socket.messages

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


class GenericNetlink(NetlinkClient):
    """Commands of one generic netlink family.

    Raises NetlinkError with ENOENT where the kernel has no such family, even after it tried to load a module for it.
    """

    def __init__(self, family: str, version: int = 1) -> None:
        super().__init__(GENERIC)
        self._version = version
        body = struct.pack("=BBH", _GET_FAMILY, 1, 0) + attribute(_FAMILY_NAME, family.encode() + b"\0")
        try:
            reply = self._socket.request(_CONTROLLER, body)[0]
        except NetlinkError as error:
            self.close()
            raise NetlinkError(error.number, f"generic netlink family {family}: {os.strerror(error.number)}") from error
        self._kind = int.from_bytes(attributes(reply, 4)[_FAMILY_ID], sys.byteorder)

    def request(self, command: int, payload: bytes = b"") -> list[dict[int, bytes]]:
        """Sends one command; returns the attributes of each reply. Raises NetlinkError."""
        return [attributes(reply, 4) for reply in self.replies(command, payload)]

    def replies(self, command: int, payload: bytes = b"") -> list[bytes]:
        """Sends one command; returns the bodies of the replies, as :meth:`dump` does. Raises NetlinkError."""
        return self._socket.request(self._kind, self._body(command, payload))

    def dump(self, command: int, payload: bytes = b"") -> list[bytes]:
        """The bodies of a dump's messages; attributes begin at byte 4. Raises NetlinkError."""
        return self._socket.dump(self._kind, self._body(command, payload))

    def submit(self, commands: Sequence[tuple[int, bytes]], tolerates: Callable[[int, int], bool] = _nothing) -> None:
        """Sends (command, payload) pairs in batches: see :meth:`NetlinkSocket.submit`."""
        self._socket.submit(self._kind, [self._body(command, payload) for command, payload in commands], tolerates)

    def _body(self, command: int, payload: bytes) -> bytes:
        return struct.pack("=BBH", command, self._version, 0) + payload
