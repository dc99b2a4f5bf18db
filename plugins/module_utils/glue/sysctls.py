# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module sysctls."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..kernel import files
from ..kernel import sysctl as kernel_sysctl
from ..model.errors import Problems
from ..plan.node import plan_drop_in
from ..state.node import overriding, parse_sysctls, render_sysctl_file, render_sysctls, sysctl_path
from ..state.rule_set import RuleSet
from . import drop_in, own_file
from .converge import converge
from .kernel_settings import Sysctls
from .module import LOCKING, NETNS, REMEMBER
from .place import Place
from .result import result_of

if TYPE_CHECKING:
    from ..plan.operation import Operation
    from .converge import Outcome
    from .module import Call
    from .sysctl_originals import SysctlOriginals

NAME = re.compile(r"[A-Za-z0-9_][^\s=*#;]*")
ARGUMENT_SPEC: dict[str, Any] = {
    "settings": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "ignore_missing": {"type": "bool", "default": False},
    **drop_in.options("/etc/sysctl.d", "60-kubenode-proxy.conf"),
    **NETNS,
    **LOCKING,
    **REMEMBER,
}
OPTIONS: dict[str, Any] = {"argument_spec": ARGUMENT_SPEC, "required_if": [("state", "present", ["settings"])]}


def work(module: Call) -> dict[str, Any]:
    """Converges the settings, and their drop-in file."""
    params = module.params
    settings = desired_settings(params)
    path = drop_in.path_of(params) if params["persistent"] else None
    node = Place(params["netns"])
    wanted_file = None if params["state"] == "absent" else render_sysctl_file(settings)
    # Two runs at once would each write the original values without those that the other has found.
    with node.lock(module):
        originals = node.sysctl_originals(params["file"]) if path else None
        subsystem = Settings(path, wanted_file, params["ignore_missing"], originals)
        file_before = files.read_text(path) if path else None
        outcome = _converge(subsystem, settings, originals, module.check_mode)
    result = {
        **result_of(module, outcome, node),
        "missing": subsystem.missing(settings),
        "drop_in": path,
        "overridden": _overridden(module, settings) if path else [],
    }
    if module.diff:
        live = outcome.before.sysctls
        restored = {
            operation.name: operation.payload[1] for operation in outcome.operations if operation.kind == "sysctl"
        }
        after = {**live, **restored}
        diffs = [drop_in.diff("kernel", render_sysctls(live), render_sysctls(after))]
        if path:
            diffs.append(drop_in.diff(path, file_before, wanted_file))
        result["diff"] = diffs
    return result


def _overridden(module: Call, settings: dict[str, str]) -> list[dict[str, str]]:
    """Settings that another file sets back at boot, with a warning for each."""
    params = module.params
    found = overriding(settings, kernel_sysctl.later_files(params["directory"], params["file"]))
    for name, (path, value) in found.items():
        module.warn(f"{path} sets {name} to {value} at boot, after {drop_in.path_of(params)}: take it out there")
    return [{"name": name, "value": value, "path": path} for name, (path, value) in sorted(found.items())]


def _converge(subsystem: Settings, settings: dict[str, str], originals: SysctlOriginals | None, check: bool) -> Outcome:
    def note(before: RuleSet) -> None:
        if originals:
            own_file.converge_all(originals.noted(before.sysctls, settings), check=False)

    outcome = converge({"sysctls": subsystem}, RuleSet.empty()._replace(sysctls=settings), check, note)
    if originals and not check:
        own_file.converge_all(originals.settled(settings), check=False)
    return outcome


def desired_settings(params: dict[str, Any]) -> dict[str, str]:
    """Values by name as the kernel prints them. Raises InputError."""
    problems = Problems()
    if params["state"] == "absent" and params["settings"]:
        problems.add("settings", "none is set where state is absent: leave it out")
    settings: dict[str, str] = {}
    paths: dict[str, str] = {}
    for name, value in (params["settings"] or {}).items():
        path = sysctl_path(name)
        if not NAME.fullmatch(name) or any(part in ("", ".", "..") for part in path.split("/")):
            problems.add(f"settings.{name}", "is not the name of a setting, such as net.ipv4.ip_forward")
        elif path in paths:
            problems.add(f"settings.{name}", f"is the same setting as {paths[path]}")
        elif not isinstance(value, (str, int, float)) or not str(value).strip():
            problems.add(f"settings.{name}", f"{value!r} is not a value: give text or a number")
        else:
            paths[path] = name
            settings[name] = str(int(value)) if isinstance(value, bool) else " ".join(str(value).split())
    if params["persistent"]:
        if params["netns"]:
            problems.add("persistent", "drop-in files are not for network namespaces: set persistent to false")
        drop_in.check(params, problems)
    problems.raise_if_any()
    return settings


class Settings(Sysctls):
    """Kernel settings and their drop-in file (``path`` None: none), which holds also what the kernel does not have.

    ``text`` is what the file should say, None for no file.
    """

    def __init__(
        self, path: str | None, text: str | None, ignore_missing: bool, originals: SysctlOriginals | None
    ) -> None:
        super().__init__(originals)
        self._path = path
        self._text = text
        self._ignore_missing = ignore_missing
        self._file: dict[str, str] | None = None

    def read(self, desired: RuleSet) -> None:
        super().read(desired)
        text = files.read_text(self._path) if self._path else None
        try:
            self._file = None if text is None else parse_sysctls(text)
        except ValueError:
            # Whatever it is, it does not say what it should.
            self._file = {}

    def missing(self, settings: dict[str, str]) -> list[str]:
        """Settings that the kernel does not have."""
        return sorted(set(settings) - set(self._live))

    def plan(self, desired: RuleSet) -> list[Operation]:
        settings = desired.sysctls
        passed_over = self.missing(settings) if self._ignore_missing else []
        operations = super().plan(
            desired._replace(sysctls={n: value for n, value in settings.items() if n not in passed_over})
        )
        if self._path:
            wanted = None if self._text is None else settings
            operations += plan_drop_in(self._path, self._file, wanted, self._text or "")
        return operations

    def verify(self, operations: list[Operation], alone: bool) -> None:
        kernel_sysctl.verify(operation.name for operation in operations if operation.kind == "sysctl")

    def apply(self, operations: list[Operation]) -> None:
        with drop_in.applied_after(operations):
            kernel_sysctl.apply(operation for operation in operations if operation.kind == "sysctl")
