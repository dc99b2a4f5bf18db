# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the demonstration prints: steps, tables, problems."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

WIDTH = 60


class Screen:
    """Writes to standard output, with colours where that is a terminal; `problems` counts what went wrong."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.problems = 0

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def good(self, text: str) -> str:
        return self._paint(text, "32")

    def bad(self, text: str) -> str:
        return self._paint(text, "1;31")

    def dim(self, text: str) -> str:
        return self._paint(text, "2")

    def line(self, text: str = "") -> None:
        print(text, flush=True)

    def heading(self, text: str, note: str = "") -> None:
        self.line()
        self.line(self._paint(text, "1") + (f"  {self.dim(note)}" if note else ""))

    def problem(self, text: str) -> None:
        self.problems += 1
        self.line(f"  {self.bad('not as expected')}: {text}")

    @contextmanager
    def step(self, text: str) -> Iterator[list[str]]:
        """A line for something that takes a while; what the block appends to the list stands behind the seconds."""
        begin = time.monotonic()
        notes: list[str] = []
        if self._colours:
            print(f"  {text} ...", end="", flush=True)
        try:
            yield notes
        except BaseException as error:
            outcome = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            self.line(f"{self._restart()}  {text:{WIDTH}}  {self.bad(outcome)}")
            raise
        seconds = f"{time.monotonic() - begin:5.1f} s"
        self.line(f"{self._restart()}  {text:{WIDTH}}  {'  '.join([self.dim(seconds), *notes])}")

    def _restart(self) -> str:
        return "\r\x1b[K" if self._colours else ""

    def table(self, rows: Sequence[Sequence[str]], marks: Sequence[str] = ()) -> None:
        """Columns as wide as they need to be; marks: one for every row, before it."""
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        for index, row in enumerate(rows):
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            mark = f"{marks[index]} " if marks else ""
            self.line(f"  {mark}{self.dim(text) if index == 0 else text}")
