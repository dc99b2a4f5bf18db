# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of kernel_modules -> wanted modules; which of them a kernel has; the drop-in file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import kernel_modules
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.converge import Outcome, converge
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import files, modules
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Result, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.state.kernel_module import WantedModule
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.unit.glue.arguments import parameters, problems

RELEASE = "6.1.0-test"
HEADER = "# Written by the Ansible collection kubenode.proxy\n"


def params(**arguments: Any) -> dict[str, Any]:
    return parameters(kernel_modules.OPTIONS, arguments)


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("ip_vs", WantedModule(("ip_vs",))),
        ("ip-vs", WantedModule(("ip_vs",))),
        ({"name": "br_netfilter", "required": False}, WantedModule(("br_netfilter",), False)),
        ({"name": "br_netfilter", "required": "no"}, WantedModule(("br_netfilter",), False)),
        ({"any_of": ["nf_conntrack_ipv4", "nf_conntrack"]}, WantedModule(("nf_conntrack_ipv4", "nf_conntrack"))),
    ],
)
def test_a_module_is_a_name_or_a_mapping(entry: object, wanted: WantedModule) -> None:
    assert kernel_modules.desired_modules(params(modules=[entry])) == [wanted]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "modules: is empty: name at least one kernel module, or set state to absent"),
        ({"modules": [3]}, "modules[0]: 3 is neither a name nor a mapping with name or any_of"),
        ({"modules": ["x", "a b"]}, "modules[1]: 'a b' is not the name of a kernel module, such as ip_vs"),
        ({"modules": [{}]}, "modules[0]: needs either name or any_of"),
        ({"modules": [{"name": "a", "any_of": ["b"]}]}, "modules[0]: needs either name or any_of"),
        ({"modules": [{"any_of": "b"}]}, "modules[0].any_of: is not a list of names"),
        (
            {"modules": [{"any_of": ["a", "../b"]}]},
            "modules[0].any_of[1]: '../b' is not the name of a kernel module, such as ip_vs",
        ),
        (
            {"modules": [{"name": "a", "required": "perhaps"}]},
            "modules[0].required: must be true or false, not 'perhaps'",
        ),
        (
            {"modules": [{"name": "a", "requred": True}]},
            "modules[0].requred: is unknown (did you mean 'required'?); known are name, any_of, required",
        ),
        ({"modules": ["a"], "file": "x"}, "file: 'x' has to be a file name that ends with .conf, without a directory"),
    ],
)
def test_modules_that_cannot_be_are_refused(arguments: dict[str, Any], problem: str) -> None:
    assert problems(kernel_modules.desired_modules, params(**arguments)) == [problem]


