# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nftables of this machine's kernel, each test in a network namespace of its own.

services      172.30.0.0/16, fd00:96::/112    node ports    30000 and up
endpoints     10.244.0.0/16, fd00:244::/64    this node     node-0 at 192.0.2.1, 2001:db8::1
"""

from __future__ import annotations

import ctypes
import difflib
import random
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.converge import Outcome, converge
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import (
    Options,
    compile_rule_set,
    converge_rule_set,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.subsystems import NftablesTables
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.netlink import (
    NETFILTER,
    NetlinkError,
    NetlinkSocket,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.nftables_dump import Memory, read_table
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServiceData, ServicePort
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Ownership
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import is_own_table
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.nftables import render, service_name
from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import parse
from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import render as render_tables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.needs import root_and

if TYPE_CHECKING:
    from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import Tables

FOREIGN = """\
table inet foreign {
    chain input {
        type filter hook input priority filter; policy accept;
        tcp dport 22 accept comment "not ours"
    }
}
""".replace("    ", "\t")
CONFIGURATION = ProxyConfiguration(mode="nftables", cluster_cidrs=("10.244.0.0/16", "fd00:244::/64"))
FACTS = NodeFacts((6, 1), (LocalAddress("eth0", "192.0.2.1", 24), LocalAddress("eth0", "2001:db8::1", 64)))
NODE = Node("node-0", ("192.0.2.1", "2001:db8::1"))
NAT_OUTPUT = "chain ip kube-proxy nat-output"
FIREWALL = "ip kube-proxy firewall-ips"
OWNERSHIP = Ownership(lambda *_: False, lambda *_: False, lambda _name: False, lambda _key: False, tables=is_own_table)

pytestmark = root_and("nft")


def nft(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(["nft", *argv], check=False, input=stdin, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{argv}: {done.stderr}\n{stdin or ''}"
    return done.stdout


@pytest.fixture(autouse=True)
def namespace(fresh_namespace: None) -> None:
    """A fresh network namespace with a table of someone else's."""
    nft("-f", "-", stdin=FOREIGN)


def service(index: int, node_port: int = 0, affinity_timeout: int = 0) -> ServicePort:
    """A plain service; every third one is of IPv6."""
    v6 = index % 3 == 2
    family, base, pods = ("ipv6", "fd00:96::", "fd00:244::") if v6 else ("ipv4", "172.30.0.", "10.244.0.")
    number = f"{index:x}" if v6 else str(index)
    endpoints = tuple(Endpoint(f"{pods}{number[-2:]}", 8080 + e, f"node-{e}") for e in range(3))
    port = ServicePort("ns", f"s{index}", "p", "tcp", family, f"{base}{number}", 80, endpoints=endpoints)
    return port._replace(node_port=node_port, affinity_timeout=affinity_timeout)


def random_service(index: int, random_: random.Random) -> ServicePort:
    """A service of any kind."""
    plain = service(index)
    outside = "2001:db8:1::" if plain.family == "ipv6" else "198.51.100."
    length = "127" if plain.family == "ipv6" else "31"
    yes = random_.random
    return plain._replace(
        protocol=random_.choice(["tcp", "udp", "sctp"]),
        endpoints=tuple(e._replace(ready=yes() < 0.8) for e in plain.endpoints[: random_.randrange(4)]),
        node_port=30000 + index if yes() < 0.5 else 0,
        external_ips=(f"{outside}{index}",) if yes() < 0.3 else (),
        load_balancer_ips=(f"{outside}{index + 100}",) if yes() < 0.3 else (),
        source_ranges=tuple(f"{outside}{2 * n}/{length}" for n in random_.sample(range(6), random_.randrange(4))),
        affinity_timeout=random_.choice([0, 0, 60, 10800, 86399]),
        internal_local=yes() < 0.3,
        external_local=yes() < 0.3,
    )


