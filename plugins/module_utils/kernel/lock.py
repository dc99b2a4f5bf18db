# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""One run at a time on a node."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from .command import KernelError, inherited

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "/run"
PAUSE = 0.1
# Locks that this process holds.
_held: set[str] = set()


@contextlib.contextmanager
def exclusive(name: str, timeout: float) -> Iterator[None]:
    """Holds the lock ``/run/NAME.lock`` for the length of a ``with`` block; the kernel frees it when the process and
    what its Runner has started have ended, however that is. Inside, the same process passes.

    Waits up to ``timeout`` seconds for another run. Raises KernelError naming the process that holds it.
    """
    if name in _held:
        yield
        return
    path = os.path.join(FOLDER, f"{name}.lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise KernelError(f"cannot open the lock {path}: run as root (become: true)") from error
    except OSError as error:
        raise KernelError(f"cannot open the lock {path}: {error.strerror}") from error
    try:
        _acquire(handle, path, timeout)
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        _held.add(name)
        inherited.add(handle)
        yield
    finally:
        inherited.discard(handle)
        _held.discard(name)
        os.close(handle)


def _acquire(handle: int, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise KernelError(
                    f"another run (process {holder}) holds {path} for over {timeout:g} s: try again"
                ) from None
        time.sleep(PAUSE)
