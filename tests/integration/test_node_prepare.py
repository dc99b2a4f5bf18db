# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role node_prepare does on nodes that lack something: a guest of the lab, and this machine without IPVS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipvs import available

from tests.lab import Node

CONFIGURATION = "/etc/NetworkManager/conf.d/kubenode-proxy.conf"
NMCLI = "/usr/local/bin/nmcli"
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


@pytest.fixture
def network_manager(guest: Node) -> Iterator[Callable[[str], None]]:
    """NetworkManager is configured on a node in no mode; sets what nmcli does."""
    guest.run("mkdir -p /etc/NetworkManager/conf.d && { ip link delete kube-ipvs0 || true; }")

    def does(script: str) -> None:
        guest.run(f"rm -f {CONFIGURATION} && printf '#!/bin/sh\n{script}\n' >{NMCLI} && chmod +x {NMCLI}")

    yield does
    guest.run(f"rm -rf /etc/NetworkManager {NMCLI} /run/reloaded")


def test_network_manager_knows_of_the_link_before_it_is_there(
    guest: Node, ansible_env: Mapping[str, str], tmp_path: Path, network_manager: Callable[[str], None]
) -> None:
    network_manager("ip -br link >/run/reloaded")
    done = prepare(ansible_env, tmp_path, guest.inventory_vars(), kube_proxy_services=[{"name": "Not a name"}])
    assert "problem(s) in the input" in done.stdout
    assert "kube-ipvs0" not in guest.run("cat /run/reloaded").stdout


@pytest.mark.parametrize(
    ("script", "status"), [("echo Error: not running >&2; exit 8", 0), ("echo Error: refused >&2; exit 1", 2)]
)
def test_a_network_manager_that_does_not_reload_is_seen_if_it_runs(
    guest: Node,
    ansible_env: Mapping[str, str],
    tmp_path: Path,
    network_manager: Callable[[str], None],
    script: str,
    status: int,
) -> None:
    network_manager(script)
    assert prepare(ansible_env, tmp_path, guest.inventory_vars()).returncode == status


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
