# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kube-proxy makes of its configuration in settings of the kernel."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import ServiceData
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.sysctls import conntrack_sysctls, ipvs_sysctls

PREFIX = "net.netfilter.nf_conntrack_"


@pytest.mark.parametrize(
    ("version", "cpus", "minimum", "entries"),
    [
        ("1.36", 2, 131072, 131072),
        ("1.36", 8, 131072, 262144),
        ("1.36", 64, 131072, 1048576),
        ("1.36", 64, 1500000, 1500000),
        ("1.36", 32, 1500000, 1500000),
        ("1.30", 64, 131072, 2097152),
        ("1.30", 64, 3000000, 3000000),
    ],
)
def test_entries_of_connection_tracking(version: str, cpus: int, minimum: int, entries: int) -> None:
    configuration = ProxyConfiguration(version=version, conntrack_max_per_core=32768, conntrack_min=minimum)
    found = conntrack_sysctls(configuration, NodeFacts((6, 1), (), cpus=cpus, conntrack_buckets=262144))
    assert found[f"{PREFIX}max"] == str(entries)
    assert found[f"{PREFIX}buckets"] == str(max(entries // 4, 262144))


@pytest.mark.parametrize(("kernel", "written"), [((4, 0), False), ((4, 1), True), ((5, 8), True), ((5, 9), False)])
def test_connections_are_not_reused_on_kernels_that_delay_them(kernel: tuple[int, int], written: bool) -> None:
    assert ("net.ipv4.vs.conn_reuse_mode" in ipvs_sysctls(ProxyConfiguration(), NodeFacts(kernel, ()))) == written


def test_without_entries_a_core_their_number_stays() -> None:
    configuration = ProxyConfiguration(conntrack_max_per_core=0, conntrack_min=131072)
    found = conntrack_sysctls(configuration, NodeFacts((6, 1), (), cpus=64, conntrack_buckets=262144))
    assert f"{PREFIX}max" not in found


@pytest.mark.parametrize(
    ("mode", "others"),
    [
        (
            "ipvs",
            {
                "net.ipv4.ip_forward",
                "net.ipv4.vs.conntrack",
                "net.ipv4.vs.expire_nodest_conn",
                "net.ipv4.vs.expire_quiescent_template",
            },
        ),
        ("iptables", {"net.ipv4.conf.all.route_localnet"}),
        ("nftables", set()),
    ],
)
def test_a_rule_set_has_the_settings_of_its_mode(mode: str, others: set[str]) -> None:
    configuration = ProxyConfiguration(mode=mode, conntrack_tcp_be_liberal=True)
    found = render(ServiceData(()), Node("node-a"), configuration, NodeFacts((6, 1), ())).sysctls
    conntrack = {f"{PREFIX}{name}" for name in ("tcp_timeout_established", "tcp_timeout_close_wait", "tcp_be_liberal")}
    assert found.keys() == conntrack | others
