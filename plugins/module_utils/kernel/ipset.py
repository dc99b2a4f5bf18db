# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads and writes IP sets: a listing over netlink or by ``ipset save``, and members over netlink or ``ipset restore``.

A set whose type or create options change is replaced in such a way that no rule sees it missing or empty:

- ``swap`` exchanges the content of two sets under their names; the kernel does it for sets of the same type and family;
- a set that nothing refers to is destroyed, and its successor renamed;
- otherwise the kernel lets nobody destroy or rename it. Then the rules that name it are made to name its successor,
  which stands in for it under a temporary name until a set of the right name is there again.
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

from ..plan.ipset import TEMPORARY_PREFIX, Leftover, Replacement
from ..plan.operation import ADD, REMOVE, Operation
from ..state import ipset as state
from . import set_references
from .command import CommandError, KernelError, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from .ipset_socket import SetsSocket

LINE_OF_ERROR = re.compile(r"Error in line (\d+): (.*)")
VERSION = re.compile(r" v(\d+)\.")
# As kube-proxy has it.
MINIMUM_VERSION = 6
DRAWN_BY_KERNEL = re.compile(r" (?:bucketsize \d+(?: initval 0x[0-9a-f]+)?|initval 0x[0-9a-f]+)$", re.MULTILINE)
IN_USE = "it is in use by a kernel component"
# nf_tables drops what a deleted rule refers to some time after the commit.
RELEASE_SECONDS = 2.0
PAUSE = 0.05


def read(
    runner: Runner, wanted: Callable[[str], bool] = lambda name: True, sets_socket: SetsSocket | None = None
) -> dict[str, state.IPSet]:
    """Live sets by name; those that ``wanted`` does not name are left out, but for stand-ins.

    Costs no process where they are all such as ``sets_socket`` can tell. Raises KernelError.
    """

    def relevant(name: str) -> bool:
        return wanted(name) or name.startswith(TEMPORARY_PREFIX)

    found = sets_socket.read(relevant) if sets_socket else None
    if found is not None:
        return found
    # What the kernel draws or chooses by itself nobody asks for; a diff need not show it.
    return state.parse(DRAWN_BY_KERNEL.sub("", runner.run(["ipset", "save"]).stdout), relevant)


def version(runner: Runner) -> str:
    """The version line of the tool, such as ``ipset v7.17, protocol version: 7``."""
    return runner.run(["ipset", "version"]).stdout.splitlines()[0].strip()


def ensure_able(runner: Runner) -> None:
    """Raises KernelError where ipset is missing or too old."""
    printed = version(runner)
    found = VERSION.search(printed)
    if found and int(found.group(1)) < MINIMUM_VERSION:
        raise KernelError(f"ipset is too old, it takes version {MINIMUM_VERSION}.0 or newer: {printed}")


def verify(runner: Runner, operations: Collection[Operation]) -> None:
    """Raises KernelError where ipset is missing or too old, or where a set is to get another type while more than rules
    of iptables refer to it.

    Costs no process where only members change: the sets are there, so ipset is able to make them.
    """
    if any((o.verb, o.kind) == (ADD, "set") for o in operations) or not runner.find("ipset"):
        ensure_able(runner)
    names = [change.wanted.name for change in _replacements(operations) if not change.swappable]
    if names:
        set_references.used_by_rules(runner, names)


def apply(runner: Runner, operations: list[Operation], sets_socket: SetsSocket | None = None) -> None:
    """Applies operations of the kinds ``set`` and ``member``: in one restore, unless rules have to be switched.

    Costs no process where only members change that ``sets_socket`` can write. Raises KernelError.
    """
    if sets_socket and sets_socket.write(operations):
        return
    replacements = _replacements(operations)
    _clear_leftovers(runner, operations)
    names = [change.wanted.name for change in replacements if not change.swappable]
    in_use = set_references.used_by_rules(runner, names) if names else frozenset()
    lines = [line for operation in operations for line in restore_lines(operation, operation.name in in_use)]
    try:
        restore(runner, lines)
        _switch_over(runner, [change for change in replacements if change.wanted.name in in_use])
    except KernelError:
        # What is no longer needed; what rules name stays, for the next run to go on with.
        for change in replacements:
            with contextlib.suppress(CommandError):
                runner.run(["ipset", "destroy", change.temporary.name])
        raise


