# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role node_prepare does on nodes that lack something: a guest of the lab, and this machine without IPVS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipvs import available

from tests.lab import Node

CONFIGURATION = "/etc/NetworkManager/conf.d/kubenode-proxy.conf"
HERE = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}


def prepare(
    env: Mapping[str, str], folder: Path, host: Mapping[str, object], *options: str, **variables: object
) -> subprocess.CompletedProcess[str]:
    """Runs the role, and then the role kube_proxy with no service, as site.yml does."""
    roles = [
        {"ansible.builtin.import_role": {"name": f"kubenode.proxy.{name}"}} for name in ("node_prepare", "kube_proxy")
    ]
    play = [
        {"hosts": "all", "gather_facts": False, "vars": {"kube_proxy_services": [], **variables}, "tasks": roles},
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(play))
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": {"node-a": dict(host)}}}))
    command = ["ansible-playbook", "-i", str(folder / "inventory.yml"), *options, str(folder / "play.yml")]
    return subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=300, check=False)


def test_network_manager_leaves_the_link_alone(guest: Node, ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    guest.run(["mkdir", "-p", "/etc/NetworkManager/conf.d"])
    try:
        first = prepare(ansible_env, tmp_path, guest.inventory_vars())
        assert first.returncode == 0, first.stdout
        assert "unmanaged-devices+=interface-name:kube-ipvs0" in guest.run(["cat", CONFIGURATION]).stdout
        assert "changed=0" in prepare(ansible_env, tmp_path, guest.inventory_vars()).stdout
    finally:
        guest.run(["rm", "-r", "/etc/NetworkManager"])


def test_a_missing_package_is_named(guest: Node, ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    guest.run(["mv", "/usr/sbin/ipvsadm", "/usr/sbin/ipvsadm.away"])
    try:
        done = prepare(ansible_env, tmp_path, guest.inventory_vars(), node_prepare_install_packages=False)
    finally:
        guest.run(["mv", "/usr/sbin/ipvsadm.away", "/usr/sbin/ipvsadm"])
    assert done.returncode != 0
    assert "node-a lacks ipvsadm: install ipvsadm." in done.stdout


@pytest.mark.skipif(os.geteuid() != 0 or available(), reason="needs root, and a kernel without IPVS")
@pytest.mark.parametrize(
    "choice, shown", [("fail", "cannot run IPVS mode: it lacks ip_vs"), ("iptables", "KUBE-EXTERNAL-SERVICES")]
)
def test_a_kernel_without_ipvs(ansible_env: Mapping[str, str], tmp_path: Path, choice: str, shown: str) -> None:
    # Only looks: this is the machine on which the tests run.
    done = prepare(ansible_env, tmp_path, HERE, "--check", "--diff", node_prepare_without_ipvs=choice)
    assert shown in " ".join(done.stdout.split())
    assert (done.returncode == 0) == (choice == "iptables"), done.stdout
