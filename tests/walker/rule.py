# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules as the walker reads them: forms that kube-proxy writes, and no other, as it might walk those wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables_rule import split

FLAGS = {"--set", "--rcheck", "--reap", "--rsource", "--physdev-is-in", "--random-fully"}
PAIRS = {"--match-set"}
SELECTORS = {"-s", "-d", "-i", "-p"}
PORTS: tuple[set[str], ...] = (set(), {"--dport"})
# Match -> the combinations of options that may be there.
MATCHES: dict[str, tuple[set[str], ...]] = {
    "addrtype": ({"--src-type"}, {"--dst-type"}),
    "comment": ({"--comment"},),
    "conntrack": ({"--ctstate"},),
    "ipvs": ({"--vproto", "--vaddr", "--vport"},),
    "mark": ({"--mark"},),
    "nfacct": ({"--nfacct-name"},),
    "physdev": ({"--physdev-is-in"},),
    "recent": (
        {"--set", "--name", "--mask", "--rsource"},
        {"--rcheck", "--seconds", "--reap", "--name", "--mask", "--rsource"},
    ),
    "sctp": PORTS,
    "set": ({"--match-set"},),
    "statistic": ({"--mode", "--probability"},),
    "tcp": PORTS,
    "udp": PORTS,
}
TARGETS: dict[str, tuple[set[str], ...]] = {
    "ACCEPT": (set(),),
    "DNAT": ({"--to-destination"},),
    "DROP": (set(),),
    "MARK": ({"--set-xmark"},),
    "MASQUERADE": (set(), {"--random-fully"}),
    "REJECT": ({"--reject-with"},),
    "RETURN": (set(),),
}
NEGATABLE = {"-s", "-d", "-i", "--ctstate", "--src-type", "--dst-type", "--mark", "--physdev-is-in"}
# What an option may say; any text where it is not named.
VALUES = {
    "--ctstate": {"NEW", "INVALID", "RELATED", "ESTABLISHED", "DNAT"},
    "--src-type": {"LOCAL"},
    "--dst-type": {"LOCAL"},
    "--mode": {"random"},
    "--mask": {"255.255.255.255", ":".join(["ffff"] * 8)},
    "--reject-with": {"icmp-port-unreachable", "icmp6-port-unreachable"},
    "-p": {"tcp", "udp", "sctp"},
}


class UnknownFormError(ValueError):
    """A rule that the walker does not know how to walk."""


class Condition(NamedTuple):
    """One match of a rule with its options, or one selector, whose ``match`` is "".

    ``negated`` are those of the options that stand after an exclamation mark.
    """

    match: str
    options: Mapping[str, tuple[str, ...]]
    negated: frozenset[str]

    def value(self, option: str) -> str:
        return self.options[option][0]


class Rule(NamedTuple):
    """One rule. ``target`` is "" where it has none; ``options`` are the target's."""

    conditions: tuple[Condition, ...]
    target: str
    options: Mapping[str, tuple[str, ...]]


@lru_cache(maxsize=1 << 14)
def parse(text: str) -> Rule:
    """The text of a rule, without ``-A CHAIN`` -> the rule. Raises UnknownFormError."""
    parts = _parts(text)
    conditions = tuple(part for part in parts if part.match not in ("-j", "-g"))
    for condition in conditions:
        _check(condition, text)
    targets = [part for part in parts if part.match == "-j"]
    if len(targets) > 1 or any(part.match == "-g" for part in parts):
        raise UnknownFormError(f"goto, or more than one target: {text}")
    if not targets:
        _check_protocol(conditions, "", text)
        return Rule(conditions, "", {})
    name = targets[0].options["-j"][0]
    options = {option: values for option, values in targets[0].options.items() if option != "-j"}
    if targets[0].negated or set(options) not in TARGETS.get(name, (set(),)):
        raise UnknownFormError(f"target {name} with {' '.join(options) or 'nothing'}: {text}")
    _check_values(options, text)
    _check_protocol(conditions, name, text)
    return Rule(conditions, name, options)


def _parts(text: str) -> list[Condition]:
    """The words of a rule by match, target and selector."""
    found: list[tuple[str, dict[str, tuple[str, ...]], set[str]]] = []
    words = list(reversed(split(text)))
    negated = False
    while words:
        word = words.pop()
        if word == "!" and not negated:
            negated = True
            continue
        if word == "-m" and words:
            found.append((words.pop(), {}, set()))
        elif word in ("-j", "-g") and words:
            found.append((word, {word: (words.pop(),)}, set()))
        else:
            if word in SELECTORS:
                found.append(("", {}, set()))
            if not found or word in found[-1][1]:
                raise UnknownFormError(f"{word}: {text}")
            number = 0 if word in FLAGS else 2 if word in PAIRS else 1
            found[-1][1][word] = tuple(words.pop() for _value in range(number) if words)
            if negated:
                found[-1][2].add(word)
            negated = False
        if negated:
            raise UnknownFormError(f"! {word}: {text}")
    if negated:
        raise UnknownFormError(f"! at the end: {text}")
    return [Condition(match, options, frozenset(negated)) for match, options, negated in found]


def _check(condition: Condition, text: str) -> None:
    if condition.match == "":
        known = len(condition.options) == 1 and set(condition.options) <= SELECTORS
    else:
        known = set(condition.options) in MATCHES.get(condition.match, ())
    if not known:
        raise UnknownFormError(f"match {condition.match} with {' '.join(condition.options) or 'nothing'}: {text}")
    if not condition.negated <= NEGATABLE:
        raise UnknownFormError(f"! {' '.join(condition.negated)}: {text}")
    _check_values(condition.options, text)


def _check_values(options: Mapping[str, tuple[str, ...]], text: str) -> None:
    for option, values in options.items():
        if len(values) != (0 if option in FLAGS else 2 if option in PAIRS else 1):
            raise UnknownFormError(f"{option} without a value: {text}")
        if option in VALUES and not set(values[0].split(",")) <= VALUES[option]:
            raise UnknownFormError(f"{option} {values[0]}: {text}")


def _check_protocol(conditions: tuple[Condition, ...], target: str, text: str) -> None:
    """The kernel takes the match of a protocol, and a translation of ports, only after ``-p``."""
    protocols = {condition.value("-p") for condition in conditions if "-p" in condition.options}
    matches = {condition.match for condition in conditions} & VALUES["-p"]
    if not matches <= protocols or (target == "DNAT" and not protocols):
        raise UnknownFormError(f"a match or target that needs -p: {text}")
