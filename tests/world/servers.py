# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers of the pods: one process for all of them, with sockets in the namespace of each.

A server answers every message, over TCP and UDP, with a line: its own name, and the address and port it sees as client.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from . import layout

Enter = Callable[[str], AbstractContextManager[None]]


class Servers:
    """Listens in the namespaces of all pods; `serve` answers until the descriptor `until` has an end of file."""

    def __init__(self, pods: Mapping[str, layout.Host], enter: Enter) -> None:
        self._selector = selectors.DefaultSelector()
        for name, pod in pods.items():
            with enter(pod.namespace):
                self._watch(_listener(socket.SOCK_STREAM), name, self._accept)
                self._watch(_listener(socket.SOCK_DGRAM), name, self._answer_message)

    def serve(self, until: int) -> None:
        self._selector.register(until, selectors.EVENT_READ)
        while True:
            for key, _events in self._selector.select():
                if key.fileobj == until:
                    return
                action, name = key.data
                with contextlib.suppress(OSError):
                    action(key.fileobj, name)

    def _watch(self, sock: socket.socket, name: str, action: Callable[[socket.socket, str], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, (action, name))

    def _accept(self, listener: socket.socket, name: str) -> None:
        connection, _client = listener.accept()
        connection.setblocking(False)
        self._watch(connection, name, self._answer_connection)

    def _answer_connection(self, connection: socket.socket, name: str) -> None:
        try:
            if connection.recv(1024):
                connection.send(_answer(name, connection.getpeername()))
                return
        except OSError:
            pass
        self._selector.unregister(connection)
        connection.close()

    def _answer_message(self, sock: socket.socket, name: str) -> None:
        _message, client = sock.recvfrom(1024)
        sock.sendto(_answer(name, client), client)


def _listener(kind: socket.SocketKind) -> socket.socket:
    listener = socket.socket(socket.AF_INET6, kind)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", layout.POD_PORT))
    if kind == socket.SOCK_STREAM:
        listener.listen(64)
    listener.setblocking(False)
    return listener


def _answer(name: str, client: tuple[str, int]) -> bytes:
    return f"{name} {client[0].removeprefix('::ffff:')} {client[1]}\n".encode()


def _leave() -> None:
    """Let go of who started this process, and of what it reads and writes."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def start(pods: Mapping[str, layout.Host], enter: Enter, *, stay: bool = False) -> int:
    """Start the process; returns once all sockets listen. It ends with this one, unless it is to stay."""
    ready_read, ready_write = os.pipe()
    life_read, life_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        if stay:
            _leave()
        else:
            os.close(life_write)
        try:
            servers = Servers(pods, enter)
            os.write(ready_write, b"1")
            servers.serve(life_read)
        finally:
            os._exit(0)
    os.close(life_read)
    os.close(ready_write)
    os.set_inheritable(life_write, False)
    with os.fdopen(ready_read, "rb") as ready:
        if ready.read(1) != b"1":
            raise OSError("the servers of the pods did not start")
    return pid
