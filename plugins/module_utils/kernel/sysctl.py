# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads and writes kernel settings under /proc/sys: those of the network namespace that the process is in."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ..state.node import sysctl_path
from . import files
from .command import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..plan.operation import Operation

ROOT = "/proc/sys"
# Settings appear with the kernel module that owns them.
MODULES = {"net.ipv4.vs.": "ip_vs", "net.netfilter.nf_conntrack": "nf_conntrack", "net.bridge.": "br_netfilter"}

# As in sysctl.d(5). Of files of one name, that of the first directory counts.
DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")


def read(names: Iterable[str]) -> dict[str, str]:
    """Values by name; names that the kernel does not have are left out. Runs of white space become one space."""
    values = {}
    for name in names:
        try:
            with open(_path(name), encoding="utf-8") as file:
                values[name] = " ".join(file.read().split())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise KernelError(f"cannot read sysctl {name}: {error.strerror}") from error
    return values


def verify(names: Iterable[str]) -> None:
    """Raises KernelError naming all settings that the kernel does not have, and the modules that they need."""
    missing = [name for name in names if not os.path.exists(_path(name))]
    if missing:
        raise KernelError(_explain(missing))


def apply(operations: Iterable[Operation]) -> None:
    """Writes (name, value) payloads. Raises KernelError naming the setting, and the module it needs."""
    for operation in operations:
        name, value = operation.payload
        try:
            with open(_path(name), "w", encoding="utf-8") as file:
                file.write(value)
        except FileNotFoundError as error:
            raise KernelError(_explain([name])) from error
        except OSError as error:
            raise KernelError(f"cannot set sysctl {name} to {value}: {error.strerror}") from error


def later_files(directory: str, file: str) -> dict[str, str]:
    """Texts by path of the drop-in files that a boot reads after this one, in its order.

    A file that cannot be read sets nothing: a boot passes over it, too.
    """
    paths: dict[str, str] = {}
    for folder in (directory, *DIRECTORIES):
        for name in files.listed(folder):
            if name > file and name.endswith(".conf"):
                paths.setdefault(name, os.path.join(folder, name))
    texts = {}
    for _name, path in sorted(paths.items()):
        with contextlib.suppress(KernelError):
            texts[path] = files.read_text(path) or ""
    return texts


def _explain(missing: list[str]) -> str:
    modules = sorted({module for name in missing for prefix, module in MODULES.items() if name.startswith(prefix)})
    remedy = f": load {' and '.join(modules)} (module kubenode.proxy.kernel_modules does)" if modules else ""
    return f"the kernel has no sysctl {', '.join(missing)}{remedy}"


def _path(name: str) -> str:
    return os.path.join(ROOT, sysctl_path(name))
