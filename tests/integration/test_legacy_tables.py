# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The digest of the legacy tables: packets leave it as it is, edits do not."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import legacy_tables
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.accounting import AccountingObjects
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.legacy_tables import in_use, look, state
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import ADD, Operation
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain, parse

from tests.needs import root_and

NEW_NETWORK_NAMESPACE = 0x40000000
PROGRAMS = ("iptables-legacy", "ip6tables-legacy", "ipset")
TABLES = ("filter", "nat")
# LOOPBACK is the family's. Matches and targets of kube-proxy's rules, and those that keep a state of their own.
RULES = """\
*nat
:KUBE-SEP-A - [0:0]
:KUBE-SEP-B - [0:0]
:KUBE-SVC - [0:0]
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SVC
-A POSTROUTING -p udp -j MARK --set-xmark 0x4000/0x4000
-A POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SEP-A -s 9.9.9.9 -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SEP-A -p udp -m recent --set --name KUBE-SEP-A --rsource -m udp -j DNAT --to-destination LOOPBACK
-A KUBE-SEP-B -p udp -m udp -j DNAT --to-destination LOOPBACK
-A KUBE-SVC -p udp -m recent --rcheck --seconds 60 --reap --name KUBE-SEP-A --rsource -j KUBE-SEP-A
-A KUBE-SVC -p udp -m udp --dport 53 -m statistic --mode random --probability 0.5 -j KUBE-SEP-A
-A KUBE-SVC -p udp -m addrtype --dst-type LOCAL -m udp --dport 53 -j KUBE-SEP-B
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -m nfacct --nfacct-name ours
-A INPUT -p udp -j KUBE-FIREWALL
-A OUTPUT -j ACCEPT
-A KUBE-FIREWALL -m comment --comment first
-A KUBE-FIREWALL -m limit --limit 5/s --limit-burst 3 -m comment --comment second
-A KUBE-FIREWALL -m hashlimit --hashlimit-upto 5/s --hashlimit-name sources --hashlimit-mode srcip
-A KUBE-FIREWALL -m statistic --mode nth --every 3 --packet 0 -j RETURN
-A KUBE-FIREWALL -m quota --quota 100000 -j ACCEPT
COMMIT
"""
# What somebody does -> one restore
EDITS = {
    "a rule more": "*filter\n-A KUBE-FIREWALL -j ACCEPT\n",
    "a rule less": "*filter\n-D KUBE-FIREWALL 1\n",
    "a rule less in a built-in chain": "*filter\n-D OUTPUT 1\n",
    "rules in another order": "*filter\n-D KUBE-FIREWALL 1\n-I KUBE-FIREWALL 2 -m comment --comment first\n",
    "a rule from one built-in chain to the next": "*filter\n-D OUTPUT 1\n-A FORWARD -j ACCEPT\n",
    "a comment": "*filter\n-R KUBE-FIREWALL 1 -m comment --comment First\n",
    "a limit": "*filter\n-R KUBE-FIREWALL 2 -m limit --limit 6/s --limit-burst 3 -m comment --comment second\n",
    "a target": "*filter\n-R OUTPUT 1 -j DROP\n",
    "an interface": "*filter\n-R OUTPUT 1 -o lo -j ACCEPT\n",
    "a reversed match": "*filter\n-R INPUT 2 ! -p udp -j KUBE-FIREWALL\n",
    "states": "*filter\n-R INPUT 1 -m conntrack --ctstate NEW -m nfacct --nfacct-name ours\n",
    "an accounting object": "*filter\n-R INPUT 1 -m conntrack --ctstate NEW,ESTABLISHED -m nfacct --nfacct-name mine\n",
    "a policy": "*filter\n:FORWARD DROP [0:0]\n",
    "a new chain": "*filter\n:KUBE-SERVICES - [0:0]\n",
    "a chain less": "*filter\n-X KUBE-FORWARD\n",
    "a jump to another chain": "*filter\n-R INPUT 2 -p udp -j KUBE-FORWARD\n",
    "a goto": "*filter\n-R INPUT 2 -p udp -g KUBE-FIREWALL\n",
    "a port": "*nat\n-R KUBE-SVC 3 -p udp -m addrtype --dst-type LOCAL -m udp --dport 54 -j KUBE-SEP-B\n",
    "a type of addresses": "*nat\n-R KUBE-SVC 3 -p udp -m addrtype --src-type LOCAL -m udp --dport 53 -j KUBE-SEP-B\n",
    "a probability": (
        "*nat\n-R KUBE-SVC 2 -p udp -m udp --dport 53 -m statistic --mode random --probability 0.4 -j KUBE-SEP-A\n"
    ),
    "seconds": (
        "*nat\n-R KUBE-SVC 1 -p udp -m recent --rcheck --seconds 61 --reap --name KUBE-SEP-A --rsource -j KUBE-SEP-A\n"
    ),
    "an address": "*nat\n-R KUBE-SEP-A 1 -s 9.9.9.8 -j MARK --set-xmark 0x4000/0x4000\n",
    "a mark": "*nat\n-R KUBE-SEP-A 1 -s 9.9.9.9 -j MARK --set-xmark 0x8000/0x8000\n",
    "a destination": "*nat\n-R KUBE-SEP-B 1 -p udp -m udp -j DNAT --to-destination 9.9.9.9\n",
    "no fully random ports": "*nat\n-R POSTROUTING 3 -j MASQUERADE\n",
    "a flushed chain": "*nat\n-F KUBE-SVC\n",
}

