# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In IPVS mode a run that finds tables as the last one left them does not list them; whatever differs is found."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.known import LeftFile
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipvs import available
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, native

from tests.clusters import NODE, regular_services
from tests.rule_set_call import call_rule_set, operations

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not available() or not shutil.which("iptables"),
    reason="needs root, iptables and a kernel with ip_vs: a lab guest has them",
)

ALL, ALL_BUT_ONE = slice(None), slice(1, None)


def tool(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


class Node:
    """A node in IPVS mode, whose network namespace is that of this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def access(self) -> NodeAccess:
        access = NodeAccess(state_folder=str(self._folder))
        access.left_file = LeftFile(str(self._folder / "left"))
        return access

    def run(self, mode: str = "ipvs", endpoints: slice = ALL, check: bool = False) -> dict[str, Any]:
        """A run with some services, of which the first has these of its endpoints."""
        first, *others = regular_services(4, 2)
        first["endpoints"] = first["endpoints"][endpoints]
        incoming = self._folder / "incoming.json"
        incoming.write_text(canonical.dump(native.parse([first, *others])))
        configuration = {"mode": mode, "conntrack_max_per_core": 0, "conntrack_min": 0}
        node = {"name": NODE, "addresses": ["192.0.2.1", "2001:db8::1"]}
        given: dict[str, Any] = {"node": node, "configuration": configuration, "incoming": str(incoming)}
        result: dict[str, Any] = call_rule_set(self.access, check, **given)
        return result


@pytest.fixture
def node(fresh_namespace: None, tmp_path: Path) -> Node:
    # Without an interface that is up the kernel refuses every IPv4 real server.
    tool("ip", "link", "set", "lo", "up")
    return Node(tmp_path)


def rules() -> list[str]:
    return [line for line in tool("iptables-save").splitlines() if line.startswith("-A ")]


def masquerading_rule() -> tuple[str, str]:
    """The chain of the only rule that names the set of endpoints that reach themselves, where it is the first."""
    line = next(line for line in rules() if "--match-set KUBE-LOOP-BACK" in line)
    _append, chain, rule = line.split(" ", 2)
    return chain, rule


def test_tables_that_are_as_they_were_left_are_not_listed(node: Node) -> None:
    assert operations(node.run())
    second = node.run()
    assert (operations(second), second["figures"]["processes"]) == ([], 0)
    fewer = node.run(endpoints=ALL_BUT_ONE)
    assert sorted(operations(fewer)) == ["remove member", "remove real server"]
    assert fewer["figures"]["processes"] == 0
    third = node.run(endpoints=ALL_BUT_ONE)
    assert (operations(third), third["figures"]["processes"]) == ([], 0)


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_an_edited_rule_is_found(program: str, node: Node) -> None:
    node.run()
    tool(program, "-t", "nat", "-R", "KUBE-MARK-MASQ", "1", "-j", "RETURN")
    assert operations(node.run(check=True)) == ["change chain"]
    assert operations(node.run(endpoints=ALL_BUT_ONE)).count("change chain") == 1
    assert operations(node.run(endpoints=ALL_BUT_ONE)) == []


def test_a_rule_that_names_another_set_under_the_same_number_is_found(node: Node) -> None:
    node.run()
    chain, rule = masquerading_rule()
    saved = tool("ipset", "save", "KUBE-LOOP-BACK")
    tool("iptables", "-t", "nat", "-D", chain, "1")
    tool("ipset", "rename", "KUBE-LOOP-BACK", "others")
    tool("ipset", "restore", stdin=saved)
    restore = f"*nat\n-I {chain} 1 {rule.replace('KUBE-LOOP-BACK', 'others')}\nCOMMIT\n"
    tool("iptables-restore", "--noflush", stdin=restore)
    assert operations(node.run()) == ["change chain"]
    assert masquerading_rule() == (chain, rule)
    assert operations(node.run()) == []


def test_what_was_left_in_another_mode_does_not_count(node: Node) -> None:
    node.run()
    of_ipvs = rules()
    for mode in ("iptables", "ipvs"):
        assert operations(node.run(mode))
        assert operations(node.run(mode)) == []
    assert rules() == of_ipvs
