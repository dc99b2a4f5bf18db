# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import run_file
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.nftables_dump import Memory
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.run_file import FORMAT, RunFile


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_file, "identity", lambda: "boot 1")
    return tmp_path / "run"


def write(path: Path, content: object, namespace: str = "boot 1", version: int = FORMAT) -> None:
    path.write_text(json.dumps({"format": version, "namespace": namespace, "content": content}))


def test_what_was_saved_is_loaded_in_the_same_namespace_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunFile(str(path)).save({"a": [1]})
    assert RunFile(str(path)).load() == {"a": [1]}
    assert path.stat().st_mode & 0o777 == 0o600
    for other in ("boot 2", ""):
        monkeypatch.setattr(run_file, "identity", lambda other=other: other)
        assert RunFile(str(path)).load() == {}
    RunFile(str(path)).save({"b": 1})
    assert "a" in path.read_text(), "without a number for namespaces nothing is written"


def test_without_a_path_there_is_no_file(path: Path) -> None:
    file = RunFile(None)
    file.save({"a": 1})
    file.remove()
    assert file.load() == {}


def test_a_removed_file_tells_nothing(path: Path) -> None:
    file = RunFile(str(path))
    file.save({"a": 1})
    file.remove()
    assert file.load() == {}
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{ not JSON", "[]", "null", "3", "[" * 100_000, "{}", '"text"', "\0"])
def test_a_damaged_file_tells_nothing(path: Path, text: str) -> None:
    path.write_text(text)
    assert RunFile(str(path)).load() == {}


def test_a_file_of_another_version_or_form_tells_nothing(path: Path) -> None:
    write(path, {"a": 1}, version=FORMAT - 1)
    assert RunFile(str(path)).load() == {}
    write(path, ["a"])
    assert RunFile(str(path)).load() == {}


def test_a_file_that_cannot_be_written_fails_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir()
    RunFile(str(path)).save({"a": 1})

    def unreadable() -> str:
        raise KernelError("cannot read boot_id")

    monkeypatch.setattr(run_file, "identity", unreadable)
    RunFile(str(path)).save({"a": 1})
    assert RunFile(str(path)).load() == {}


@pytest.mark.parametrize("table", [[float("inf"), {}], [1, 7], ["x", {}], 1, [], [1, {}, 2]])
def test_damaged_maps_are_not_remembered(path: Path, table: object) -> None:
    write(path, {"ip kube-proxy": table})
    assert Memory(str(path)).recall("ip kube-proxy", 1) == {}
