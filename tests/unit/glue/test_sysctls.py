# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of sysctls -> settings; the drop-in file; what is written in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import sysctls
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.converge import Outcome, converge
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.module import Call
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import sysctl as kernel_sysctl
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import render_sysctl_file, sysctl_path
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.unit.glue.arguments import parameters, problems

HEADER = "# Written by the Ansible collection kubenode.proxy\n"


def params(**arguments: Any) -> dict[str, Any]:
    return parameters(sysctls.OPTIONS, arguments)


@pytest.mark.parametrize(
    ("given", "value"),
    [(1, "1"), ("1", "1"), (True, "1"), (False, "0"), ("4096  87380\t6291456", "4096 87380 6291456"), (0.5, "0.5")],
)
def test_values_are_as_the_kernel_prints_them(given: object, value: str) -> None:
    assert sysctls.desired_settings(params(settings={"net.a": given})) == {"net.a": value}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("kernel", "kernel"),
    ],
)
def test_the_first_separator_decides_where_a_setting_is(name: str, path: str) -> None:
    assert sysctl_path(name) == path


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"settings": {"net..x": 1}}, "settings.net..x: is not the name of a setting, such as net.ipv4.ip_forward"),
        ({"settings": {"net/../x": 1}}, "settings.net/../x: is not the name of a setting, such as net.ipv4.ip_forward"),
        ({"settings": {"net.*.x": 1}}, "settings.net.*.x: is not the name of a setting, such as net.ipv4.ip_forward"),
        ({"settings": {"net.a": 1, "net/a": 1}}, "settings.net/a: is the same setting as net.a"),
        ({"settings": {"net.a": None}}, "settings.net.a: None is not a value: give text or a number"),
        ({"settings": {"net.a": " "}}, "settings.net.a: ' ' is not a value: give text or a number"),
        ({"settings": {"net.a": [1]}}, "settings.net.a: [1] is not a value: give text or a number"),
        (
            {"settings": {}, "netns": "x"},
            "persistent: drop-in files are not for network namespaces: set persistent to false",
        ),
        (
            {"settings": {}, "file": "60-x"},
            "file: '60-x' has to be a file name that ends with .conf, without a directory",
        ),
        (
            {"settings": {}, "file": "../x.conf"},
            "file: '../x.conf' has to be a file name that ends with .conf, without a directory",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments: dict[str, Any], problem: str) -> None:
    assert problems(sysctls.desired_settings, params(**arguments)) == [problem]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc/sys with two settings."""
    root = tmp_path / "sys"
    (root / "net/ipv4/conf").mkdir(parents=True)
    (root / "net/ipv4/ip_forward").write_text("0\n")
    (root / "net/ipv4/conf/a").write_text("1\t2\n")
    monkeypatch.setattr(kernel_sysctl, "ROOT", str(root))
    return root


def test_settings_have_no_place_where_none_is_to_be_set() -> None:
    arguments = params(state="absent", settings={"net.a": 1})
    assert problems(sysctls.desired_settings, arguments) == [
        "settings: none is set where state is absent: leave it out"
    ]
    assert sysctls.desired_settings(params(state="absent")) == {}


def run(path: Path | None, settings: dict[str, str], check: bool = False, ignore: bool = False) -> Outcome:
    subsystem = sysctls.Settings(str(path) if path else None, render_sysctl_file(settings), ignore, None)
    return converge({"sysctls": subsystem}, RuleSet.empty()._replace(sysctls=settings), check)


SETTINGS = {"net.ipv4.conf.a": "1 2", "net.ipv4.ip_forward": "1"}


def test_the_kernel_and_the_file_converge(kernel: Path, tmp_path: Path) -> None:
    file = tmp_path / "sysctl.d" / "60.conf"
    assert [(o.verb, o.kind, o.name) for o in run(file, SETTINGS, check=True).operations] == [
        ("change", "sysctl", "net.ipv4.ip_forward"),
        ("add", "file", str(file)),
    ]
    assert (kernel / "net/ipv4/ip_forward").read_text() == "0\n"
    assert not file.exists()
    assert run(file, SETTINGS).changed
    assert (kernel / "net/ipv4/ip_forward").read_text() == "1"
    assert file.read_text() == HEADER + "net.ipv4.ip_forward = 1\nnet.ipv4.conf.a = 1 2\n"
    assert not run(file, SETTINGS).changed


def test_the_file_holds_exactly_the_settings(kernel: Path, tmp_path: Path) -> None:
    file = tmp_path / "60.conf"
    file.write_text("# mine\nnet.ipv4.conf.a=1 2\n\nother = 3\n")
    settings = {"net.ipv4.conf.a": "1 2"}
    assert [(o.verb, o.kind) for o in run(file, settings).operations] == [("change", "file")]
    assert file.read_text() == HEADER + "net.ipv4.conf.a = 1 2\n"
    file.write_text("net.ipv4.conf.a=1   2\n")
    assert not run(file, settings).changed
    file.write_text("not a setting\n")
    assert run(file, settings).changed


def test_without_a_path_no_file_is_written(kernel: Path, tmp_path: Path) -> None:
    assert [o.kind for o in run(None, SETTINGS).operations] == ["sysctl"]


def test_a_missing_setting_is_an_error_before_anything_is_written(kernel: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "net.bridge.bridge-nf-call-iptables": "1", "net.ipv4.vs.conntrack": "1"}
    message = (
        "the kernel has no sysctl net.bridge.bridge-nf-call-iptables, net.ipv4.vs.conntrack: load br_netfilter and "
        "ip_vs (module kubenode.proxy.kernel_modules does)"
    )
    with pytest.raises(KernelError) as error:
        run(tmp_path / "60.conf", settings)
    assert str(error.value) == message
    assert (kernel / "net/ipv4/ip_forward").read_text() == "0\n"
    # An earlier task may bring the module, and has not done so in check mode.
    assert run(tmp_path / "60.conf", settings, check=True).changed


def test_a_missing_setting_may_be_passed_over_and_is_in_the_file(kernel: Path, tmp_path: Path) -> None:
    file = tmp_path / "60.conf"
    settings = {**SETTINGS, "net.bridge.x": "1"}
    assert run(file, settings, ignore=True).changed
    assert "net.bridge.x = 1\n" in file.read_text()
    assert not run(file, settings, ignore=True).changed
    subsystem = sysctls.Settings(None, None, True, None)
    subsystem.read(RuleSet.empty()._replace(sysctls=settings))
    assert subsystem.missing(settings) == ["net.bridge.x"]


def test_files_that_set_something_back_at_boot_are_told(
    kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc, lib = tmp_path / "etc", tmp_path / "lib"
    etc.mkdir()
    lib.mkdir()
    monkeypatch.setattr(kernel_sysctl, "DIRECTORIES", (str(etc), str(lib)))
    (etc / "59-before.conf").write_text("net.ipv4.ip_forward = 0\n")
    (etc / "70-equal.conf").write_text("net/ipv4/ip_forward=1\n")
    (etc / "80-no-drop-in").write_text("net.ipv4.ip_forward = 0\n")
    (etc / "90-masked.conf").symlink_to("/dev/null")
    (etc / "90-folder.conf").mkdir()
    (lib / "90-masked.conf").write_text("net.ipv4.ip_forward = 0\n")
    warnings: list[str] = []
    arguments = params(settings=SETTINGS, directory=str(etc), file="60-ours.conf")

    def overridden() -> object:
        warnings.clear()
        return sysctls.work(Call(arguments, True, False, warnings.append))["overridden"]

    assert (overridden(), warnings) == ([], [])
    later = lib / "70-later.conf"
    harmless = "#net.ipv4.conf.a = 9\n-net.ipv4.conf.*\nnet.ipv4.conf.a = 1   2\nnet.ipv4.conf.a\n"
    later.write_text(f"{harmless}-net/ipv4/ip_forward= 0\n")
    assert overridden() == [{"name": "net.ipv4.ip_forward", "value": "0", "path": str(later)}]
    assert warnings == [f"{later} sets net.ipv4.ip_forward to 0 at boot, after {etc}/60-ours.conf: take it out there"]
    (etc / "99-last.conf").write_text("net.ipv4.ip_forward = 1\n")
    assert overridden() == []
