# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proxy configuration and node, from role variables, KubeProxyConfiguration and Node objects (data-plane 1.1.6)."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import (
    node_ip,
    parse_configuration,
    parse_kube_proxy_configuration,
    parse_node,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration

# node addresses 192.168.100.0/24 and fd00:100::/64, pods 10.244.0.0/16 and fd00:244::/48


def test_nothing_said_gives_the_defaults() -> None:
    assert parse_configuration({}) == ProxyConfiguration()
    assert parse_configuration({"masquerade_bit": None, "scheduler": None}) == ProxyConfiguration()


def test_null_leaves_what_the_document_says() -> None:
    document = {"mode": "nftables", "iptables": {"masqueradeBit": 10}, "nftables": {"masqueradeBit": 9}}
    assert parse_configuration({"mode": None, "masquerade_bit": None}, document).masquerade_bit == 9


def test_the_default_configuration_is_one() -> None:
    assert parse_configuration(ProxyConfiguration()._asdict()) == ProxyConfiguration()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mode", "nftables", "nftables"),
        ("version", "1.30", "1.30"),
        ("bind_address", "FD00:100::0011", "fd00:100::11"),
        ("cluster_cidrs", "10.244.0.0/16, fd00:244::/48", ("10.244.0.0/16", "fd00:244::/48")),
        ("cluster_cidrs", "10.244.0.0/16,", ("10.244.0.0/16",)),
        ("cluster_cidrs", ["10.244.1.1/16"], ("10.244.0.0/16",)),
        ("bridge_interface", "fifteen-letters", "fifteen-letters"),
        ("detect_local_mode", "NodeCIDR", "NodeCIDR"),
        ("masquerade_all", "yes", True),
        ("masquerade_bit", "31", 31),
        ("masquerade_bit", 0, 0),
        ("localhost_node_ports", False, False),
        ("node_port_addresses", ["primary"], ("primary",)),
        ("service_cidrs", ["10.96.0.0/12", "fd00:96::/108"], ("10.96.0.0/12", "fd00:96::/108")),
        ("node_port_addresses", ["192.168.100.0/24", "0.0.0.0/0"], ("192.168.100.0/24", "0.0.0.0/0")),
        ("scheduler", "wlc", "wlc"),
        ("scheduler", "", "rr"),
        ("strict_arp", True, True),
        ("tcp_timeout", 900, 900),
        ("tcp_timeout", "900", 900),
        ("tcp_timeout", "15m", 900),
        ("exclude_cidrs", ["192.0.2.0/24"], ("192.0.2.0/24",)),
        ("conntrack_max_per_core", 0, 0),
        ("canary_chains", True, True),
    ],
)
def test_variables(name: str, value: object, expected: Any) -> None:
    assert parse_configuration({name: value}) == ProxyConfiguration()._replace(**{name: expected})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("0", 0),
        ("900s", 900),
        ("1h2m", 3720),
        ("1h2m3.9s", 3723),
        ("1500ms", 1),
        ("24h", 86400),
        (".5h", 1800),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_configuration({"udp_timeout": text}).udp_timeout == seconds


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"masquerade_bits": 1}, "masquerade_bits: unknown key (did you mean 'masquerade_bit'?)"),
        ({"mode": "iptable"}, "mode: 'iptable' is not one of iptables, ipvs, nftables (did you mean 'iptables'?)"),
        ({"version": "1.29"}, "version: '1.29' is not one of 1.30, 1.36"),
        ({"version": 1.30}, "version: 1.3 is a number; write it in quotes, such as '1.36'"),
        ({"version": "1.30", "mode": "nftables"}, "version: nftables mode is written as of 1.36, not as of 1.30"),
        ({"masquerade_bit": 32}, "masquerade_bit: 32 is outside 0..31"),
        ({"bind_address": "node-a"}, "bind_address: 'node-a' is not an IP address; names are not resolved"),
        (
            {"cluster_cidrs": ["10.244.0.0"]},
            "cluster_cidrs[0]: '10.244.0.0' is not a network such as 10.0.0.0/8; for one address write 10.244.0.0/32",
        ),
        ({"cluster_cidrs": "10.244.0.0/99"}, "cluster_cidrs: '10.244.0.0/99' is not a network such as 10.0.0.0/8"),
        (
            {"cluster_cidrs": "10.244.0.0/16,10.245.0.0/16"},
            "cluster_cidrs: 10.244.0.0/16, 10.245.0.0/16 are of one family; at most one network per family is possible",
        ),
        (
            {"detect_local_mode": "NodeCidr"},
            (
                "detect_local_mode: 'NodeCidr' is not one of ClusterCIDR, NodeCIDR, BridgeInterface, "
                "InterfaceNamePrefix (did you mean 'NodeCIDR'?)"
            ),
        ),
        (
            {"detect_local_mode": "BridgeInterface"},
            "bridge_interface: is required where detect_local_mode is BridgeInterface",
        ),
        (
            {"detect_local_mode": "InterfaceNamePrefix"},
            "interface_name_prefix: is required where detect_local_mode is InterfaceNamePrefix",
        ),
        (
            {"bridge_interface": "a-name-too-long-x"},
            (
                "bridge_interface: 'a-name-too-long-x' is not the name of a network interface "
                "(15 characters, no blank, slash, : or quote)"
            ),
        ),
        ({"node_port_addresses": ["primary", "10.0.0.0/8"]}, "node_port_addresses: 'primary' must stand alone"),
        (
            {"node_port_addresses": ["primary"], "version": "1.30"},
            "node_port_addresses: 'primary' is known from version 1.31 on",
        ),
        ({"node_port_addresses": "10.0.0.0/8"}, "node_port_addresses: must be a list, not '10.0.0.0/8'"),
        (
            {"scheduler": "wlcc"},
            (
                "scheduler: 'wlcc' is not an IPVS scheduler "
                "(rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos) (did you mean 'wlc'?)"
            ),
        ),
        ({"tcp_timeout": "soon"}, "tcp_timeout: must be a duration such as 900s or 1h30m, not 'soon'"),
        ({"tcp_timeout": -1}, "tcp_timeout: must be a duration such as 900s or 1h30m, not -1"),
        (
            {"tcp_timeout": f"{'9' * 400}h"},
            f"tcp_timeout: must be a duration such as 900s or 1h30m, not '{'9' * 56}...",
        ),
        ({"strict_arp": 1}, "strict_arp: must be true or false, not 1"),
        ({"conntrack_min": -1}, "conntrack_min: -1 is outside 0..2147483647"),
    ],
)
def test_what_is_wrong_with_variables(variables: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_configuration(variables)
    assert caught.value.problems == [problem]


@pytest.mark.parametrize(
    ("document", "values"),
    [
        ({}, {}),
        ({"bindAddress": "::"}, {"bind_address": "::"}),
        ({"clusterCIDR": "10.244.0.0/16,fd00:244::/48"}, {"cluster_cidrs": ("10.244.0.0/16", "fd00:244::/48")}),
        ({"clusterCIDR": ""}, {}),
        (
            {
                "detectLocalMode": "BridgeInterface",
                "detectLocal": {"bridgeInterface": "cni0", "interfaceNamePrefix": ""},
            },
            {"detect_local_mode": "BridgeInterface", "bridge_interface": "cni0"},
        ),
        ({"nodePortAddresses": ["primary"]}, {"node_port_addresses": ("primary",)}),
        ({"nodePortAddresses": None}, {}),
        ({"iptables": {"masqueradeBit": 10}, "nftables": {"masqueradeBit": 9}}, {"masquerade_bit": 10}),
        ({"iptables": {"localhostNodePorts": False, "syncPeriod": "30s"}}, {"localhost_node_ports": False}),
        (
            {
                "ipvs": {
                    "scheduler": "lc",
                    "strictARP": True,
                    "tcpTimeout": "15m",
                    "tcpFinTimeout": "60s",
                    "udpTimeout": "0s",
                }
            },
            {"scheduler": "lc", "strict_arp": True, "tcp_timeout": 900, "tcp_fin_timeout": 60, "udp_timeout": 0},
        ),
        ({"ipvs": {"excludeCIDRs": ["192.0.2.0/24"]}}, {"exclude_cidrs": ("192.0.2.0/24",)}),
        ({"featureGates": {"AllowServiceExternalIPs": False}}, {"external_ips": False}),
        (
            {"conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "24h0m0s", "tcpCloseWaitTimeout": "0s"}},
            {
                "conntrack_max_per_core": 0,
                "conntrack_min": 0,
                "conntrack_tcp_established_timeout": 86400,
                "conntrack_tcp_close_wait_timeout": 0,
            },
        ),
        (
            {"conntrack": {"tcpBeLiberal": True, "udpTimeout": "30s", "udpStreamTimeout": "2m", "maxPerCore": None}},
            {"conntrack_tcp_be_liberal": True, "conntrack_udp_timeout": 30, "conntrack_udp_stream_timeout": 120},
        ),
        (
            {
                "featureGates": {"NFTablesProxyMode": True, "AllowServiceLBStatusOnNonLB": True},
                "metricsBindAddress": "127.0.0.1:10249",
                "fromTheFuture": 1,
            },
            {},
        ),
        ({"healthzBindAddress": "0.0.0.0:10256", "configSyncPeriod": "15m", "winkernel": {"mode": "x"}}, {}),
    ],
)
def test_kube_proxy_configuration(document: dict[str, Any], values: dict[str, object]) -> None:
    header = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
    assert parse_kube_proxy_configuration({**header, **document}, "ipvs") == {"mode": "ipvs", **values}


@pytest.mark.parametrize(
    ("given", "mode", "bit"),
    [("", "iptables", 10), ("iptables", "iptables", 10), ("ipvs", "ipvs", 10), ("nftables", "nftables", 9)],
)
def test_masquerading_is_that_of_the_mode_in_use(given: str, mode: str, bit: int) -> None:
    sections = {"iptables": {"masqueradeBit": 10}, "nftables": {"masqueradeBit": 9}}
    expected = {"mode": mode, "masquerade_bit": bit}
    assert parse_kube_proxy_configuration({"mode": given, **sections}) == expected
    assert parse_kube_proxy_configuration({"mode": "ipvs", **sections}, given or "iptables") == expected
    assert parse_configuration({"mode": mode}, sections).masquerade_bit == bit


def test_variables_win_over_the_document() -> None:
    document = {"mode": "iptables", "iptables": {"masqueradeBit": 10, "masqueradeAll": True}}
    assert parse_configuration({"mode": "ipvs", "masquerade_bit": 5}, document) == ProxyConfiguration(
        mode="ipvs", masquerade_bit=5, masquerade_all=True
    )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("x", "must be a mapping, not 'x'"),
        ({"kind": "KubeletConfiguration"}, "kind: 'KubeletConfiguration' is not KubeProxyConfiguration"),
        ({"mode": "userspace"}, "mode: 'userspace' is not one of iptables, ipvs, nftables"),
        ({"iptables": {"masqueradeBit": 40}}, "iptables.masqueradeBit: 40 is outside 0..31"),
        ({"iptables": []}, "iptables: must be a mapping, not a list"),
        ({"ipvs": {"tcpTimeout": "15 m"}}, "ipvs.tcpTimeout: must be a duration such as 900s or 1h30m, not '15 m'"),
        ({"ipvs": {"excludeCIDRs": ["x"]}}, "ipvs.excludeCIDRs[0]: 'x' is not a network such as 10.0.0.0/8"),
        ({"clusterCidr": "10.0.0.0/8"}, "clusterCidr: unknown key (did you mean 'clusterCIDR'?)"),
        ({"nodePortAddress": []}, "nodePortAddress: unknown key (did you mean 'nodePortAddresses'?)"),
        ({"ipvs": {"strictArp": True}}, "ipvs.strictArp: unknown key (did you mean 'ipvs.strictARP'?)"),
        ({"masqueradeAll": True}, "masqueradeAll: unknown key (did you mean 'iptables.masqueradeAll'?)"),
        ({"iptable": {}}, "iptable: unknown key (did you mean 'iptables'?)"),
    ],
)
def test_what_is_wrong_with_a_kube_proxy_configuration(document: object, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_kube_proxy_configuration(document)
    assert caught.value.problems == [problem]


NODE = {
    "kind": "Node",
    "metadata": {"name": "Node-A", "labels": {"topology.kubernetes.io/zone": "zone-1"}},
    "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "FD00:244:1::/64"]},
    "status": {
        "addresses": [
            {"type": "ExternalIP", "address": "203.0.113.5"},
            {"type": "InternalIP", "address": "192.168.100.11"},
            {"type": "InternalIP", "address": "FD00:100::11"},
            {"type": "Hostname", "address": "node-a"},
        ]
    },
}
PARSED = Node(
    "node-a", ("192.168.100.11", "fd00:100::11", "203.0.113.5"), ("10.244.1.0/24", "fd00:244:1::/64"), "zone-1"
)


def test_a_node_object() -> None:
    assert parse_node(NODE) == PARSED


def test_a_node_object_with_the_older_single_pod_cidr() -> None:
    assert parse_node({**NODE, "spec": {"podCIDR": "10.244.1.0/24"}}).pod_cidrs == ("10.244.1.0/24",)


def test_a_native_node() -> None:
    keys = PARSED._asdict()
    assert parse_node({**keys, "name": "NODE-a"}) == PARSED
    assert parse_node({"name": "node-a"}) == Node("node-a")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "node.name: is required"),
        ([], "node: must be a mapping, not a list"),
        ({"name": "a", "adresses": []}, "node.adresses: unknown key (did you mean 'addresses'?)"),
        ({"name": "a", "addresses": ["::1"]}, "node.addresses[0]: ::1 is a loopback address"),
        (
            {"name": "a", "pod_cidrs": ["10.0.0.1"]},
            "node.pod_cidrs[0]: '10.0.0.1' is not a network such as 10.0.0.0/8; for one address write 10.0.0.1/32",
        ),
        ({"kind": "Node"}, "node.metadata.name: is required"),
        (
            {**NODE, "status": {"addresses": [{"type": "InternalIP", "address": "x"}]}},
            "node.status.addresses[0].address: 'x' is not an IP address; names are not resolved",
        ),
    ],
)
def test_what_is_wrong_with_a_node(document: object, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_node(document)
    assert problem in caught.value.problems


@pytest.mark.parametrize(
    ("bind_address", "addresses", "ipv4", "ipv6"),
    [
        ("", (), "127.0.0.1", "::1"),
        ("", PARSED.addresses, "192.168.100.11", "fd00:100::11"),
        ("0.0.0.0", PARSED.addresses, "192.168.100.11", "fd00:100::11"),
        ("::", PARSED.addresses, "192.168.100.11", "fd00:100::11"),
        ("192.168.100.99", PARSED.addresses, "192.168.100.99", "fd00:100::11"),
        ("fd00:100::99", ("192.168.100.11",), "192.168.100.11", "fd00:100::99"),
    ],
)
def test_node_ip(bind_address: str, addresses: tuple[str, ...], ipv4: str, ipv6: str) -> None:
    node, configuration = Node("node-a", addresses), ProxyConfiguration(bind_address=bind_address)
    assert (node_ip(node, configuration, "ipv4"), node_ip(node, configuration, "ipv6")) == (ipv4, ipv6)
