# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""A file in which a run leaves for the next one what it would otherwise have to ask the kernel for again."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from . import files
from .command import KernelError
from .namespace import identity

# To be raised with every change of what such a file says, or of what a look at the same tables gives.
FORMAT = 4
# A new one begins to count transactions and tables anew.
NF_TABLES = "/sys/module/nf_tables"


class RunFile:
    """JSON about one network namespace, which counts as long as that is there.

    ``path`` is in a folder that does not outlive the kernel; None for no file. Where the kernel has no number for
    namespaces (before 5.14) nothing is written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path

    def load(self) -> dict[str, Any]:
        """What :meth:`save` was given last in this network namespace; empty where it cannot be read."""
        try:
            content = json.loads((self._path and files.read_text(self._path)) or "{}")
            found = content.pop("content")
            if content != _head():
                return {}
        except (KernelError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def save(self, content: dict[str, Any]) -> None:
        """Writes the file. Where it cannot be written, the next run asks the kernel."""
        with contextlib.suppress(KernelError):
            head = _head()
            if self._path is not None and head is not None:
                files.write_text(self._path, json.dumps({**head, "content": content}), mode=0o600)

    def remove(self) -> None:
        """Removes the file. Raises KernelError."""
        if self._path is not None:
            files.remove(self._path)


def _head() -> dict[str, Any] | None:
    """What has to be the same for the content to count."""
    namespace = identity()
    try:
        module = os.stat(NF_TABLES).st_ino
    except OSError:
        module = 0
    return {"format": FORMAT, "namespace": namespace, "nf_tables": module} if namespace else None