def random_rule_set(seed: int) -> RuleSet:
    random_ = random.Random(seed)
    ports = [random_service(index, random_) for index in random_.sample(range(60), random_.randrange(25))]
    addresses = random_.choice([(), ("0.0.0.0/0", "::/0"), ("192.0.2.0/24",)])
    configuration = CONFIGURATION._replace(
        node_port_addresses=addresses,
        masquerade_all=random_.random() < 0.2,
        masquerade_bit=random_.choice([14, 0, 30, 31]),
        detect_local_mode=random_.choice(["ClusterCIDR", "InterfaceNamePrefix", "BridgeInterface"]),
        bridge_interface="br0",
        interface_name_prefix="cali",
        service_cidrs=random_.choice([(), ("172.30.0.0/16", "fd00:96::/108"), ("10.96.0.0/16", "10.97.0.0/16")]),
    )
    return render(ServiceData.of(ports), NODE, configuration, FACTS)


def rule_set(*ports: ServicePort) -> RuleSet:
    return render(ServiceData.of(list(ports)), NODE, CONFIGURATION, FACTS)


def go(desired: RuleSet, runner: Runner | None = None) -> Outcome:
    subsystem = NftablesTables(runner or Runner(), OWNERSHIP, nftables.NftablesSocket())
    return converge({"nftables": subsystem}, desired, check=False)


def listed() -> Tables:
    return parse(nft("-s", "list", "ruleset"))


def difference(expected: Tables) -> list[str]:
    """Lines of the live tables and of the expected ones that the other side lacks."""
    texts = (render_tables(listed()).split("\n"), render_tables(expected).split("\n"))
    return list(difflib.unified_diff(*texts, "live", "expected", n=0, lineterm=""))


def brief(outcome: Outcome) -> list[str]:
    return [f"{o.verb} {o.kind} {o.name.split(' ', 2)[-1]}" for o in outcome.operations]


@pytest.mark.parametrize("seed", range(12))
def test_any_change_ends_where_a_fresh_start_does(seed: int) -> None:
    foreign = parse(FOREIGN)
    for desired in (random_rule_set(2 * seed), random_rule_set(2 * seed + 1)):
        socket = nftables.NftablesSocket()
        before = socket.generation()
        go(desired)
        # What nft lists is what was rendered, in every case.
        assert difference({**foreign, **desired.nftables}) == []
        assert before is not None
        assert socket.generation() == before + 1, "one transaction"
        assert go(desired).operations == []


def test_a_change_of_endpoints_rewrites_one_chain_and_touches_no_other_element() -> None:
    ports = [service(index) for index in range(6)]
    go(rule_set(*ports))
    fewer = ports[0]._replace(endpoints=ports[0].endpoints[1:])
    assert brief(go(rule_set(fewer, *ports[1:]))) == [
        f"change chain service-{service_name(ports[0])}",
        "remove element hairpin-connections 10.244.0.0 . 10.244.0.0 . tcp . 8080",
    ]


def test_the_longest_names_are_taken() -> None:
    """nft takes 128 bytes as the comment of an element; a service may be called by 143."""
    port = service(0)._replace(namespace="n" * 63, name="s" * 63, port_name="p" * 15, affinity_timeout=60)
    desired = rule_set(port, service(1)._replace(namespace="m" * 63, name="s" * 63, port_name="p" * 15, endpoints=()))
    go(desired)
    elements = listed()["ip kube-proxy"].sets["no-endpoint-services"].elements
    assert [len(element.comment) for element in elements.values()] == [128]
    assert difference({**parse(FOREIGN), **desired.nftables}) == []
    assert go(desired).operations == []


