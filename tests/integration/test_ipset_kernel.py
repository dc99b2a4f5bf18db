# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""IP sets of this machine's kernel, each test in a network namespace of its own.

members   10.9.0.0/24, fd00:9::/64; 10.9.0.1 is on lo where packets are sent
foreign   192.0.2.0/24
"""

from __future__ import annotations

import contextlib
import functools
import random
import re
import socket
import subprocess
import threading
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.converge import Outcome
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.converge import converge as run_converge
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.subsystems import Sets
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import ipset
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Result, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipset_socket import FORMS, SetsSocket
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.ipset import plan, temporary_name
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Ownership
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.ipvs_sets import OWN_SETS
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset import IPSet, parse_options, render
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset_member import ZERO_CIDR_TYPES, normalise
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab.host import wait_until
from tests.needs import root_and

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation

PROGRAMS = ("ipset", "iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy")
HASH = "family inet hashsize 1024 maxelem 65536"
HASH6 = HASH.replace("inet", "inet6")
# Create options of each type. The kernel of the machines for development lacks the last ones.
TYPES = {
    "hash:ip": HASH,
    "hash:ip,port": HASH,
    "hash:ip,port,ip": HASH,
    "hash:ip,port,net": HASH,
    "hash:net": HASH,
    "hash:net,port": HASH,
    "hash:net,port,net": HASH,
    "hash:net,iface": HASH,
    "bitmap:port": "range 0-65535",
    "bitmap:ip": "range 10.9.0.0-10.9.255.255",
    "bitmap:ip,mac": "range 10.9.0.0-10.9.255.255",
    "hash:net,net": HASH,
    "hash:ip,mark": HASH,
    "hash:ip,mac": HASH,
    "hash:mac": "hashsize 1024 maxelem 65536",
}

pytestmark = [
    pytest.mark.usefixtures("fresh_namespace"),
    root_and(*PROGRAMS),
]


def run(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{argv}: {done.stderr}\n{stdin or ''}"
    return done.stdout


def ip_set(name: str, set_type: str, *members: str, options: str | None = None) -> IPSet:
    """A set as people write it."""
    created = parse_options((TYPES[set_type] if options is None else options).split())
    family = dict(created).get("family", "inet")
    found = [pair for member in members for pair in normalise(set_type, family, member)]
    return IPSet(name, set_type, created, dict(found))


def has_type(set_type: str) -> bool:
    done = subprocess.run(
        ["ipset", "create", "probe", set_type, *TYPES[set_type].split()], capture_output=True, check=False
    )
    subprocess.run(["ipset", "destroy", "probe"], capture_output=True, check=False)
    return done.returncode == 0


def converge(*desired: IPSet, runner: Runner | None = None, own: str = "", exact: bool = True) -> list[Operation]:
    """Applies the plan in the two phases of a run; ``own`` are characters with which names of our sets start."""
    runner = runner or Runner()
    wanted = {one.name: one for one in desired}

    def owns(name: str) -> bool:
        return bool(own) and name.startswith(own)

    operations = plan(ipset.read(runner, lambda name: name in wanted or owns(name)), wanted, owns, exact)
    ipset.verify(runner, operations)
    ipset.apply(runner, [operation for operation in operations if operation.verb != "remove"])
    ipset.apply(runner, [operation for operation in operations if operation.verb == "remove"])
    left = plan(ipset.read(runner, lambda name: name in wanted or owns(name)), wanted, owns, exact)
    assert left == [], left
    return operations


def live() -> str:
    """All sets of this namespace in canonical text."""
    return render(ipset.read(Runner()).values())


def text(*sets: IPSet) -> str:
    return render(sets)


# ------------------------------------------------------------------------------------- read, plan and apply


def test_sets_come_and_go_as_planned() -> None:
    first = [ip_set("K-A", "hash:ip", "10.9.0.1", "10.9.0.2"), ip_set("K-P", "bitmap:port", "80")]
    converge(*first)
    assert live() == text(*first)
    second = [ip_set("K-A", "hash:ip", "10.9.0.2", "10.9.0.3"), ip_set("K-N", "hash:ip,port", "10.9.0.1,80")]
    converge(*second, own="K-")
    assert live() == text(*second)
    assert converge(*second, own="K-") == []


def test_foreign_sets_stay_as_they_are() -> None:
    foreign = ip_set("other", "hash:ip", "192.0.2.1")
    converge(foreign)
    ours = ip_set("K-A", "hash:ip", "10.9.0.1")
    converge(ours, own="K-")
    converge(own="K-")
    assert live() == text(foreign)


def test_merged_members_stay() -> None:
    converge(ip_set("A", "hash:ip", "10.9.0.1"))
    converge(ip_set("A", "hash:ip", "10.9.0.2"), exact=False)
    assert live() == text(ip_set("A", "hash:ip", "10.9.0.1", "10.9.0.2"))


def test_a_set_of_sets_is_made_after_its_members_and_goes_before_them() -> None:
    sets = [
        IPSet("K-list", "list:set", (("size", "8"),), {"K-b": "", "K-a": ""}),
        ip_set("K-a", "hash:ip"),
        ip_set("K-b", "hash:ip"),
    ]
    converge(*sets)
    assert live() == text(*sets)
    converge(own="K-")
    assert live() == ""


def test_options_of_members_are_updated_in_place() -> None:
    options = f"{HASH} timeout 0 counters comment"
    converge(ip_set("A", "hash:ip", '10.9.0.1 comment "timeout 3"', "10.9.0.2 timeout 600", options=options))
    operations = converge(
        ip_set("A", "hash:ip", '10.9.0.1 comment "timeout 4"', "10.9.0.2 timeout 599", options=options)
    )
    assert [str(operation.payload) for operation in operations] == ['10.9.0.1 comment "timeout 4"']


def test_an_address_gets_another_mac_address_in_a_bitmap() -> None:
    converge(ip_set("A", "bitmap:ip,mac", "10.9.0.1,00:00:00:00:00:01", "10.9.0.2,00:00:00:00:00:02"))
    wanted = ip_set("A", "bitmap:ip,mac", "10.9.0.1,00:00:00:00:00:11")
    converge(wanted)
    assert live() == text(wanted)


def test_every_create_option_is_read_as_it_was_asked_for() -> None:
    options = f"{HASH} netmask 24 timeout 300 counters comment skbinfo forceadd"
    converge(
        ip_set("A", "hash:ip", options=options), ip_set("B", "bitmap:port", options="range 1-9 timeout 0 counters")
    )


def test_a_refused_member_is_named_and_the_next_run_goes_on() -> None:
    small = ip_set("A", "hash:ip", "10.9.0.1", options="family inet hashsize 64 maxelem 1")
    full = small._replace(members={"10.9.0.1": "", "10.9.0.2": ""})
    with pytest.raises(KernelError, match=r"'add A 10\.9\.0\.2': .*full.*\(2 lines before it took effect"):
        converge(full)
    converge(small)
    assert live() == text(small)


def test_twenty_thousand_members_take_one_process_to_write() -> None:
    members = [f"10.{a}.{b}.{c},tcp:80" for a in range(2) for b in range(100) for c in range(100)]
    wanted = ip_set("A", "hash:ip,port", *members)
    runner = Runner()
    operations = plan(ipset.read(runner), {"A": wanted}, lambda name: False)
    ipset.apply(runner, operations)
    assert runner.processes == 2
    assert plan(ipset.read(runner), {"A": wanted}, lambda name: False) == []
    changed = wanted._replace(members={**wanted.members, "10.9.0.1,tcp:1": ""})
    ipset.apply(runner, plan(ipset.read(runner), {"A": changed}, lambda name: False))
    assert runner.processes == 5
    assert plan(ipset.read(runner), {"A": changed}, lambda name: False) == []


# ---------------------------------------------------------------------------------------------- replacement

RULES = """\
*mangle
:PRE-OWN - [0:0]
[5:500] -A PRE-OWN -j SET --add-set A src --exist
[6:600] -A PRE-OWN -m set --match-set A dst -m set ! --match-set A src -j ACCEPT
COMMIT
*filter
:OUTPUT ACCEPT [9:900]
:CHAIN-A - [0:0]
[1:100] -A OUTPUT -m comment --comment "--match-set A dst" -j RETURN
[2:200] -A CHAIN-A -m set --match-set A dst -m comment --comment "says \\"A\\"" -j ACCEPT
[3:300] -A CHAIN-A -m set --match-set A dst -m comment --comment other -j ACCEPT
[3:300] -A CHAIN-A -m set --match-set AB dst -j ACCEPT
[4:400] -A CHAIN-A -m set --match-set A dst -m comment --comment other -j ACCEPT
COMMIT
"""
PORTS = "-m set --match-set A dst -m comment --comment "


def load_rules(program: str) -> str:
    run("ipset", "create", "AB", "hash:ip", "family", "inet6" if program.startswith("ip6") else "inet")
    run(f"{program}-restore", "--counters", stdin=RULES)
    return saved(program)


def saved(program: str) -> str:
    """Rules and their counters. Those of policies iptables-legacy resets with every change of a table."""
    lines = (line for line in run(f"{program}-save", "-c").splitlines(True) if not line.startswith("#"))
    return "".join(re.sub(r"^(:.*) \[\d+:\d+\]", r"\1", line) for line in lines)


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"])
def test_rules_keep_place_and_counters_while_their_set_changes_its_type(program: str) -> None:
    options = HASH6 if program.startswith("ip6") else HASH
    converge(ip_set("A", "hash:ip", options=options))
    before = load_rules(program)
    wanted = ip_set("A", "hash:net", options=options)
    converge(wanted)
    assert saved(program) == before
    assert sorted(run("ipset", "list", "-n").split()) == ["A", "AB"]
    assert "hash:net" in run("ipset", "list", "-t", "A")


def test_rules_of_both_back_ends_and_families_are_switched() -> None:
    converge(ip_set("A", "bitmap:port", "80"))
    programs = [f"{family}-{kind}" for family in ("iptables", "ip6tables") for kind in ("nft", "legacy")]
    for program in programs:
        run(program, "-A", "INPUT", "-m", "set", "--match-set", "A", "src", "-j", "ACCEPT")
    before = [saved(program) for program in programs]
    wanted = IPSet("A", "list:set", (("size", "8"),), {})
    converge(wanted)
    assert [saved(program) for program in programs] == before
    assert live() == text(wanted)


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_a_set_that_rules_name_keeps_its_family(kind: str) -> None:
    """iptables takes no rule that names a set of the other family: everything stays, of every back end."""
    old = ip_set("A", "hash:ip", "10.9.0.1")
    converge(old)
    programs = ("iptables-nft", "iptables-legacy")
    for program in programs if kind == "nft" else programs[::-1]:
        run(program, "-A", "INPUT", "-m", "set", "--match-set", "A", "src", "-j", "ACCEPT")
    before = [saved(program) for program in programs]
    with pytest.raises(KernelError, match=r"family of set \S+ is IPv6"):
        converge(ip_set("A", "hash:ip", "fd00:9::1", options=HASH6))
    assert [saved(program) for program in programs] == before
    assert live() == text(old)


def sets_of(runner: Runner, *wanted: IPSet, sets_socket: SetsSocket | None = None) -> Outcome:
    """A whole run on kube-proxy's sets."""
    ownership = Ownership(lambda *_: False, lambda *_: False, OWN_SETS.__contains__, lambda _key: False)
    desired = RuleSet.empty()._replace(sets={one.name: one for one in wanted})
    return run_converge({"sets": Sets(runner, sets_socket or SetsSocket(), ownership)}, desired, check=False)


