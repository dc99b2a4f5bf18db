# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What is wrong with input, said so that a person can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot become service data. Holds all problems found, not only the first."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: list[str] = list(problems)
        super().__init__("\n".join(self.problems))


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`` (did you mean 'x'?)`` for the known word nearest to an unknown one, "" where none is near.

    Case does not count. ``cutoff`` is the similarity, from 0 to 1, from which on a word is near.
    """
    by_lower_case = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=cutoff)
    return f" (did you mean {by_lower_case[found[0]]!r}?)" if found else ""


class Problems:
    """Collects what is wrong with one input. What is said twice, because it was read twice, counts once."""

    SHOWN = 50

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def add(self, path: str, text: str) -> None:
        """``path`` is the place as a person finds it: ``services[3].ports[0].node_port``, "" for the whole input."""
        self._found[f"{path}: {text}" if path else text] = None

    def raise_if_any(self) -> None:
        """Raises InputError with the first problems and the number of those left out."""
        found = list(self._found)
        if found:
            left_out = len(found) - self.SHOWN
            raise InputError(found[: self.SHOWN] + ([f"... and {left_out} more problems"] if left_out > 0 else []))
