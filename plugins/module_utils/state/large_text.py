# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Text of many megabytes: in pieces, and with changes at few places, which are found by halving what is sorted."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple, Union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PIECE = 65536
# Stands for bytes that are not UTF-8 in what programs print, too.
SURROGATES = "surrogateescape"


class Made:
    """Text that is made anew, piece by piece, whenever it is gone through: to hold all of it takes longer."""

    def __init__(self, make: Callable[[], Iterable[str]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    @functools.cached_property
    def size(self) -> int:
        """In bytes."""
        return sum(map(size, self))


Text = Union[str, Made]


class Change(NamedTuple):
    """What comes in the place of the text from ``start`` to ``end``."""

    start: int
    end: int
    new: str


def size(text: Text) -> int:
    """In bytes; without a copy of large text, where each character is one byte."""
    if isinstance(text, Made):
        return text.size
    return len(text) if text.isascii() else len(encoded(text))


def encoded(text: str) -> bytes:
    """As UTF-8; a byte that is none, from a rule or a file of somebody else, as it was."""
    return text.encode("utf-8", SURROGATES)


def is_text(found: str, text: Text) -> bool:
    """Whether they are the same text."""
    if isinstance(text, str):
        return found == text
    at = 0
    for piece in text:
        if not found.startswith(piece, at):
            return False
        at += len(piece)
    return at == len(found)


def pieces(text: str, start: int = 0, end: int | None = None) -> Iterator[str]:
    """A text, or a part of it, piece by piece: a copy of all takes longer, and as much memory again."""
    stop = len(text) if end is None else end
    return (text[at : min(at + PIECE, stop)] for at in range(start, stop, PIECE))


def spliced(text: str, start: int, end: int, changes: Iterable[Change]) -> Iterator[str]:
    """The pieces of a part of a text with changes, of which those at one place are in their order."""
    at = start
    for change in sorted(changes, key=lambda change: change.start):
        yield from pieces(text, at, change.start)
        yield change.new
        at = change.end
    yield from pieces(text, at, end)


def first(text: str, low: int, high: int, separator: str, holds: Callable[[str], bool]) -> int:
    """Where the first record begins between two places whose first line fulfils a condition; ``high`` for none.

    A separator ends each record, but may be missing after the last. The condition has to hold for all records behind
    one for which it holds.
    """
    while low < high:
        before = text.rfind(separator, low, (low + high) // 2)
        start = low if before < 0 else before + len(separator)
        if holds(text[start : text.find("\n", start)]):
            high = start
        else:
            behind = text.find(separator, start, high)
            low = high if behind < 0 else behind + len(separator)
    return low
