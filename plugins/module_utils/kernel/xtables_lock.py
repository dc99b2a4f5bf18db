# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The lock that programs hold while they write tables with the legacy back end.

The kernel takes a table as a whole: who writes has read it before. So iptables holds this lock since 1.4.20, and so do
other programs that write such tables.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import threading
from typing import TYPE_CHECKING

from .command import KernelError, environment, inherited

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "XTABLES_LOCKFILE"
PATH = "/run/xtables.lock"


def available() -> bool:
    """Whether a tool can be given another lock: a file in memory, which not all kernels and Pythons have."""
    try:
        os.close(os.memfd_create(VARIABLE))
    except (AttributeError, OSError):
        return False
    return True


@contextlib.contextmanager
def held(timeout: float) -> Iterator[None]:
    """Holds the lock for the length of a ``with`` block.

    What a Runner starts inside takes a lock of its own, as it would wait for this one. Waits up to ``timeout`` seconds
    for other programs. Raises KernelError.
    """
    path = os.environ.get(VARIABLE) or PATH
    with contextlib.ExitStack() as opened:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, handle)
            own = os.memfd_create(VARIABLE)
            opened.callback(os.close, own)
            taken = _locked(handle, timeout)
        except (OSError, RuntimeError) as error:
            raise KernelError(f"cannot take the lock {path}: {getattr(error, 'strerror', None) or error}") from error
        if not taken:
            raise KernelError(f"another program held the xtables lock for {timeout:g} s: {path}")
        inherited.update((handle, own))
        environment[VARIABLE] = f"/proc/self/fd/{own}"
        try:
            yield
        finally:
            del environment[VARIABLE]
            inherited.difference_update((handle, own))


def _locked(handle: int, timeout: float) -> bool:
    """Waits in the kernel's queue: who only asks again and again gets nothing where others do wait there.

    Raises OSError, and RuntimeError where there can be no thread.
    """
    # Of the same open file, so that the lock is that of both, and late threads close what is theirs.
    own = os.dup(handle)
    answers: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()

    def wait() -> None:
        refusal = None
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
        except OSError as error:
            refusal = error
        # First, so that the lock is free as soon as the caller lets go of it.
        os.close(own)
        answers.put(refusal)

    threading.Thread(target=wait, daemon=True).start()
    try:
        error = answers.get(timeout=timeout)
    except queue.Empty:
        return False
    if error:
        raise error
    return True
