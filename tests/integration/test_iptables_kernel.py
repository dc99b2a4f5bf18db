# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""iptables and ip6tables of this machine's kernel, with both back ends, each test in a network namespace of its own.

services  10.96.0.0/16, fd00:96::/32
foreign   192.0.2.0/24, 2001:db8::/32
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import iptables, legacy_tables
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Result, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables import TABLES, detect
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.iptables import applied, phases, plan
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation, Ownership
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain, Tables, parse
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables_rule import canonical, quote
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.needs import root_and
from tests.unit.state.test_iptables_rule import IPV4, IPV6, table

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "recordings"
PROGRAMS = ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy", "ipset", "nft")
KINDS = ("nft", "legacy")
FAMILIES = ("ipv4", "ipv6")
SETS = """\
create S4 hash:ip
create P4 hash:ip,port
create S6 hash:ip family inet6
create P6 hash:ip,port family inet6
create BP bitmap:port range 0-65535
"""
OWNERSHIP = Ownership(
    chains=lambda table_, name: name.startswith("KUBE-"),
    jumps=lambda table_, chain, to: to.startswith("KUBE-"),
    sets=lambda name: False,
    virtual_servers=lambda key: False,
)

pytestmark = [
    pytest.mark.usefixtures("fresh_namespace"),
    root_and(*PROGRAMS),
]


def run(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{argv}: {done.stderr}\n{stdin or ''}"
    return done.stdout


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Node:
    """One family of one back end in this namespace."""

    def __init__(self, kind: str, family: str) -> None:
        self.kind = kind
        self.family = family
        self.runner = Runner()
        self.backend = detect(self.runner, kind)
        self.program = self.backend.tools[family].program

    def load(self, text: str, *options: str) -> None:
        """Loads text with the tool itself."""
        run(f"{self.program}-restore", "--noflush", *options, stdin=text)

    def save(self, *options: str) -> str:
        """What the tool prints, without remarks."""
        lines = run(f"{self.program}-save", *options).splitlines()
        return "".join(f"{line}\n" for line in lines if not line.startswith("#"))

    def tables(self) -> Tables:
        return iptables.read(self.runner, self.backend, self.family)

    def converge(self, desired: Tables) -> int:
        """Applies the plan in two phases; the number of its operations. The kernel has what is then expected of it."""
        expected = self.tables()
        operations = plan(expected, desired, OWNERSHIP, self.family)
        iptables.verify(self.runner, self.backend, self.family, operations)
        for phase in phases(operations):
            iptables.apply(self.runner, self.backend, self.family, phase)
            expected = applied(expected, phase)
        made = iptables.read(Runner(), self.backend, self.family)
        assert spelt(expected, self.family) == spelt(made, self.family)
        return len(operations)


def spelt(tables: Tables, family: str) -> Tables:
    """Tables in canonical form, without the built-in chains that hold nothing."""
    return {
        table: {
            name: Chain(chain.policy, tuple(canonical(rule, family) for rule in chain.rules))
            for name, chain in chains.items()
            if chain.rules or chain.policy is None
        }
        for table, chains in tables.items()
    }


@pytest.fixture
def node(kind: str, family: str) -> Node:
    return Node(kind, family)


# --- the canonical form of a rule


def table_of(rule: str) -> str:
    """A table in which the rule is allowed."""
    return "filter" if any(word in rule for word in ("REJECT", "DROP", "physdev")) else "nat"


def printed(node: Node, rules: list[str]) -> list[str]:
    """What the tool prints for each rule."""
    found: dict[int, str] = {}
    for name in ("filter", "nat"):
        numbers = [number for number, rule in enumerate(rules) if table_of(rule) == name]
        lines = [f"*{name}", ":T - [0:0]", ":U - [0:0]", *(f"-A T {rules[number]}" for number in numbers), "COMMIT\n"]
        node.load("\n".join(lines))
        found.update(zip(numbers, parse(node.save("-t", name))[name]["T"].rules, strict=True))
    return [found[number] for number in range(len(rules))]


def test_the_tool_prints_the_canonical_form(node: Node) -> None:
    run("ipset", "restore", stdin=SETS)
    rows = table(IPV4 if node.family == "ipv4" else IPV6)
    found = printed(node, [written for written, _printed in rows])
    assert [(row[0], saved) for row, saved in zip(rows, found, strict=True)] == rows
    assert [canonical(written, node.family) for written, _printed in rows] == found


# The nft back end prints "! --dport 0:N" as "--dport N+1:65535".
ports = st.integers(1, 65534).map(str)
port_ranges = st.one_of(ports, st.tuples(ports, ports).map(lambda pair: ":".join(sorted(pair, key=int))))
numbers = st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(0, 31).map(lambda bit: 1 << bit))
spelt_numbers = st.builds(
    lambda number, form: form.format(number), numbers, st.sampled_from(["{:#x}", "{:#010x}", "{}"])
)
masked = st.one_of(spelt_numbers, st.tuples(spelt_numbers, spelt_numbers).map("/".join))
states = st.lists(st.sampled_from(["INVALID", "NEW", "RELATED", "ESTABLISHED"]), min_size=1).map(",".join)
types = st.lists(st.sampled_from(["UNICAST", "LOCAL", "ANYCAST", "MULTICAST"]), min_size=1).map(",".join)
text = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60)
negation = st.sampled_from(["", "! "])


