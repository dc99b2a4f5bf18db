# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Opens TCP connections, to see who answers."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# Fewer than a process may have files open by default.
AT_ONCE = 256
NO_ANSWER = "no answer"


class _Attempt(NamedTuple):
    """A connection that is being opened, until the monotonic time ``deadline``."""

    socket: socket.socket
    target: tuple[str, int]
    deadline: float


def connect(targets: Iterable[tuple[str, int]], timeout: float) -> dict[tuple[str, int], str]:
    """Connects to every (address, port), many at a time, and hangs up.

    ``timeout`` is in seconds, for each. -> why it failed, "" for those that answered.
    """
    waiting = sorted(set(targets), reverse=True)
    found: dict[tuple[str, int], str] = {}
    with selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < AT_ONCE:
                _start(selector, waiting.pop(), timeout, found)
            for key, _events in selector.select(0.1):
                error = key.data.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                _finish(selector, key.data, found, os.strerror(error) if error else "")
            now = time.monotonic()
            for attempt in [key.data for key in selector.get_map().values() if key.data.deadline < now]:
                _finish(selector, attempt, found, NO_ANSWER)
    return found


def _start(
    selector: selectors.BaseSelector, target: tuple[str, int], timeout: float, found: dict[tuple[str, int], str]
) -> None:
    try:
        one = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        # A kernel without IPv6.
        found[target] = error.strerror or str(error)
        return
    one.setblocking(False)
    refused = one.connect_ex(target)
    if refused in (0, errno.EINPROGRESS):
        selector.register(one, selectors.EVENT_WRITE, _Attempt(one, target, time.monotonic() + timeout))
    else:
        one.close()
        found[target] = os.strerror(refused)


def _finish(
    selector: selectors.BaseSelector, attempt: _Attempt, found: dict[tuple[str, int], str], reason: str
) -> None:
    selector.unregister(attempt.socket)
    attempt.socket.close()
    found[attempt.target] = reason