pytestmark = [
    pytest.mark.usefixtures("fresh_namespace"),
    root_and(*PROGRAMS),
]


class Family(NamedTuple):
    """One family of the network namespace."""

    name: str
    program: str
    socket: socket.AddressFamily
    loopback: str

    def restore(self, lines: str, *options: str) -> None:
        text = lines.replace("LOOPBACK", self.loopback)
        if self.name == "ipv6":
            text = text.replace("9.9.9.", "2001:db8::")
        tool(f"{self.program}-restore", *options, stdin=text)

    def edit(self, lines: str) -> None:
        self.restore(f"{lines}COMMIT\n", "--noflush")

    def counters(self) -> str:
        return tool(f"{self.program}-save", "-c")

    def digest(self) -> str:
        found = state(look(self.name, TABLES))
        assert found
        return found


def tool(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def seen(family: Family, *tables: str) -> str | None:
    """The digest of these tables."""
    return state(look(family.name, tables))


def prepare(family: Family) -> None:
    """A fresh namespace with the rules."""
    tool("ip", "link", "set", "lo", "up")
    # To masquerade takes an address that is not the loopback's own.
    tool("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    AccountingObjects().apply([Operation(ADD, "accounting object", "", "", name) for name in ("ours", "mine")])
    family.restore(RULES)


@pytest.fixture(params=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> Family:
    found = {
        "ipv4": Family("ipv4", "iptables-legacy", socket.AF_INET, "127.0.0.1"),
        "ipv6": Family("ipv6", "ip6tables-legacy", socket.AF_INET6, "::1"),
    }[request.param]
    prepare(found)
    return found


def counts(family: Family) -> dict[str, int]:
    return {table: found.entries for table, found in (look(family.name, TABLES) or {}).items()}


def entries_of(chains: dict[str, Chain]) -> int:
    return sum(len(chain.rules) + 2 * (chain.policy is None) for chain in chains.values())


def test_packets_make_no_difference(family: Family) -> None:
    before = family.digest()
    with socket.socket(family.socket, socket.SOCK_DGRAM) as server:
        server.bind((family.loopback, 53))
        for _packet in range(20):
            with socket.socket(family.socket, socket.SOCK_DGRAM) as client:
                client.sendto(b"query", (family.loopback, 53))
    rules = [line for line in family.counters().split("\n") if line.startswith("[")]
    unused = [line for line in rules if line.startswith("[0:0]")]
    # Two match no packet here; of two endpoints, the first client's may have been all the others'.
    assert (len(rules), len(unused) <= 4) == (18, True), unused
    assert family.digest() == before


def test_the_same_rules_have_the_same_digest_in_another_namespace(family: Family) -> None:
    before = family.digest()
    assert ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE) == 0, os.strerror(ctypes.get_errno())
    prepare(family)
    assert family.digest() == before


@pytest.mark.parametrize("lines", EDITS.values(), ids=EDITS)
def test_an_edit_makes_a_difference(family: Family, lines: str) -> None:
    before = family.digest()
    family.edit(lines)
    assert family.digest() != before
    family.restore(RULES)
    tool(family.program, "-P", "FORWARD", "ACCEPT")
    assert family.digest() == before


def test_entries_are_those_that_an_empty_table_does_not_have(family: Family) -> None:
    tables = parse(tool(f"{family.program}-save"))
    assert counts(family) == {table: entries_of(chains) for table, chains in tables.items()}
    family.restore("*filter\nCOMMIT\n*nat\nCOMMIT\n")
    assert counts(family) == {"filter": 0, "nat": 0}
    nat = (look(family.name, TABLES) or {})["nat"]
    family.edit("*filter\n:KUBE-A - [0:0]\n-A KUBE-A -j ACCEPT\n-A INPUT -j KUBE-A\n")
    assert counts(family) == {"filter": 4, "nat": 0}
    assert (look(family.name, TABLES) or {})["nat"] == nat


def test_it_tells_nothing_where_the_names_of_tables_in_use_cannot_be_read(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legacy_tables, "PROC_NET", str(tmp_path))
    for name in ("ip_tables_names", "ip6_tables_names"):
        (tmp_path / name).mkdir()
    assert look(family.name, TABLES) is None


def test_a_renamed_chain_makes_a_difference(family: Family) -> None:
    before = family.digest()
    tool(family.program, "-E", "KUBE-FORWARD", "KUBE-BACKWARD")
    assert family.digest() != before
    tool(family.program, "-E", "KUBE-BACKWARD", "KUBE-FORWARD")
    assert family.digest() == before


def test_other_tables_make_no_difference(family: Family) -> None:
    before = family.digest()
    family.edit("*mangle\n-A OUTPUT -j ACCEPT\n")
    assert family.digest() == before
    assert seen(family, *TABLES, "mangle") != before


def test_a_table_that_is_not_in_use_is_not_put_to_use(family: Family) -> None:
    assert sorted(in_use(family.name)) == ["filter", "nat"]
    assert seen(family, *TABLES, "mangle", "raw") == family.digest()
    assert seen(family, "mangle") == seen(family) != family.digest()
    assert sorted(in_use(family.name)) == ["filter", "nat"]


def test_a_table_that_is_written_meanwhile_is_seen_as_it_was_at_one_time(family: Family) -> None:
    family.restore("*filter\n" + "-A OUTPUT -j ACCEPT\n" * 2000 + "COMMIT\n", "--noflush")
    without = family.digest()
    family.edit("*filter\n-A INPUT -j ACCEPT\n")
    known = {family.digest(), without, None}
    edits = f"for i in $(seq 40); do {family.program} -D INPUT -j ACCEPT; {family.program} -A INPUT -j ACCEPT; done"
    with subprocess.Popen(["sh", "-c", edits]) as writer:
        while writer.poll() is None:
            assert seen(family, *TABLES) in known
    assert seen(family, *TABLES) in known - {None, without}


def create_set(family: Family, name: str) -> None:
    tool("ipset", "create", name, "hash:ip", "family", "inet6" if family.name == "ipv6" else "inet")


def test_a_set_of_another_name_under_the_same_number_makes_a_difference(family: Family) -> None:
    """The kernel holds the number of a set in a rule, and gives it to another set once no rule names it."""
    rule = "-A OUTPUT -m set --match-set {} src -j DROP"
    create_set(family, "addresses")
    without = family.digest()
    family.edit(f"*filter\n{rule.format('addresses')}\n")
    before = family.digest()
    family.edit(f"*filter\n{rule.format('addresses').replace('-A', '-D')}\n")
    assert family.digest() == without != before
    tool("ipset", "rename", "addresses", "others")
    create_set(family, "addresses")
    family.edit(f"*filter\n{rule.format('others')}\n")
    assert family.digest() not in (before, without)
    family.edit(f"*filter\n{rule.format('others').replace('-A', '-D')}\n{rule.format('addresses')}\n")
    assert family.digest() not in (before, without), "another number, of which nobody knows that it means the same"
    family.restore(f"*filter\n{rule.format('addresses').replace('-A', '-D')}\nCOMMIT\n", "--noflush")
    tool("ipset", "destroy", "addresses")
    tool("ipset", "rename", "others", "addresses")
    family.edit(f"*filter\n{rule.format('addresses')}\n")
    assert family.digest() == before


def test_a_swap_of_sets_makes_no_difference(family: Family) -> None:
    """The kernel exchanges what is behind the numbers along with the names."""
    create_set(family, "addresses")
    create_set(family, "others")
    family.edit("*filter\n-A OUTPUT -m set --match-set addresses src -j DROP\n")
    before = family.digest()
    tool("ipset", "swap", "addresses", "others")
    assert "--match-set addresses" in tool(f"{family.program}-save")
    assert family.digest() == before


@pytest.mark.parametrize("word", ["set", "SET"])
def test_other_text_may_look_like_a_match_or_a_target(
    word: str, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legacy_tables, "_names_of_sets", lambda numbers: [] if not numbers else pytest.fail("no set"))
    before = family.digest()
    family.edit(f"*filter\n:{word} - [0:0]\n-A OUTPUT -o {word} -m comment --comment {word} -j {word}\n")
    assert family.digest() not in (before, None)


def test_it_tells_nothing_of_a_rule_that_adds_to_sets(family: Family) -> None:
    before = family.digest()
    create_set(family, "addresses")
    family.edit("*filter\n-A OUTPUT -j SET --add-set addresses src\n")
    assert look(family.name, TABLES) is None
    family.edit("*filter\n-D OUTPUT -j SET --add-set addresses src\n")
    assert family.digest() == before


def test_it_tells_nothing_without_the_right_to_read(family: Family) -> None:
    os.seteuid(65534)
    try:
        assert look(family.name, TABLES) is None
    finally:
        os.seteuid(0)


def test_it_tells_nothing_of_entries_in_another_form(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = legacy_tables._FAMILIES[family.name]
    monkeypatch.setitem(legacy_tables._FAMILIES, family.name, layout._replace(next_offset=layout.next_offset - 2))
    assert look(family.name, TABLES) is None
    monkeypatch.undo()
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert look(family.name, TABLES) is None
