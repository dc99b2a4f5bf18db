# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Kernel modules: what is wanted, and what a kernel has."""

from __future__ import annotations

from typing import NamedTuple


class WantedModule(NamedTuple):
    """A wanted kernel module: the first of ``names`` that the kernel has. An optional one may be missing altogether."""

    names: tuple[str, ...]
    required: bool = True

    def __str__(self) -> str:
        return " or ".join(self.names)


class KernelModules(NamedTuple):
    """What a kernel has.

    ``present`` are loaded or built in. ``available`` can be loaded. ``at_boot`` are the names in the drop-in file, None
    where there is no such file. ``kernel`` is the release, for messages; ``known`` tells whether there is a list of its
    modules: without, a module that is neither present nor available may still be built in.
    """

    kernel: str
    present: frozenset[str]
    available: frozenset[str]
    at_boot: tuple[str, ...] | None
    known: bool = True

    def choose(self, wanted: WantedModule) -> str | None:
        """The name to use for a wanted module, None where the kernel has none of them."""
        for name in wanted.names:
            if name in self.present or name in self.available:
                return name
        return None


def canonical_name(name: str) -> str:
    """The kernel takes ``-`` and ``_`` in a module's name for the same."""
    return name.replace("-", "_")