@pytest.mark.parametrize(
    "ranges",
    [
        ("10.0.0.0/8",),
        ("10.0.0.7/32",),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8", "10.1.0.0/16"),
        ("10.0.1.0/24", "10.0.2.0/24"),
        ("10.0.0.0/25", "10.0.0.128/25"),
        ("10.0.0.7/32", "10.0.0.7/32"),
        ("198.51.100.0/24", "192.0.2.0/24"),
    ],
)
def test_source_ranges_are_listed_as_those_of_kube_proxy(ranges: tuple[str, ...]) -> None:
    """It writes them as they are, and the load balancer's addresses where the node's is among them."""
    port = service(0)._replace(load_balancer_ips=("192.0.2.100",), source_ranges=ranges)
    sources = [*ranges, *(["192.0.2.100"] if "192.0.2.0/24" in ranges else [])]
    text = f"table ip kube-proxy {{\nchain firewall {{\nip saddr != {{ {', '.join(sources)} }} drop\n}}\n}}\n"
    theirs, problem = nftables.listed_form(Runner(), text)
    assert problem == ""
    desired = rule_set(port)
    firewall = f"firewall-{service_name(port)}"
    assert desired.nftables["ip kube-proxy"].chains[firewall] == theirs["ip kube-proxy"].chains["firewall"]
    go(desired)
    assert difference({**parse(FOREIGN), **desired.nftables}) == []
    assert go(desired).operations == []
    one = rule_set(port._replace(source_ranges=("10.9.0.0/16",)))
    assert brief(go(one)) == [f"change chain {firewall}"]
    assert brief(go(desired)) == [f"change chain {firewall}"]
    assert difference({**parse(FOREIGN), **desired.nftables}) == []


@pytest.mark.parametrize(
    "rule",
    [
        'ip saddr { 10.0.0.1, 10.0.0.1 } drop comment "not { 10.0.0.1 }"',
        'iifname { "eth0", "eth0" } drop',
        "tcp dport vmap { 80 : drop }",
        "update @clients { ip saddr } drop",
    ],
)
def test_a_set_of_one_element_stays_one(rule: str) -> None:
    clients = "set clients { type ipv4_addr; flags dynamic; }"
    tables, problem = nftables.listed_form(Runner(), f"table ip office {{\n{clients}\nchain a {{\n{rule}\n}}\n}}\n")
    assert problem == ""
    desired = RuleSet.empty()._replace(nftables=tables)
    assert brief(go(desired)) == ["add table office"]
    assert difference({**parse(FOREIGN), **tables}) == []


def test_what_no_service_has_of_a_service_network_is_dropped_where_networks_are_named() -> None:
    last = 'daddr {} drop comment "Drop traffic to unallocated ClusterIPs"'
    named = CONFIGURATION._replace(service_cidrs=("10.97.0.0/16", "10.96.0.0/16", "fd00:96::/108"))
    expected = {"ip": last.format("{ 10.96.0.0/15 }"), "ip6": last.format("fd00:96::/108")}
    for configuration, more in ((named, 1), (CONFIGURATION, 0), (named, 1)):
        desired = render(ServiceData.of([service(0)]), NODE, configuration, FACTS)
        go(desired)
        assert difference({**parse(FOREIGN), **desired.nftables}) == []
        for family, rule in expected.items():
            found = listed()[f"{family} kube-proxy"].chains["cluster-ips-check"].rules
            assert found[1:] == (f"{family} {rule}",) * more


def test_a_service_that_goes_leaves_nothing() -> None:
    ports = [service(index, node_port=30000 + index, affinity_timeout=60) for index in range(3)]
    go(rule_set(*ports))
    go(rule_set(*ports[:1]))
    assert "s1" not in nft("list", "ruleset")
    assert difference({**parse(FOREIGN), **rule_set(*ports[:1]).nftables}) == []


def test_clients_are_remembered_across_changes_of_other_services() -> None:
    sticky = service(0, affinity_timeout=10800)
    desired = rule_set(sticky, service(1))
    go(desired)
    name = next(name for name in desired.nftables["ip kube-proxy"].sets if name.startswith("affinity-"))
    nft("-f", "-", stdin=f"add element ip kube-proxy {name} {{ 192.0.2.7 }}\n")
    assert go(desired).operations == []
    assert go(rule_set(sticky)).changed
    assert "192.0.2.7" in nft("list", "set", "ip", "kube-proxy", name)


