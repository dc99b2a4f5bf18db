# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From IPVS to nftables mode and back, on the one kind of node that has both: Debian's stock kernel, under QEMU.

The plan is that of `test_playbooks`, with node-a alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.controller import Controller
from tests.integration.test_playbooks import (
    DUMP,
    FOREIGN,
    MODULES,
    SERVICES,
    TRACES_OF_IPVS,
    VARIABLES,
    ipvs_settings,
    mode,
    setup,
    succeeded,
)
from tests.lab import Lab, host

pytestmark = pytest.mark.lab

NFTABLES_DUMP = f"nft -s list tables | grep kube-proxy\n{DUMP}"
# Those of the pod of node-a, and the one without.
OWN_SERVICES = [service for service in SERVICES if service["name"] in ("near", "empty")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("stock") as lab:
        lab.start("node-a", stock_kernel=True, modprobe=MODULES)
        yield lab


def test_the_process_of_the_node_cannot_write_to_the_host(lab: Lab, tmp_path: Path) -> None:
    processes = host.processes_in_namespace(lab.namespace)
    (pid,) = (one for one in processes if os.path.realpath(f"/proc/{one}/exe").endswith("qemu-system-x86_64"))
    with pytest.raises(OSError, match="Read-only file system"):
        Path(f"/proc/{pid}/root{tmp_path}/written").touch()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    # CAP_DAC_READ_SEARCH alone.
    assert int(status["CapPrm"], 16) | int(status["CapBnd"], 16) == 1 << 2


def test_from_ipvs_to_nftables_and_back(lab: Lab, ansible_env: Mapping[str, str], tmp_path: Path) -> None:
    node = lab.nodes["node-a"]
    controller = Controller(tmp_path, ansible_env, lab, OWN_SERVICES, VARIABLES)
    setup(node, 1)
    bare = node.run(NFTABLES_DUMP).stdout
    succeeded(controller.play("site"))
    ipvs = node.run(NFTABLES_DUMP).stdout
    traces = [trace for trace in TRACES_OF_IPVS if trace in ipvs]
    assert "kube-ipvs0" in traces
    succeeded(controller.play("migrate", *mode("nftables")))
    assert node.run("nc -z -w 5 10.96.0.20 80", check=False).returncode == 0
    nftables = node.run(NFTABLES_DUMP).stdout
    assert nftables.startswith("table ip kube-proxy\ntable ip6 kube-proxy\n")
    assert [trace for trace in traces if trace in nftables] == []
    assert [foreign for foreign in FOREIGN if foreign not in nftables] == []
    assert ipvs_settings(nftables) == ipvs_settings(bare)
    succeeded(controller.play("switch_mode", *mode("ipvs")))
    assert node.run("nc -z -w 5 10.96.0.20 80", check=False).returncode == 0
    assert node.run(NFTABLES_DUMP).stdout == ipvs