def test_the_sets_of_kube_proxy_are_listed_over_netlink() -> None:
    converge(ip_set("KUBE-6-CLUSTER-IP", "hash:ip,port", options="family inet6 maxelem 65536"))
    wanted = (
        ip_set("KUBE-CLUSTER-IP", "hash:ip,port", "10.9.0.1,tcp:80", "10.9.0.2,tcp:80"),
        ip_set("KUBE-NODE-PORT-TCP", "bitmap:port", "80", "81"),
    )
    runner, sets_socket = Runner(), SetsSocket()
    outcome = sets_of(runner, *wanted, sets_socket=sets_socket)
    assert [one.verb for one in outcome.operations] == ["add", "add", "remove"]
    assert runner.processes == 3, "version, two restores"
    assert sets_socket.messages == 2
    assert ipset.read(Runner()) == outcome.after.sets
    assert not sets_of(Runner(), *wanted).changed


class Meddled(Runner):
    """Somebody else changes a set right after it was written."""

    def __init__(self, *meddling: str) -> None:
        super().__init__()
        self._meddling = meddling

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        result = super().run(argv, stdin, check)
        if "restore" in argv:
            run("ipset", *self._meddling)
        return result


class MeddledSocket(SetsSocket):
    """The same where members were written over netlink."""

    def __init__(self, *meddling: str) -> None:
        super().__init__()
        self._meddling = meddling

    def write(self, operations: Collection[Operation]) -> bool:
        assert super().write(operations)
        run("ipset", *self._meddling)
        return True


