# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which changes of a dispatch chain are none: those that no packet could tell, and that kube-proxy makes itself."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.iptables import chain_difference, plan
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Ownership
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import is_dispatch_chain
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain
from hypothesis import given
from hypothesis import strategies as st

LAST = '-m comment --comment "the last rule" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'


class Rule(NamedTuple):
    """A rule of a dispatch chain, and what it names exactly: "" for what it does not."""

    kind: str
    key: tuple[str, ...]
    address: str
    text: str

    def excludes(self, other: Rule) -> bool:
        """Whether no packet matches both, and this is easy to see."""
        if not self.kind or self.kind != other.kind:
            return False
        return self.key != other.key or bool(self.address and other.address and self.address != other.address)

    def bare(self) -> str:
        return self.text.partition(" -m comment")[0] + self.text.rpartition("svc")[2].partition('"')[2]


def to_port(number: int, address: str, protocol: str, port: int, verdict: str) -> Rule:
    exact = address.endswith("/32")
    destination = f"-d {address} " if address else ""
    comment = f'-m comment --comment "svc {number} -d 10.96.0.9/32 --dport 9"'
    text = f"{destination}-p {protocol} {comment} -m {protocol} --dport {port} -j {verdict}"
    return Rule("port", (protocol, str(port)), address if exact else "", text)


def to_address(number: int, address: str, verdict: str) -> Rule:
    return Rule("address", (address,), "", f'-d {address} -m comment --comment "svc {number}" -j {verdict}')


def from_server(number: int, protocol: int, address: str, port: int, verdict: str) -> Rule:
    match = f"-m ipvs --vproto {protocol} --vaddr {address} --vport {port}"
    text = f'-s {address}/32 -m comment --comment "svc {number}" {match} -j {verdict}'
    return Rule("virtual server", (str(protocol), address, str(port)), "", text)


def anything(number: int, match: str, verdict: str) -> Rule:
    return Rule("", (), "", f'{match} -m comment --comment "svc {number}" -j {verdict}')


NUMBERS = st.integers(0, 99)
ADDRESSES = st.sampled_from(["10.96.0.1", "10.96.0.2", "10.96.0.3"])
HOSTS = ADDRESSES.map("{}/32".format)
VERDICTS = st.sampled_from(["DROP", "KUBE-SVC-A"])
PORTS = st.sampled_from([80, 8080])
RULES = st.lists(
    st.one_of(
        st.builds(
            to_port,
            NUMBERS,
            HOSTS | st.sampled_from(["", "127.0.0.0/8"]),
            st.sampled_from(["tcp", "udp", "sctp"]),
            PORTS,
            VERDICTS,
        ),
        st.builds(to_address, NUMBERS, HOSTS, VERDICTS),
        st.builds(from_server, NUMBERS, st.sampled_from([6, 17]), ADDRESSES, PORTS, VERDICTS),
        st.builds(
            anything,
            NUMBERS,
            st.sampled_from(
                [
                    "-s 127.0.0.0/8",
                    "! -d 10.96.0.1/32",
                    "-p tcp -m tcp --dport 80:90",
                    "-p tcp -m tcp ! --dport 80",
                    "-m ipvs --vproto 6 --vaddr 10.96.0.0/24 --vport 80",
                ]
            ),
            VERDICTS,
        ),
    ),
    max_size=12,
    unique_by=lambda rule: rule.text,
)


def difference(have: list[Rule], want: list[Rule]) -> str | None:
    texts = [tuple(rule.text for rule in rules) for rules in (have, want)]
    return chain_difference(texts[0], texts[1], "ipv4", any_order=True)


@given(RULES, st.randoms(use_true_random=False))
def test_rules_that_exclude_each_other_may_change_places(rules: list[Rule], source: random.Random) -> None:
    moved = list(rules)
    for _time in range(50 if len(rules) > 1 else 0):
        at = source.randrange(len(moved) - 1)
        if moved[at].excludes(moved[at + 1]):
            moved[at], moved[at + 1] = moved[at + 1], moved[at]
    assert difference(moved, rules) is None


@given(RULES, st.randoms(use_true_random=False))
def test_no_others_may_change_places(rules: list[Rule], source: random.Random) -> None:
    """Unless they do the same to the same packets."""
    moved = list(rules)
    source.shuffle(moved)
    swapped = [
        (one, other)
        for at, one in enumerate(rules)
        for other in rules[at + 1 :]
        if not one.excludes(other) and one.bare() != other.bare() and moved.index(other) < moved.index(one)
    ]
    if swapped:
        assert difference(moved, rules) is not None


