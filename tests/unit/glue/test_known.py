# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By what a run knows that what the last one left still holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.known import (
    Inputs,
    Known,
    Left,
    LeftFile,
    merged,
    rest_of,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.subsystem import LookAgainError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet
from ansible_collections.kubenode.proxy.plugins.plugin_utils.program import path_in

from tests.clusters import FACTS

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections/kubenode/proxy/plugins/module_utils"
NAME = PACKAGE.replace("/", ".")
SAY_PROGRAM = f"from {NAME}.glue import known, {{}}; print(known.program())"
LEFT = Left(
    inputs="inputs",
    services="services",
    rule_set=["path", "1"],
    small="small",
    endpoints={"ipv4": 3, "ipv6": 0},
    states={"nftables": 7, "chains ipv4": "x"},
    rest={"ipv4": {"nat": {"OUTPUT": Chain("ACCEPT", ("-j X",))}}},
)
INPUTS = Inputs(Node("node-a", ("192.0.2.1",)), ProxyConfiguration(mode="nftables"), FACTS)


def program(path: Path, caller: str = "rule_set_module") -> str:
    """What the collection at this place on the path says of itself."""
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", SAY_PROGRAM.format(caller)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def installed(folder: Path) -> Path:
    """This collection as files, in a folder for the path."""
    (folder / "ansible_collections" / "kubenode").mkdir(parents=True)
    (folder / "ansible_collections" / "kubenode" / "proxy").symlink_to(ROOT)
    return folder


def archive(path: Path, changed: str = "") -> Path:
    """The collection as Ansible sends it, with a comment more in one file."""
    folder = ROOT / "plugins" / "module_utils"
    with zipfile.ZipFile(path, "w") as target:
        parts = PACKAGE.split("/")
        for depth in range(1, len(parts) + 1):
            target.writestr("/".join([*parts[:depth], "__init__.py"]), "")
        for file in sorted(folder.rglob("*.py")):
            name = file.relative_to(folder).as_posix()
            target.writestr(f"{PACKAGE}/{name}", file.read_text() + ("# more\n" if name == changed else ""))
    return path


def test_the_same_source_is_the_same_program_wherever_it_lies(tmp_path: Path) -> None:
    files = installed(tmp_path)
    here = program(files)
    assert len(here.strip()) == 64
    assert program(archive(tmp_path / "one.zip")) == here
    own = path_in(str(tmp_path), sys.executable)
    environment = {**os.environ, "PYTHONPATH": own, "PYTHONDONTWRITEBYTECODE": "1"}
    code = "from kubenode_proxy.glue import program, known; print(known.program())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == here, "the node's own program"


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("rules/nftables.py", True),
        ("model/selection.py", True),
        ("state/iptables.py", True),
        ("state/ipvs.py", True),
        ("state/ipset.py", True),
        ("plan/iptables.py", True),
        ("kernel/lock.py", False),
    ],
)
def test_what_rule_sets_are_made_with_makes_another_program(name: str, differs: bool, tmp_path: Path) -> None:
    other = program(archive(tmp_path / "other.zip", changed=name))
    assert (other != program(archive(tmp_path / "one.zip"))) == differs


def test_inputs_are_the_same_as_long_as_the_rules_are() -> None:
    pods = LocalAddress("cali1", "fe80::ecee:eeff:feee:eeee", 64), LocalAddress("veth2", "10.244.1.1", 32)
    with_pods = INPUTS._replace(facts=FACTS._replace(addresses=(*FACTS.addresses, *pods)))
    assert with_pods.digest() == INPUTS.digest()
    on_all_networks = INPUTS.configuration._replace(node_port_addresses=("10.244.0.0/16",))
    assert INPUTS._replace(configuration=on_all_networks).digest() != INPUTS.digest()
    assert with_pods._replace(configuration=on_all_networks).digest() != (
        INPUTS._replace(configuration=on_all_networks).digest()
    )


