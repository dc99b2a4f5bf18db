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

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .run_file import RunFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from .nftables import NftablesSocket

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_Content = TypeVar("_Content")


class _Look(NamedTuple):
    """What there was after so many transactions of others, None for an unknown number; ``content`` is made late."""

    generation: int | None
    content: Callable[[], Any]


class TablesMemory:
    """What was seen, by a key that says what was looked for. ``path`` is that of a :class:`RunFile`."""

    def __init__(self, socket: NftablesSocket, path: str | None = None) -> None:
        self.socket = socket
        self._file = RunFile(path)
        self._looks: dict[str, _Look] = {}
        # None: not loaded yet.
        self._loaded: dict[str, Any] | None = None

    def recall(self, key: str, generation: int | None, parse: Callable[[Any], _Content]) -> _Content | None:
        """What is there after so many transactions of others, parsed from what JSON makes of it.

        None where that takes a look.
        """
        if self._loaded is None:
            found = self._file.load()
            self._loaded = found if isinstance(found.get("tables"), dict) else {}
        if generation is None or self._loaded.get("transactions") != generation + self.socket.own:
            return None
        try:
            return parse(self._loaded["tables"][key])
        except UNREADABLE:
            self._loaded = {}
            return None

    def keep(self, key: str, generation: int | None, content: Callable[[], Any]) -> None:
        """Takes note of what is there after so many transactions of others."""
        self._looks[key] = _Look(generation, content)

    def save(self) -> None:
        """Writes what still holds. Where the file cannot be written, the next run takes a look."""
        generation = self.socket.generation()
        if generation is None:
            return
        transactions = generation + self.socket.own
        known = {key: look for key, look in self._looks.items() if look.generation == generation}
        if known and not self._says(transactions, known):
            tables = {key: look.content() for key, look in known.items()}
            self._file.save({"transactions": transactions, "tables": tables})

    def forget(self) -> None:
        """Removes the file. Raises KernelError."""
        self._file.remove()

    def _says(self, transactions: int, known: dict[str, _Look]) -> bool:
        """Whether the file says all of this already."""
        loaded = self._loaded or {}
        return loaded.get("transactions") == transactions and known.keys() <= loaded["tables"].keys()
