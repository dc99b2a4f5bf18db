# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module kernel_modules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..kernel import files
from ..kernel import modules as kernel_modules
from ..kernel.command import KernelError, Runner
from ..model.errors import Problems, nearest
from ..model.fields import Fields
from ..plan.node import plan_drop_in, plan_kernel_modules
from ..state.kernel_module import KernelModules, WantedModule, canonical_name
from ..state.node import DROP_IN_HEADER, render_lines
from ..state.rule_set import RuleSet
from . import drop_in
from .converge import converge
from .module import LOCKING, REMEMBER
from .place import Place
from .result import result_of
from .subsystem import Unverified

if TYPE_CHECKING:
    from ..plan.operation import Operation
    from .module import Call

NAME = re.compile(r"[A-Za-z0-9_-]+")
KEYS = ("name", "any_of", "required")
ARGUMENT_SPEC: dict[str, Any] = {
    "modules": {"type": "list", "elements": "raw", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **drop_in.options("/etc/modules-load.d", "kubenode-proxy.conf"),
    **LOCKING,
    **REMEMBER,
}
OPTIONS: dict[str, Any] = {"argument_spec": ARGUMENT_SPEC}


def work(module: Call) -> dict[str, Any]:
    """Loads the modules, and converges their drop-in file."""
    params = module.params
    wanted = desired_modules(params)
    path = drop_in.path_of(params) if params["persistent"] or params["state"] == "absent" else None
    node = Place()
    subsystem = Modules(node.runner, wanted, path, present=params["state"] == "present")
    with node.lock(module):
        file_before = files.read_text(path) if path else None
        outcome = converge({"kernel modules": subsystem}, RuleSet.empty(), module.check_mode)
    result = {
        **result_of(module, outcome, node),
        "kernel": kernel_modules.release(),
        "modules": subsystem.names,
        "missing": [str(one) for one in subsystem.missing],
        "drop_in": path,
    }
    if module.diff:
        new = [operation.name for operation in outcome.operations if operation.kind == "kernel module"]
        before = [name for name in subsystem.names if name not in new]
        result["diff"] = [drop_in.diff("kernel", render_lines(before), render_lines(subsystem.names))]
        if path:
            result["diff"].append(drop_in.diff(path, file_before, subsystem.file_text()))
    return result


def desired_modules(params: dict[str, Any]) -> list[WantedModule]:
    """The wanted modules. Raises InputError."""
    problems = Problems()
    if params["state"] == "present" and not params["modules"]:
        problems.add("modules", "is empty: name at least one kernel module, or set state to absent")
    drop_in.check(params, problems)
    wanted = [_wanted(entry, f"modules[{index}]", problems) for index, entry in enumerate(params["modules"])]
    problems.raise_if_any()
    return wanted


def _wanted(entry: Any, path: str, problems: Problems) -> WantedModule:
    fields = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict):
        problems.add(path, f"{entry!r} is neither a name nor a mapping with name or any_of")
        return WantedModule(())
    for key in fields:
        if key not in KEYS:
            problems.add(f"{path}.{key}", f"is unknown{nearest(str(key), KEYS)}; known are {', '.join(KEYS)}")
    if ("name" in fields) == ("any_of" in fields):
        problems.add(path, "needs either name or any_of")
        return WantedModule(())
    names = fields.get("any_of", [fields.get("name")])
    if not isinstance(names, list) or not names:
        problems.add(f"{path}.any_of", "is not a list of names")
        return WantedModule(())
    for index, name in enumerate(names):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            where = f"{path}.any_of[{index}]" if "any_of" in fields else path
            problems.add(where, f"{name!r} is not the name of a kernel module, such as ip_vs")
    required = Fields(fields, path, problems).boolean("required", True)
    return WantedModule(tuple(canonical_name(str(name)) for name in names), required)


class Modules(Unverified):
    """Kernel modules and the drop-in file that lists them (``path`` None: none is written)."""

    def __init__(self, runner: Runner, wanted: list[WantedModule], path: str | None, present: bool) -> None:
        self.names: list[str] = []
        self.missing: list[WantedModule] = []
        self._runner = runner
        self._wanted = wanted if present else []
        self._path = path
        self._present = present
        self._live = KernelModules("", frozenset(), frozenset(), None)

    def file_text(self) -> str | None:
        """What the drop-in file should say, None for no file."""
        return DROP_IN_HEADER + render_lines(self.names) if self._present else None

    def read(self, desired: RuleSet) -> None:
        names = [name for wanted in self._wanted for name in wanted.names]
        self._live = kernel_modules.read(self._runner, names, self._path or "")

    def plan(self, desired: RuleSet) -> list[Operation]:
        operations, self.names, self.missing = plan_kernel_modules(self._live, self._wanted)
        required = [wanted for wanted in self.missing if wanted.required]
        if required:
            raise KernelError(_explain(self._live, required))
        if self._path:
            listed = tuple(sorted(self.names)) if self._present else None
            operations += plan_drop_in(self._path, self._live.at_boot, listed, self.file_text() or "")
        return operations

    def apply(self, operations: list[Operation]) -> None:
        names = [operation.payload for operation in operations if operation.kind == "kernel module"]
        with drop_in.applied_after(operations):
            if names:
                kernel_modules.load(self._runner, names)

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto


def _explain(live: KernelModules, missing: list[WantedModule]) -> str:
    names = ", ".join(str(wanted) for wanted in missing)
    if not live.known:
        return (
            f"kernel {live.kernel}: no sign of {names}, and there is no {kernel_modules.FOLDER}/{live.kernel} to tell: "
            "install the modules of the running kernel, or set required to false for what is built in"
        )
    return (
        f"kernel {live.kernel} has no module {names}: install the package with its further modules ("
        f"linux-modules-extra-{live.kernel} on Ubuntu, kernel-modules-extra on Fedora and RHEL, linux-image-amd64 "
        "instead of the cloud kernel on Debian) or another kernel, or set required to false to do without"
    )
