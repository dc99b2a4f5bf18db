# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Named network namespaces, as ``ip netns`` makes them."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from . import files
from .command import KernelError

DIRECTORY = "/run/netns"
_CLONE_NEWNET = 0x40000000
_SO_NETNS_COOKIE = 71
_Result = TypeVar("_Result")


def names() -> list[str]:
    """The named network namespaces, sorted."""
    try:
        return sorted(os.listdir(DIRECTORY))
    except FileNotFoundError:
        return []


def enter(name: str) -> None:
    """Moves this thread, and every process it starts from now on, into the network namespace ``name``.

    For good: a module's process ends with its task. Only the network changes; /sys still shows the namespace in which
    it was mounted, whereas /proc/sys/net and /proc/thread-self/net follow. Raises KernelError.
    """
    existing = names()
    if name not in existing:
        known = f"there are {', '.join(existing)}" if existing else "there are none"
        raise KernelError(f"no network namespace {name!r} in {DIRECTORY}: {known} (ip netns add makes one)")
    try:
        with open(os.path.join(DIRECTORY, name), encoding="ascii") as namespace:
            _set_namespace(namespace.fileno())
    except OSError as error:
        raise KernelError(f"cannot enter the network namespace {name}: {error.strerror}") from error


def identity() -> str:
    """A name of this thread's network namespace that no other has, nor had or will have; "" where there is none.

    The kernel has had a number for namespaces since 5.14; it begins anew with each boot. Raises KernelError.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            cookie = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError:
        return ""
    boot = files.read_text("/proc/sys/kernel/random/boot_id")
    return f"{boot.strip()} {cookie.hex()}" if boot else ""


def in_fresh_namespace(work: Callable[[], _Result]) -> _Result:
    """Does the work in a network namespace of its own, which is gone afterwards. Raises KernelError."""

    def entered() -> _Result:
        _unshare()
        return work()

    # A thread has a namespace of its own, which what it starts inherits, and which ends with it.
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(entered).result()


def _unshare() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWNET) != 0:
        raise KernelError(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}")


def _set_namespace(descriptor: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(descriptor, _CLONE_NEWNET)
    else:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