@given(RULES.filter(bool), st.randoms(use_true_random=False))
def test_a_change_of_content_is_a_difference_in_any_order(rules: list[Rule], source: random.Random) -> None:
    moved = list(rules)
    source.shuffle(moved)
    at = source.randrange(len(moved))
    edited = moved[at]._replace(text=moved[at].text + "X")
    assert difference([*moved[:at], *moved[at + 1 :]], rules)
    assert difference([*moved[:at], edited, *moved[at + 1 :]], rules)
    assert difference([*moved[:at], edited, *moved[at:]], rules)
    assert difference([*moved[:at], moved[at], *moved[at:]], rules)


A = to_port(1, "10.96.0.1/32", "tcp", 80, "KUBE-SVC-A")
B = to_port(2, "10.96.0.2/32", "tcp", 80, "KUBE-SVC-B")
SAME_AS_A = to_port(3, "10.96.0.1/32", "tcp", 80, "DROP")
ALIKE = to_port(4, "10.96.0.1/32", "tcp", 80, "DROP")
LOCAL = anything(0, "-m addrtype --dst-type LOCAL", "KUBE-NODEPORTS")
ON_NODE = to_address(5, "192.168.100.11/32", "KUBE-NODEPORTS")
ON_NODE_TOO = to_address(5, "10.200.0.11/32", "KUBE-NODEPORTS")
COUNTED = to_port(6, "127.0.0.0/8", "tcp", 30080, "KUBE-EXT-A")
NODE_PORT = to_port(6, "", "tcp", 30080, "KUBE-EXT-A")
OF_ANY = to_port(8, "", "tcp", 80, "DROP")
CLOSED = from_server(7, 6, "203.0.113.1", 80, "DROP")
CLOSED_TOO = from_server(7, 17, "203.0.113.1", 80, "DROP")


@pytest.mark.parametrize(
    ("have", "want", "reason"),
    [
        ([B, A, LOCAL], [A, B, LOCAL], None),
        ([ALIKE, SAME_AS_A], [SAME_AS_A, ALIKE], None),
        ([ON_NODE_TOO, ON_NODE], [ON_NODE, ON_NODE_TOO], None),
        ([CLOSED_TOO, CLOSED], [CLOSED, CLOSED_TOO], None),
        ([SAME_AS_A, B, A], [A, SAME_AS_A, B], "has rules of one destination out of order"),
        ([A, LOCAL, B], [A, B, LOCAL], "has rules of one destination out of order"),
        ([NODE_PORT, COUNTED], [COUNTED, NODE_PORT], "has rules of one destination out of order"),
        ([OF_ANY, A], [A, OF_ANY], "has rules of one destination out of order"),
        ([LOCAL, ON_NODE], [ON_NODE, LOCAL], "has rules of one destination out of order"),
        ([B], [A, B], f"has 1 rules, not 2; the first that is missing: {A.text}"),
        ([B, A, B], [A, B], f"has a rule more than once: {B.text}"),
        ([B, SAME_AS_A], [A, B], f"rule 2 of 2 is: {SAME_AS_A.text}"),
        ([B, A, LOCAL], [A, B], f"rule 3 of 2 is: {LOCAL.text}"),
    ],
)
def test_reasons(have: list[Rule], want: list[Rule], reason: str | None) -> None:
    assert difference(have, want) == reason


def test_another_spelling_is_no_difference() -> None:
    older = A._replace(text=A.text.replace("10.96.0.1/32", "10.96.0.1"))
    assert older.text != A.text
    assert difference([B, older], [A, B]) is None


@pytest.mark.parametrize(
    ("table", "name", "verbs"),
    [
        ("nat", "KUBE-SERVICES", []),
        ("filter", "KUBE-IPVS-OUT-FILTER", []),
        ("nat", "KUBE-POSTROUTING", ["change"]),
        ("filter", "KUBE-FORWARD", ["change"]),
    ],
)
def test_only_dispatch_chains_are_without_an_order(table: str, name: str, verbs: list[str]) -> None:
    ownership = Ownership(
        lambda _table, _chain: True,
        lambda _table, _chain, _to: False,
        lambda _name: False,
        lambda _key: False,
        dispatch_chains=is_dispatch_chain,
    )
    have, want = ({table: {name: Chain(None, texts)}} for texts in ((B.text, A.text), (A.text, B.text)))
    assert [operation.verb for operation in plan(have, want, ownership, "ipv4")] == verbs
