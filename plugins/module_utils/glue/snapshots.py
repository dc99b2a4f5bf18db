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
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from ..kernel import files
from ..kernel.command import KernelError, UnchangedError
from .compiled import read_compiled
from .place import RULE_SET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..state.rule_set import RuleSet

# Of names: a time in UTC, with the smallest step between two of them.
FORM = "%Y%m%dT%H%M%S.%fZ"
STEP = timedelta(microseconds=1)
STATE = "state"
# Files of the node that belong together with the state of its kernel.
FILES = ("services.json", RULE_SET, "virtual_servers", "runs/rule_set.json")


class Snapshots:
    """The snapshots of a node, of which the newest ``keep`` stay; None takes none, and keeps all.

    ``taken`` is the name of the one that this run took; None where it took none.
    """

    def __init__(self, folder: str, keep: int | None = None) -> None:
        self._files = folder
        self._folder = os.path.join(folder, "snapshots")
        self._keep = keep
        self.taken: str | None = None

    def names(self) -> list[str]:
        """Names, the oldest first. One without its state was never finished."""
        return [name for name in files.listed(self._folder) if os.path.exists(self._path(name, STATE))]

    @contextlib.contextmanager
    def around(self) -> Iterator[Callable[[Iterable[str]], None]]:
        """In a ``with`` block a run may :meth:`take` a snapshot, with what this gives; then the others are pruned.

        A run whose only write changes nothing is tried again and again, and would push out all others: its snapshot
        goes, and the others stay.
        """
        begun = False

        def take(before: Iterable[str]) -> None:
            nonlocal begun
            self.take(before)
            begun = True

        try:
            yield take
        except UnchangedError:
            with contextlib.suppress(KernelError):
                self._forget()
            raise
        except Exception:
            with contextlib.suppress(KernelError):
                if begun:
                    self.prune()
            raise
        if begun:
            self.prune()

    def take(self, before: Iterable[str]) -> None:
        """Keeps the state before a run, which are the pieces of the text of a rule set, unless none are kept. Raises
        KernelError."""
        if not self._keep:
            return
        name = self._next_name()
        for file in FILES:
            # They are only ever replaced as a whole, so that the old one stays what it was.
            files.link(os.path.join(self._files, file), self._path(name, file))
        files.write_text(self._path(name, STATE), before, mode=0o600)
        self.taken = name

    def prune(self) -> None:
        """Removes all but the newest, and those that a killed run did not finish. Raises KernelError."""
        if self._keep is None:
            return
        kept = self.names()[-self._keep :] if self._keep else []
        for name in files.listed(self._folder):
            if name not in kept and name != self.taken:
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

    def _next_name(self) -> str:
        """The time, or where a clock that was set back would give an older name, the next one. Raises KernelError."""
        times = [time for time in map(_time, files.listed(self._folder)) if time]
        return max([datetime.now(timezone.utc), *(time + STEP for time in times)]).strftime(FORM)

    def _forget(self) -> None:
        """Removes the snapshot that this run took. Raises KernelError."""
        if self.taken:
            files.remove_folder(self._path(self.taken))
            self.taken = None

    def _path(self, *parts: str) -> str:
        return os.path.join(self._folder, *parts)


class Snapshot(NamedTuple):
    """A snapshot: its name, what the kernel held, and which settings were wanted."""

    name: str
    rule_set: RuleSet
    sysctls: frozenset[str]


def _time(name: str) -> datetime | None:
    """The time that a name says, None where it is not one of ours."""
    try:
        return datetime.strptime(name, FORM).replace(tzinfo=timezone.utc)
    except ValueError:
        return None