@pytest.mark.parametrize("meddling", [("del", "10.9.0.1,tcp:80"), ("add", "10.9.0.9,tcp:80"), ("flush",)])
def test_a_change_that_does_not_last_is_noticed(meddling: tuple[str, ...]) -> None:
    wanted = ip_set("KUBE-CLUSTER-IP", "hash:ip,port", "10.9.0.1,tcp:80", "10.9.0.2,tcp:80")
    verb, *member = meddling
    with pytest.raises(KernelError, match="of 1 changes did not last"):
        sets_of(Meddled(verb, wanted.name, *member), wanted)


@pytest.mark.parametrize("meddling", [("del", "10.9.0.3,tcp:80"), ("add", "10.9.0.9,tcp:80"), ("flush",), ("destroy",)])
def test_a_change_of_members_that_does_not_last_is_noticed(meddling: tuple[str, ...]) -> None:
    wanted = ip_set("KUBE-CLUSTER-IP", "hash:ip,port", "10.9.0.1,tcp:80", "10.9.0.2,tcp:80")
    assert sets_of(Runner(), wanted).changed
    verb, *member = meddling
    more = wanted._replace(members={**wanted.members, "10.9.0.3,tcp:80": ""})
    with pytest.raises(KernelError, match="of 1 changes did not last"):
        sets_of(Runner(), more, sets_socket=MeddledSocket(verb, wanted.name, *member))


