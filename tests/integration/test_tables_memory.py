# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run remembers of the kernel's tables: it saves reading, and hides nothing.

services     172.30.0.0/24, fd00:30::/112
endpoints    10.244.0.0/24, fd00:244::/112
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import rule_set_module
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.module import Call
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import (
    Options,
    compile_rule_set,
    converge_rule_set,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import command
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.namespace import identity
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.nftables import NftablesSocket
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.tables_memory import TablesMemory
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServiceData, ServicePort

if TYPE_CHECKING:
    from pathlib import Path

NEW_NETWORK_NAMESPACE = 0x40000000

pytestmark = [
    pytest.mark.usefixtures("fresh_namespace"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("iptables-nft"),
        reason="needs root and nftables",
    ),
]


def tool(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def other_namespace() -> None:
    assert ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE) == 0, os.strerror(ctypes.get_errno())


def services(count: int, family: str = "ipv4") -> list[ServicePort]:
    ips, pods = ("172.30.0.", "10.244.0.") if family == "ipv4" else ("fd00:30::", "fd00:244::")
    return [
        ServicePort("ns", f"s{number}", "", "tcp", family, f"{ips}{number + 1}", 80, endpoints=(Endpoint(pod, 8080),))
        for number, pod in enumerate([f"{pods}{number + 1}" for number in range(count)])
    ]


class Runs:
    """Runs of one mode, all with one memory."""

    def __init__(self, mode: str, folder: Path, backend: str = "nft", canary_chains: bool = False) -> None:
        self._configuration = ProxyConfiguration(
            mode=mode, conntrack_max_per_core=0, conntrack_min=0, canary_chains=canary_chains
        )
        self._folder = folder
        self._backend = backend
        self.path = folder / "tables"
        self.maps = folder / "maps"
        self.mode = mode

    def access(self) -> NodeAccess:
        access = NodeAccess(backend=self._backend, state_folder=str(self._folder))
        access.nftables = NftablesSocket(str(self.maps))
        access.tables_memory = TablesMemory(access.nftables, str(self.path))
        return access

    def __call__(self, ports: list[ServicePort], check: bool = False) -> tuple[list[str], int]:
        """What a run found to do, and how many processes and messages it took."""
        access = self.access()
        node = Node("node-a", ("192.0.2.1", "2001:db8::1"))
        desired = compile_rule_set(ServiceData.of(ports), node, self._configuration, access)
        outcome = converge_rule_set(access, desired, self._configuration, Options(), check)
        return [f"{one.verb} {one.kind}" for one in outcome.operations], access.runner.processes + access.messages

    def edit_a_rule(self) -> None:
        """As somebody else would."""
        if self.mode == "iptables":
            chains = tool("iptables-nft", "-t", "nat", "-S").split("\n")
            name = next(line.split()[1] for line in chains if line.startswith("-N KUBE-SVC-"))
            tool("iptables-nft", "-t", "nat", "-R", name, "1", "-j", "RETURN")
            return
        chains = tool("nft", "list", "chains", "ip").split("\n")
        name = next(line.split()[1] for line in chains if "chain service-" in line)
        tool("nft", "-f", "-", stdin=f"flush chain ip kube-proxy {name}\nadd rule ip kube-proxy {name} drop\n")

    def ruleset(self) -> str:
        return tool("nft", "-s", "list", "ruleset")


@pytest.fixture(params=["iptables", "nftables"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Runs:
    return Runs(request.param, tmp_path)


def test_a_run_after_which_nobody_wrote_reads_less_and_finds_the_same(runs: Runs) -> None:
    assert runs(services(6))[0]
    with_memory = runs(services(6))
    runs.path.unlink()
    without = runs(services(6))
    assert (with_memory[0], without[0]) == ([], [])
    assert with_memory[1] < without[1]
    assert runs(services(6)) == with_memory, "what was read is remembered too"
    assert runs(services(5))[0]
    remembered = json.loads(runs.path.read_text())["content"]["tables"]
    runs.path.unlink()
    assert runs(services(5))[0] == []
    assert json.loads(runs.path.read_text())["content"]["tables"] == remembered, (
        "what was written is remembered as it is read"
    )


def test_an_edited_rule_is_found_and_set_right(runs: Runs) -> None:
    runs(services(6))
    runs(services(6))
    before = runs.ruleset()
    runs.edit_a_rule()
    assert runs.ruleset() != before
    assert runs(services(6), check=True)[0] == ["change chain"]
    assert runs(services(6))[0] == ["change chain"]
    assert runs(services(6))[0] == []


def test_the_memory_of_another_namespace_does_not_count(runs: Runs, tmp_path: Path) -> None:
    runs(services(2))
    other_namespace()
    Runs(runs.mode, tmp_path / "other")(services(2))
    runs.edit_a_rule()
    content = json.loads(runs.path.read_text())
    content["content"]["transactions"] = NftablesSocket().generation()
    runs.path.write_text(json.dumps(content))
    assert runs(services(2), check=True)[0] == ["change chain"]
    content["namespace"] = identity()
    runs.path.write_text(json.dumps(content))
    assert runs(services(2), check=True)[0] == [], "as this file says, and the one before it did not count"


def test_a_check_run_writes_nothing(runs: Runs) -> None:
    runs(services(2))
    before = runs.path.stat().st_mtime_ns
    tool("nft", "add table inet foreign")
    assert runs(services(2), check=True)[0] == []
    assert runs.path.stat().st_mtime_ns == before
    runs(services(2))
    assert runs.path.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    "content", ["", "{ not JSON", "[]", "null", "3", "[" * 100_000, '{"namespace": "other"}', '{"content": 1}']
)
def test_a_file_that_tells_nothing_is_written_anew(runs: Runs, content: str) -> None:
    runs(services(2))
    runs.path.write_text(content)
    assert runs(services(2))[0] == []
    assert json.loads(runs.path.read_text())["content"]["tables"]


@pytest.mark.parametrize("tables", [None, [], {}, 1])
@pytest.mark.parametrize("within", [True, False])
def test_tables_of_another_form_do_not_count(runs: Runs, tables: object, within: bool) -> None:
    runs(services(2))
    content = json.loads(runs.path.read_text())
    remembered = content["content"]
    remembered["tables"] = dict.fromkeys(remembered["tables"], tables) if within else tables
    runs.path.write_text(json.dumps(content))
    runs.edit_a_rule()
    assert runs(services(2), check=True)[0] == ["change chain"]
    content["content"]["transactions"] = NftablesSocket().generation()
    runs.path.write_text(json.dumps(content))
    found = runs(services(2), check=True)[0]
    assert found == ["change chain"] or (within and tables == {}), "a table may well be empty"


def test_legacy_tables_of_one_family_are_read_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may have iptables with one back end and ip6tables with the other."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, kind in (("iptables", "nft"), ("ip6tables", "legacy")):
        for suffix in ("", "-save", "-restore"):
            (programs / f"{name}{suffix}").symlink_to(shutil.which(f"{name}-{kind}{suffix}") or "")
    monkeypatch.setattr(command, "SEARCH_PATH", f"{programs}:{command.SEARCH_PATH}")
    runs = Runs("iptables", tmp_path / "state", backend="auto")
    both = [*services(2), *services(2, "ipv6")]
    runs(both)
    assert runs(both)[0] == []
    tool("ip6tables-legacy", "-t", "nat", "-F", "KUBE-MARK-MASQ")
    assert runs(both, check=True)[0] == ["change chain"]
    assert runs(both)[0] == ["change chain"]


def test_a_table_that_cannot_be_shown_counts_only_where_it_may(tmp_path: Path) -> None:
    tool("nft", "add table ip mangle; add chain ip mangle x; add rule ip mangle x meta mark set numgen inc mod 2")
    Runs("nftables", tmp_path)(services(2))
    with pytest.raises(KernelError, match="cannot show the table mangle"):
        Runs("iptables", tmp_path, canary_chains=True)(services(2))


def test_only_transactions_that_were_made_count_as_own() -> None:
    socket = NftablesSocket()
    before = socket.generation()
    assert before is not None
    with socket.writing(3):
        tool("nft", "add table inet own")
    assert socket.generation() == before
    with socket.writing(1):
        tool("nft", "add table inet own")
    tool("nft", "add table inet foreign")
    assert socket.generation() == before + 1


def test_a_file_that_cannot_be_written_fails_no_run(runs: Runs) -> None:
    runs.path.mkdir()
    assert runs(services(2))[0]
    assert runs(services(2))[0] == []


def test_a_run_that_removes_all_removes_the_file(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(services(2))
    assert runs.path.exists()
    monkeypatch.setattr(rule_set_module, "access", lambda _module: runs.access())
    defaults = {name: option.get("default") for name, option in rule_set_module.ARGUMENT_SPEC.items()}
    for check in (True, False):
        rule_set_module.work(Call({**defaults, "state": "absent"}, check, False, pytest.fail))
        assert runs.path.exists() == check


def test_what_is_known_of_maps_outlasts_a_run_that_read_none(tmp_path: Path) -> None:
    runs = Runs("nftables", tmp_path)
    runs(services(6))
    before = json.loads(runs.maps.read_text())["content"]
    runs(services(5))
    assert json.loads(runs.maps.read_text())["content"] == before