class Kernel(Runner):
    """modprobe: has modules by name, knows aliases, and records what it loads."""

    def __init__(self, proc_modules: Path) -> None:
        super().__init__()
        self.has = {"new_one": "new_one", "old_name": "new_name", "new_name": "new_name"}
        self.installed = True
        self._proc_modules = proc_modules

    def find(self, program: str) -> str | None:
        return f"/sbin/{program}" if self.installed else None

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        self.processes += 1
        if argv[1] == "--resolve-alias":
            return Result(0 if argv[2] in self.has else 1, self.has.get(argv[2], ""), "")
        assert argv[:2] == ["modprobe", "--all"]
        with self._proc_modules.open("a") as file:
            file.writelines(f"{self.has[name]} 16384 0 - Live 0x0\n" for name in argv[2:])
        return Result(0, "", "")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel with a module that is loaded, one that is built in, and one of which only /proc tells."""
    (tmp_path / "lib" / RELEASE).mkdir(parents=True)
    (tmp_path / "lib" / RELEASE / "modules.builtin").write_text("kernel/net/ipv4/built-in-one.ko\n")
    proc_modules = tmp_path / "modules"
    proc_modules.write_text("loaded_one 16384 0 - Live 0x0\n")
    (tmp_path / "evidence").touch()
    read = files.read_text

    def read_text(path: str) -> str | None:
        return read(str(proc_modules) if path == "/proc/modules" else path)

    monkeypatch.setattr(files, "read_text", read_text)
    monkeypatch.setattr(modules, "FOLDER", str(tmp_path / "lib"))
    monkeypatch.setattr(modules, "release", lambda: RELEASE)
    monkeypatch.setattr(modules, "EVIDENCE", {"evident_one": str(tmp_path / "evidence")})
    return Kernel(proc_modules)


def run(kernel: Kernel, path: Path | None, *wanted: WantedModule, check: bool = False, present: bool = True) -> Outcome:
    subsystem = kernel_modules.Modules(kernel, list(wanted), str(path) if path else None, present)
    return converge({"kernel modules": subsystem}, RuleSet.empty(), check)


def want(*names: str, required: bool = True) -> WantedModule:
    return WantedModule(names, required)


def test_modules_are_loaded_and_listed_once(kernel: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "modules-load.d" / "x.conf"
    wanted = want("new_one"), want("loaded_one"), want("built_in_one"), want("evident_one")
    assert [(o.verb, o.name) for o in run(kernel, file, *wanted, check=True).operations] == [
        ("add", "new_one"),
        ("add", str(file)),
    ]
    assert not file.exists()
    assert run(kernel, file, *wanted).changed
    assert file.read_text() == HEADER + "built_in_one\nevident_one\nloaded_one\nnew_one\n"
    kernel.processes = 0
    assert not run(kernel, file, *wanted).changed
    assert kernel.processes == 0


def test_the_file_holds_exactly_the_modules(kernel: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("loaded_one\nother\n")
    assert [(o.verb, o.kind) for o in run(kernel, file, want("loaded_one")).operations] == [("change", "file")]
    assert file.read_text() == HEADER + "loaded_one\n"


def test_absent_removes_the_file_and_nothing_else(kernel: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("loaded_one\n")
    assert [(o.verb, o.kind) for o in run(kernel, file, present=False).operations] == [("remove", "file")]
    assert not file.exists()
    assert not run(kernel, file, present=False).changed


def test_an_alias_is_present_when_its_module_is(kernel: Kernel) -> None:
    assert run(kernel, None, want("old_name")).changed
    assert not run(kernel, None, want("old_name"), want("new_name")).changed


def test_the_first_alternative_that_the_kernel_has_is_taken(kernel: Kernel) -> None:
    operations = run(kernel, None, want("gone_name", "new_name")).operations
    assert [o.name for o in operations] == ["new_name"]


def test_an_optional_module_may_be_missing(kernel: Kernel) -> None:
    subsystem = kernel_modules.Modules(kernel, [want("a", "b", required=False), want("new_one")], None, True)
    assert [o.name for o in converge({"kernel modules": subsystem}, RuleSet.empty(), True).operations] == ["new_one"]
    assert [str(one) for one in subsystem.missing] == ["a or b"]
    assert subsystem.names == ["new_one"]


@pytest.mark.parametrize("check", [True, False])
def test_a_required_module_may_not_be_missing(kernel: Kernel, check: bool) -> None:
    with pytest.raises(
        KernelError, match=f"^kernel {RELEASE} has no module a or b, c: install the package .*linux-modules-"
    ):
        run(kernel, None, want("a", "b"), want("new_one"), want("c"), check=check)
    assert not run(kernel, None, want("loaded_one")).changed


def test_a_kernel_without_a_list_of_modules_may_show_signs(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(modules, "FOLDER", str(tmp_path / "nothing"))
    kernel.installed = False
    assert not run(kernel, None, want("loaded_one"), want("evident_one")).changed
    with pytest.raises(
        KernelError, match=f"^kernel {RELEASE}: no sign of built_in_one, and there is no .*/{RELEASE} to tell"
    ):
        run(kernel, None, want("built_in_one"))
