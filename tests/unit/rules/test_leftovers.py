# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a kernel's state shows to be kube-proxy's, on its own listings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.iptables_chains import localnet_guard
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.leftovers import is_own_firewall, named_by_sets
from ansible_collections.kubenode.proxy.plugins.module_utils.state import ipset, ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain, Tables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import VirtualServerKey

RECORDINGS = Path(os.environ.get("SHARED", Path(__file__).resolve().parents[4] / "shared")) / "recordings"
SETS = """\
create KUBE-CLUSTER-IP hash:ip,port family inet
add KUBE-CLUSTER-IP 10.96.0.1,tcp:443
create KUBE-6-LOAD-BALANCER hash:ip,port family inet6
add KUBE-6-LOAD-BALANCER 2001:db8::1,udp:53
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 30080
create MINE hash:ip,port family inet
add MINE 192.0.2.1,tcp:80
"""


def test_virtual_servers_are_named_by_kube_proxy_s_sets_alone() -> None:
    named = named_by_sets(ipset.parse(SETS))
    assert named.keys == {
        VirtualServerKey("ipv4", "tcp", "10.96.0.1", 443),
        VirtualServerKey("ipv6", "udp", "2001:db8::1", 53),
    }
    assert named.node_ports == {("ipv4", "tcp", 30080)}


@pytest.mark.skipif(not RECORDINGS.exists(), reason="there are no recordings")
def test_every_virtual_server_that_kube_proxy_made_is_named() -> None:
    servers = 0
    for folder in sorted(RECORDINGS.glob("*/v*/ipvs")):
        if not (folder / "ipvs.save").exists():
            continue
        named = named_by_sets(ipset.parse((folder / "ipset.save").read_text()))
        for key in ipvs.parse((folder / "ipvs.save").read_text()):
            servers += 1
            assert key in named.keys or (key.family, key.protocol, key.port) in named.node_ports, folder
    assert servers > 1000


@pytest.mark.parametrize(
    ("mangle", "firewall", "own"),
    [
        ([], localnet_guard(), True),
        ([], [], True),
        (["KUBE-PROXY-CANARY"], localnet_guard(), True),
        (["KUBE-KUBELET-CANARY"], localnet_guard(), False),
        (["KUBE-IPTABLES-HINT"], [], False),
        ([], [*localnet_guard(), "-s 192.0.2.1/32 -j ACCEPT"], False),
    ],
)
def test_the_firewall_chain_is_kubelet_s_where_kubelet_is(mangle: list[str], firewall: list[str], own: bool) -> None:
    tables: Tables = {
        "mangle": {name: Chain(None, ()) for name in mangle},
        "filter": {"KUBE-FIREWALL": Chain(None, tuple(firewall))},
    }
    assert is_own_firewall(tables) is own
