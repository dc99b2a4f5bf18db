# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's own program as a file: the same on every controller, and runnable without Ansible."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.kubenode.proxy.plugins.lookup.program import LookupModule
from ansible_collections.kubenode.proxy.plugins.plugin_utils import program

# An installation of Python that has no Ansible; the lock is not this machine's.
WITHOUT_ANSIBLE = """\
import sys
sys.modules["ansible"] = sys.modules["ansible_collections"] = None
archive, folder, *arguments = sys.argv[1:]
sys.path.insert(0, archive)
from kubenode_proxy.kernel import lock
lock.FOLDER = folder
from kubenode_proxy.glue.program import main
sys.exit(main(arguments))
"""


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (Path(program.path_in(str(tmp_path / name), "/usr/bin/python3")) for name in ("a", "b"))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"#!/usr/bin/python3 -I\nPK")


def test_it_is_built_once(tmp_path: Path) -> None:
    path = Path(program.path_in(str(tmp_path), "/usr/bin/python3"))
    inode = path.stat().st_ino
    assert program.path_in(str(tmp_path), "/usr/bin/python3") == str(path)
    assert path.stat().st_ino == inode
    assert program.path_in(str(tmp_path), "/opt/python3") != str(path)


def test_other_sources_give_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program.path_in(str(tmp_path), "/usr/bin/python3")
    monkeypatch.setattr(program, "MAIN", program.MAIN + "\n")
    assert program.path_in(str(tmp_path), "/usr/bin/python3") != path


def test_the_lookup_builds_one_program_a_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants.config, "get_config_value", {"ANSIBLE_HOME": str(tmp_path)}.__getitem__)
    paths = LookupModule().run(["/usr/bin/python3", "/opt/python3"])
    assert [Path(path).parent for path in paths] == [tmp_path / "kubenode.proxy"] * 2
    assert all(zipfile.is_zipfile(path) for path in paths)


def test_it_runs_without_ansible(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    settings = {"net.ipv4.ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()}
    arguments = {"settings": settings, "persistent": False, "ignore_missing": False, "netns": None}
    call = {"module": "sysctls", "arguments": arguments}
    (tmp_path / "runs" / "sysctls.json").write_text(json.dumps(call))
    archive = program.path_in(str(tmp_path), "/usr/bin/python3")
    command = [sys.executable, "-I", "-c", WITHOUT_ANSIBLE, archive, str(tmp_path), "report", "--json"]
    done = subprocess.run([*command, "--runs", str(tmp_path / "runs")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert json.loads(done.stdout)["status"] == "clean"
    assert json.loads((tmp_path / "last_run.json").read_text())["status"] == "clean"
