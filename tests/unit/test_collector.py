# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What callbacks collect from tasks of a real run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = ("first", "second", "third")


@pytest.mark.parametrize(("options", "word"), [([], "changed"), (["--check"], "would change")])
def test_each_item_of_a_loop_counts(tmp_path: Path, options: list[str], word: str) -> None:
    for name in FILES[:2]:
        (tmp_path / name).touch()
    remove = {"ansible.builtin.file": {"path": f"{tmp_path}/{{{{ item }}}}", "state": "absent"}, "loop": list(FILES)}
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"kube_proxy_changes": True}, "tasks": [remove]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *options, str(tmp_path / "play.yml")],
        env={
            **os.environ,
            "ANSIBLE_HOME": str(tmp_path),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".cache/collections"),
            "ANSIBLE_CALLBACKS_ENABLED": "kubenode.proxy.changes",
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    summary = done.stdout.partition("CHANGES ")[2].splitlines()[1:]
    assert f"localhost  {word:<12} 2 objects: remove file 2" in summary
    assert f"  remove file {tmp_path}/first and 1 further: no longer wanted (localhost)" in summary
