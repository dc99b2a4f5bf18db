# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests, and what became of each."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import Any, NamedTuple

ANSWERED, REFUSED, TIMED_OUT, UNREACHABLE = "answered", "refused", "timed out", "unreachable"
_IP_RECVERR, _IPV6_RECVERR = 11, 25
# Origins of a struct sock_extended_err: ICMP, ICMPv6.
_ICMP = (2, 3)


class Answer(NamedTuple):
    """The outcome of one request.

    pod, seen: of an answer, who it is from and which client address the pod saw. icmp: "TYPE/CODE" where an ICMP
    message ended the request.
    """

    outcome: str
    pod: str = ""
    seen: str = ""
    icmp: str = ""
    text: str = ""


class Flow:
    """A socket that talks to one address: a TCP connection, or a UDP flow from one source port."""

    def __init__(self, protocol: str, source: str, address: str, port: int, timeout: float) -> None:
        ipv6 = ":" in address
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        self._socket = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, kind)
        self._socket.settimeout(timeout)
        if ipv6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        if kind == socket.SOCK_STREAM:
            # Closed with a reset: IPVS then forgets a connection after 10 seconds, else after two minutes.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if source:
            self._socket.bind((source, 0))
        self._target = (address, port)
        self._connected = False

    def ask(self) -> Answer:
        """Send one message and wait for its answer."""
        try:
            if not self._connected:
                self._socket.connect(self._target)
                self._connected = True
            self._socket.send(b"?\n")
            words = self._socket.recv(1024).decode().split()
        except TimeoutError:
            return Answer(TIMED_OUT)
        except OSError as error:
            return _failure(self._socket, error)
        if len(words) < 2:
            return Answer(UNREACHABLE, text="the connection was closed")
        return Answer(ANSWERED, words[0], words[1])

    def close(self) -> None:
        self._socket.close()


def request(count: int, **flow: Any) -> list[Answer]:
    """So many requests, each from a source port of its own; none after one that got no answer in time."""
    answers: list[Answer] = []
    while len(answers) < count and TIMED_OUT not in [answer.outcome for answer in answers[-1:]]:
        with contextlib.closing(Flow(**flow)) as one:
            answers.append(one.ask())
    return answers


def _failure(sock: socket.socket, error: OSError) -> Answer:
    icmp = ""
    timeout = sock.gettimeout()
    # With a timeout, Python waits for what a reset connection never has in this queue, and polls without a pause.
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        for _level, _kind, data in sock.recvmsg(1024, 512, socket.MSG_ERRQUEUE)[1]:
            _number, origin, kind, code = struct.unpack_from("=IBBB", data)
            if origin in _ICMP:
                icmp = f"{kind}/{code}"
    sock.settimeout(timeout)
    outcome = REFUSED if error.errno == errno.ECONNREFUSED else UNREACHABLE
    return Answer(outcome, icmp=icmp, text=error.strerror or "")
