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
import os
from typing import TYPE_CHECKING

from .command import KernelError, environment, inherited
from .lock import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "XTABLES_LOCKFILE"
PATH = "/run/xtables.lock"


@contextlib.contextmanager
def held(timeout: float) -> Iterator[None]:
    """Holds the lock for the length of a ``with`` block.

    What a Runner starts inside takes a lock of its own, as it would wait for this one. Waits up to ``timeout`` seconds
    for another program. Raises KernelError.
    """
    path = os.environ.get(VARIABLE) or PATH
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KernelError(f"cannot open the lock {path}: {error.strerror}") from error
    own = os.memfd_create("xtables.lock")
    try:
        if not wait_for(handle, timeout):
            raise KernelError(f"another program held the xtables lock for {timeout:g} s: {path}")
        inherited.update((handle, own))
        environment[VARIABLE] = f"/proc/self/fd/{own}"
        yield
    finally:
        environment.pop(VARIABLE, None)
        inherited.difference_update((handle, own))
        os.close(own)
        os.close(handle)
