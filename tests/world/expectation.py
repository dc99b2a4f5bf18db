# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests, what is expected to become of them, and whether it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from . import layout
from .requests import ANSWERED, REFUSED, TIMED_OUT, Answer
from .world import World

# Of an expectation's `seen`: the pod sees the client's own address, or one of the node's.
OWN, MASQUERADED = "own", "masqueraded"
# A mode that chooses at random gets so many rounds that every endpoint is met.
ROUNDS = {"ipvs": 2, "iptables": 20, "nftables": 20}
STICKY_REQUESTS = 6
# Requests that nobody answers take this long.
DROP_SECONDS = 1.0
ANSWER_SECONDS = 5.0


class Expectation(NamedTuple):
    """What becomes of requests.

    shares: how many of each round of requests every pod answers; in a mode that chooses at random, at least one.
    sticky: one of them answers all. icmp: of a refusal, the type and code of the ICMP message, if it has to be one.
    """

    outcome: str = ANSWERED
    shares: Mapping[str, int] = {}
    seen: str = ""
    sticky: bool = False
    icmp: str = ""


class Request(NamedTuple):
    """Requests of a host of the plan to an address and port. expect: by mode, where modes differ; none: not asked."""

    source: str
    address: str
    expect: Expectation | Mapping[str, Expectation]
    port: int = 80
    protocol: str = "tcp"

    def expectation(self, mode: str) -> Expectation | None:
        return self.expect if isinstance(self.expect, Expectation) else self.expect.get(mode)


def spread(pods: str, seen: str = "") -> Expectation:
    return Expectation(shares=dict.fromkeys(pods.split(), 1), seen=seen)


def shares(**by_pod: int) -> Expectation:
    return Expectation(shares=by_pod)


def sticks(pods: str) -> Expectation:
    return spread(pods)._replace(sticky=True)


def refused(icmp: str = "") -> Expectation:
    return Expectation(REFUSED, icmp=icmp)


DROPPED = Expectation(TIMED_OUT)


def count(answers: Sequence[Answer]) -> dict[str, int]:
    """Who answered how often; what did not end in an answer under its outcome."""
    return dict(sorted(Counter(one.pod if one.outcome == ANSWERED else one.outcome for one in answers).items()))


def send(world: World, request: Request, expectation: Expectation, mode: str) -> list[Answer]:
    """As many requests as it takes to tell whether it is as expected."""
    answered = expectation.outcome == ANSWERED
    number = STICKY_REQUESTS if expectation.sticky else ROUNDS[mode] * sum(expectation.shares.values())
    return world.request(
        request.source,
        request.address,
        request.port,
        protocol=request.protocol,
        count=number if answered else 1,
        timeout=ANSWER_SECONDS if answered else DROP_SECONDS,
    )


def problems(answers: Sequence[Answer], request: Request, expectation: Expectation, mode: str) -> Iterator[str]:
    """What is not as expected."""
    if {answer.outcome for answer in answers} != {expectation.outcome}:
        yield f"{count(answers)} instead of {expectation.outcome} {answers[-1].text}".rstrip()
    elif expectation.outcome != ANSWERED:
        if expectation.icmp and answers[0].icmp != expectation.icmp:
            yield f"refused with ICMP {answers[0].icmp or '(none)'} instead of {expectation.icmp}"
    else:
        if not _is_spread(answers, expectation, mode):
            how = "one of them" if expectation.sticky else "a round"
            yield f"{count(answers)} instead of {dict(expectation.shares)} {how}"
        if wrong := {answer.seen for answer in answers if not _sees(answer, request, expectation.seen)}:
            yield f"the pods see {', '.join(sorted(wrong))}, which is not {expectation.seen}"


def _is_spread(answers: Sequence[Answer], expectation: Expectation, mode: str) -> bool:
    found = count(answers)
    if expectation.sticky:
        return len(found) == 1 and set(found) <= set(expectation.shares)
    if mode == "ipvs":
        return found == {pod: ROUNDS[mode] * share for pod, share in expectation.shares.items()}
    return set(found) == set(expectation.shares)


def _sees(answer: Answer, request: Request, whom: str) -> bool:
    own = layout.HOSTS[request.source].address("ipv6" if ":" in request.address else "ipv4")
    return {"": True, OWN: answer.seen == own, MASQUERADED: answer.seen in layout.NODE_IPS}[whom]
