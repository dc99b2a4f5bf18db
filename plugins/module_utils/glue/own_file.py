# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Files of the collection's own on a node, for its own eyes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kernel import files
from ..plan.node import plan_drop_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from ..plan.operation import Operation
    from ..state.large_text import Text


def converge(path: str, text: Text | None, check: bool) -> list[Operation]:
    """Brings a file to a text, None for no file; what that changes. Raises KernelError."""
    # What the file says instead is not asked: that may be large.
    says_so = files.says(path, text or "")
    operations = plan_drop_in(path, says_so, None if text is None else True, text or "")
    if operations and not check:
        files.put(path, text, mode=0o600)
    return operations


def converge_all(texts: Mapping[str, Text | None], check: bool) -> list[Operation]:
    """The same for texts by path. Raises KernelError."""
    return [operation for path, text in sorted(texts.items()) for operation in converge(path, text, check)]


def not_said(texts: Mapping[str, Text | None]) -> dict[str, Text | None]:
    """Those of the texts that ``converge_all`` will write. Raises KernelError."""
    return {path: text for path, text in texts.items() if converge(path, text, check=True)}


def reserved(texts: Mapping[str, Text | None]) -> AbstractContextManager[None]:
    """Holds the disk space of what ``converge_all`` will write. Raises KernelError where that cannot be written."""
    return files.reserved(not_said(texts))