@pytest.mark.parametrize(
    "changed",
    [
        INPUTS._replace(node=INPUTS.node._replace(zone="zone-a")),
        INPUTS._replace(node=INPUTS.node._replace(name="node-b")),
        INPUTS._replace(configuration=INPUTS.configuration._replace(masquerade_all=True)),
        INPUTS._replace(facts=FACTS._replace(accounting=True)),
        INPUTS._replace(facts=FACTS._replace(kernel=(5, 10))),
    ],
)
def test_other_inputs_have_another_digest(changed: Inputs) -> None:
    assert changed.digest() != INPUTS.digest()


def test_tables_are_known_in_their_state_only() -> None:
    left = RuleSet.empty()
    known = Known({"nftables": 7, "chains ipv4 of nat": "digest"}, lambda: left)
    assert known.tables("nftables", 7, {}) is left
    assert known.tables("chains ipv4 of nat", "digest", {}) is left
    for key, state in (("nftables", 8), ("nftables", None), ("chains ipv6 of nat", 7), ("nftables", "7")):
        assert known.tables(key, state, {"ip kube-proxy": {}}) is None


def test_a_part_is_not_read_instead() -> None:
    part = Known({"nftables": 7}, RuleSet.empty, part=True)
    assert part.tables("nftables", 7, {"ip kube-proxy": {}}) == RuleSet.empty()
    with pytest.raises(LookAgainError):
        part.tables("nftables", 8, {"ip kube-proxy": {}})
    assert part.tables("chains ipv4 of nat", 8, {}) is None, "of these nothing is desired: they can be read"


def test_desired_chains_and_the_rest_make_the_live_tables() -> None:
    desired = {"nat": {"OURS": Chain(None, ("-j RETURN",)), "OTHERWISE": Chain(None, ("-p 6 -j DROP",))}}
    live = {
        "nat": {**desired["nat"], "OTHERWISE": Chain(None, ("-p tcp -j DROP",)), "OUTPUT": Chain("ACCEPT", ("-j X",))},
        "mangle": {"X": Chain(None, ())},
    }
    rest = rest_of(live, desired)
    assert set(rest["nat"]) == {"OTHERWISE", "OUTPUT"}
    assert merged(desired, rest) == live


def test_what_is_left_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "left"
    LeftFile(str(path)).save(LEFT)
    again = LeftFile(str(path))
    assert again.load() == LEFT
    before = path.stat().st_ino
    again.save(LEFT)
    assert path.stat().st_ino == before, "what the file says already is not written"
    again.forget()
    assert LeftFile(str(path)).load() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoints", {"ipv4": float("inf"), "ipv6": 0}),
        ("rest", {"ipv4": {"nat": {"OUTPUT": [None, ["-j X", 1]]}}}),
        ("rest", {"ipv4": {"nat": {"OUTPUT": [None, "-j X"]}}}),
        ("rest", {"ipv4": {"nat": {"OUTPUT": [1, []]}}}),
    ],
)
def test_a_damaged_file_tells_nothing(name: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "left"
    LeftFile(str(path)).save(LEFT)
    content = json.loads(path.read_text())
    content["content"][name] = value
    path.write_text(json.dumps(content))
    assert LeftFile(str(path)).load() is None


def test_states_of_another_type_are_no_states(tmp_path: Path) -> None:
    path = tmp_path / "left"
    LeftFile(str(path)).save(LEFT._replace(states={"nftables": True, "chains ipv4": 3}))
    found = LeftFile(str(path)).load()
    assert found is not None
    assert found.states == {"chains ipv4": 3}


def test_no_file_is_not_the_file_that_was_left(tmp_path: Path) -> None:
    assert not LEFT._replace(rule_set=[]).is_of(str(tmp_path / "missing"))


def test_a_rule_set_that_cannot_be_read_is_not_known() -> None:
    assert LEFT.whole(lambda: "not one", RuleSet.empty()).tables("nftables", 7, {"ip kube-proxy": {}}) is None


def test_what_a_part_changed_is_no_longer_in_the_rest() -> None:
    empty = RuleSet.empty()
    changed = empty._replace(tables={"ipv4": {"nat": {"OUTPUT": Chain(None, ())}}, "ipv6": {}})
    assert LEFT.rest_without(empty, empty) == LEFT.rest
    assert LEFT.rest_without(changed, empty) == LEFT.rest_without(empty, changed) == {"ipv4": {"nat": {}}}