def test_after_members_of_one_set_changed_only_that_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (ip_set(name, "hash:ip", "10.9.0.1") for name in ("KUBE-IPVS-IPS", "KUBE-6-IPVS-IPS"))
    assert sets_of(Runner(), first, second).changed
    asked: list[str] = []
    read_one = SetsSocket.read_one

    def spy(found: SetsSocket, name: str) -> IPSet | None:
        asked.append(name)
        return read_one(found, name)

    monkeypatch.setattr(SetsSocket, "read_one", spy)
    runner, sets_socket = Runner(), SetsSocket()
    more = first._replace(members={"10.9.0.1": "", "10.9.0.2": ""})
    outcome = sets_of(runner, more, second, sets_socket=sets_socket)
    assert asked == ["KUBE-IPVS-IPS"]
    assert (runner.processes, sets_socket.messages) == (0, 3)
    assert outcome.after.sets == ipset.read(Runner())
    fewer = second._replace(members={})
    assert len(sets_of(Runner(), first, fewer).operations) == 2
    assert asked == ["KUBE-IPVS-IPS"]


def test_a_set_that_is_not_there_is_none() -> None:
    converge(ip_set("KUBE-IPVS-IPS", "hash:ip", "10.9.0.1"))
    assert SetsSocket().read_one("KUBE-IPVS") is None


def test_sets_of_other_kinds_are_listed_by_ipset() -> None:
    converge(ip_set("A", "hash:ip", "10.9.0.1", options="family inet maxelem 65536 timeout 600"))
    wanted = ip_set("A", "hash:ip", "10.9.0.1", "10.9.0.2", options="family inet maxelem 65536 timeout 600")
    runner = Runner()
    assert sets_of(runner, wanted).changed
    assert runner.processes == 2, "two times save"


def test_what_the_kernel_refuses_is_told_in_the_words_of_ipset() -> None:
    options = "family inet maxelem 2"
    converge(ip_set("A", "hash:ip,port", "10.9.0.1,80", options=options))
    with pytest.raises(KernelError, match=r"^ipset restore: 'add A 10\.9\.0\.3,tcp:80': Hash is full"):
        sets_of(Runner(), ip_set("A", "hash:ip,port", *(f"10.9.0.{n},80" for n in (1, 2, 3)), options=options))


