# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of ipset and iptables, and in which order; a script of answers stands in for the tools."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import ipset
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import (
    CommandError,
    KernelError,
    Result,
    Runner,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.ipset import plan, temporary_name
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset import IPSet

T = temporary_name("A")
IN_USE = "ipset v7.17: Error in line {}: Set cannot be destroyed: it is in use by a kernel component"
RULE = "*filter\n:C - [0:0]\n[1:2] -A C -m set --match-set {} dst -j ACCEPT\n[0:0] -A C -j RETURN\nCOMMIT\n"


class Script(Runner):
    """Answers by the start of the command line; what was asked is in ``asked``, input included."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[str] = []

    def find(self, program: str) -> str | None:
        return f"/sbin/{program}" if program.startswith(("ipset", "iptables-nft")) else None

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        line = " ".join(argv)
        self.asked.append(f"{line}: {stdin.strip()}" if stdin else line)
        answers = self.answers.get(line, [""])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if "Error" in answer:
            raise CommandError(argv, 1, answer, stdin)
        return Result(0, answer, "")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipset, "PAUSE", 0)
    monkeypatch.setattr(ipset, "RELEASE_SECONDS", 0.05)


def ip_set(set_type: str, *members: str) -> IPSet:
    return IPSet("A", set_type, (("family", "inet"),), dict.fromkeys(members, ""))


def apply(script: Script, live: IPSet, wanted: IPSet) -> None:
    ipset.apply(script, plan({"A": live}, {"A": wanted}, lambda _name: False))


def test_a_restore_goes_on_when_the_kernel_lets_go_of_a_set() -> None:
    script = Script({"ipset -exist restore": [IN_USE.format(2), IN_USE.format(1), ""]})
    ipset.restore(script, ["add B 1", "destroy A", "destroy C"])
    assert script.asked == [
        "ipset -exist restore: add B 1\ndestroy A\ndestroy C",
        "ipset -exist restore: destroy A\ndestroy C",
        "ipset -exist restore: destroy A\ndestroy C",
    ]


@pytest.mark.parametrize(
    "line, written",
    [
        ("add A 10.9.0.1,tcp:80", "add A 10.9.0.1,80"),
        ("add A 10.9.0.1,tcp:80,10.9.0.2 timeout 9", "add A 10.9.0.1,80,10.9.0.2 timeout 9"),
        ('add A 10.9.0.1,udp:80 comment "1,tcp:80"', 'add A 10.9.0.1,udp:80 comment "1,tcp:80"'),
        ('add A 10.9.0.1,tcp:80 comment "1,tcp:80"', 'add A 10.9.0.1,80 comment "1,tcp:80"'),
        ("del A 10.9.0.1,tcp:80", "del A 10.9.0.1,80"),
    ],
)
def test_the_default_protocol_of_members_is_left_out(line: str, written: str) -> None:
    script = Script({})
    ipset.restore(script, [line])
    assert script.asked == [f"ipset -exist restore: {written}"]


def test_a_refused_line_is_quoted_with_its_protocol() -> None:
    script = Script({"ipset -exist restore": ["ipset v7.17: Error in line 1: Hash is full"]})
    with pytest.raises(KernelError, match=r"'add A 10\.9\.0\.1,tcp:80'"):
        ipset.restore(script, ["add A 10.9.0.1,tcp:80"])


def test_a_restore_does_not_wait_for_ever_and_names_who_holds_the_set() -> None:
    script = Script(
        {"ipset -exist restore": [IN_USE.format(1)], "iptables-nft-save -c": [RULE.format("A")], "ipset save": [""]}
    )
    with pytest.raises(KernelError, match=r"'destroy A': .* in use by iptables-nft filter C rule 1 \(0 lines before"):
        ipset.restore(script, ["destroy A"])


def test_other_errors_are_not_tried_again() -> None:
    script = Script({"ipset -exist restore": ["ipset v7.17: Error in line 2: Hash is full"]})
    with pytest.raises(KernelError, match=r"^ipset restore: 'add A 2': Hash is full \(1 lines before it took effect"):
        ipset.restore(script, ["add A 1", "add A 2"])
    assert len(script.asked) == 1


def test_ipset_is_asked_for_its_version_where_a_set_is_to_come() -> None:
    script = Script({"ipset version": ["ipset v4.5, protocol version: 4"]})
    live = ip_set("hash:ip", "10.9.0.1")
    ipset.verify(script, plan({"A": live}, {"A": ip_set("hash:ip", "10.9.0.2")}, lambda _name: False))
    assert script.asked == []
    with pytest.raises(KernelError, match=r"ipset is too old, it takes version 6\.0 or newer: ipset v4\.5"):
        ipset.verify(script, plan({}, {"A": live}, lambda _name: False))


def test_without_ipset_no_member_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner()
    monkeypatch.setattr(runner, "find", lambda _program: None)
    change = plan({"A": ip_set("hash:ip")}, {"A": ip_set("hash:ip", "10.9.0.2")}, lambda _name: False)
    with pytest.raises(KernelError, match="ipset is not installed"):
        ipset.verify(runner, change)


def test_nothing_is_started_for_nothing() -> None:
    script = Script({})
    ipset.apply(script, [])
    ipset.verify(script, [])
    assert script.asked == []


def test_options_change_by_a_swap() -> None:
    script = Script({})
    wanted = ip_set("hash:ip", "10.9.0.1")._replace(options=(("family", "inet"), ("counters", "")))
    apply(script, ip_set("hash:ip"), wanted)
    assert script.asked == [
        f"ipset -exist restore: create {T} hash:ip family inet counters\nadd {T} 10.9.0.1\nswap {T} A\ndestroy {T}"
    ]


def test_a_type_changes_by_a_new_name_where_nothing_refers_to_the_set() -> None:
    script = Script({"ipset list -terse": ["Name: A\nReferences: 0\n"]})
    apply(script, ip_set("hash:ip"), ip_set("hash:net", "10.9.0.0/24"))
    assert script.asked == [
        "ipset list -terse",
        f"ipset -exist restore: create {T} hash:net family inet\nadd {T} 10.9.0.0/24\ndestroy A\nrename {T} A",
    ]


def test_a_type_changes_by_switching_rules_where_they_refer_to_the_set() -> None:
    script = Script(
        {
            "ipset list -terse": ["Name: A\nReferences: 1\n"],
            "iptables-nft-save -c": [RULE.format("A"), RULE.format("A"), RULE.format(T)],
        }
    )
    apply(script, ip_set("hash:ip"), ip_set("hash:net", "10.9.0.0/24"))
    match = "-m set --match-set {} dst -j ACCEPT"
    switch = "iptables-nft-restore -w 30 --noflush: *filter\n-D C {}\n-I C 1 -c 1 2 {}\nCOMMIT"
    assert script.asked == [
        "ipset list -terse",
        "iptables-nft-save -c",
        f"ipset -exist restore: create {T} hash:net family inet\nadd {T} 10.9.0.0/24",
        "iptables-nft-save -c",
        switch.format(match.format("A"), match.format(T)),
        "ipset -exist restore: destroy A\ncreate A hash:net family inet\nadd A 10.9.0.0/24",
        "iptables-nft-save -c",
        switch.format(match.format(T), match.format("A")),
        f"ipset -exist restore: destroy {T}",
    ]


def test_nothing_is_written_where_more_than_rules_refer_to_the_set() -> None:
    script = Script(
        {
            "ipset list -terse": ["Name: A\nReferences: 3\n"],
            "iptables-nft-save -c": [RULE.format("A")],
            "ipset save": ["create L list:set size 8\nadd L A\ncreate M list:set size 8\nadd M A\n"],
        }
    )
    message = (
        r"^the set A cannot be replaced by one of another type while it is in use by more than rules of iptables: the "
        r"kernel counts 3 references, and 1 are rules; it is a member of the set L, the set M\. Nothing was changed$"
    )
    with pytest.raises(KernelError, match=message):
        apply(script, ip_set("hash:ip"), ip_set("hash:net"))
    assert not [asked for asked in script.asked if "restore" in asked]


def test_what_the_kernel_draws_is_not_read() -> None:
    text = "create A hash:ip family inet hashsize 64 maxelem 9 bucketsize 12 initval 0x1\nadd A 10.9.0.1\n"
    found = ipset.read(Script({"ipset save": [text]}))
    assert found["A"].options == (("family", "inet"), ("hashsize", "64"), ("maxelem", "9"))
    assert found["A"].members == {"10.9.0.1": ""}
