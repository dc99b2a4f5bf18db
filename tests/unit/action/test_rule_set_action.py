# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of a task: what reaches the node, and what it costs per host."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleFileNotFound
from ansible_collections.kubenode.proxy.plugins.action.rule_set import ActionModule
from ansible_collections.kubenode.proxy.plugins.plugin_utils import service_source

WEB = {"name": "web", "cluster_ip": "10.96.0.1", "ports": [{"port": 80}], "endpoints": ["10.244.1.5"]}
NODE = {"node": {"name": "n1"}}
NOT_FOUND = "Could not find or access 'such.json' Searched in: {0}/role/files/such.json {0}/play/files/such.json"
# Braces doubled for format().
ABSOLUTE = "give an absolute path, such as '{{{{ inventory_dir }}}}/services.yml'"
REMOTE = "/remote/tmp/services.json"


class Host:
    """A task on a host; ``has_data`` tells whether the node has the service data already."""

    def __init__(self, folder: Path, has_data: bool = True, **arguments: Any) -> None:
        self.executed: list[dict[str, Any]] = []
        self.sent: list[tuple[str, str]] = []
        self.temporary_directories = 0
        self._has_data = has_data
        shell = SimpleNamespace(tmpdir=None, join_path=lambda *parts: "/".join(parts))
        self._shell = shell
        task = SimpleNamespace(args={**NODE, **arguments}, async_val=0, check_mode=False, action="x", diff=False)
        task.get_search_path = lambda: [str(folder / "role"), str(folder / "play")]
        loader = SimpleNamespace(path_dwim_relative_stack=self._search)
        connection = SimpleNamespace(_shell=shell)
        play_context = SimpleNamespace(check_mode=False)
        self.action = ActionModule(task, connection, play_context, loader, None, None)
        self.action._execute_module = self._execute
        self.action._transfer_file = lambda local, remote: self.sent.append((local, remote))
        self.action._make_tmp_path = self._make_directory
        self.action._fixup_perms2 = lambda paths: None

    def run(self) -> dict[str, Any]:
        return self.action.run(task_vars={})

    def _make_directory(self) -> None:
        self.temporary_directories += 1
        self._shell.tmpdir = "/remote/tmp"

    def _execute(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert name == "kubenode.proxy.rule_set"
        self.executed.append(dict(arguments))
        if self._has_data or "incoming" in arguments:
            return {"changed": True, "rule_set": "/there"}
        return {"changed": False, "service_data_missing": True}

    @staticmethod
    def _search(paths: list[str], directory: str, name: str) -> str:
        searched = [f"{path}/{directory}/{name}" for path in paths]
        for path in searched:
            if Path(path).exists():
                return path
        raise AnsibleFileNotFound(file_name=name, paths=searched)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ANSIBLE_HOME, where the cache is."""
    from ansible import constants

    folder = tmp_path / "home"
    monkeypatch.setattr(constants.config, "get_config_value", {"ANSIBLE_HOME": str(folder)}.__getitem__)
    monkeypatch.setattr(service_source, "SETTLE_SECONDS", 0)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "services.json"
    path.write_text(json.dumps([WEB]))
    return str(path)


def test_a_node_that_has_the_data_is_asked_once_and_sent_nothing(tmp_path: Path, data: str) -> None:
    host = Host(tmp_path, src=data, query="[]")
    assert host.run() == {"changed": True, "rule_set": "/there"}
    (arguments,) = host.executed
    assert arguments == {**NODE, "checksum": arguments["checksum"]}
    assert (host.sent, host.temporary_directories) == ([], 0)


def test_a_node_that_lacks_the_data_is_sent_the_canonical_file(tmp_path: Path, data: str, home: Path) -> None:
    host = Host(tmp_path, has_data=False, src=data)
    assert host.run() == {"changed": True, "rule_set": "/there"}
    first, second = host.executed
    assert second == {**first, "incoming": REMOTE}
    assert host.sent == [(f"{home}/kubenode.proxy/{first['checksum']}.json", REMOTE)]
    assert Path(host.sent[0][0]).read_text().startswith('{"format":')


def test_without_a_source_the_node_uses_its_own_data(tmp_path: Path) -> None:
    host = Host(tmp_path, services=None, src=None, query=None)
    host.run()
    assert host.executed == [NODE]


def test_inline_services_are_sent_as_a_file_too(tmp_path: Path, data: str) -> None:
    inline, from_file = Host(tmp_path, has_data=False, services=[WEB]), Host(tmp_path, src=data)
    inline.run()
    from_file.run()
    assert inline.executed[0] == from_file.executed[0]
    assert len(inline.sent) == 1


def test_hosts_do_not_cost_more_with_more_services(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = service_source._read

    def counted(path: str) -> object:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(service_source, "_read", counted)
    for _number in range(50):
        Host(tmp_path, has_data=False, src=data).run()
    assert reads == [data]


@pytest.mark.parametrize("place", ["role/files/services.json", "play/files/services.json"])
def test_a_relative_path_is_looked_for_as_by_copy(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([WEB]))
    host = Host(tmp_path, src="services.json")
    assert not host.run().get("failed")


def test_a_path_in_the_home_directory(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not Host(tmp_path, src="~/services.json").run().get("failed")


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({"src": "/no/such.json"}, ["/no/such.json: No such file or directory"]),
        ({"src": "such.json"}, [f"src: {ABSOLUTE}: {NOT_FOUND}"]),
        ({"src": ["a.json"]}, ["src: must be a path, not a list"]),
        ({"src": ""}, ["src: must be a path, not ''"]),
        ({"src": "a.json", "services": []}, ["services and src exclude each other"]),
        ({"query": "[]"}, ["query: has no effect without services or src"]),
        ({"services": [WEB], "query": 7}, ["query: must be text, not 7"]),
        (
            {"services": [{"ports": [{"port": 0}], "cluster_ip": "10.96.0.1"}]},
            ["services[0].ports[0].port: 0 is outside 1..65535", "services[0].name: is required"],
        ),
    ],
)
def test_bad_input_does_not_reach_the_node(tmp_path: Path, arguments: dict[str, Any], problems: list[str]) -> None:
    host = Host(tmp_path, **arguments)
    expected = [problem.format(tmp_path) for problem in problems]
    result = host.run()
    assert result == {
        "failed": True,
        "problems": expected,
        "msg": f"{len(expected)} problem(s) in the input: " + "\n".join(expected),
    }
    assert host.executed == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, None),
        ({"configuration": {"mode": None, "scheduler": ""}, "kube_proxy_configuration": "", "snapshots": "3"}, None),
        ({"services": [{**WEB, "name": "Web"}]}, "services[0].name: "),
        ({"configuration": {"mode": "ipvsX"}}, "mode: "),
        ({"kube_proxy_configuration": {"mode": "nft"}}, "mode: 'nft' is not one of"),
        ({"node": {"addresses": ["192.0.2.1"]}}, "node.name: "),
        ({"snapshots": -1}, "snapshots: -1 is below 0"),
    ],
)
def test_input_is_validated_without_the_node(tmp_path: Path, arguments: dict[str, Any], problem: str | None) -> None:
    host = Host(tmp_path, **{"services": [WEB], "state": "validated", **arguments})
    result = host.run()
    assert host.executed == []
    if problem is None:
        assert result == {"changed": False}
    else:
        assert result["problems"][0].startswith(problem)
