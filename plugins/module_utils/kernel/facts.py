# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What a node tells about itself."""

from __future__ import annotations

import os
import re

from . import files

BUCKETS = "/proc/sys/net/netfilter/nf_conntrack_buckets"
LIBERAL = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"
IPV6 = "/proc/net/if_inet6"


def kernel_version() -> tuple[int, int]:
    """(major, minor) of the running kernel."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def conntrack_buckets() -> int:
    """Size of the connection tracking table; 0 where it cannot be set: not loaded, or not the first network
    namespace."""
    if not os.access(BUCKETS, os.W_OK):
        return 0
    return int((files.read_text(BUCKETS) or "0").strip())


def conntrack_liberal() -> bool:
    """Whether connection tracking lets packets out of the TCP window pass as tracked."""
    return (files.read_text(LIBERAL) or "0").strip() != "0"


def cpus() -> int:
    """Number of processors of the node."""
    return os.cpu_count() or 1


def has_ipv6() -> bool:
    """Whether the kernel has IPv6."""
    return os.path.exists(IPV6)
