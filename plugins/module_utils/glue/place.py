# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Where a run works on a node: a network namespace, and the collection's own files about it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ..kernel.command import Runner
from ..kernel.lock import exclusive
from ..kernel.namespace import enter
from .sysctl_originals import SysctlOriginals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .module import Call

# The compiled rule set, in that folder.
RULE_SET = "rule_set"
STATE_FOLDER = "/var/lib/kubenode-proxy"
# The lock of runs outside network namespaces.
LOCK = "kubenode-proxy"


class Place:
    """Enters the network namespace. Raises KernelError where it does not exist."""

    def __init__(self, netns: str | None = None, state_folder: str | None = None) -> None:
        if netns:
            enter(netns)
        self.lock_name = f"{LOCK}-{netns}" if netns else LOCK
        folder = state_folder or STATE_FOLDER
        self.folder = os.path.join(folder, "netns", netns) if netns else folder
        self.runner = Runner()
        # What a person should know of the node, though it is no error.
        self.warnings: list[str] = []

    @property
    def messages(self) -> int:
        """Netlink messages sent so far."""
        return 0

    @contextlib.contextmanager
    def lock(self, call: Call) -> Iterator[None]:
        """Keeps other runs off this node's data plane for the length of a ``with`` block; a check run needs not.

        Raises KernelError where another run takes longer than the call's ``lock_timeout``, in seconds.
        """
        waits = not call.check_mode
        with exclusive(self.lock_name, call.params["lock_timeout"]) if waits else contextlib.nullcontext():
            yield

    def sysctl_originals(self, user: str) -> SysctlOriginals:
        """What the settings were before ``user`` changed them: rule sets, or a drop-in file. Raises KernelError."""
        return SysctlOriginals(os.path.join(self.folder, "sysctls_before"), user)
