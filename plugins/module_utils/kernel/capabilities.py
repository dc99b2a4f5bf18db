# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What the process may do."""

from __future__ import annotations

import re

from . import files
from .command import KernelError

STATUS = "/proc/thread-self/status"
EFFECTIVE = re.compile(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)
# Its number in capabilities(7).
NET_ADMIN = 12


def ensure_net_admin() -> None:
    """Raises KernelError where the process must not look at or change rules: some reads would come out empty."""
    found = EFFECTIVE.search(files.read_text(STATUS) or "")
    if found and not int(found.group(1), 16) >> NET_ADMIN & 1:
        raise KernelError(
            "the capability CAP_NET_ADMIN is missing: run as root (become: true); a container or a service that runs "
            "as root needs it too (--cap-add NET_ADMIN, CapabilityBoundingSet)"
        )
