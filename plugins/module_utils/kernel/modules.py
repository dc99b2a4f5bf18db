# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads which kernel modules a kernel has, and loads them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..state.kernel_module import KernelModules, canonical_name
from ..state.node import parse_lines
from . import files
from .command import CommandError, KernelError, Runner

if TYPE_CHECKING:
    from collections.abc import Iterable

# What only exists with a module, loaded or built in: not every kernel lists all that is built in.
EVIDENCE = {
    "ip_vs": "/proc/net/ip_vs",
    "nf_conntrack": "/proc/sys/net/netfilter/nf_conntrack_max",
    "br_netfilter": "/proc/sys/net/bridge",
}
FOLDER = "/lib/modules"


def release() -> str:
    """The kernel's release, as ``uname -r`` prints it."""
    return os.uname().release


def read(runner: Runner, names: Iterable[str], boot_file: str) -> KernelModules:
    """What the kernel has of ``names``, and what ``boot_file`` lists."""
    names = [canonical_name(name) for name in names]
    loaded = {line.split(" ", 1)[0] for line in (files.read_text("/proc/modules") or "").splitlines()}
    here = loaded | _builtin()
    present = {name for name in names if name in here or os.path.exists(EVIDENCE.get(name, f"/sys/module/{name}"))}
    available = set()
    for name in sorted(set(names) - present):
        real = _resolve(runner, name)
        if real in here:
            present.add(name)
        elif real:
            available.add(name)
    boot_text = files.read_text(boot_file)
    at_boot = None if boot_text is None else tuple(parse_lines(boot_text))
    return KernelModules(release(), frozenset(present), frozenset(available), at_boot, os.path.isdir(_folder()))


def load(runner: Runner, names: list[str]) -> None:
    """Loads modules with one ``modprobe``. Raises KernelError."""
    try:
        runner.run(["modprobe", "--all", *names])
    except CommandError as error:
        raise KernelError(f"kernel {release()} could not load {', '.join(names)}: {error.stderr}") from error


def _folder() -> str:
    return os.path.join(FOLDER, release())


def _builtin() -> set[str]:
    # A missing file says nothing: some kernels come without (containers, OpenVZ).
    text = files.read_text(os.path.join(_folder(), "modules.builtin")) or ""
    return {canonical_name(os.path.basename(line).split(".ko", 1)[0]) for line in text.splitlines()}


def _resolve(runner: Runner, name: str) -> str:
    """The module that ``modprobe NAME`` would load, which differs for an alias; "" where it would load none."""
    if runner.find("modprobe") is None:
        return ""
    printed = runner.run(["modprobe", "--resolve-alias", name], check=False)
    return canonical_name(printed.stdout.split()[0]) if printed.returncode == 0 and printed.stdout.split() else ""
