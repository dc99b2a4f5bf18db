# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads which kernel modules a kernel has, and loads them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..plan.operation import Operation
from ..state.kernel_module import KernelModules, canonical_name
from ..state.node import parse_lines, render_lines
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
HEADER = "# Written by the Ansible collection kubenode.proxy\n"


def release() -> str:
    """The kernel's release, as ``uname -r`` prints it."""
    return os.uname().release


def read(runner: Runner, names: Iterable[str], boot_file: str) -> KernelModules:
    """What the kernel has of ``names``, and what ``boot_file`` lists."""
    names = [canonical_name(name) for name in names]
    loaded = {line.split(" ", 1)[0] for line in (files.read_text("/proc/modules") or "").splitlines()}
    builtin = _builtin()
    present = {
        name
        for name in names
        if name in loaded or name in builtin or os.path.exists(EVIDENCE.get(name, f"/sys/module/{name}"))
    }
    available = {name for name in names if name not in present and _can_load(runner, name)}
    at_boot = tuple(parse_lines(files.read_text(boot_file) or ""))
    return KernelModules(release(), frozenset(present), frozenset(available), at_boot)


def apply(runner: Runner, operations: Iterable[Operation], boot_file: str) -> None:
    """Loads modules with one ``modprobe``, and writes the drop-in file. Raises KernelError."""
    operations = list(operations)
    names = [operation.payload for operation in operations if operation.kind == "kernel module"]
    if names:
        try:
            runner.run(["modprobe", "--all", *names])
        except CommandError as error:
            raise KernelError(f"kernel {release()} could not load {', '.join(names)}: {error.stderr}") from error
    for operation in operations:
        if operation.kind == "file":
            files.write_text(boot_file, HEADER + render_lines(operation.payload))


def _builtin() -> set[str]:
    # A missing file says nothing: some kernels come without (containers, OpenVZ).
    text = files.read_text(f"/lib/modules/{release()}/modules.builtin") or ""
    return {canonical_name(os.path.basename(line).split(".ko", 1)[0]) for line in text.splitlines()}


def _can_load(runner: Runner, name: str) -> bool:
    return runner.run(["modprobe", "--dry-run", "--quiet", name], check=False).returncode == 0
