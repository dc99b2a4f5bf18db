# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads and writes IP sets: one ``ipset save``, one ``ipset restore``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..plan.operation import ADD, CHANGE, REMOVE, Operation
from ..state import ipset as state
from .command import CommandError, KernelError, Runner

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_OF_ERROR = re.compile(r"Error in line (\d+): (.*)")
# The name of the set that takes the place of another while it is filled.
REPLACEMENT = "kubenode-proxy-new"


def read(runner: Runner, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, state.IPSet]:
    """Live sets by name; those that ``wanted`` does not name are left out. Raises KernelError."""
    return state.parse(runner.run(["ipset", "save"]).stdout, wanted)


def version(runner: Runner) -> str:
    """The version line of the tool, such as ``ipset v7.17, protocol version: 7``."""
    return runner.run(["ipset", "version"]).stdout.splitlines()[0].strip()


def apply(runner: Runner, operations: list[Operation]) -> None:
    """Applies operations of the kinds ``set`` and ``member`` in one restore. Raises KernelError."""
    lines = [line for operation in operations for line in restore_lines(operation)]
    if lines:
        restore(runner, lines)


def restore(runner: Runner, lines: list[str]) -> None:
    """One ``ipset restore``. Raises KernelError that quotes the line at fault and says how many lines before it took
    effect."""
    try:
        runner.run(["ipset", "-exist", "restore"], "".join(f"{line}\n" for line in lines))
    except CommandError as error:
        raise KernelError(_explain(error.stderr, lines)) from error


def restore_lines(operation: Operation) -> list[str]:
    """What ``ipset restore`` reads for one operation."""
    payload = operation.payload
    if operation.kind == "member":
        if operation.verb == REMOVE:
            return [f"del {payload.set_name} {payload.entry}"]
        # An existing member takes over new options with -exist.
        return [f"add {payload.set_name} {payload}"]
    if operation.verb == ADD:
        return list(payload.lines())
    if operation.verb == CHANGE:
        filled = payload._replace(name=REPLACEMENT)
        # swap exchanges the content under the names at once: a rule never sees no set.
        return [*filled.lines(), f"swap {REPLACEMENT} {payload.name}", f"destroy {REPLACEMENT}"]
    return [f"destroy {operation.name}"]


def _explain(stderr: str, lines: list[str]) -> str:
    found = LINE_OF_ERROR.search(stderr)
    if not found:
        return f"ipset restore: {stderr}"
    number = int(found.group(1))
    line = lines[number - 1] if number <= len(lines) else "?"
    done = f"{number - 1} lines before it took effect; a further run goes on from there"
    return f"ipset restore: {line!r}: {found.group(2)} ({done})"
