# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""IP sets as the kernel holds them, in the text form of ``ipset save``."""

from __future__ import annotations

import itertools
import shlex
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# The kernel grows a hash as members arrive, and draws initval at random: what ipset prints of
# these says nothing about what was asked for.
GROWN_BY_KERNEL = frozenset({"hashsize", "initval", "bucketsize"})
# Members whose lines are one piece of text.
PIECE_MEMBERS = 500
FLAG_OPTIONS = frozenset({"counters", "comment", "skbinfo", "forceadd", "wildcard"})


class IPSet(NamedTuple):
    """One set.

    ``options`` are the create options as (name, value) pairs in ipset's order; flags have the value "".
    ``members`` maps each entry (``10.0.0.1,tcp:80``) to its options (``nomatch``), "" for none.
    """

    name: str
    type: str
    options: tuple[tuple[str, str], ...]
    members: Mapping[str, str]

    @property
    def family(self) -> str:
        """``inet`` or ``inet6``; ``inet`` for types without a family."""
        return dict(self.options).get("family", "inet")

    @property
    def definition(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Type and those create options that only a new set can change."""
        return self.type, tuple(sorted(pair for pair in self.options if pair[0] not in GROWN_BY_KERNEL))

    def create_line(self) -> str:
        """The ``create`` line of ``ipset save``."""
        words = ["create", self.name, self.type]
        for name, value in self.options:
            words += [name, value] if value else [name]
        return " ".join(words)

    def lines(self) -> Iterator[str]:
        """The ``create`` line and the ``add`` lines, members sorted."""
        yield self.create_line()
        for entry in sorted(self.members):
            options = self.members[entry]
            yield f"add {self.name} {entry} {options}" if options else f"add {self.name} {entry}"


def parse_options(words: list[str]) -> tuple[tuple[str, str], ...]:
    """Create options as words -> (name, value) pairs."""
    pairs, rest = [], iter(words)
    for word in rest:
        pairs.append((word, "" if word in FLAG_OPTIONS else next(rest, "")))
    return tuple(pairs)


def parse(text: str, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, IPSet]:
    """``ipset save`` text -> the wanted sets by name, in the order of the text.

    Raises ValueError for a line that is neither ``create`` nor ``add``, and for a member of an unknown set.
    """
    members: dict[str, dict[str, str]] = {}
    created: dict[str, tuple[str, str]] = {}
    for line in text.split("\n"):
        words = line.split(None, 3)
        if len(words) < 3 or words[0] not in ("create", "add"):
            if words:
                raise ValueError(f"not a line of ipset save: {line!r}")
        elif words[0] == "create":
            members[words[1]] = {}
            created[words[1]] = (words[2], words[3] if len(words) > 3 else "")
        elif words[1] in members:
            members[words[1]][words[2]] = words[3].rstrip() if len(words) > 3 else ""
        else:
            raise ValueError(f"a member of a set that was not created: {line!r}")
    return {
        name: IPSet(name, set_type, parse_options(shlex.split(options)), members[name])
        for name, (set_type, options) in created.items()
        if wanted(name)
    }


def render(sets: Iterable[IPSet]) -> str:
    """Sets -> ``ipset save`` text; all sets first, as a ``list:set`` may name any of them."""
    return "".join(pieces(sets))


def pieces(sets: Iterable[IPSet]) -> Iterator[str]:
    """That text piece by piece: to hold all members of a large set as lines takes many times the memory of the set."""
    ordered = sorted(sets, key=lambda s: s.name)
    yield from (f"{ip_set.create_line()}\n" for ip_set in ordered)
    for ip_set in ordered:
        adds = itertools.islice(ip_set.lines(), 1, None)
        while piece := "".join([f"{line}\n" for line in itertools.islice(adds, PIECE_MEMBERS)]):
            yield piece