def test_a_set_without_references_changes_its_type_in_one_restore() -> None:
    converge(ip_set("A", "hash:ip", "10.9.0.1"))
    runner = Runner()
    wanted = ip_set("A", "bitmap:port", "80")
    operations = plan(ipset.read(runner), {"A": wanted}, lambda name: False)
    ipset.apply(runner, operations)
    # save, list of references, restore
    assert runner.processes == 3
    assert live() == text(wanted)


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_create_options_change_by_a_swap_that_rules_do_not_notice(kind: str) -> None:
    converge(ip_set("A", "hash:ip", "10.9.0.1"))
    run(f"iptables-{kind}", "-A", "OUTPUT", "-m", "set", "--match-set", "A", "dst", "-j", "ACCEPT")
    wanted = ip_set("A", "hash:ip", "10.9.0.2", options="family inet hashsize 1024 maxelem 9")
    runner = Runner()
    ipset.apply(runner, plan(ipset.read(runner), {"A": wanted}, lambda name: False))
    assert runner.processes == 2
    assert live() == text(wanted)


@contextlib.contextmanager
def packets(address: str = "10.9.0.1") -> Iterator[list[str]]:
    """Sends packets all the time; the list holds ``sent`` or ``dropped`` for each."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{address}/32", "dev", "lo")
    fates: list[str] = []
    end = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not end.is_set():
                try:
                    sender.sendto(b"?", (address, 9))
                    fates.append("sent")
                except PermissionError:
                    # what sendto says of a packet that OUTPUT drops
                    fates.append("dropped")

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield fates
    finally:
        end.set()
        thread.join()


def is_longer(found: list[str], length: int) -> bool:
    return len(found) > length


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_a_packet_matches_all_the_time(kind: str) -> None:
    converge(ip_set("A", "hash:ip", "10.9.0.1"))
    program = f"iptables-{kind}"
    run(program, "-A", "OUTPUT", "-m", "set", "--match-set", "A", "dst", "-j", "ACCEPT")
    run(program, "-P", "OUTPUT", "DROP")
    with packets() as fates:
        for set_type, member in 3 * [("hash:net", "10.9.0.0/24"), ("hash:ip", "10.9.0.1")]:
            begin = len(fates)
            converge(ip_set("A", set_type, member))
            assert wait_until(functools.partial(is_longer, fates, begin), timeout=10)
    assert len(fates) > 100
    assert set(fates) == {"sent"}


class EndedError(Exception):
    """The run was killed."""


class Mortal(Runner):
    """Lets a run live for so many processes, and looks after the last whether the rule still matches."""

    def __init__(self, lives: int, program: str) -> None:
        super().__init__()
        self.lives = lives
        self.program = program

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        if not self.lives:
            raise EndedError
        self.lives -= 1
        result = super().run(argv, stdin, check)
        if self.lives:
            return result
        found = re.search(r"--match-set (\S+) dst", run(f"{self.program}-save"))
        assert found
        run("ipset", "test", found.group(1), "10.9.0.1")
        return result


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(kind: str) -> None:
    program = f"iptables-{kind}"
    old, wanted = ip_set("A", "hash:ip", "10.9.0.1"), ip_set("A", "hash:net", "10.9.0.0/24", "10.9.9.0/24")
    converge(old)
    run(program, "-A", "OUTPUT", "-m", "set", "--match-set", "A", "dst", "-j", "ACCEPT")
    before = saved(program)
    lives, finished = 1, False
    while not finished:
        with contextlib.suppress(EndedError):
            converge(wanted, runner=Mortal(lives, program))
            finished = True
        converge(wanted, runner=Mortal(1000, program))
        assert saved(program) == before
        assert live() == text(wanted)
        converge(old)
        lives += 1
    assert lives > 8


def test_a_leftover_that_nothing_names_is_removed() -> None:
    wanted = ip_set("A", "hash:ip", "10.9.0.1")
    converge(wanted)
    run("ipset", "create", temporary_name("A"), "hash:ip")
    run("ipset", "add", temporary_name("A"), "10.9.0.77")
    operations = converge(wanted)
    assert [(o.verb, o.name, o.reason) for o in operations] == [
        ("remove", temporary_name("A"), "stood in for A in a run that was ended")
    ]
    assert live() == text(wanted)


def test_a_leftover_with_other_members_does_not_get_into_a_swap() -> None:
    converge(ip_set("A", "hash:ip", "10.9.0.1"))
    run("ipset", "create", temporary_name("A"), "hash:ip")
    run("ipset", "add", temporary_name("A"), "10.9.0.77")
    wanted = ip_set("A", "hash:ip", "10.9.0.1", options="family inet hashsize 1024 maxelem 9")
    converge(wanted)
    assert live() == text(wanted)


def test_stand_ins_of_foreign_sets_stay() -> None:
    run("ipset", "create", temporary_name("other"), "hash:ip")
    converge(ip_set("A", "hash:ip"), own="K-")
    assert temporary_name("other") in live()


def test_a_set_that_a_set_of_sets_holds_keeps_its_type() -> None:
    sets = [ip_set("A", "hash:ip", "10.9.0.1"), IPSet("L", "list:set", (("size", "8"),), {"A": ""})]
    converge(*sets)
    run("iptables-nft", "-A", "OUTPUT", "-m", "set", "--match-set", "A", "dst", "-j", "ACCEPT")
    before = live(), saved("iptables-nft")
    message = "2 references, and 1 are rules; it is a member of the set L. Nothing was changed"
    for step in ("verify", "apply"):
        operations = plan(ipset.read(Runner()), {"A": ip_set("A", "hash:net")}, lambda name: False)
        with pytest.raises(KernelError, match=message):
            getattr(ipset, step)(Runner(), operations)
        assert (live(), saved("iptables-nft")) == before


def test_a_set_that_a_traffic_filter_uses_keeps_its_type() -> None:
    converge(ip_set("A", "hash:ip"))
    run("ip", "link", "set", "lo", "up")
    run("tc", "qdisc", "add", "dev", "lo", "clsact")
    attach = ["tc", "filter", "add", "dev", "lo", "egress", "protocol", "ip", "basic", "match", "ipset(A dst)"]
    done = subprocess.run([*attach, "action", "ok"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no traffic filter with sets here: {done.stderr.strip()}")
    with pytest.raises(KernelError, match="1 references, and 0 are rules; maybe a tc filter"):
        converge(ip_set("A", "hash:net"))


def test_a_failure_on_the_way_leaves_what_was_there() -> None:
    old = ip_set("A", "hash:ip", "10.9.0.1")
    converge(old)
    run("iptables-nft", "-A", "OUTPUT", "-m", "set", "--match-set", "A", "dst", "-j", "ACCEPT")
    before = saved("iptables-nft")
    refused = ip_set("A", "hash:net", "10.9.0.0/24", "10.9.1.0/24", options="family inet hashsize 64 maxelem 1")
    with pytest.raises(KernelError, match="full"):
        converge(refused)
    assert (live(), saved("iptables-nft")) == (text(old), before)


def test_who_keeps_a_set_from_going_is_named() -> None:
    converge(ip_set("K-A", "hash:ip"))
    run("iptables-nft", "-A", "FORWARD", "-m", "set", "--match-set", "K-A", "dst", "-j", "ACCEPT")
    with pytest.raises(KernelError, match=r"'destroy K-A': .* in use by iptables-nft filter FORWARD rule 1 \(0 lines"):
        converge(own="K-")


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_a_set_goes_right_after_its_last_rule(kind: str) -> None:
    rule = ("OUTPUT", "-m", "set", "--match-set", "K-A", "dst", "-j", "ACCEPT")
    for _round in range(20):
        converge(ip_set("K-A", "hash:ip"))
        run(f"iptables-{kind}", "-A", *rule)
        run(f"iptables-{kind}", "-D", *rule)
        converge(own="K-")
    assert live() == ""


# -------------------------------------------------------------------------------------------------- members

ADDRESSES = {
    "inet": st.integers(0x01000000, 0xDFFFFFFF).map(lambda n: str(ip_address(n))),
    "inet6": st.integers(1 << 96, (1 << 128) - 1).map(lambda n: str(ip_address(n))),
}
PORTS_WRITTEN = st.builds(
    lambda protocol, first, more: f"{protocol}{first}" + (f"-{min(first + more, 65535)}" if more else ""),
    st.sampled_from(["", "tcp:", "udp:", "sctp:", "TCP:", "udplite:", "6:", "17:"]),
    st.integers(0, 65535),
    st.integers(0, 3),
)
MACS = st.binary(min_size=6, max_size=6).filter(any).map(lambda raw: raw.hex(":"))
MARKS = st.one_of(st.integers(0, 2**32 - 1).map(str), st.integers(0, 2**32 - 1).map(hex))


@st.composite
def networks(draw: st.DrawFn, family: str) -> str:
    """Addresses, networks with and without host bits, upper-case spellings."""
    address = draw(ADDRESSES[family])
    if draw(st.booleans()):
        return address.upper()
    return f"{address}/{draw(st.integers(1, 32 if family == 'inet' else 128))}"


@st.composite
def addresses(draw: st.DrawFn, family: str, ranged: bool) -> str:
    """Addresses; small networks and ranges, which ipset expands for IPv4."""
    address = draw(ADDRESSES[family])
    form = draw(st.sampled_from(["one", "network", "range"] if ranged and family == "inet" else ["one"]))
    if form == "network":
        return f"{address}/{draw(st.integers(29, 32))}"
    if form == "range":
        return f"{address}-{ip_address(address) + draw(st.integers(0, 5))}"
    return address.upper()


@st.composite
def entries(draw: st.DrawFn, set_type: str, family: str) -> str:
    """A valid entry of a set of a type and family, as a person may write it."""
    storage, _colon, kinds = set_type.partition(":")
    parts = []
    for index, kind in enumerate(kinds.split(",")):
        if storage == "bitmap" and kind == "ip":
            parts.append(f"10.9.{draw(st.integers(0, 255))}.{draw(st.integers(0, 255))}")
        elif kind == "ip":
            # Of several addresses in one entry, ipset takes only the first as a range, and none beside a MAC address.
            parts.append(draw(addresses(family, ranged=index == 0 and "mac" not in kinds)))
        elif kind == "net":
            parts.append(draw(networks(family)))
        elif kind == "port":
            written = draw(PORTS_WRITTEN)
            parts.append(written.rpartition(":")[2] if storage == "bitmap" else written)
        else:
            parts.append(draw({"mac": MACS, "mark": MARKS, "iface": st.sampled_from(["eth0", "cali+", "lo"])}[kind]))
    return ",".join(parts)


FAMILIES = [
    (set_type, family)
    for set_type, options in TYPES.items()
    for family in (("inet", "inet6") if options == HASH else ("inet",))
]


@pytest.mark.parametrize(("set_type", "family"), FAMILIES)
def test_members_are_listed_as_normalised(set_type: str, family: str) -> None:
    if not has_type(set_type):
        pytest.skip(f"this kernel has no {set_type}")
    options = TYPES[set_type].replace("inet", family)
    run("ipset", "create", "A", set_type, *options.split())

    def identity(entry: str) -> str:
        return entry.partition(",")[0] if set_type == "bitmap:ip,mac" else entry

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(entries(set_type, family), min_size=1, max_size=30, unique_by=identity))
    def check(written: list[str]) -> None:
        lines = ["flush A", *(f"add A {entry}" for entry in written)]
        run("ipset", "-exist", "restore", stdin="".join(f"{line}\n" for line in lines))
        live = ipset.read(Runner())
        found = live["A"].members
        expected = {member for entry in written for member, _options in normalise(set_type, family, entry)}
        assert set(found) == expected
        for member in found:
            assert normalise(set_type, family, member) == [(member, "")]
        simple = set_type in FORMS and all(protocol(member) in ("tcp", "udp", "sctp") for member in found)
        assert SetsSocket().read(lambda name: name == "A") == (live if simple else None)

    def protocol(member: str) -> str:
        return member.split(",")[1].partition(":")[0] if ",port" in set_type else "tcp"

    check()


@pytest.mark.parametrize(("set_type", "family"), [pair for pair in FAMILIES if pair[0] in FORMS])
def test_members_are_written_over_netlink(set_type: str, family: str) -> None:
    """Unless their protocol is none of Kubernetes': then ipset writes all of them."""
    options = TYPES[set_type].replace("inet", family)
    written = st.lists(entries(set_type, family), max_size=20)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(written, written)
    def check(before: list[str], after: list[str]) -> None:
        converge(ip_set("A", set_type, *before, options=options))
        wanted = {"A": ip_set("A", set_type, *after, options=options)}
        operations = plan(ipset.read(Runner()), wanted, lambda _name: False)
        runner, sets_socket = Runner(), SetsSocket()
        for verb in ("add", "remove"):
            ipset.apply(runner, [one for one in operations if one.verb == verb], sets_socket)
        sets_socket.close()
        assert plan(ipset.read(Runner()), wanted, lambda _name: False) == []
        assert bool(runner.processes) == any(",udplite:" in one.name for one in operations)

    check()


