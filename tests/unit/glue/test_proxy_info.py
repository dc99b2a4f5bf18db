# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What proxy_info shows of a node that has this and lacks that."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import proxy_info
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import ipvs as kernel_ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import nftables as kernel_nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Result, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.state import nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import RealServerStatistics, Traffic, parse

SERVERS = parse(
    "-A -u 10.96.0.1:53 -s mh -p 60 -M 255.255.255.0 -o -b mh-port\n"
    "-a -u 10.96.0.1:53 -r 10.244.0.1:53 -i -w 2 --tun-type gue --tun-port 6080\n"
    "-A -f 7 -6 -s rr\n"
    "-a -f 7 -6 -r [fd00:244::1]:0 -g -w 1\n"
)
DNS = next(key for key in SERVERS if not key.fwmark)
POD = next(iter(SERVERS[DNS].real_servers))


class FakeNode:
    """IPVS with the virtual servers above; commands that answer with a text."""

    def __init__(self, outputs: dict[str, str]) -> None:
        self.runner = FakeRunner(outputs)
        self.sets_socket = None

    def ipvs(self) -> Any:
        return self

    def read(self) -> Any:
        return SERVERS, {(DNS, POD): RealServerStatistics(3, 1, 1)}

    def traffic(self) -> Any:
        return {DNS: Traffic(connections=4)}, {(DNS, POD): Traffic(connections=4, incoming_bytes=99)}

    def recorded_virtual_servers(self) -> Any:
        return {DNS}


class FakeRunner(Runner):
    def __init__(self, outputs: dict[str, str]) -> None:
        super().__init__()
        self.outputs = outputs

    def find(self, program: str) -> str | None:
        return program if program in self.outputs else None

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        if argv[0] not in self.outputs:
            raise KernelError(f"{argv[0]} is not installed")
        return Result(0, self.outputs[argv[0]], "")


def node(**outputs: str) -> Any:
    return FakeNode(outputs)


def test_virtual_servers_have_the_names_that_ipvs_service_takes() -> None:
    (dns, mark), notes = proxy_info.virtual_servers(node())
    assert notes == []
    assert (mark["fwmark"], mark["family"], mark["recorded"]) == (7, "ipv6", False)
    assert "port" not in mark
    assert dns["name"] == "udp 10.96.0.1:53"
    assert (dns["scheduler"], dns["scheduler_flags"], dns["one_packet"]) == ("mh", ["mh-port"], True)
    assert (dns["persistence_timeout"], dns["persistence_netmask"], dns["persistence_engine"]) == (60, 24, None)
    assert (dns["recorded"], dns["traffic"]["connections"]) == (True, 4)
    real_server = dns["real_servers"][0]
    assert real_server["tunnel"] == {"type": "gue", "port": 6080, "checksum": "nocsum"}
    assert (real_server["weight"], real_server["active_connections"], real_server["inactive_connections"]) == (2, 3, 1)
    assert real_server["traffic"]["incoming_bytes"] == 99
    assert mark["real_servers"][0]["tunnel"] is None


SETS = """\
create KUBE-CLUSTER-IP hash:ip family inet hashsize 1024 maxelem 65536
add KUBE-CLUSTER-IP 10.0.0.1
create x hash:net family inet6
"""


def test_members_of_sets_are_counted_and_listed_on_request() -> None:
    found, _notes = proxy_info.sets(node(ipset=SETS), members=False)
    assert found[0] == {
        "name": "KUBE-CLUSTER-IP",
        "type": "hash:ip",
        "family": "inet",
        "own": True,
        "member_count": 1,
    }
    assert (found[1]["own"], found[1]["member_count"]) == (False, 0)
    assert proxy_info.sets(node(ipset=SETS), members=True)[0][0]["members"] == ["10.0.0.1"]


def test_a_missing_tool_has_no_version_and_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_ipvs, "available", lambda: False)
    found, notes = proxy_info.versions(
        node(iptables="iptables v1.8.9 (nf_tables)\n", nft="nftables v1.0.6 (Lester Gooch #5)\n")
    )
    assert found == {"iptables": "1.8.9", "iptables_backend": "nft", "ipset": None, "nft": "1.0.6", "ipvs": None}
    assert notes == ["versions: no ipset", "versions: no ipvs"]


def test_tables_of_nftables_mode_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    table = nftables.Table(
        (),
        {"service-ips": nftables.Set("map", (), {"10.96.0.1 . tcp . 80": nftables.Element("goto service-x")})},
        {"services": nftables.Chain("", "", ("a", "b")), "service-x": nftables.Chain("", "", ("c",))},
        {},
    )
    monkeypatch.setattr(kernel_nftables, "read", lambda *_arguments: {"ip kube-proxy": table})
    here = node()
    here.nftables = None
    found, notes = proxy_info.nftables(here)
    sets = [{"name": "service-ips", "kind": "map", "element_count": 1}]
    assert found == [{"name": "ip kube-proxy", "chain_count": 2, "rule_count": 3, "sets": sets}]
    assert notes == []
