# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rooms of plugins/module_utils and the ways between them, and what every file has to have."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
UTILS = CHECKOUT / "plugins" / "module_utils"
COLLECTION = "ansible_collections.kubenode.proxy.plugins.module_utils."
# Room -> the rooms that it may import from, beside itself.
ROOMS: dict[str, set[str]] = {
    "model": set(),
    "state": set(),
    "rules": {"model", "state"},
    "plan": {"state"},
    "kernel": {"state", "plan"},
    "glue": {"model", "state", "rules", "plan", "kernel"},
}
# Room -> packages beyond the standard library.
PACKAGES: dict[str, set[str]] = {"glue": {"ansible"}}
# Who only turns values into values runs no command and opens no socket.
PURE = ("model", "state", "rules", "plan")
IMPURE_MODULES = {"subprocess", "socket", "os", "shutil", "ctypes", "fcntl", "multiprocessing", "urllib", "http"}
MAX_FUNCTION_LINES = 40
# REUSE-IgnoreStart
SPDX = "# SPDX-License-Identifier: GPL-3.0-or-later\n"
# REUSE-IgnoreEnd
COPYRIGHT = "# Copyright: (c) 2026, kubenode.proxy contributors\n"
PRIVATE = (
    "# Note that this {} is **PRIVATE** to the collection. It can have breaking changes at any time.\n"
    "# Do not use this from other collections or standalone plugins/modules!\n"
)


def utils() -> list[Path]:
    return sorted(UTILS.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import of a file, those for type checkers included."""
    package = (*COLLECTION.rstrip(".").split("."), *path.relative_to(UTILS).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def wrong(room: str, name: str) -> str:
    """Why a file of the room must not import the name; "" where it may."""
    if name.startswith(COLLECTION):
        other = name[len(COLLECTION) :].split(".", maxsplit=1)[0]
        return "" if other in {room, *ROOMS[room]} else f"{room} must not import from {other}"
    top = name.split(".", maxsplit=1)[0]
    if top in PACKAGES.get(room, ()):
        return ""
    if top not in sys.stdlib_module_names:
        return f"{room} must not import {top}"
    return f"{room} must not import {top}" if room in PURE and top in IMPURE_MODULES else ""


def test_every_file_is_in_a_room() -> None:
    assert {path.relative_to(UTILS).parts[0] for path in utils()} == set(ROOMS)


@pytest.mark.parametrize("path", utils(), ids=name_of)
def test_no_import_points_the_wrong_way(path: Path) -> None:
    room = path.relative_to(UTILS).parts[0]
    found = [f"{name_of(path)}:{line}: {wrong(room, name)}" for line, name in imports(path) if wrong(room, name)]
    assert found == []


@pytest.mark.parametrize(
    ("room", "name", "expected"),
    [
        ("model", "json", ""),
        ("model", "subprocess.run", "model must not import subprocess"),
        ("plan", "ansible.module_utils.basic.AnsibleModule", "plan must not import ansible"),
        ("plan", f"{COLLECTION}model.service", "plan must not import from model"),
        ("rules", f"{COLLECTION}model.service", ""),
        ("kernel", f"{COLLECTION}glue.module", "kernel must not import from glue"),
        ("glue", f"{COLLECTION}kernel.files", ""),
        ("glue", "yaml", "glue must not import yaml"),
    ],
)
def test_the_ways(room: str, name: str, expected: str) -> None:
    assert wrong(room, name) == expected


def test_relative_imports_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan" / "x.py"
    path.parent.mkdir()
    path.write_text(
        "from ..model.service import ServiceData\nfrom . import operation\nfrom .. import glue\nimport json\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "UTILS", tmp_path)
    assert [name.removeprefix(COLLECTION) for _line, name in imports(path)] == [
        "model.service.ServiceData",
        "plan.operation",
        "glue",
        "json",
    ]


def python_files() -> list[Path]:
    """All Python files that are or could be committed, but for empty ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout.splitlines()
    found = {CHECKOUT / name for name in listed} | set((CHECKOUT / "plugins").rglob("*.py"))
    return sorted(path for path in found if path.is_file() and path.stat().st_size)


@pytest.mark.parametrize("path", python_files(), ids=name_of)
def test_every_file_names_its_licence(path: Path) -> None:
    head = path.read_text()[:400]
    assert SPDX in head
    assert COPYRIGHT in head


@pytest.mark.parametrize("folder", ["module_utils", "plugin_utils"])
def test_what_is_shared_says_that_it_is_private(folder: str) -> None:
    note = PRIVATE.format(folder.rstrip("s").replace("_", " "))
    files = [path for path in (CHECKOUT / "plugins" / folder).rglob("*.py") if path.stat().st_size]
    assert files
    assert [name_of(path) for path in files if note not in path.read_text()[:800]] == []


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines of every function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{name_of(path)}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_are_short() -> None:
    plugins = sorted((CHECKOUT / "plugins").rglob("*.py"))
    lengths = {name: length for path in plugins for name, length in functions(path)}
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("module", ["kernel_modules", "sysctls", "preflight_info"])
def test_modules_that_prepare_nodes_bring_nothing_of_the_data_plane(module: str) -> None:
    """Ansible reads, sends and unpacks whatever is imported, for type checkers too, with each module of a play."""
    waiting, found = [UTILS / "glue" / f"{module}.py", UTILS / "glue" / "module.py"], set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [file for _line, name in imports(path) for file in files_of(name)]
    assert UTILS / "model" / "errors.py" in found
    assert not found & {UTILS / "glue" / "node.py", UTILS / "glue" / "subsystems.py", UTILS / "rules" / "modes.py"}


def files_of(name: str) -> list[Path]:
    """The file of an imported name, which may be a module or something in one."""
    parts = name.removeprefix(COLLECTION).split(".")
    candidates = [UTILS.joinpath(*parts[:count]).with_suffix(".py") for count in (len(parts), len(parts) - 1) if count]
    return [path for path in candidates if name.startswith(COLLECTION) and path.is_file()][:1]