def restore(runner: Runner, lines: list[str]) -> None:
    """One ``ipset restore``, none without lines; it goes on from a set that the kernel is about to release.

    Raises KernelError that quotes the line at fault and says how many lines before it took effect.
    """
    deadline, done = time.monotonic() + RELEASE_SECONDS, 0
    while done < len(lines):
        try:
            runner.run(["ipset", "-exist", "restore"], "".join(f"{_abridged(line)}\n" for line in lines[done:]))
            return
        except CommandError as error:
            found = LINE_OF_ERROR.search(error.stderr)
            if not found:
                raise KernelError(f"ipset restore: {error.stderr or f'exit status {error.returncode}'}") from error
            done += int(found.group(1)) - 1
            if IN_USE not in error.stderr or time.monotonic() > deadline:
                raise KernelError(_explain(runner, found.group(2), lines, done)) from error
        time.sleep(PAUSE)


def _abridged(line: str) -> str:
    """A line without the protocol tcp of its member, which is the default: ipset opens /etc/protocols for each."""
    if ",tcp:" not in line or not line.startswith(("add ", "del ")):
        return line
    verb, name, entry, *options = line.split(" ", 3)
    return " ".join([verb, name, entry.replace(",tcp:", ",", 1), *options])


def restore_lines(operation: Operation, in_use: bool = False) -> list[str]:
    """What ``ipset restore`` reads for one operation. Of a set ``in_use`` that changes its type: only the stand-in."""
    payload = operation.payload
    if operation.kind == "member":
        if operation.verb == REMOVE:
            return [f"del {payload.set_name} {payload.entry}"]
        # An existing member takes over new options with -exist.
        return [f"add {payload.set_name} {payload}"]
    if operation.verb == ADD:
        return list(payload.lines())
    if isinstance(payload, Replacement):
        name, temporary = payload.wanted.name, payload.temporary.name
        filled = list(payload.temporary.lines())
        if payload.swappable:
            return [*filled, f"swap {temporary} {name}", f"destroy {temporary}"]
        return filled if in_use else [*filled, f"destroy {name}", f"rename {temporary} {name}"]
    return [] if isinstance(payload, Leftover) else [f"destroy {operation.name}"]


def _replacements(operations: Iterable[Operation]) -> list[Replacement]:
    return [operation.payload for operation in operations if isinstance(operation.payload, Replacement)]


def _clear_leftovers(runner: Runner, operations: Iterable[Operation]) -> None:
    """Removes the stand-ins of runs that were ended; rules that still name one name the set itself again."""
    leftovers = [operation.payload for operation in operations if isinstance(operation.payload, Leftover)]
    leftovers += [
        Leftover(change.temporary.name, change.wanted.name) for change in _replacements(operations) if change.leftover
    ]
    names = {leftover.name: leftover.stands_for for leftover in leftovers if leftover.stands_for}
    if names:
        set_references.switch(runner, names)
    restore(runner, [f"destroy {leftover.name}" for leftover in leftovers])


def _switch_over(runner: Runner, changes: list[Replacement]) -> None:
    """Puts sets of another type in the place of sets that rules name. The stand-ins are there and filled."""
    if not changes:
        return
    stand_ins: Mapping[str, str] = {change.wanted.name: change.temporary.name for change in changes}
    names: Mapping[str, str] = {temporary: name for name, temporary in stand_ins.items()}
    try:
        set_references.switch(runner, stand_ins)
    except KernelError:
        # One table or family may have been switched before another refused; the sets themselves are as they were.
        set_references.switch(runner, names)
        raise
    restore(runner, [line for change in changes for line in (f"destroy {change.wanted.name}", *change.wanted.lines())])
    set_references.switch(runner, names)
    restore(runner, [f"destroy {temporary}" for temporary in names])


def _explain(runner: Runner, message: str, lines: list[str], done: int) -> str:
    line = lines[done] if done < len(lines) else "?"
    state_left = f"{done} lines before it took effect; a further run goes on from there"
    if IN_USE in message:
        message = f"{message}: {set_references.referrers(runner, line.split()[1])}"
    return f"ipset restore: {line!r}: {message} ({state_left})"
