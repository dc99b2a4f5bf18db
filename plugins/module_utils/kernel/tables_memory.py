# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Remembers the tables of nftables, and of iptables with the nft back end, for as long as nobody writes.

The kernel counts the transactions of a network namespace, and whatever changes a rule is one. Where the count is that
of the last look, so are the tables, and to list them, which takes most of the time of a run that changes nothing, tells
nothing new. What others write, even into other tables, changes the count: then all is read again.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import files
from .command import KernelError
from .namespace import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from .nftables import NftablesSocket

# To be raised with every change of what a look at the same tables gives, or of the file.
FORMAT = 1
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_Content = TypeVar("_Content")


class _Look(NamedTuple):
    """What there was after so many transactions of others, None for an unknown number; ``content`` is made late."""

    generation: int | None
    content: Callable[[], Any]


class TablesMemory:
    """What was seen, by a key that says what was looked for, in a file that does not outlive the kernel.

    ``path`` is that file, None for no file. Of another network namespace nothing is recalled, nor where the kernel has
    no number for namespaces (before 5.14).
    """

    def __init__(self, socket: NftablesSocket, path: str | None = None) -> None:
        self.socket = socket
        self._path = path
        self._looks: dict[str, _Look] = {}
        # None: not loaded yet.
        self._file: dict[str, Any] | None = None

    def recall(self, key: str, generation: int | None, parse: Callable[[Any], _Content]) -> _Content | None:
        """What is there after so many transactions of others, parsed from what JSON makes of it.

        None where that takes a look.
        """
        if self._file is None:
            self._file = self._load()
        if generation is None or self._file.get("transactions") != generation + self.socket.own:
            return None
        try:
            return parse(self._file["tables"][key])
        except UNREADABLE:
            return None

    def keep(self, key: str, generation: int | None, content: Callable[[], Any]) -> None:
        """Takes note of what is there after so many transactions of others."""
        self._looks[key] = _Look(generation, content)

    def save(self) -> None:
        """Writes what still holds. Where the file cannot be written, the next run takes a look."""
        generation, namespace = self.socket.generation(), identity()
        if self._path is None or generation is None or not namespace:
            return
        known = {key: look for key, look in self._looks.items() if look.generation == generation}
        head = {"format": FORMAT, "namespace": namespace, "transactions": generation + self.socket.own}
        if known and not self._holds(head, known):
            tables = {key: look.content() for key, look in known.items()}
            with contextlib.suppress(KernelError):
                files.write_text(self._path, json.dumps({**head, "tables": tables}), mode=0o600)

    def forget(self) -> None:
        """Removes the file. Raises KernelError."""
        if self._path is not None:
            files.remove(self._path)

    def _holds(self, head: dict[str, Any], known: dict[str, _Look]) -> bool:
        """Whether the file says all of this already."""
        file = self._file or {}
        return all(file.get(name) == value for name, value in head.items()) and known.keys() <= file["tables"].keys()

    def _load(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self._path and files.read_text(self._path)) or "{}")
            valid = content["format"] == FORMAT and content["namespace"] == identity() != ""
            return content if valid and isinstance(content["tables"], dict) else {}
        except (KernelError, *UNREADABLE):
            return {}
