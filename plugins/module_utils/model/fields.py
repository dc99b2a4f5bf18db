# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads one mapping of the input key by key. What is wrong goes to the problems, under the path of the key.

A reader always returns a value of its type, so that reading goes on and finds the next problem as well. Values that
have been through a template arrive as text: ``"80"`` is a number, ``"yes"`` a truth value. null is the same as no key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from .address import WHOLE_ADDRESS, canonical_ip, canonical_network, family_of, special_range, why_no_ip
from .errors import Problems, nearest

_is_dns_label = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?").fullmatch
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Fields:
    """One mapping, and where in the input it stands (``services[3].ports[0]``, "" for the whole input)."""

    __slots__ = ("is_mapping", "path", "problems", "values")

    def __init__(self, value: object, path: str, problems: Problems) -> None:
        self.path = path
        self.problems = problems
        self.is_mapping = value is None or isinstance(value, dict)
        self.values: dict[object, object] = value if isinstance(value, dict) else {}
        if not self.is_mapping:
            problems.add(path, f"must be a mapping, not {describe(value)}")

    def at(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, text: str) -> None:
        """Adds a problem under the path of a key."""
        self.problems.add(self.at(key), text)

    def missing(self, key: str) -> None:
        """Adds that a key is missing, unless there is no mapping in which it could be."""
        if self.is_mapping:
            self.wrong(key, "is required")

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def only(self, known: Sequence[str]) -> None:
        """Every other key is a problem."""
        for key in self.values:
            if key not in known:
                self.wrong(str(key), f"unknown key{nearest(str(key), known)}")

    def text(self, key: str, default: str | None = "") -> str:
        """Text; a key without default is required."""
        value = self.values.get(key)
        if isinstance(value, str):
            return value
        if value is not None:
            self.wrong(key, f"must be text, not {describe(value)}")
        elif default is None:
            self.missing(key)
        return default or ""

    def dns_label(self, key: str, limit: int = 63, default: str | None = "") -> str:
        """Text that is a DNS label of at most so many characters: Kubernetes takes no other names of services and
        ports, and rules hold them as they are.
        """
        text = self.text(key, default)
        if len(text) > limit:
            self.wrong(key, f"{text!r} is longer than {limit} characters")
        elif text and not _is_dns_label(text):
            self.wrong(key, f"{text!r} is not a DNS label: lower-case letters, digits and inner hyphens only")
        return text

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """One of the known words; empty text is the default."""
        word = self.text(key) or default
        if word in known:
            return word
        self.wrong(key, f"{word!r} is not one of {', '.join(known)}{nearest(word, known)}")
        return default

    def integer(self, key: str, low: int, high: int, default: int | None = 0) -> int:
        """A whole number from low to high; the default may be outside. A key without default is required."""
        value = self.values.get(key)
        if value is None:
            if default is None:
                self.missing(key)
            return default or 0
        number = whole_number(value)
        if number is None:
            self.wrong(key, f"must be a whole number, not {describe(value)}")
        elif low <= number <= high:
            return number
        else:
            self.wrong(key, f"{number} is outside {low}..{high}")
        return default or 0

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key)
        if value is None or value is True or value is False:
            return default if value is None else bool(value)
        if isinstance(value, str) and value.lower() in _TRUTH:
            return _TRUTH[value.lower()]
        self.wrong(key, f"must be true or false, not {describe(value)}")
        return default

    def fields(self, key: str) -> Fields:
        """The mapping under a key, empty where there is none."""
        return Fields(self.values.get(key), self.at(key), self.problems)

    def items(self, key: str) -> Iterator[tuple[str, object]]:
        """Path and value of each item of the list under a key."""
        value = self.values.get(key)
        if value is None:
            return
        if not isinstance(value, (list, tuple)):
            self.wrong(key, f"must be a list, not {describe(value)}")
            return
        path = self.at(key)
        for index, item in enumerate(value):
            yield f"{path}[{index}]", item

    def mappings(self, key: str) -> Iterator[Fields]:
        """Each item of the list of mappings under a key."""
        for path, item in self.items(key):
            if item is None:
                self.problems.add(path, "must be a mapping, not null")
            yield Fields(item, path, self.problems)

    def texts(self, key: str) -> Iterator[tuple[str, str]]:
        """Path and value of each item of the list of texts under a key."""
        for path, item in self.items(key):
            if isinstance(item, str):
                yield path, item
            else:
                self.problems.add(path, f"must be text, not {describe(item)}")

    def service_ips(self, key: str) -> tuple[str, ...]:
        """The addresses of the list under a key to which a service can lead, as often as they are given."""
        return without_empty(service_ip(text, path, self.problems) for path, text in self.texts(key))

    def networks(self, key: str) -> tuple[str, ...]:
        """The networks of the list under a key, as often as they are given."""
        return without_empty(network(text, path, self.problems) for path, text in self.texts(key))


def describe(value: object) -> str:
    """A wrong value, named so that a person recognises it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def whole_number(value: object) -> int | None:
    """7 and "7" -> 7, None for all else (truth values as well)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return None


def without_repetition(values: Iterable[str]) -> tuple[str, ...]:
    """Every value that is not empty once, in the order given."""
    return without_empty(dict.fromkeys(values))


def without_empty(values: Iterable[str]) -> tuple[str, ...]:
    """Every value that is not empty, in the order given."""
    return tuple([value for value in values if value])


def ip(text: str, path: str, problems: Problems) -> str:
    """The canonical form of an address; "" with a problem where it is none."""
    address = canonical_ip(text)
    if not address:
        problems.add(path, f"{text!r} {why_no_ip(text)}")
    return address


def service_ip(text: str, path: str, problems: Problems, loopback: bool = False) -> str:
    """The same for an address to which a service can lead; ``loopback``: one of 127.0.0.0/8, too."""
    address = ip(text, path, problems)
    special = special_range(address)
    if special and not (loopback and address.startswith("127.")):
        problems.add(path, f"{text} is {'an' if special == 'unspecified' else 'a'} {special} address")
        return ""
    return address


def network(text: str, path: str, problems: Problems, exact: bool = False) -> str:
    """The canonical form of a network; "" with a problem where it is none. Surrounding blanks are dropped."""
    text = text.strip()
    canonical = canonical_network(text)
    if not canonical:
        address = canonical_ip(text)
        remedy = f"; for one address write {address}/{WHOLE_ADDRESS[family_of(address)]}" if address else ""
        problems.add(path, f"{text!r} is not a network such as 10.0.0.0/8{remedy}")
    elif exact and canonical_ip(text.partition("/")[0]) != canonical.partition("/")[0]:
        problems.add(path, f"{text} has bits set beyond its prefix length; write {canonical}")
    return canonical
