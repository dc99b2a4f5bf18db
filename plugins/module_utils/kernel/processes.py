# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Processes of the node."""

from __future__ import annotations

import os

# It would undo what is not its own idea.
KUBE_PROXY = "kube-proxy"


def in_network_namespace(name: str) -> list[int]:
    """Ids of the processes of this name in the network namespace of this thread.

    A node's containers share its processes but not its network: what runs in another namespace programs that one.
    """
    here = os.readlink("/proc/thread-self/ns/net")
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as file:
                    named = file.read().rstrip("\n") == name
                if named and os.readlink(f"/proc/{entry}/ns/net") == here:
                    found.append(int(entry))
            except OSError:
                # It has ended meanwhile.
                continue
    return sorted(found)