def test_members_with_options_are_left_to_ipset() -> None:
    converge(ip_set("A", "hash:ip,port,net", "10.9.0.1,80,10.9.0.0/24"))
    runner, sets_socket = Runner(), SetsSocket()
    found = ipset.read(Runner())["A"]
    wanted = found._replace(members={**found.members, "10.9.0.1,tcp:80,10.9.0.0/25": "nomatch"})
    operations = plan({"A": found}, {"A": wanted}, lambda _name: False)
    ipset.apply(runner, operations, sets_socket)
    assert ipset.read(Runner())["A"].members == wanted.members
    assert (runner.processes, sets_socket.messages) == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        "create B hash:ip counters",
        "create B hash:ip timeout 600",
        "create B hash:ip netmask 24",
        "create B hash:ip comment",
        "create B hash:ip forceadd",
        "create B bitmap:port range 0-9 skbinfo",
        "create B list:set",
        "create B hash:ip,port,net\nadd B 10.9.0.1,tcp:80,10.9.0.0/24\nadd B 10.9.0.1,tcp:80,10.9.0.0/25 nomatch",
        "create B hash:ip,port\nadd B 10.9.0.1,tcp:80\nadd B 10.9.0.1,icmp:ping",
    ],
)
def test_what_only_ipset_can_tell_is_left_to_it(line: str) -> None:
    run("ipset", "restore", stdin=f"create A hash:ip\nadd A 10.9.0.1\n{line}\n")
    live = ipset.read(Runner())
    runner, sets_socket = Runner(), SetsSocket()
    assert ipset.read(runner, sets_socket=sets_socket) == live
    assert runner.processes == 1
    # It is in nobody's way where it is not asked for.
    assert ipset.read(runner, lambda name: name == "A", sets_socket) == {"A": live["A"]}
    assert runner.processes == 1


