# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What the node was before the last runs changed it: a second line of defence.

A snapshot is a folder. It holds the live state of all that is ours, in the form of a compiled rule set, and the files
of the node that speak of it.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from ..kernel import files
from ..kernel.command import KernelError, UnchangedError
from .compiled import read_compiled
from .place import RULE_SET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..state.rule_set import RuleSet

STATE = "state"
# Files of the node that belong together with the state of its kernel.
FILES = ("services.json", RULE_SET, "virtual_servers", "runs/rule_set.json")


class Snapshots:
    """The snapshots of a node, of which the newest ``keep`` stay."""

    def __init__(self, folder: str, keep: int = 0) -> None:
        self._files = folder
        self._folder = os.path.join(folder, "snapshots")
        self._keep = keep

    def names(self) -> list[str]:
        """Names, the oldest first. One without its state was never finished."""
        return [name for name in files.listed(self._folder) if os.path.exists(self._path(name, STATE))]

    @contextlib.contextmanager
    def around(self) -> Iterator[Callable[[Iterable[str]], None]]:
        """In a ``with`` block a run may :meth:`take` a snapshot, with what this gives; then the others are pruned.

        A run whose only write changes nothing is tried again and again, and would push out all others: its snapshot
        goes, and the others stay.
        """
        taken: list[str | None] = []
        try:
            yield lambda before: taken.append(self.take(before))
        except UnchangedError:
            with contextlib.suppress(KernelError):
                for name in filter(None, taken):
                    files.remove_folder(self._path(name))
            raise
        except Exception:
            with contextlib.suppress(KernelError):
                if taken:
                    self.prune()
            raise
        if taken:
            self.prune()

    def take(self, before: Iterable[str]) -> str | None:
        """Keeps the state before a run, which are the pieces of the text of a rule set; its name, None where none are
        kept. Raises KernelError."""
        if not self._keep:
            return None
        name = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        for file in FILES:
            # They are only ever replaced as a whole, so that the old one stays what it was.
            files.link(os.path.join(self._files, file), self._path(name, file))
        files.write_text(self._path(name, STATE), before, mode=0o600)
        return name

    def prune(self) -> None:
        """Removes all but the newest, and those that a killed run did not finish. Raises KernelError."""
        kept = self.names()[-self._keep :] if self._keep else []
        for name in files.listed(self._folder):
            if name not in kept:
                files.remove_folder(self._path(name))

    def load(self, name: str | None) -> Snapshot:
        """The snapshot of a name, or the newest. Raises KernelError."""
        names = self.names()
        if not names:
            raise KernelError(f"there is no snapshot in {self._folder}: no run has changed this node yet")
        if name is not None and name not in names:
            raise KernelError(f"there is no snapshot {name}: there are {', '.join(names)}")
        chosen = name or names[-1]
        compiled = self._path(chosen, RULE_SET)
        wanted = read_compiled(compiled).sysctls if os.path.exists(compiled) else {}
        return Snapshot(chosen, read_compiled(self._path(chosen, STATE)), frozenset(wanted))

    def texts(self, snapshot: Snapshot) -> dict[str, str | None]:
        """What the node's files said, by their paths; None for no file. Raises KernelError."""
        return {os.path.join(self._files, file): files.read_text(self._path(snapshot.name, file)) for file in FILES}

    def _path(self, *parts: str) -> str:
        return os.path.join(self._folder, *parts)


class Snapshot(NamedTuple):
    """A snapshot: its name, which is its time in UTC, what the kernel held, and which settings were wanted."""

    name: str
    rule_set: RuleSet
    sysctls: frozenset[str]
