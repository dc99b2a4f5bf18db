# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Drop-in files: what makes settings and kernel modules come back at boot."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ..kernel import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model.errors import Problems
    from ..plan.operation import Operation


def options(directory: str, file: str) -> dict[str, Any]:
    """The options persistent, directory and file of an argument spec."""
    return {
        "persistent": {"type": "bool", "default": True},
        "directory": {"type": "path", "default": directory},
        "file": {"type": "str", "default": file},
    }


def path_of(params: dict[str, Any]) -> str:
    """The path that the options tell."""
    return f"{params['directory']}/{params['file']}"


def check(params: dict[str, Any], problems: Problems) -> None:
    """Adds what is wrong with the options."""
    name = params["file"]
    # Programs pass over files of another ending, in silence.
    if "/" in name or not name.endswith(".conf") or name.startswith("."):
        problems.add("file", f"{name!r} has to be a file name that ends with .conf, without a directory")


@contextlib.contextmanager
def applied_after(operations: list[Operation]) -> Iterator[None]:
    """Writes and removes the files among ``operations`` after a ``with`` block, and has space for them before it.

    Raises KernelError, before the block where a file could not be written.
    """
    texts: dict[str, str | None] = dict(operation.payload for operation in operations if operation.kind == "file")
    with files.reserved(texts):
        yield
    for path, text in texts.items():
        files.put(path, text)


def diff(path: str, before: str | None, after: str | None) -> dict[str, str]:
    """Text before and after, as a result's diff shows it."""
    return {"before_header": path, "after_header": path, "before": before or "", "after": after or ""}
