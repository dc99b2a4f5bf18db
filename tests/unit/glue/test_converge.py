# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which order a run does what to the subsystems; these are fakes that write down what is asked of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.converge import ORDER, Outcome, converge
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import SUBSYSTEMS, ownership_of
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, UnchangedError
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.iptables import ChainContent
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import ADD, CHANGE, REMOVE, Operation
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

if TYPE_CHECKING:
    from collections.abc import Sequence

DESIRED = RuleSet.empty()._replace(settings={"mode": "ipvs"})


class Fake:
    """One subsystem: it has something to do in ``verbs``, until that is applied."""

    atomic = False

    def __init__(self, name: str, log: list[str], verbs: Sequence[str]) -> None:
        self.name = name
        self.log = log
        self.todo = [Operation(verb, name, f"{verb} {number}", "asked for") for number, verb in enumerate(verbs)]
        self.refuses = ""
        self.error: type[KernelError] = KernelError
        self.forgets = False

    def read(self, desired: RuleSet) -> None:
        self._note("read")

    def plan(self, desired: RuleSet) -> list[Operation]:
        assert desired is DESIRED
        self._note("plan")
        return list(self.todo)

    def verify(self, operations: list[Operation], alone: bool) -> None:
        assert operations == self.todo
        self._note("verify" if not alone else "verify alone")

    def apply(self, operations: list[Operation]) -> None:
        self._note(f"apply {' '.join(operation.verb for operation in operations)}")
        if not self.forgets:
            self.todo = [operation for operation in self.todo if operation not in operations]

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto._replace(sysctls={**onto.sysctls, self.name: str(len(self.todo))})

    def _note(self, what: str) -> None:
        self.log.append(f"{what} {self.name}")
        if self.refuses and what.startswith(self.refuses):
            raise self.error(f"{self.name} refused")


class Run:
    """A run over fakes that all have the same to do."""

    def __init__(self, *names: str, verbs: Sequence[str] = (ADD, CHANGE, REMOVE)) -> None:
        self.log: list[str] = []
        self.fakes = {name: Fake(name, self.log, verbs) for name in names}

    def converge(self, check: bool = False) -> Outcome:
        return converge(self.fakes, DESIRED, check, self._record)

    def phases(self, *starts: str) -> list[str]:
        return [entry for entry in self.log if entry.startswith(starts)]

    def _record(self, before: RuleSet) -> None:
        self.log.append(f"record {sum(map(int, before.sysctls.values()))}")


def test_all_is_read_and_planned_and_verified_before_the_first_write() -> None:
    run = Run("sets", "chains ipv4", "link")
    run.converge()
    assert run.log == [
        "read sets",
        "plan sets",
        "read chains ipv4",
        "plan chains ipv4",
        "read link",
        "plan link",
        "verify sets",
        "verify chains ipv4",
        "verify link",
        "record 9",
        "apply add change sets",
        "apply add change chains ipv4",
        "apply add change link",
        "apply remove link",
        "apply remove chains ipv4",
        "apply remove sets",
        "read sets",
        "plan sets",
        "read chains ipv4",
        "plan chains ipv4",
        "read link",
        "plan link",
    ]


def test_the_order_does_not_depend_on_how_subsystems_are_given() -> None:
    names = list(ORDER)
    random.Random(1).shuffle(names)
    run = Run(*names)
    run.converge()
    assert run.phases("apply add") == [f"apply add change {name}" for name in ORDER]
    assert run.phases("apply remove") == [f"apply remove {name}" for name in reversed(ORDER)]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        # a setting of a kernel module appears with it, net.ipv4.vs.* too
        ("kernel modules", "sysctls"),
        # a rule names a set or an object that counts, and its restore fails where that is missing
        ("sets", "chains ipv4"),
        ("sets", "chains ipv6"),
        ("accounting objects", "chains ipv4"),
        # an address without its virtual server refuses connections
        ("virtual servers", "link"),
        ("chains ipv4", "link"),
        # a flow is stale only when nothing would make it anew
        ("link", "flows"),
        ("virtual servers", "flows"),
    ],
)
def test_what_is_needed_is_there_first_and_goes_last(first: str, then: str) -> None:
    run = Run(then, first)
    run.converge()
    assert run.phases("apply") == [
        f"apply add change {first}",
        f"apply add change {then}",
        f"apply remove {then}",
        f"apply remove {first}",
    ]


@pytest.mark.parametrize("verb", [ADD, CHANGE])
def test_the_chains_of_iptables_mode_answer_until_virtual_servers_do(verb: str) -> None:
    run = Run("sets", "chains ipv4", "virtual servers", "link", verbs=(verb,))
    payload = ChainContent("nat", "KUBE-SVC-ABC", None)
    run.fakes["chains ipv4"].todo.append(Operation(REMOVE, "chain", "ipv4 nat KUBE-SVC-ABC", "stale", payload))
    run.converge()
    chains = [f"apply {verb} remove chains ipv4"]
    others = [f"apply {verb} {name}" for name in ("virtual servers", "link")]
    assert run.phases("apply") == [f"apply {verb} sets", *(others + chains if verb == ADD else chains + others)]