@pytest.mark.parametrize(
    ("vandal", "repair"),
    [
        ("delete table ip6 kube-proxy", ["add table kube-proxy"]),
        ("flush chain ip kube-proxy services", ["change chain services"]),
        ("add rule ip kube-proxy services drop", ["change chain services"]),
        ("flush set ip kube-proxy cluster-ips", ["add element cluster-ips 172.30.0.0"]),
        ("add element ip kube-proxy cluster-ips { 9.9.9.9 }", ["remove element cluster-ips 9.9.9.9"]),
        ("add counter ip kube-proxy mine", ["remove counter mine"]),
        ("add chain ip kube-proxy mine", ["remove chain mine"]),
        (
            f"delete {NAT_OUTPUT}\nadd {NAT_OUTPUT} {{ type nat hook output priority 7; }}",
            ["change chain nat-output"],
        ),
        ("add table ip kube-proxy { flags dormant; }", ["change table kube-proxy"]),
        (
            f"flush chain ip kube-proxy firewall-check\ndelete map {FIREWALL}\nadd set {FIREWALL} {{ type mark; }}",
            ["change map firewall-ips", "change chain firewall-check"],
        ),
    ],
)
def test_damage_is_repaired_where_it_is(vandal: str, repair: list[str]) -> None:
    desired = rule_set(service(0))
    go(desired)
    nft("-f", "-", stdin=f"{vandal}\n")
    assert brief(go(desired)) == repair
    assert difference({**parse(FOREIGN), **desired.nftables}) == []


def test_another_mode_removes_the_tables_and_no_others() -> None:
    go(rule_set(service(0)))
    assert brief(go(RuleSet.empty())) == ["remove table kube-proxy", "remove table kube-proxy"]
    assert listed() == parse(FOREIGN)


def test_a_switch_of_modes_leaves_nothing_of_the_other(tmp_path: Path) -> None:
    data = ServiceData.of([service(index, node_port=30000 + index) for index in range(3)])
    for mode in ("nftables", "iptables", "nftables"):
        access = NodeAccess(backend="nft", state_folder=str(tmp_path))
        configuration = CONFIGURATION._replace(mode=mode, conntrack_max_per_core=0)
        desired = compile_rule_set(data, NODE, configuration, access)
        assert converge_rule_set(access, desired, configuration, Options(), check=False).changed
        again = NodeAccess(backend="nft", state_folder=str(tmp_path))
        assert not converge_rule_set(again, desired, configuration, Options(), check=False).changed
        ruleset = nft("list", "ruleset")
        assert ("kube-proxy {" in ruleset, "KUBE-SERVICES" in ruleset) == (mode == "nftables", mode == "iptables")


OFFICE = """
set networks {
  type ipv4_addr; flags interval
  elements = { %s }
}
counter hits { }
chain input { type filter hook input priority -150
  ip saddr != @networks tcp dport { 443, 80 } counter name hits drop
}
"""


def office(networks: str) -> RuleSet:
    """A table of someone who writes it by hand."""
    text = f"table inet office {{ {OFFICE % networks} }}\n"
    tables, problem = nftables.listed_form(Runner(), text)
    assert problem == ""
    return RuleSet.empty()._replace(nftables=tables)


@pytest.mark.parametrize(
    "networks",
    ["10.0.0.0/25", "10.0.0.0/23", "10.0.0.128-10.0.1.7", "10.0.0.0/25, 10.0.0.192/26", "10.0.0.7, 10.0.0.9"],
)
def test_a_table_in_any_form_is_listed_as_desired(networks: str) -> None:
    first = office("10.0.0.0/24")
    assert brief(go(first)) == ["add table office"]
    assert go(first).operations == []
    changed = office(networks)
    assert {operation.kind for operation in go(changed).operations} == {"element"}
    assert difference({**parse(FOREIGN), **changed.nftables}) == []


def test_what_nft_refuses_is_named_by_its_line() -> None:
    text = "table inet office {\nchain a {\n  tcp port 80 drop\n}\n}\n"
    tables, problem = nftables.listed_form(Runner(), text)
    assert tables == {}
    assert problem.endswith("in line 2: tcp port 80 drop")
    assert listed() == parse(FOREIGN), "it was loaded elsewhere"


