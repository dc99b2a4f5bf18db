# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Calls of modules that a node remembers, to repeat them without a controller."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from ..kernel import files
from ..kernel.command import KernelError
from ..kernel.lock import exclusive
from ..model.errors import InputError
from . import own_file
from .drop_in import diff
from .place import LOCK, STATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from .module import Call

FOLDER = os.path.join(STATE_FOLDER, "runs")
# Say how this call got its data, or what its caller takes upon himself; not what the node should be.
PASSING = ("remember", "services", "src", "query", "checksum", "incoming", "take_over")
# Values of the option state.
KEPT = ("present", "converged")
FORGOTTEN = ("absent",)


class Remembered(NamedTuple):
    """A call that the node remembers: the name of a module without the collection's, and its arguments."""

    module: str
    arguments: dict[str, Any]


def work(function: Callable[[Call], dict[str, Any]], call: Call, module: str) -> dict[str, Any]:
    """Does the work of a module, and remembers the call if it is told to. Raises InputError, KernelError."""
    params = call.params
    if params["remember"] and params.get("netns"):
        raise InputError(["remember: network namespaces do not outlive a boot: set remember to false"])
    state = params.get("state", "present")
    if params.get("netns") or not (state in FORGOTTEN or (params["remember"] and state in KEPT)):
        return function(call)
    path = os.path.join(FOLDER, _file_name(module, params))
    text = _text(module, params)
    if call.check_mode:
        return _note(function(call), call, path, text)
    # The node's program holds the lock while it reads and repeats: it sees all of this, or nothing.
    with exclusive(LOCK, params["lock_timeout"]):
        with own_file.reserved({path: text}):
            result = function(call)
        return _note(result, call, path, text)


def remembering(function: Callable[[Call], dict[str, Any]], module: str) -> Callable[[Call], dict[str, Any]]:
    """The work of a module with the option ``remember``."""
    return lambda call: work(function, call, module)


def read(folder: str) -> list[Remembered]:
    """The calls that a node remembers, in no particular order. Raises KernelError."""
    names = [name for name in files.listed(folder) if name.endswith(".json") and not name.startswith(".")]
    return [_parse(os.path.join(folder, name)) for name in names]


def _note(result: dict[str, Any], call: Call, path: str, text: str | None) -> dict[str, Any]:
    """The result with what became of the file; writes or removes it but in check mode."""
    # Where the action plugin has to send the service data first, nothing has been done yet.
    if result.get("service_data_missing"):
        return result
    before = files.read_text(path)
    operations = own_file.converge(path, text, call.check_mode)
    if not operations:
        return result
    counts = Counter(result.get("counts", {}))
    counts.update(f"{operation.verb} {operation.kind}" for operation in operations)
    noted = {
        **result,
        "changed": True,
        "operations": [*result.get("operations", []), *(operation.report() for operation in operations)],
        "counts": dict(sorted(counts.items())),
    }
    if call.diff:
        shown = result.get("diff", [])
        noted["diff"] = [*(shown if isinstance(shown, list) else [shown]), diff(path, before, text)]
    return noted


def _file_name(module: str, params: dict[str, Any]) -> str:
    # Calls that keep different drop-in files stand beside each other.
    return f"{module}-{params['file']}.json" if "file" in params else f"{module}.json"


def _text(module: str, params: dict[str, Any]) -> str | None:
    """The text of the file, None where the call is to be forgotten."""
    if params.get("state") in FORGOTTEN:
        return None
    arguments = {name: value for name, value in params.items() if name not in PASSING}
    return json.dumps({"module": module, "arguments": arguments}, indent=2, sort_keys=True) + "\n"


def _parse(path: str) -> Remembered:
    text = files.read_text(path) or ""
    try:
        found = json.loads(text)
        module, arguments = found["module"], found["arguments"]
    except (ValueError, KeyError, TypeError):
        module, arguments = None, None
    if not isinstance(module, str) or not isinstance(arguments, dict):
        raise KernelError(f"{path} is not a remembered call: remove it, and run the playbook that left it again")
    return Remembered(module, arguments)
