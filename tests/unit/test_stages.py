# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many nodes at once the playbooks that change all of them take, and when they stop.

Of four nodes the first has a variable that its role refuses; only the tasks run that look at variables.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
NODES = ["node-1", "node-2", "node-3", "node-4"]
RECAP = re.compile(r"^(node-\d) +: ok=\d+ .* failed=(\d)", re.MULTILINE)


def play(folder: Path, name: str, given: Mapping[str, Any]) -> str:
    """What a playbook of the collection, with extra variables, or one of this folder prints."""
    hosts = {node: {"kube_proxy_snapshots": "many" if node == NODES[0] else 3} for node in NODES}
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    own = folder / f"{name}.yml"
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    options = ["-i", "inventory.yml", "--tags", "always", "-e", json.dumps(given)]
    done = subprocess.run(
        [program, *options, str(own if own.exists() else CHECKOUT / f"playbooks/{name}.yml")],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_HOME": str(folder),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".cache/collections"),
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout


def visited(output: str) -> list[str]:
    return [name for name, _failed in RECAP.findall(output)]


def test_all_nodes_are_visited_at_once_by_default(tmp_path: Path) -> None:
    output = play(tmp_path, "site", {})
    assert RECAP.findall(output) == [("node-1", "1"), ("node-2", "0"), ("node-3", "0"), ("node-4", "0")]
    # The callback tells of batches only.
    assert " of 4: " not in output


def test_a_first_node_that_fails_keeps_the_others_as_they_are(tmp_path: Path) -> None:
    assert visited(play(tmp_path, "site", {"kube_proxy_serial": [1, "10%"]})) == ["node-1"]


def test_a_playbook_that_imports_one_may_say_the_same(tmp_path: Path) -> None:
    imported = {"import_playbook": "kubenode.proxy.site", "vars": {"kube_proxy_serial": 1}}
    (tmp_path / "own.yml").write_text(yaml.safe_dump([imported]))
    assert visited(play(tmp_path, "own", {})) == ["node-1"]


def test_nodes_are_not_visited_in_a_play_whatever_one_of_the_same_name_did(tmp_path: Path) -> None:
    harmless = {"import_playbook": "kubenode.proxy.site", "vars": {"kube_proxy_snapshots": 3}}
    staged = {"import_playbook": "kubenode.proxy.site", "vars": {"kube_proxy_serial": 1}}
    (tmp_path / "own.yml").write_text(yaml.safe_dump([harmless, staged]))
    output = play(tmp_path, "own", {})
    assert re.search(r'^not visited in ".*": node-2, node-3, node-4$', output, re.MULTILINE)


def test_a_batch_may_fail_in_part(tmp_path: Path) -> None:
    output = play(tmp_path, "site", {"kube_proxy_serial": 2})
    assert visited(output) == NODES
    assert "\nnodes 3 to 4 of 4: node-3, node-4\n" in output


@pytest.mark.parametrize("name", ["site", "rollback", "cleanup"])
def test_no_batch_follows_one_in_which_too_many_nodes_fail(tmp_path: Path, name: str) -> None:
    given = {"kube_proxy_serial": "50%", "kube_proxy_max_fail_percentage": 10}
    assert visited(play(tmp_path, name, given)) == NODES[:2]