def test_processes() -> None:
    ports = [service(index) for index in range(30)]
    runner = Runner()
    go(rule_set(*ports), runner)
    assert runner.processes == 2, "version, transaction; nothing to list, before or after"
    runner = Runner()
    go(rule_set(*ports), runner)
    assert runner.processes == 0, "netlink alone"
    runner = Runner()
    go(rule_set(*ports[1:]), runner)
    assert runner.processes == 1, "transaction"


def read_by_netlink(memory: Memory) -> Tables:
    with NetlinkSocket(NETFILTER) as connection:
        found = {name: read_table(connection, name, memory) for name in ("ip kube-proxy", "ip6 kube-proxy")}
    return {name: table for name, table in found.items() if table is not None}


@pytest.mark.parametrize("seed", range(30))
def test_netlink_tells_what_nft_lists(seed: int) -> None:
    desired = random_rule_set(100 + seed)
    nft("-f", "-", stdin=render_tables(desired.nftables))
    found = read_by_netlink(Memory())
    assert found.keys() == desired.nftables.keys()
    assert render_tables({**parse(FOREIGN), **found}) == render_tables(listed())


STRANGE_RULES = [
    "tcp dport 22 accept",
    "ip saddr 10.0.0.1 counter drop",
    "meta l4proto tcp dnat to 10.0.0.1-10.0.0.9:80",
    "meta l4proto tcp dnat to 10.0.0.1:80-90",
    "meta l4proto tcp dnat ip to numgen inc mod 2 map { 0 : 10.0.0.1 . 80, 1 : 10.0.0.2 . 80 }",
    "meta l4proto tcp dnat ip to numgen random mod 2 offset 7 map { 7 : 10.0.0.1 . 80, 8 : 10.0.0.2 . 80 }",
    "ip saddr . meta l4proto . th dport vmap @service-ips",
    "meta mark set 0x4000",
    "meta mark & 0x4000 == 0x0 drop",
    "ct state established,new drop",
    "ct state != new drop",
    "ip saddr & 0.0.0.255 == 7 drop",
    "ip saddr { 10.0.0.1, 10.0.0.7 } drop",
    "fib daddr type broadcast drop",
    "masquerade",
    "masquerade random,persistent",
    "reject with icmp type host-prohibited",
    "limit rate 3/second accept",
    "ip saddr 10.0.0.0/9 ip daddr != 10.0.0.0/15 meta l4proto != udp drop",
    'ip saddr 10.0.0.1-10.0.0.7 iifname "a*" iifname != "b" return',
]


@pytest.mark.parametrize("line", STRANGE_RULES)
def test_a_strange_rule_is_read_as_nft_lists_it(line: str) -> None:
    """Either netlink tells the same, or the table is left to nft."""
    go(rule_set(service(0)))
    chain = "nat-postrouting" if "masquerade" in line else "services" if "reject" not in line else "filter-input"
    nft("-f", "-", stdin=f"add rule ip kube-proxy {chain} {line}\n")
    found = read_by_netlink(Memory())
    live = listed()
    assert {**live, **found} == live
    assert brief(go(rule_set(service(0)))) == [f"change chain {chain}"]


class DamagedSocket(NetlinkSocket):
    """Changes one byte of each dump."""

    def __init__(self, seed: int) -> None:
        super().__init__(NETFILTER)
        self.random = random.Random(seed)

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        found = super().dump(kind, body)
        if found:
            index = self.random.randrange(len(found))
            damaged = bytearray(found[index])
            damaged[self.random.randrange(4, len(damaged))] ^= 1 << self.random.randrange(8)
            found[index] = bytes(damaged)
        return found


def test_messages_that_make_no_sense_are_left_to_nft() -> None:
    """No error but those of netlink, whatever the kernel says."""
    go(random_rule_set(7))
    unreadable = 0
    for seed in range(100):
        with DamagedSocket(seed) as connection:
            try:
                unreadable += read_table(connection, "ip kube-proxy", Memory()) is None
            except NetlinkError:
                continue
    assert unreadable > 10


