# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fifty changes of the rule set under a continuous load of short connections lose none of them.

client 10.9.0.2 -- 10.9.0.1 node 10.244.1.1 -- bridge -- pods 10.244.1.10, 10.244.1.11; cluster IP 10.96.0.10
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables_stages import STAGE_CHAINS

from tests.lab.netns import Network
from tests.load import reconverge
from tests.needs import root_and

pytestmark = root_and()

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}/.cache/collections:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
TIMES = 50
# Without it a test that opened next to no connections would pass.
LEAST_CONNECTIONS = 500


def build(network: Network) -> None:
    network.add("client", "node", "pod0", "pod1")
    network.veth(("client", "eth0", "10.9.0.2/24"), ("node", "outside", "10.9.0.1/24"))
    for index, address in enumerate(reconverge.PODS):
        network.veth((f"pod{index}", "eth0", f"{address}/24"), ("node", f"pod{index}", None))
        network.route(f"pod{index}", "0.0.0.0/0", via="10.244.1.1")
    network.bridge("node", "cni0", "pod0", "pod1", address="10.244.1.1/24")
    network.route("client", "0.0.0.0/0", via="10.9.0.1")
    network.sysctl("node", ipv4__ip_forward=1)
    network.build()


def start(network: Network, namespace: str, *arguments: str) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", network.full_name(namespace), sys.executable, "-m", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def reconverge_times(network: Network, mode: str, backend: str, times: int, folder: Path) -> list[int]:
    arguments = [network.full_name("node"), backend, mode, str(times), str(folder)]
    command = [sys.executable, "-m", "tests.load.reconverge", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    counts: list[int] = json.loads(done.stdout)
    return counts


@pytest.mark.parametrize(("mode", "backend"), [("iptables", "nft"), ("iptables", "legacy"), ("nftables", "auto")])
def test_no_connection_is_lost(mode: str, backend: str, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    with Network() as network:
        build(network)
        servers = [start(network, f"pod{i}", "tests.load.connections", "serve", "8080") for i in range(2)]
        reconverge_times(network, mode, backend, 1, tmp_path)
        # The servers listen a moment after they start.
        time.sleep(1)
        load = start(network, "client", "tests.load.connections", reconverge.ADDRESS, str(reconverge.PORT), str(stop))
        counts = reconverge_times(network, mode, backend, TIMES, tmp_path)
        stop.touch()
        output, _errors = load.communicate(timeout=30)
        for server in servers:
            server.kill()
            server.communicate()
    result = json.loads(output)
    assert result["failed"] == {}
    assert result["answered"] > LEAST_CONNECTIONS
    # Changes there were, small ones and some that took several stages.
    assert max(counts) > STAGE_CHAINS
    assert sum(count > 0 for count in counts) > TIMES * 0.8
