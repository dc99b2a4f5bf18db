# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What README.md tells a new user to do, on a fresh node: with the installed collection, then from the checkout."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.lab.node import CHECKOUT

pytestmark = pytest.mark.lab

RECAP = re.compile(r"^node-a +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=0 ", re.MULTILINE)


def run(*argv: str, folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def changed(output: str) -> int:
    found = RECAP.search(output)
    assert found, output[-4000:]
    return int(found[1])


def test_first_use(tmp_path: Path, ansible_env: Mapping[str, str]) -> None:
    inventory, services = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "inventory.yml").write_text(inventory)
    (tmp_path / "services.yml").write_text(services)
    installed = {**ansible_env, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"), "ANSIBLE_CONFIG": ""}
    run(
        *("ansible-galaxy", "collection", "build", "--output-path", str(tmp_path)),
        folder=CHECKOUT,
        environment=installed,
    )
    run(
        *("ansible-galaxy", "collection", "install", "--offline", "-p", str(tmp_path / "collections")),
        str(tmp_path / "kubenode-proxy-0.1.0.tar.gz"),
        folder=tmp_path,
        environment=installed,
    )
    with Lab("readme") as lab:
        node = lab.start("node-a")
        # The address of the README is an example: the lab's comes last, and wins.
        (tmp_path / "lab.json").write_text(json.dumps({"kube_nodes": {"hosts": {"node-a": node.inventory_vars()}}}))
        play = ["ansible-playbook", "-i", "inventory.yml", "-i", "lab.json", "--limit", "node-a"]
        run(*play, "kubenode.proxy.preflight", folder=tmp_path, environment=installed)
        checked = run(*play, "kubenode.proxy.site", "--check", "--diff", folder=tmp_path, environment=installed)
        assert "+-A -t 10.96.0.10:80 -s rr" in checked
        assert node.run("ipvsadm -Sn").stdout == ""
        assert changed(run(*play, "kubenode.proxy.site", folder=tmp_path, environment=installed)) > 0
        assert "-a -t 10.96.0.10:80 -r 10.244.2.7:8080 -m -w 1" in node.run("ipvsadm -Sn").stdout
        drift = run(*play, "kubenode.proxy.drift", folder=tmp_path, environment=installed)
        assert "\n1 node: 1 clean\n" in drift
        assert json.loads((tmp_path / "drift-report.json").read_text())["status"] == "clean"
        again = run(*play, str(CHECKOUT / "site.yml"), folder=tmp_path, environment=ansible_env)
        assert changed(again) == 0
        files = {"rule_set", "runs", "services.json", "snapshots", "sysctls_before", "virtual_servers"}
        # Nodes see what other tests have left on this machine.
        assert set(node.run("ls /var/lib/kubenode-proxy").stdout.split()) - {"netns"} == files
