# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The canonical text of one iptables rule: what ``iptables-save`` prints for it.

A rule as a person or kube-proxy writes it differs from what the tool prints: order of options, implied matches, masks,
defaults, quoting. What the tables of :mod:`.iptables_options` do not know (a match, a target, an option, the name of a
service for a port) stays as written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .iptables_options import (
    ANY,
    MATCH_NAMES,
    MATCHES,
    PROTOCOL_MATCHES,
    SELECTOR_VALUES,
    SELECTORS,
    TARGETS,
    Extension,
    Option,
    as_written,
    quote,
)

__all__ = ["canonical", "quote", "split", "target"]

JUMPS = {"-j": "-j", "--jump": "-j", "-g": "-g", "--goto": "-g"}
JUMP = re.compile(r"(?:^|\s)(?:-j|-g|--jump|--goto)\s+(\S+)")
ESCAPE = re.compile(r"\\(.)")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
# As iptables-restore splits: a closing quote ends the word.
WORD = re.compile(r'[ \t]*([^ \t"]*"(?:[^"\\]|\\.)*"|[^ \t"]+)')


class _Word(NamedTuple):
    """A word of a rule: its text, and how it was spelt."""

    text: str
    raw: str


class _Part:
    """One ``-m``, ``-j`` or ``-g`` of a rule, with the options read so far."""

    def __init__(self, flag: str, name: str, extension: Extension | None) -> None:
        self.flag = flag
        self.name = name
        self.extension = extension
        self.options: list[tuple[Option, str]] = []
        self.unknown: list[str] = []

    def take(self, option: Option, negated: bool, values: list[str], family: str) -> None:
        """Adds a known option."""
        printed = [_normal(value, text, family) for value, text in zip(option.values, values)]
        if printed == [""]:
            return
        text = " ".join([option.printed or option.names[0], *printed])
        self.options.append((option, f"! {text}" if negated else text))

    def render(self, family: str) -> str:
        """The part as printed."""
        words = [self.flag, as_written(self.name)]
        if self.extension is not None:
            given = {name for option, _text in self.options for name in option.names}
            for group in self.extension.implied:
                implied = self.extension.find(group[0])
                if implied is not None and given.isdisjoint(group):
                    self.take(implied, False, ["" for _value in implied.values], family)
            order = self.extension.options
            words += [text for _option, text in sorted(self.options, key=lambda taken: order.index(taken[0]))]
        return " ".join(words + self.unknown)


class _Reader:
    """Reads the words of one rule."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.selectors: dict[str, str] = {}
        self.protocol = ""
        self.matches: list[_Part] = []
        self.target: _Part | None = None
        self.loaded: list[_Part] = []

    def read(self, words: list[_Word]) -> None:
        """Reads all words. Raises ValueError for a word that nothing before it explains."""
        rest = list(reversed(words))
        negated = False
        while rest:
            word = rest.pop()
            if word.raw == "!":
                negated = True
                continue
            if word.text in SELECTORS:
                self._select(SELECTORS[word.text], negated, rest)
            elif word.text in ("-m", "--match") and rest:
                name = rest.pop().text
                self._load_match(MATCH_NAMES.get(name, name))
            elif word.text in JUMPS and rest:
                name = rest.pop().text
                self.target = _Part(JUMPS[word.text], name, TARGETS.get(name))
                self.loaded.append(self.target)
            else:
                self._option(word, negated, rest)
            negated = False

    def render(self) -> str:
        """The rule as printed."""
        words = [self.selectors[flag] for flag in SELECTOR_VALUES if flag in self.selectors]
        words += [part.render(self.family) for part in self.matches]
        if self.target is not None:
            words.append(self.target.render(self.family))
        return " ".join(words)

    def _load_match(self, name: str) -> _Part:
        part = _Part("-m", name, MATCHES.get(name))
        self.matches.append(part)
        self.loaded.append(part)
        return part

    def _select(self, flag: str, negated: bool, rest: list[_Word]) -> None:
        normal = SELECTOR_VALUES[flag]
        value = "" if normal is None else _normal(normal, rest.pop().text if rest else "", self.family)
        if "," in value and flag in ("-s", "-d"):
            raise ValueError(f"{flag} {value}: a rule has one address or network; write one rule for each")
        if flag == "-p":
            self.protocol = value
        if negated or value not in ANY.get(flag, ()):
            self.selectors[flag] = f"{'! ' if negated else ''}{flag} {value}".rstrip()

    def _option(self, word: _Word, negated: bool, rest: list[_Word]) -> None:
        name, equals, value = word.text.partition("=") if word.text.startswith("--") else (word.text, "", "")
        part = self._owner(name, word.raw)
        option = part.extension.find(name) if part.extension is not None else None
        if option is not None:
            rest += [_Word(value, value)] if equals else []
            part.take(option, negated, [rest.pop().text for _value in option.values if rest], self.family)
            return
        part.unknown += ["!", word.raw] if negated else [word.raw]
        while rest and not rest[-1].raw.startswith("-") and rest[-1].raw != "!":
            part.unknown.append(rest.pop().raw)

    def _owner(self, option: str, raw: str) -> _Part:
        """Where an option belongs: the part loaded last that knows it, as in getopt, or the match of the protocol."""
        implied = PROTOCOL_MATCHES.get(self.protocol, "")
        knows = implied in MATCHES and MATCHES[implied].find(option) is not None
        for part in reversed(self.loaded):
            if part.extension is not None and part.extension.find(option) is not None:
                return part
            if part.extension is None and not knows:
                return part
        if knows:
            return self._load_match(implied)
        if not self.loaded:
            raise ValueError(f"{raw}: nothing before it in the rule takes it")
        return self.loaded[-1]


def canonical(rule: str, family: str) -> str:
    """Rule text without ``-A CHAIN`` -> the text that ``iptables-save`` prints. ``family`` is ``ipv4`` or ``ipv6``.

    Idempotent. Raises ValueError for text that cannot be one rule: an open quote, a line break, several addresses after
    ``-s`` or ``-d``, an option that nothing before it takes.
    """
    reader = _Reader(family)
    reader.read(list(_words(rule)))
    return reader.render()


def target(rule: str) -> str:
    """The chain or target that a rule jumps or goes to, "" for none."""
    found = JUMP.search(QUOTED.sub("", rule) if '"' in rule else rule)
    return found.group(1) if found else ""


def split(rule: str) -> list[str]:
    """The words of a rule, quoting undone. Raises ValueError for an open quote or a line break."""
    return [word.text for word in _words(rule)]


def _words(rule: str) -> Iterator[_Word]:
    if any(character in rule for character in "\n\r\0"):
        raise ValueError("a rule is one line")
    position, end = 0, len(rule.rstrip(" \t"))
    while position < end:
        found = WORD.match(rule, position)
        if found is None:
            raise ValueError(f"a quote is open: {rule[position:].strip()}")
        raw = found.group(1)
        bare, _quote, quoted = raw.partition('"')
        yield _Word(bare + (ESCAPE.sub(r"\1", quoted[:-1]) if "\\" in quoted else quoted[:-1]), raw)
        position = found.end()


def _normal(value: Callable[[str, str], str], text: str, family: str) -> str:
    try:
        return value(text, family)
    except (ValueError, LookupError, ArithmeticError):
        return as_written(text)
