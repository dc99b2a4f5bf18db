# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""IPVS scheduling: which schedulers there are, and what their flags are called."""

from __future__ import annotations

from .errors import Problems, nearest

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos")
FLAGS = ("flag-1", "flag-2", "flag-3")
# The names that ipvsadm(8) gives to the flags of these schedulers.
_FLAG_NAMES = {
    "sh": {"sh-fallback": "flag-1", "sh-port": "flag-2"},
    "mh": {"mh-fallback": "flag-1", "mh-port": "flag-2"},
}
MAXIMUM_WEIGHT = 65535


def scheduler(name: str, path: str, problems: Problems) -> str:
    """A known scheduler, or "" (with a problem, unless the name is empty)."""
    if name and name not in SCHEDULERS:
        problems.add(path, f"{name!r} is not an IPVS scheduler ({', '.join(SCHEDULERS)}){nearest(name, SCHEDULERS)}")
        return ""
    return name


def scheduler_flag(name: str, scheduler_name: str, path: str, problems: Problems) -> str:
    """``flag-1``..``flag-3`` for that name or for the scheduler's own name of it; "" with a problem for any other."""
    names = {**{flag: flag for flag in FLAGS}, **_FLAG_NAMES.get(scheduler_name, {})}
    if name not in names:
        of = f"scheduler {scheduler_name}" if scheduler_name else "a service that names no scheduler"
        problems.add(path, f"{name!r} is not a flag of {of} ({', '.join(names)}){nearest(name, names)}")
    return names.get(name, "")