def test_large_sets_are_listed_whole() -> None:
    lines = [f"add A 10.9.{a}.{b},udp:53,fd00::{a}:{b}" for a in range(40) for b in range(250)]
    lines = [line.replace("10.9.", "fd00:9::").replace(".", ":") for line in lines]
    run("ipset", "restore", stdin="\n".join(["create A hash:ip,port,ip family inet6", *lines, ""]))
    found = SetsSocket().read(lambda _name: True)
    assert found == ipset.read(Runner())
    assert len(found["A"].members) == 10_000


@pytest.mark.parametrize(("set_type", "family"), [pair for pair in FAMILIES if "net" in pair[0].partition(":")[2]])
def test_zero_networks_are_refused_exactly_where_ipset_refuses_them(set_type: str, family: str) -> None:
    if not has_type(set_type):
        pytest.skip(f"this kernel has no {set_type}")
    options = TYPES[set_type].replace("inet", family)
    run("ipset", "create", "A", set_type, *options.split())
    zero, one = ("::/0", "fd00:9::1") if family == "inet6" else ("0.0.0.0/0", "10.9.0.1")
    samples = {"ip": one, "port": "tcp:80", "net": f"{one}", "iface": "eth0"}
    kinds = set_type.partition(":")[2].split(",")
    for place, kind in enumerate(kinds):
        if kind != "net":
            continue
        entry = ",".join(zero if index == place else samples[kind] for index, kind in enumerate(kinds))
        done = subprocess.run(["ipset", "add", "A", entry], capture_output=True, text=True, check=False)
        if set_type in ZERO_CIDR_TYPES:
            assert done.returncode == 0, done.stderr
            assert set(ipset.read(Runner())["A"].members) == {normalise(set_type, family, entry)[0][0]}
        else:
            assert done.returncode != 0
            with pytest.raises(ValueError, match="cannot hold"):
                normalise(set_type, family, entry)


def test_the_halves_of_the_zero_network_hold_every_address() -> None:
    converge(ip_set("A", "hash:net", "0.0.0.0/1", "128.0.0.0/1"))
    for number in random.Random(1).sample(range(2**32), 20):
        run("ipset", "test", "A", str(ip_address(number)))
    assert list(ip_network("0.0.0.0/0").subnets()) == [ip_network("0.0.0.0/1"), ip_network("128.0.0.0/1")]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(entries("hash:ip,port,net", "inet"), max_size=20), st.lists(entries("hash:net", "inet6"), max_size=20))
def test_read_plan_apply_make_a_round(first: list[str], second: list[str]) -> None:
    sets = [ip_set("R-A", "hash:ip,port,net", *first), ip_set("R-B", "hash:net", *second, options=HASH6)]
    converge(*sets, own="R-")
    assert live() == text(*sets)
    assert converge(*sets, own="R-") == []
