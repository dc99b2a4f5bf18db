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
import threading
from typing import TYPE_CHECKING

from .command import KernelError, environment, inherited

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "XTABLES_LOCKFILE"
PATH = "/run/xtables.lock"


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
            own = os.memfd_create("xtables.lock")
            opened.callback(os.close, own)
        except OSError as error:
            raise KernelError(f"cannot open the lock {path}: {error.strerror}") from error
        if not _locked(handle, timeout):
            raise KernelError(f"another program held the xtables lock for {timeout:g} s: {path}")
        inherited.update((handle, own))
        environment[VARIABLE] = f"/proc/self/fd/{own}"
        try:
            yield
        finally:
            del environment[VARIABLE]
            inherited.difference_update((handle, own))


def _locked(handle: int, timeout: float) -> bool:
    """Waits in the kernel's queue: who only asks again and again gets nothing where others do wait there."""
    taken = threading.Event()

    def wait() -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
            taken.set()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(timeout)
    return taken.is_set()