@pytest.mark.parametrize("verb", [ADD, CHANGE])
def test_what_ipvs_serves_gets_a_moment_once_other_rules_serve_it(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("chains ipv4", "virtual servers", "link", verbs=(REMOVE,))
    run.fakes["chains ipv4"].todo.append(Operation(verb, "chain", "ipv4 nat KUBE-SVC-ABC", "missing"))
    monkeypatch.setattr("time.sleep", lambda seconds: run.log.append(f"apply grace {seconds:g}"))
    run.converge()
    grace = ["apply grace 1"] if verb == ADD else []
    removed = [f"apply remove {name}" for name in ("link", "virtual servers", "chains ipv4")]
    assert run.phases("apply") == [f"apply {verb} chains ipv4", *grace, *removed]


def test_the_order_knows_every_subsystem(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    access = NodeAccess(state_folder=str(tmp_path))
    monkeypatch.setattr(access, "_chains", lambda *_: dict.fromkeys(("chains ipv4", "chains ipv6")))
    ownership = ownership_of((), only_owner=False, exclude_cidrs=())
    assert set(access.subsystems(SUBSYSTEMS, ownership, RuleSet.empty())) <= set(ORDER)


def test_check_mode_writes_nothing() -> None:
    run = Run("sets", "link")
    outcome = run.converge(check=True)
    assert run.phases("verify", "record", "apply") == []
    assert outcome.changed
    assert [operation.name for operation in outcome.operations] == 2 * ["add 0", "change 1", "remove 2"]
    assert outcome.before.sysctls == {"sets": "3", "link": "3"}
    assert outcome.after == DESIRED._replace(settings={}, sysctls=outcome.before.sysctls)


def test_nothing_is_written_where_nothing_is_to_change() -> None:
    run = Run("sets", "link", verbs=())
    outcome = run.converge()
    assert run.log == ["read sets", "plan sets", "read link", "plan link"]
    assert not outcome.changed
    assert outcome.before == outcome.after


def test_a_subsystem_without_changes_is_left_alone() -> None:
    run = Run("sets", "link")
    run.fakes["sets"].todo = []
    run.converge()
    assert run.phases("verify", "apply") == ["verify alone link", "apply add change link", "apply remove link"]


def test_an_outcome_says_what_was_and_what_is_and_how_long_it_took() -> None:
    outcome = Run("sets").converge()
    assert outcome.before.sysctls == {"sets": "3"}
    assert outcome.after.sysctls == {"sets": "0"}
    assert set(outcome.phases) == {"read", "plan", "verify", "apply"}
    assert all(seconds >= 0 for seconds in outcome.phases.values())


@pytest.mark.parametrize("names, error", [(["nftables"], UnchangedError), (["sets", "nftables"], KernelError)])
def test_nothing_has_changed_only_where_nothing_was_applied_before(names: list[str], error: type[KernelError]) -> None:
    run = Run(*names, verbs=[ADD])
    run.fakes["nftables"].refuses = "apply"
    run.fakes["nftables"].error = UnchangedError
    with pytest.raises(KernelError, match=r"^nftables refused$") as raised:
        run.converge()
    assert raised.type is error


@pytest.mark.parametrize("refused", ["read", "plan", "verify"])
def test_a_refusal_comes_before_any_write(refused: str) -> None:
    run = Run("sets", "link")
    run.fakes["link"].refuses = refused
    with pytest.raises(KernelError, match="link refused"):
        run.converge()
    assert run.phases("record", "apply") == []


def test_a_failed_write_ends_the_run_and_the_next_goes_on() -> None:
    run = Run("sets", "chains ipv4", "link")
    run.fakes["chains ipv4"].refuses = "apply"
    with pytest.raises(KernelError, match="chains ipv4 refused"):
        run.converge()
    assert run.phases("apply") == ["apply add change sets", "apply add change chains ipv4"]
    run.fakes["chains ipv4"].refuses = ""
    run.log.clear()
    run.converge()
    assert run.phases("apply") == [
        "apply add change chains ipv4",
        "apply add change link",
        "apply remove link",
        "apply remove chains ipv4",
        "apply remove sets",
    ]


def test_changes_that_do_not_last_are_an_error() -> None:
    run = Run("sets", "link")
    run.fakes["link"].forgets = True
    message = r"^3 of 6 changes did not last; is another program at work on them\? First: add link add 0: asked for$"
    with pytest.raises(KernelError, match=message):
        run.converge()


def test_what_was_not_written_is_not_read_again() -> None:
    run = Run("sets", "chains ipv4", "link")
    run.fakes["chains ipv4"].todo.clear()
    run.converge()
    reads = run.phases("read")
    assert reads == ["read sets", "read chains ipv4", "read link", "read sets", "read link"]


def test_chains_go_at_once_where_nothing_goes_that_their_rules_may_lead_to() -> None:
    run = Run("sets", "chains ipv4", "chains ipv6")
    run.fakes["sets"].todo.pop()
    run.converge()
    assert run.phases("apply") == [
        "apply add change sets",
        "apply add change remove chains ipv4",
        "apply add change remove chains ipv6",
    ]
