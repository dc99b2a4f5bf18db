# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's own program: real sysctls and drop-in files of a folder, and calls that fail in every way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import metrics, place, program, remembered, sysctls
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.module import Call
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import lock
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import sysctl as kernel_sysctl
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.glue.arguments import parameters

NOTHING: dict[str, Any] = {"operations": [], "counts": {}}
FOUND = {"verb": "change", "kind": "file", "name": "/var/lib/x", "reason": "says something else"}


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the lock, the kernel's settings in proc, and in runs what is remembered."""
    monkeypatch.setattr(lock, "FOLDER", str(tmp_path))
    monkeypatch.setattr(place, "STATE_FOLDER", str(tmp_path))
    monkeypatch.setattr(remembered, "FOLDER", str(tmp_path / "runs"))
    monkeypatch.setattr(kernel_sysctl, "ROOT", str(tmp_path / "proc"))
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    return tmp_path


def run(node: Path, action: str, *options: str) -> int:
    return program.main([action, "--runs", str(node / "runs"), "--metrics", str(node / "node.prom"), *options])


def last_run(node: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((node / "last_run.json").read_text())
    return report


def samples(node: Path) -> dict[str, float]:
    families = text_string_to_metric_families((node / "node.prom").read_text())
    found = [sample for family in families for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in found}


def remember_sysctls(node: Path, **arguments: Any) -> None:
    """Converges settings as the module does, and remembers that."""
    given = {"directory": str(node / "sysctl.d"), "remember": True, **arguments}
    for name in given["settings"]:
        (node / "proc" / name.replace(".", "/")).write_text("0\n")
    params = parameters(sysctls.OPTIONS, given)
    remembered.work(sysctls.work, Call(params, False, False, pytest.fail), "sysctls")


def remember(node: Path, module: str, **arguments: Any) -> None:
    (node / "runs" / f"{module}.json").write_text(json.dumps({"module": module, "arguments": arguments}))


def test_drift_is_found_corrected_and_gone(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember_sysctls(node, settings={"net.a": 1, "net.b": 2})
    assert run(node, "report") == 0
    (node / "proc/net/a").write_text("7\n")
    (node / "sysctl.d/60-kubenode-proxy.conf").unlink()
    capsys.readouterr()

    assert run(node, "report") == 10
    file = node / "sysctl.d/60-kubenode-proxy.conf"
    assert capsys.readouterr().out.splitlines() == [
        "drifted: 2 objects: add file 1, change sysctl 1",
        "  change sysctl net.a: is 7, not 1",
        f"  add file {file}: missing",
    ]
    assert (node / "proc/net/a").read_text() == "7\n"
    assert not file.exists()

    assert run(node, "converge") == 11
    assert (node / "proc/net/a").read_text() == "1"
    assert file.exists()
    assert run(node, "converge") == 0


def test_the_last_run_is_left_as_json(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember_sysctls(node, settings={"net.a": 1})
    (node / "proc/net/a").write_text("7\n")
    assert run(node, "report", "--json") == 10
    report = last_run(node)
    assert json.loads(capsys.readouterr().out) == report
    assert (report["action"], report["status"], report["message"]) == ("report", "drifted", None)
    assert report["counts"] == {"change sysctl": 1}
    assert report["objects"] == [{"verb": "change", "kind": "sysctl", "name": "net.a", "reason": "is 7, not 1"}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["started"])


@pytest.mark.parametrize(("action", "status"), [("report", "drifted"), ("converge", "corrected")])
def test_metrics_tell_of_the_last_run(node: Path, action: str, status: str) -> None:
    remember_sysctls(node, settings={"net.a": 1, "net.b": 2})
    (node / "proc/net/a").write_text("7\n")
    run(node, action)
    found = samples(node)
    statuses = {name.split()[-1]: value for name, value in found.items() if "_status " in name}
    assert statuses == {**dict.fromkeys(metrics.STATUSES, 0), status: 1}
    drifted = {name.partition(" ")[2]: value for name, value in found.items() if "_drifted_objects " in name}
    assert drifted == {**dict.fromkeys(metrics.KINDS, 0), "sysctl": 1}
    assert found["kubenode_proxy_last_run_timestamp_seconds"] > 1.7e9
    assert found["kubenode_proxy_last_run_duration_seconds"] >= 0
    assert (node / "node.prom").stat().st_mode & 0o777 == 0o644


def test_every_kind_of_operation_has_a_series_from_the_start() -> None:
    documented = re.search(r"``kind`` is(.*?); ``name``", Operation.__doc__ or "", re.DOTALL)
    assert documented
    kinds = {" ".join(kind.split()) for kind in re.findall(r"``([^`]+)``", documented[1])}
    # A module counts these down on request; no program repeats that.
    assert kinds - {"counters"} == set(metrics.KINDS)


def test_a_kind_that_is_new_gets_a_series(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"verb": "add", "kind": "comet", "name": "x", "reason": "missing"}
    replace(monkeypatch, "sysctls", lambda _call: {"changed": True, "operations": [found], "counts": {"add comet": 1}})
    remember(node, "sysctls")
    assert run(node, "report") == 10
    assert samples(node)["kubenode_proxy_drifted_objects comet"] == 1


def replace(monkeypatch: pytest.MonkeyPatch, module: str, work: Any) -> None:
    """Puts other work in the place of a module's."""
    monkeypatch.setitem(program.MODULES, module, (work, program.MODULES[module][1]))


def record(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Call]]:
    """Puts work that finds nothing in the place of every module's; the calls it gets."""
    calls: list[tuple[str, Call]] = []

    def note(module: str, call: Call) -> dict[str, Any]:
        calls.append((module, call))
        return dict(NOTHING)

    for module in program.MODULES:
        replace(monkeypatch, module, lambda call, name=module: note(name, call))
    return calls


def test_calls_are_repeated_in_their_order(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = record(monkeypatch)
    for module in program.MODULES:
        remember(node, module)
    assert run(node, "converge") == 0
    assert [module for module, _call in calls] == ["kernel_modules", "sysctls", "rule_set"]


def test_what_two_calls_find_counts_once(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"verb": "change", "kind": "sysctl", "name": "net.a", "reason": "is 0, not 1"}
    for module in ("sysctls", "rule_set"):
        result = {"changed": True, "operations": [found], "counts": {"change sysctl": 1}}
        replace(monkeypatch, module, lambda _call, result=result: result)
        remember(node, module)
    assert run(node, "report") == 10
    assert last_run(node)["counts"] == {"change sysctl": 1}
    assert last_run(node)["objects"] == [found]


def test_options_that_a_call_lacks_have_their_defaults(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = record(monkeypatch)
    remember(node, "rule_set", drain=["udp"])
    assert run(node, "converge") == 0
    [(_module, call)] = calls
    assert (call.params["drain"], call.params["lock_timeout"], call.params["checksum"]) == (["udp"], 60, None)


def test_corrections_take_no_snapshots(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = record(monkeypatch)
    remember(node, "rule_set", snapshots=3)
    assert run(node, "converge") == 0
    [(_module, call)] = calls
    assert call.params["snapshots"] is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KernelError("no ipset"), "sysctls: no ipset"),
        (InputError(["node: is wrong"]), "sysctls: node: is wrong"),
        (RuntimeError("a bug"), "sysctls: RuntimeError: a bug"),
    ],
)
def test_a_call_that_fails_leaves_the_others(
    node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, message: str
) -> None:
    def fail(_call: Call) -> dict[str, Any]:
        raise error

    replace(monkeypatch, "sysctls", fail)
    replace(monkeypatch, "rule_set", lambda _call: {"operations": [FOUND], "counts": {"change file": 1}})
    remember(node, "sysctls")
    remember(node, "rule_set")
    assert run(node, "converge") == 1
    assert capsys.readouterr().out.splitlines()[:2] == ["failed: 1 object: change file 1", message]
    assert last_run(node)["message"] == message
    assert samples(node)["kubenode_proxy_last_run_status failed"] == 1


@pytest.mark.parametrize(
    ("module", "arguments", "unknown"), [("sysctls", {"new": 1}, "new"), ("new_module", {}, "the module")]
)
def test_a_call_of_another_version_is_refused(node: Path, module: str, arguments: Any, unknown: str) -> None:
    remember(node, module, **arguments)
    assert run(node, "converge") == 1
    assert last_run(node)["message"].startswith(f"{module}: this program does not know {unknown}: it is of another")


def test_a_node_that_remembers_nothing_fails(node: Path) -> None:
    assert run(node, "report") == 1
    assert last_run(node)["message"].startswith(f"nothing is remembered in {node}/runs: run the playbook")


def test_metrics_that_cannot_be_written_are_an_error(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember_sysctls(node, settings={"net.a": 1})
    (node / "node.prom").mkdir()
    assert run(node, "report") == 1
    assert f"cannot write {node}/node.prom" in capsys.readouterr().out


def test_a_long_list_is_cut_short(
    node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "SHOWN_OBJECTS", 2)
    remember_sysctls(node, settings={f"net.{name}": 1 for name in "abc"})
    for name in "abc":
        (node / "proc/net" / name).write_text("0\n")
    assert run(node, "report") == 10
    assert capsys.readouterr().out.splitlines()[-1] == f"  and 1 more; see {node}/last_run.json"


def test_what_ends_well_warns_too(
    node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(monkeypatch, "sysctls", lambda call: call.warn("both back ends hold rules") or NOTHING)
    remember(node, "sysctls")
    assert run(node, "report") == 0
    assert capsys.readouterr().out.splitlines() == ["clean: 0 objects", "warning: both back ends hold rules"]