def words(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map(" ".join)


def any_order(*options: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Some of the options, in any order."""
    return st.lists(st.sampled_from(options), min_size=1, max_size=len(options), unique=True).flatmap(
        lambda chosen: st.tuples(*chosen).map(" ".join)
    )


MATCHES = (
    words("-m comment --comment", text.map(quote)),
    words("-m mark", negation, "--mark", masked),
    words("-m connmark", negation, "--mark", masked),
    words("-m conntrack", negation, "--ctstate", states),
    words("-m state", negation, "--state", states),
    words("-m addrtype", any_order(words(negation, "--src-type", types), words(negation, "--dst-type", types))),
    words("-m recent", any_order(words("--seconds", st.integers(1, 99999).map(str)), st.just("--rdest")), "--rcheck"),
    words("-m recent", any_order(words("--name", st.sampled_from(["A", "B"])), st.just("--rsource")), "--set"),
    words("-m statistic --mode random --probability", st.floats(0, 1).map("{:.10f}".format)),
    words("-m statistic --packet 0 --every", st.integers(1, 99).map(str), "--mode nth"),
)
TARGETS = (
    st.sampled_from(
        ["", "-j U", "-g U", "-j ACCEPT", "-j REJECT", "-j MASQUERADE --random-fully", "-j LOG --log-level 5"]
    ),
    words("-j MARK", st.sampled_from(["--set-mark", "--set-xmark"]), masked),
    words("-j MARK", st.sampled_from(["--or-mark", "--xor-mark", "--and-mark"]), spelt_numbers),
)


def addresses(family: str) -> st.SearchStrategy[str]:
    address = st.ip_addresses(v=6) if family == "ipv6" else st.ip_addresses(v=4)
    prefix = st.integers(1, 128 if family == "ipv6" else 32)
    return st.one_of(address.map(str), st.builds("{}/{}".format, address, prefix))


@st.composite
def rules(draw: st.DrawFn, family: str) -> str:
    """A rule that the tool accepts, its parts in any order that the tool allows."""
    parts = []
    for flag in draw(st.lists(st.sampled_from(["-s", "-d"]), unique=True)):
        parts.append(f"{draw(negation)}{flag} {draw(addresses(family))}")
    for flag in draw(st.lists(st.sampled_from(["-i", "-o"]), unique=True, max_size=1)):
        parts.append(f"{draw(negation)}{flag} {draw(st.sampled_from(['eth0', 'cali+']))}")
    parts += [draw(match) for match in draw(st.lists(st.sampled_from(MATCHES), max_size=3, unique_by=id))]
    parts.append(draw(st.sampled_from(TARGETS).flatmap(lambda target: target)))
    parts = draw(st.permutations(parts))
    protocol = draw(st.sampled_from(["", "tcp", "udp", "sctp", "6", "47"]))
    if protocol:
        parts.insert(0, f"-p {protocol}")
    if protocol in ("tcp", "udp", "sctp"):
        options = any_order(words(negation, "--dport", port_ranges), words(negation, "--sport", port_ranges))
        parts.append(f"-m {protocol} {draw(st.one_of(st.just(''), options))}")
    return " ".join(part for part in parts if part)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_tool_prints_the_canonical_form_of_any_rule(kind: str, family: str) -> None:
    node = Node(kind, family)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(rules(family), min_size=20, max_size=40))
    def check(written: list[str]) -> None:
        found = printed(node, written)
        ours = [canonical(rule, family) for rule in written]
        differing = [row for row in zip(written, found, ours, strict=True) if row[1] != row[2]]
        assert differing == []
        assert [canonical(rule, family) for rule in found] == found

    check()


# --- reading and writing


def address(family: str, number: int) -> str:
    return f"192.0.2.{number}/32" if family == "ipv4" else f"2001:db8::{number:x}/128"


def jump(name: str) -> str:
    return f'-m comment --comment "jump to {name}" -j KUBE-{name}'


def jumps(names: str) -> Chain:
    return Chain("ACCEPT", tuple(jump(name) for name in names))


def user_chains(names: str) -> dict[str, Chain]:
    return {f"KUBE-{name}": Chain(None, (f"-m comment --comment {name} -j RETURN",)) for name in names}


def foreign(family: str, number: int) -> str:
    """The line of a rule of someone else's, with counters."""
    return f"[{number}:{number * 100}] -A FORWARD -s {address(family, number)} -j ACCEPT"


def without_policy_counters(saved: str) -> str:
    """The legacy back end zeroes the counters of policies in every table that it writes; those of rules stay."""
    return re.sub(r"(?m)^(:\S+ [A-Z]+) \[.*", r"\1", saved)


def test_an_empty_node_is_filled_and_emptied(node: Node) -> None:
    desired: Tables = {
        "filter": {"INPUT": jumps("A"), "FORWARD": jumps("BA"), **user_chains("AB")},
        "nat": {"PREROUTING": jumps("C"), "OUTPUT": jumps("C"), **user_chains("C")},
    }
    assert node.converge(desired) == 8
    live = node.tables()
    for table_, chains in desired.items():
        for name, chain in chains.items():
            assert live[table_][name] == chain
    assert node.converge(desired) == 0
    assert node.converge({}) == 8
    assert all(not chain.rules and chain.policy for chains in node.tables().values() for chain in chains.values())


@pytest.mark.parametrize("odd", ["\u2028", "\x85", "\x0b", "\x1c", "\udcff"])
def test_a_comment_may_hold_what_ends_lines_elsewhere_or_is_no_text(odd: str, node: Node) -> None:
    desired: Tables = {"filter": {"KUBE-A": Chain(None, (f'-m comment --comment "a{odd}b" -j ACCEPT',))}}
    assert node.converge(desired) == 1
    assert node.converge(desired) == 0
    assert node.converge({}) == 1


@pytest.mark.parametrize(
    ("present", "wanted", "result"),
    [
        # digits are foreign rules, letters our jumps
        ("12", "ABC", "ABC12"),
        ("1B2", "ABC", "1ABC2"),
        ("1A23", "ABC", "1ABC23"),
        ("1A2D3", "ABCD", "1A2BCD3"),
        ("A1B2C", "ACB", "A12CB"),
        ("1A2B", "CADBE", "1CA2DBE"),
        ("1A2A3", "A", "12A3"),
        ("A1B2A", "AB", "A1B2"),
        ("1A2B3C4", "B", "12B34"),
        ("1A2B3C4", "", "1234"),
        ("1C2B3A4", "ABC", "123ABC4"),
        ("", "ABCDE", "ABCDE"),
    ],
)
def test_jumps_among_foreign_rules_and_their_counters(node: Node, present: str, wanted: str, result: str) -> None:
    """Foreign rules stay byte for byte, with their counters; so do policies."""
    lines = [
        foreign(node.family, int(word)) if word.isdigit() else f"[7:700] -A FORWARD {jump(word)}" for word in present
    ]
    every = "ABCDE"
    declared = [f":KUBE-{name} - [0:0]" for name in every]
    bodies = [f"-A {name} {rule}" for name, chain in user_chains(every).items() for rule in chain.rules]
    node.load("\n".join(["*filter", ":FORWARD DROP [5:500]", *declared, *bodies, *lines, "COMMIT\n"]), "--counters")
    before = node.save("-c", "-t", "filter").splitlines()
    node.converge({"filter": {"FORWARD": jumps(wanted), **user_chains(every)}})
    after = node.save("-c", "-t", "filter").splitlines()
    assert after[2].startswith(":FORWARD DROP [")
    assert [line for line in after if line.endswith("ACCEPT")] == [line for line in before if line.endswith("ACCEPT")]
    found = [line for line in after if " -A FORWARD " in line]
    assert "".join(line.split("/")[0][-1] for line in found) == result


def test_an_edited_jump_is_put_right_where_it_stands(node: Node) -> None:
    first, last = foreign(node.family, 1), foreign(node.family, 2)
    edited = "[0:0] -A FORWARD -p tcp -m conntrack --ctstate NEW -m tcp --dport 1:5 -m comment --comment x -j KUBE-A"
    node.load("\n".join(["*filter", ":KUBE-A - [0:0]", first, edited, last, "COMMIT\n"]), "--counters")
    node.converge({"filter": {"FORWARD": jumps("A"), "KUBE-A": Chain(None, ())}})
    rules_ = node.tables()["filter"]["FORWARD"].rules
    assert [rule[-6:] for rule in rules_] == ["ACCEPT", "KUBE-A", "ACCEPT"]
    assert rules_[1] == jump("A")


def test_foreign_chains_stay_byte_for_byte(node: Node) -> None:
    other = f"""\
*filter
:INPUT DROP [3:300]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-OLD - [0:0]
[1:100] -A INPUT -s {address(node.family, 1)} -j DOCKER
[2:200] -A DOCKER -p tcp -m tcp --dport 22 -m comment --comment "it\\'s theirs" -j ACCEPT
[3:300] -A DOCKER -j KUBE-OLD
COMMIT
"""
    node.load(other, "--counters")
    before = without_policy_counters(node.save("-c", "-t", "filter"))
    node.load("*filter\n-A KUBE-OLD -j RETURN\nCOMMIT\n")
    assert node.converge({"nat": {"OUTPUT": jumps("A"), **user_chains("A")}}) == 3
    assert without_policy_counters(node.save("-c", "-t", "filter")) == before, (
        "the old chain is empty, as DOCKER jumps to it"
    )
    assert node.converge({"nat": {"OUTPUT": jumps("A"), **user_chains("A")}}) == 0


def test_cost_is_one_process_for_each_read_phase_and_check(node: Node) -> None:
    desired: Tables = {
        "nat": {"OUTPUT": jumps("A"), **user_chains("AB")},
        "filter": {"INPUT": jumps("B"), **user_chains("B")},
    }
    node.converge({"nat": user_chains("C")})
    node.runner.processes = 0
    node.converge(desired)
    assert node.runner.processes == 4, "save, test, restore, restore"
    node.runner.processes = 0
    node.converge(desired)
    assert node.runner.processes == 1


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings here")
@pytest.mark.parametrize(
    "case",
    ["dual-stack-everything", "loadbalancer-session-affinity", "nodeport-udp-tcp-sctp", "mixed-policies-local-both"],
)
def test_kube_proxy_s_rules_are_written_as_recorded(node: Node, case: str) -> None:
    program = "iptables" if node.family == "ipv4" else "ip6tables"
    recorded = parse((RECORDINGS / case / "v1.36" / "iptables" / f"{program}.rules").read_text())
    desired: Tables = {
        name: {
            chain: found._replace(rules=tuple(rule for rule in found.rules if "-m nfacct" not in rule))
            for chain, found in recorded[name].items()
        }
        for name in ("filter", "nat")
    }
    node.converge({name: dict(reversed(list(chains.items()))) for name, chains in desired.items()})
    assert {name: node.tables()[name] for name in desired} == desired
    assert node.converge(desired) == 0
    node.converge({})
    assert not [name for chains in node.tables().values() for name in chains if name.startswith("KUBE-")]


# --- what goes wrong


def test_a_refused_rule_is_quoted_and_nothing_is_written(node: Node) -> None:
    desired: Tables = {
        "filter": user_chains("A"),
        "nat": {"KUBE-B": Chain(None, ("-j RETURN", "-p tcp -m tcp --dport 99999 -j RETURN"))},
    }
    with pytest.raises(KernelError) as caught:
        node.converge(desired)
    assert f"{node.program}-restore refused its input" in str(caught.value)
    assert "table nat: -A KUBE-B -p tcp -m tcp --dport 99999 -j RETURN" in str(caught.value)
    assert "nothing was written" in str(caught.value)
    assert "KUBE-A" not in node.tables().get("filter", {})


def test_what_only_the_kernel_refuses_leaves_the_tables_before_it_and_says_so(node: Node) -> None:
    loop = Chain(None, ("-j KUBE-B",))
    desired: Tables = {"filter": user_chains("A"), "nat": {"OUTPUT": jumps("B"), "KUBE-B": loop}}
    operations = plan(node.tables(), desired, OWNERSHIP, node.family)
    with pytest.raises(KernelError, match="written before that: table filter") as caught:
        iptables.apply(node.runner, node.backend, node.family, operations)
    if node.kind == "legacy":
        assert "COMMIT; the kernel refused the table as a whole" in str(caught.value)
    assert node.tables()["filter"]["KUBE-A"] == user_chains("A")["KUBE-A"]
    assert "KUBE-B" not in node.tables().get("nat", {})


def test_a_rule_that_vanished_meanwhile_leaves_the_table_as_it_was(node: Node) -> None:
    node.load("\n".join(["*nat", ":KUBE-A - [0:0]", f"-A OUTPUT {jump('A')}", "COMMIT\n"]))
    operations = plan(node.tables(), {}, OWNERSHIP, node.family)
    run(node.program, "-t", "nat", "-F", "OUTPUT")
    with pytest.raises(KernelError, match="if another program changed the chain meanwhile, run again"):
        iptables.apply(node.runner, node.backend, node.family, operations)
    assert "KUBE-A" in node.tables()["nat"]


def test_a_set_that_the_same_run_creates_is_no_error_of_the_check(node: Node) -> None:
    name = "P4" if node.family == "ipv4" else "P6"
    matching = f"-m set --match-set {name} dst,dst"
    desired: Tables = {
        "nat": {
            "OUTPUT": Chain("ACCEPT", (f"{matching} -j KUBE-A", jump("A"), f"{matching} -j KUBE-B", jump("B"))),
            "KUBE-A": Chain(None, (f"{matching} -j RETURN",)),
            **user_chains("B"),
        }
    }
    node.load("*nat\n-A OUTPUT -j ACCEPT\nCOMMIT\n")
    operations = plan(node.tables(), desired, OWNERSHIP, node.family)
    iptables.verify(node.runner, node.backend, node.family, operations)
    with pytest.raises(KernelError, match=f"Set {name} doesn't exist"):
        iptables.apply(node.runner, node.backend, node.family, operations)
    run("ipset", "restore", stdin=SETS)
    assert node.converge(desired) == len(operations)
    assert node.tables()["nat"]["OUTPUT"].rules == (*desired["nat"]["OUTPUT"].rules, "-j ACCEPT")
    assert node.converge(desired) == 0
    node.converge({})
    assert node.tables()["nat"]["OUTPUT"].rules == ("-j ACCEPT",)


def test_the_xtables_lock_is_waited_for_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node("legacy", "ipv4")
    monkeypatch.setattr(iptables, "LOCK_SECONDS", 1)
    with open("/run/xtables.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.monotonic()
        operations = plan({}, {"nat": user_chains("A")}, OWNERSHIP, "ipv4")
        with pytest.raises(KernelError, match="another program held the xtables lock for 1 s"):
            iptables.apply(node.runner, node.backend, "ipv4", operations)
        assert time.monotonic() - start > 0.9
    iptables.apply(node.runner, node.backend, "ipv4", operations)
    assert "KUBE-A" in node.tables()["nat"]


class Meddled(Runner):
    """Somebody else wants to write while a restore runs."""

    def __init__(self) -> None:
        super().__init__()
        self.meddled: list[subprocess.CompletedProcess[str]] = []

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        if argv[0].endswith("-restore"):
            command = ["iptables-legacy", "-w", "1", "-N", "OTHERS"]
            self.meddled.append(subprocess.run(command, check=False, capture_output=True, text=True))
        return super().run(argv, stdin, check)


def of_a_chain(family: str) -> list[Operation]:
    return plan({}, {"nat": user_chains("A")}, OWNERSHIP, family)


def seen(family: str) -> str:
    found = legacy_tables.state(legacy_tables.look(family, TABLES))
    assert found
    return found


def test_nobody_else_writes_legacy_tables_meanwhile(family: str) -> None:
    node = Node("legacy", family)
    runner = Meddled()
    before = seen(family)
    left = iptables.apply_locked(runner, node.backend, family, of_a_chain(family), TABLES, before, {"nat": 3})
    assert [("xtables lock" in done.stderr, done.returncode) for done in runner.meddled] == [(True, 4)]
    assert left == seen(family) != before
    assert set(node.tables()["nat"]) >= {"KUBE-A"}
    run("iptables-legacy", "-w", "1", "-N", "OTHERS")


@pytest.mark.parametrize("others", ["*nat\n:OTHERS - [0:0]\n", "*filter\n:FORWARD DROP [0:0]\n"])
def test_what_legacy_tables_hold_is_not_known_where_somebody_wrote_before(others: str, family: str) -> None:
    node = Node("legacy", family)
    node.load("*nat\nCOMMIT\n*filter\nCOMMIT\n")
    before = seen(family)
    node.load(f"{others}COMMIT\n")
    operations = of_a_chain(family)
    assert iptables.apply_locked(node.runner, node.backend, family, operations, TABLES, before, {"nat": 3}) is None
    assert set(node.tables()["nat"]) >= {"KUBE-A"}


class WithoutLock(Runner):
    """Somebody else writes after a restore, without the lock."""

    def __init__(self, program: str, text: str, lock: Path) -> None:
        super().__init__()
        self.program = program
        self.text = text
        self.lock = lock

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        done = super().run(argv, stdin, check)
        command = [f"{self.program}-restore", "--noflush"]
        environment = {**os.environ, "XTABLES_LOCKFILE": str(self.lock)}
        subprocess.run(command, input=self.text, text=True, check=True, env=environment)
        return done


@pytest.mark.parametrize(
    "others",
    ["*nat\n:OTHERS - [0:0]\n", "*nat\n-F KUBE-A\n", "*filter\n:FORWARD DROP [0:0]\n", "*filter\n-R INPUT 1 -j DROP\n"],
    ids=["a chain more", "a chain flushed", "another policy in another table", "another rule in another table"],
)
def test_what_legacy_tables_hold_is_not_known_where_somebody_wrote_without_the_lock(
    others: str, family: str, tmp_path: Path
) -> None:
    node = Node("legacy", family)
    node.load("*nat\nCOMMIT\n*filter\n-A INPUT -j ACCEPT\nCOMMIT\n")
    runner = WithoutLock(node.program, f"{others}COMMIT\n", tmp_path / "lock")
    operations, growth = of_a_chain(family), {"nat": 3}
    assert iptables.apply_locked(runner, node.backend, family, operations, TABLES, seen(family), growth) is None


@pytest.mark.parametrize(("kind", "version"), [("legacy", (1, 8, 4)), ("nft", (1, 8, 9))])
def test_only_a_new_iptables_can_be_told_that_its_lock_is_held(
    kind: str, version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old one would wait for it."""
    backend = Node("legacy", "ipv4").backend
    assert iptables.can_lock(backend, "ipv4")
    tool = backend.tools["ipv4"]._replace(kind=kind, printed=lambda: (kind, version))
    assert not iptables.can_lock(backend._replace(tools={"ipv4": tool}), "ipv4")
    monkeypatch.delattr(os, "memfd_create")
    assert not iptables.can_lock(backend, "ipv4"), "nor without files in memory"


def test_a_table_with_rules_that_iptables_cannot_show_is_an_error() -> None:
    node = Node("nft", "ipv4")
    hook = "{ type filter hook input priority 0; }"
    run("nft", f"add table ip filter; add chain ip filter INPUT {hook}; add rule ip filter INPUT ct state new accept")
    with pytest.raises(KernelError, match="iptables cannot show the table filter"):
        node.tables()
    assert iptables.read(node.runner, node.backend, "ipv4", ["nat"]) == {}


# --- which back end


def test_the_command_iptables_decides_where_nothing_is_chosen() -> None:
    found = detect(Runner())
    printed_ = run("iptables", "--version")
    assert found.tools["ipv4"].kind == ("nft" if "nf_tables" in printed_ else "legacy")
    assert "v{}.{}.{} ".format(*found.tools["ipv4"].version) in printed_
    assert found.tools["ipv4"].program == "iptables"
    assert (found.tools["ipv4"].waits, found.tools["ipv6"].random_fully) == (True, True)
    assert (found.elsewhere, found.unavailable) == ((), {})


@pytest.mark.parametrize("rule", [":KUBE-SERVICES - [0:0]", "-A PREROUTING -s 192.0.2.1 -j ACCEPT"])
def test_a_mixture_of_back_ends_is_refused_unless_one_is_chosen(rule: str) -> None:
    used = detect(Runner()).tools["ipv4"].kind
    other = "legacy" if used == "nft" else "nft"
    run(f"iptables-{other}-restore", "--noflush", stdin=f"*nat\n{rule}\nCOMMIT\n")
    chain = "KUBE-SERVICES" if "KUBE" in rule else "PREROUTING"
    with pytest.raises(KernelError, match=f"iptables is {used}, and the other one holds ipv4 nat {chain}"):
        detect(Runner())
    assert detect(Runner(), used).elsewhere == (f"ipv4 nat {chain}",)
    assert detect(Runner(), other).elsewhere == ()


def test_tables_of_the_legacy_back_end_that_are_empty_are_no_mixture() -> None:
    run("iptables-legacy", "-t", "nat", "-L")
    run("iptables-nft", "-t", "nat", "-L")
    assert detect(Runner()).elsewhere == ()


def test_a_kernel_without_ipv6_has_no_ipv6_tables(tmp_path: Path) -> None:
    runner = Runner()
    found = detect(runner, "legacy", proc_net=str(tmp_path))
    assert runner.processes == 0, "the program's name tells its back end; nft has no tables"
    assert found.unavailable == {"ipv6": "the kernel runs without IPv6"}
    assert iptables.read(runner, found, "ipv6") == {}
    iptables.apply(runner, found, "ipv6", [])
    with pytest.raises(KernelError, match="ipv6 rules cannot be written: the kernel runs without IPv6"):
        iptables.apply(runner, found, "ipv6", plan({}, {"nat": user_chains("A")}, OWNERSHIP, "ipv6"))


@pytest.mark.parametrize(
    ("printed_", "kind", "version", "random_fully"),
    [
        ("iptables v1.8.10 (nf_tables)", "nft", (1, 8, 10), True),
        ("iptables v1.8.4 (legacy)", "legacy", (1, 8, 4), True),
        ("iptables v1.6.2", "legacy", (1, 6, 2), True),
        ("iptables v1.4.21", "legacy", (1, 4, 21), False),
        ("iptables v1.9 (nf_tables)", "nft", (1, 9, 0), True),
    ],
)
def test_versions(
    tmp_path: Path,
    printed_: str,
    kind: str,
    version: tuple[int, int, int],
    random_fully: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "iptables"
    program.write_text(f"#!/bin/sh\necho '{printed_}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(Runner, "find", lambda self, name: str(program) if name == "iptables" else None)
    tool = detect(Runner(), proc_net=str(tmp_path)).tools["ipv4"]
    assert (tool.kind, tool.version, tool.random_fully) == (kind, version, random_fully)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_each_program_is_asked_for_its_version_once_and_not_for_its_back_end_where_its_name_tells(
    links: bool, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = "xtables-" if named else ""
    for name, printed_ in (("nft-multi", "v1.8.9 (nf_tables)"), ("legacy-multi", "v1.8.7 (legacy)")):
        (tmp_path / f"{prefix}{name}").write_text(f"#!/bin/sh\necho 'iptables {printed_}'\n")
        (tmp_path / f"{prefix}{name}").chmod(0o755)
    (tmp_path / "iptables").symlink_to(f"{prefix}nft-multi")
    (tmp_path / "ip6tables-nft").symlink_to(f"{prefix}{'nft' if links else 'legacy'}-multi")
    (tmp_path / "ip6tables").symlink_to("ip6tables-nft")
    (tmp_path / "if_inet6").touch()
    paths = {name: str(tmp_path / name) for name in ("iptables", "ip6tables")}
    monkeypatch.setattr(Runner, "find", lambda self, name: paths.get(name))
    runner = Runner()
    tools = detect(runner, proc_net=str(tmp_path)).tools
    programs = 1 if links else 2
    assert runner.processes == (0 if named else programs)
    found = [(tool.program, tool.kind, tool.version) for tool in tools.values()]
    assert found == [
        ("iptables", "nft", (1, 8, 9)),
        ("ip6tables", *(("nft", (1, 8, 9)) if links else ("legacy", (1, 8, 7)))),
    ]
    assert runner.processes == programs


def test_a_missing_iptables_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runner, "find", lambda self, name: None)
    with pytest.raises(KernelError, match="iptables is not installed"):
        detect(Runner())