def test_what_is_remembered_is_true_and_saves_reading(tmp_path: Path) -> None:
    path = str(tmp_path / "memory")
    ports = [service(index) for index in range(12)]

    def run(*wanted: ServicePort) -> tuple[Outcome, int]:
        socket = nftables.NftablesSocket(path)
        subsystem = NftablesTables(Runner(), OWNERSHIP, socket)
        outcome = converge({"nftables": subsystem}, rule_set(*wanted), check=False)
        return outcome, socket.messages

    run(*ports)
    assert run(*ports)[0].operations == []
    with_memory = run(*ports)[1]
    Path(path).unlink()
    assert run(*ports)[1] == with_memory + 12, "the map of each service"
    # Someone changes one: the rule has another map then.
    name = f"service-{service_name(ports[0])}"
    live = listed()["ip kube-proxy"].chains[name].rules[0]
    run(*ports[:11])
    nft(
        "-f",
        "-",
        stdin=f"flush chain ip kube-proxy {name}\nadd rule ip kube-proxy {name} {live.replace('8081', '9')}\n",
    )
    assert brief(run(*ports[:11])[0]) == [f"change chain {name}"]
    assert difference({**parse(FOREIGN), **rule_set(*ports[:11]).nftables}) == []


def test_the_memory_of_another_namespace_or_table_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    desired = rule_set(service(0), service(1))
    text = render_tables(desired.nftables)
    socket = nftables.NftablesSocket(str(path))
    converge({"nftables": NftablesTables(Runner(), OWNERSHIP, socket)}, desired, check=False)
    path.write_text(re.sub(r"\{ 0 : [^}]*\}", "{ 0 : 10.9.9.9 . 9 }", path.read_text()))
    assert read_by_netlink(Memory(str(path))) != desired.nftables
    nft("-f", "-", stdin=f"delete table ip kube-proxy\ndelete table ip6 kube-proxy\n{text}")
    assert read_by_netlink(Memory(str(path))) == desired.nftables, "tables of the same names"
    assert ctypes.CDLL(None).unshare(0x40000000) == 0
    nft("-f", "-", stdin=text)
    assert read_by_netlink(Memory(str(path))) == desired.nftables, "the same handles, in another namespace"
    path.write_text("{ not JSON")
    assert read_by_netlink(Memory(str(path))) == desired.nftables


def test_what_somebody_writes_while_a_run_learns_is_not_taken_for_its_own(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    ports = [service(0), service(1)]
    desired = rule_set(*ports).nftables
    nft("-f", "-", stdin=render_tables(desired))
    name = f"service-{service_name(ports[0])}"
    written = desired["ip kube-proxy"].chains[name].rules[0]
    socket = nftables.NftablesSocket(str(path))
    at = socket.generation()
    assert at is not None
    nft(
        "-f",
        "-",
        stdin=f"flush chain ip kube-proxy {name}\nadd rule ip kube-proxy {name} {written.replace('8081', '9')}\n",
    )
    socket.remember(desired, at, learn=True)
    found = read_by_netlink(Memory(str(path)))
    assert found != desired
    live = listed()
    assert found == {name: live[name] for name in desired}


def test_the_kernel_lets_nobody_change_the_map_of_a_rule() -> None:
    """What the memory rests on."""
    go(rule_set(service(0)))
    for verb in ("add", "delete"):
        change = f"{verb} element ip kube-proxy __map0 {{ 1 : 10.9.9.9 . 9 }}\n"
        done = subprocess.run(["nft", "-f", "-"], input=change, capture_output=True, text=True, check=False)
        assert done.returncode != 0, change


def test_a_refused_transaction_names_the_line_and_changes_nothing() -> None:
    desired = rule_set(service(0))
    go(desired)
    broken = rule_set(service(0), service(1))
    table = broken.nftables["ip kube-proxy"]
    chain = next(name for name in table.chains if "s1" in name)
    table.chains[chain] = table.chains[chain]._replace(rules=("no such rule",))
    with pytest.raises(KernelError, match="in: no such rule"):
        go(broken)
    assert difference({**parse(FOREIGN), **desired.nftables}) == []
