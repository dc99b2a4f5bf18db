# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import remembered, rule_set_module, sysctls
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.module import Call
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import lock
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError

from tests.unit.glue.arguments import parameters

Result = dict[str, Any]


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lock, "FOLDER", str(tmp_path))
    monkeypatch.setattr(remembered, "FOLDER", str(tmp_path / "runs"))
    return tmp_path / "runs"


def unchanged(_call: Call) -> Result:
    return {"changed": False}


def call_rule_set(
    work: Callable[[Call], Result] = unchanged, check: bool = False, diff: bool = False, **arguments: Any
) -> Result:
    params = parameters(rule_set_module.OPTIONS, {"node": {"name": "node-a"}, "remember": True, **arguments})
    return remembered.work(work, Call(params, check, diff, pytest.fail), "rule_set")


def call_sysctls(**arguments: Any) -> Result:
    params = parameters(sysctls.OPTIONS, {"settings": {"net.a": 1}, "remember": True, **arguments})
    return remembered.work(unchanged, Call(params, False, False, pytest.fail), "sysctls")


def test_a_call_is_kept_once(runs: Path) -> None:
    assert call_rule_set(drain=["udp"])["changed"]
    assert not call_rule_set(drain=["udp"])["changed"]
    assert [path.name for path in runs.iterdir()] == ["rule_set.json"]
    assert stat.S_IMODE((runs / "rule_set.json").stat().st_mode) == 0o600
    assert call_rule_set(drain=[])["changed"]
    [kept] = remembered.read(str(runs))
    assert (kept.module, kept.arguments["node"], kept.arguments["drain"]) == ("rule_set", {"name": "node-a"}, [])


def test_how_the_data_arrived_is_not_kept(runs: Path) -> None:
    call_rule_set(checksum="0" * 40, incoming="/tmp/services.json")
    [kept] = remembered.read(str(runs))
    assert not set(kept.arguments) & {"checksum", "incoming", "services", "src", "query", "remember"}


def test_calls_with_drop_in_files_of_their_own_stand_beside_each_other(runs: Path) -> None:
    call_sysctls()
    call_sysctls(file="90-other.conf")
    names = ["sysctls-60-kubenode-proxy.conf.json", "sysctls-90-other.conf.json"]
    assert sorted(path.name for path in runs.iterdir()) == names


def test_check_mode_tells_and_writes_nothing(runs: Path) -> None:
    assert call_rule_set(check=True)["changed"]
    assert not runs.exists()
    call_rule_set()
    assert not call_rule_set(check=True)["changed"]


def test_diff_mode_shows_the_file(runs: Path) -> None:
    result = call_rule_set(lambda _call: {"changed": False, "diff": {"before": "a", "after": "a"}}, diff=True)
    first, second = result["diff"]
    assert first == {"before": "a", "after": "a"}
    assert second["after_header"] == str(runs / "rule_set.json")
    assert (second["before"], json.loads(second["after"])["module"]) == ("", "rule_set")


def test_what_failed_is_not_kept(runs: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        call_rule_set(lambda _call: {"changed": 1 // 0 == 0})
    assert not runs.exists()


def test_what_waits_for_service_data_is_not_kept(runs: Path) -> None:
    waiting = {"changed": False, "service_data_missing": True}
    assert call_rule_set(lambda _call: waiting) == waiting
    assert not runs.exists()


@pytest.mark.parametrize("arguments", [{"remember": False}, {"state": "compiled"}])
def test_other_calls_leave_what_is_kept_alone(runs: Path, arguments: dict[str, Any]) -> None:
    call_rule_set()
    before = (runs / "rule_set.json").read_text()
    assert not call_rule_set(only_owner=True, **arguments)["changed"]
    assert (runs / "rule_set.json").read_text() == before


@pytest.mark.parametrize("remember", [True, False])
def test_a_call_that_removes_is_forgotten(runs: Path, remember: bool) -> None:
    call_sysctls()
    params = {**parameters(sysctls.OPTIONS, {"settings": {}}), "state": "absent", "remember": remember}
    call = Call(params, False, False, pytest.fail)
    assert remembered.work(unchanged, call, "sysctls")["changed"]
    assert not remembered.work(unchanged, call, "sysctls")["changed"]
    assert list(runs.iterdir()) == []


def test_nothing_is_kept_for_a_network_namespace(runs: Path) -> None:
    with pytest.raises(InputError, match="remember: network namespaces do not outlive a boot"):
        call_sysctls(netns="other")
    assert not call_sysctls(netns="other", remember=False)["changed"]
    assert not runs.exists()


def test_a_call_waits_for_another_run_as_long_as_it_says(tmp_path: Path) -> None:
    with (tmp_path / "kubenode-proxy.lock").open("w") as another:
        fcntl.flock(another, fcntl.LOCK_EX)
        with pytest.raises(KernelError, match=r"for over 0\.1 s: try again$"):
            call_sysctls(lock_timeout=0.1)


def test_the_work_is_done_and_kept_under_one_lock(tmp_path: Path) -> None:
    def locked(_call: Call) -> Result:
        with lock.exclusive("kubenode-proxy", 0):
            assert (tmp_path / "kubenode-proxy.lock").read_text()
        return {"changed": False}

    assert call_rule_set(locked)["changed"]


@pytest.mark.parametrize("text", ["{", "[]", '{"module": "sysctls"}', '{"module": 1, "arguments": {}}'])
def test_a_file_that_is_none_is_named(runs: Path, text: str) -> None:
    runs.mkdir()
    (runs / "x.json").write_text(text)
    with pytest.raises(KernelError, match=f"^{runs}/x.json is not a remembered call: remove it"):
        remembered.read(str(runs))


def test_a_node_may_remember_nothing(runs: Path) -> None:
    assert remembered.read(str(runs)) == []
