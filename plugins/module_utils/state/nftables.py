# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Tables of nftables, in the text form of ``nft -s list table FAMILY NAME``.

A rule is the text that nft prints for it. What nft prints can be loaded again with ``nft -f``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Dict, NamedTuple, Tuple

from .large_text import Change, first, spliced

# Lines of a block as (first word, rest): ("type", "ipv4_addr"), ("comment", '"Active ClusterIPs"').
Options = Tuple[Tuple[str, str], ...]
SETS = ("set", "map")
OPEN_ELEMENTS = "\t\telements = { "
ELEMENT_END = ",\n\t\t\t     "
# A comma ends an element, unless it stands in quotes: those of a comment or of the name of an interface.
ELEMENT = re.compile(r'(?:[^",]|"[^"]*")+')
PARTS = re.compile(r'((?:[^"]|"[^"]*")+?)(?: comment "([^"]*)")?(?: : (.+))?')
SECONDS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
EXPIRES = re.compile(r" expires \S+")
# The first line of an object of a table.
BLOCK = re.compile(r"^\t\S.* \{$", re.MULTILINE)
BETWEEN_BLOCKS = "\n\n"
HOOK = re.compile(r"^\t\ttype \S+ hook ", re.MULTILINE)


class Element(NamedTuple):
    """What belongs to a key of a set or map: its verdict or value ("" in a set), and its comment."""

    data: str = ""
    comment: str = ""


class Set(NamedTuple):
    """A set or a map; ``kind`` says which. ``elements`` are by key, as in ``10.96.0.1 . tcp . 80``."""

    kind: str
    options: Options
    elements: dict[str, Element]

    @property
    def type(self) -> str:
        """Type of the keys, and of a map's values: ``ipv4_addr . inet_proto . inet_service : verdict``."""
        return dict(self.options).get("type", "")

    @property
    def flags(self) -> frozenset[str]:
        """Such as ``dynamic``, ``timeout`` and ``interval``."""
        return frozenset(dict(self.options).get("flags", "").replace(",", " ").split())

    @property
    def timeout(self) -> str:
        """After which elements expire; "" for never."""
        return dict(self.options).get("timeout", "")

    @property
    def comment(self) -> str:
        """The set's own comment."""
        return dict(self.options).get("comment", "").strip('"')

    @property
    def dynamic(self) -> bool:
        """Whether packets add the elements: they are the kernel's own then, and nobody's wish."""
        return "dynamic" in self.flags


class Chain(NamedTuple):
    """A chain. ``hook`` is the line that makes it a base chain, "" for others."""

    hook: str
    comment: str
    rules: tuple[str, ...]


class Table(NamedTuple):
    """A table. ``others`` are objects of further kinds, such as ``counter NAME``, with their lines."""

    options: Options
    sets: dict[str, Set]
    chains: dict[str, Chain]
    others: dict[str, tuple[str, ...]]

    @classmethod
    def empty(cls) -> Table:
        """A table that holds nothing."""
        return cls((), {}, {}, {})


# "FAMILY NAME", such as "ip kube-proxy" -> table
Tables = Dict[str, Table]


def parse(text: str) -> Tables:
    """Text of ``nft list`` -> tables. Raises ValueError for what nft does not print.

    Only a line feed ends a line: comments may hold what Python's splitlines() takes for one.
    """
    tables: Tables = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if line.startswith("table ") and line.endswith(" {"):
            tables[line[6:-2]] = _table(lines)
        elif line and not line.startswith("#"):
            raise ValueError(f"not a line of nft list: {line!r}")
    return tables


def render(tables: Tables) -> str:
    """Tables -> text of ``nft -s list``, with what has no order sorted: tables, objects, elements."""
    return "".join(pieces(tables))


def pieces(tables: Tables) -> Iterator[str]:
    """That text by line."""
    return (f"{line}\n" for name, table in sorted(tables.items()) for line in table_lines(name, table))


def table_lines(name: str, table: Table) -> Iterator[str]:
    """The lines of a table."""
    yield f"table {name} {{"
    yield from (f"\t{' '.join(option).rstrip()}" for option in table.options)
    blocks = [
        *(_block(kind_and_name, lines) for kind_and_name, lines in sorted(table.others.items())),
        *(set_lines(set_name, found) for set_name, found in sorted(table.sets.items())),
        *(chain_lines(chain_name, chain) for chain_name, chain in sorted(table.chains.items(), key=_base_first)),
    ]
    for number, block in enumerate(blocks):
        if number:
            yield ""
        yield from block
    yield "}"


def _base_first(item: tuple[str, Chain]) -> tuple[bool, str]:
    return not item[1].hook, item[0]


def set_lines(name: str, found: Set) -> Iterator[str]:
    """The lines of a set or map."""
    return _set_lines(name, found, [element_text(key, element) for key, element in sorted(found.elements.items())])


def _set_lines(name: str, found: Set, elements: list[str]) -> Iterator[str]:
    lines = [" ".join(option).rstrip() for option in found.options]
    if elements:
        lines.append(f"elements = {{ {ELEMENT_END.join(elements)} }}")
    return _block(f"{found.kind} {name}", lines)


def element_text(key: str, element: Element) -> str:
    """One element as nft prints it."""
    comment = f' comment "{element.comment}"' if element.comment else ""
    return f"{key}{comment} : {element.data}" if element.data else key + comment


def chain_lines(name: str, chain: Chain) -> Iterator[str]:
    """The lines of a chain."""
    head = [f'comment "{chain.comment}"'] if chain.comment else []
    return _block(f"chain {name}", [*head, *([chain.hook] if chain.hook else []), *chain.rules])


def _block(head: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"\t{head} {{"
    for line in lines:
        yield f"\t\t{line}"
    yield "\t}"


def _table(lines: Iterator[str]) -> Table:
    options: list[tuple[str, str]] = []
    table = Table.empty()
    for line in lines:
        if line == "}":
            return table._replace(options=tuple(options))
        if line.startswith("\t") and line.endswith(" {"):
            _add_block(table, line[1:-2], lines)
        elif line:
            options.append(_option(line))
    raise ValueError("a table of nft list has no end")


def _add_block(table: Table, head: str, lines: Iterator[str]) -> None:
    kind, _space, name = head.partition(" ")
    body = _body(head, lines)
    if kind == "chain":
        table.chains[name] = _chain(body)
    elif kind in SETS:
        table.sets[name] = _set(kind, body)
    else:
        table.others[head] = tuple(line.strip() for line in body)


def _body(head: str, lines: Iterator[str]) -> list[str]:
    body: list[str] = []
    for line in lines:
        if line == "\t}":
            return body
        body.append(line)
    raise ValueError(f"{head} of nft list has no end")


def _chain(body: list[str]) -> Chain:
    hook = comment = ""
    rules = [line[2:] for line in body]
    if rules and rules[0].startswith('comment "'):
        comment = rules.pop(0)[9:-1]
    if rules and rules[0].startswith("type "):
        hook = rules.pop(0)
    return Chain(hook, comment, tuple(rules))


def _set(kind: str, body: list[str]) -> Set:
    options: list[tuple[str, str]] = []
    elements: dict[str, Element] = {}
    rest = iter(body)
    for line in rest:
        if line.startswith(OPEN_ELEMENTS):
            elements = _elements(" ".join([line[len(OPEN_ELEMENTS) :], *rest]))
        else:
            options.append(_option(line))
    return Set(kind, tuple(options), elements)


def _elements(text: str) -> dict[str, Element]:
    text = text.rstrip()[:-1].rstrip()
    found = {}
    for part in ELEMENT.findall(text) if '"' in text else text.split(","):
        # Most have neither comment nor time, in a large table.
        part = part.strip()
        if " expires " in part:
            part = EXPIRES.sub("", part)
        if '"' not in part:
            key, _colon, data = part.partition(" : ")
            found[key] = Element(data)
        else:
            match = PARTS.fullmatch(part)
            if not match:
                raise ValueError(f"not an element of nft list: {part!r}")
            found[match.group(1)] = Element(match.group(3) or "", match.group(2) or "")
    return found


def duration(seconds: int) -> str:
    """Seconds as nft prints them: ``1d2h``."""
    parts = []
    for unit, length in SECONDS:
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _option(line: str) -> tuple[str, str]:
    word, _space, rest = line.strip().partition(" ")
    return word, rest


def changed_pieces(text: str, start: int, end: int, before: Tables, after: Tables) -> Iterator[str]:
    """Pieces of a text of :func:`render`, which begins and ends there, with what ``after`` holds of its tables in the
    place of what ``before`` holds of them.

    Elements that neither has stay. Raises ValueError where the text has no such table.
    """
    changes: list[Change] = []
    for name in after:
        if any((*before[name].sets, *before[name].chains, *after[name].sets, *after[name].chains)):
            head = f"table {name} {{\n"
            low = text.index(head, start, end) + len(head)
            # The table may be empty.
            high = text.index("\n}\n", low - 1, end) + 1
            changes += _block_changes(text, low, high, before[name], after[name])
    return spliced(text, start, end, changes)


def _block_changes(text: str, low: int, high: int, before: Table, after: Table) -> list[Change]:
    """Those of the objects of a table, whose lines begin and end there."""
    found = BLOCK.search(text, low, high)
    blocks = found.start() if found else high
    chains = first(text, blocks, high, BETWEEN_BLOCKS, lambda line: line.startswith("\tchain "))
    sets = first(text, blocks, chains, BETWEEN_BLOCKS, lambda line: line[1:].startswith(SETS))
    others = _behind_base_chains(text, chains, high)
    changes = []
    for name in sorted({*before.sets, *after.sets}):
        start, end = _place(text, sets, chains, name)
        block = text[start:end].rstrip("\n")
        new = _changed_set(name, block, before.sets.get(name), after.sets[name]) if name in after.sets else ""
        changes.append(Change(start, end, new))
    for name, chain in sorted({**before.chains, **after.chains}.items(), key=_base_first):
        start, end = _place(text, chains, others, name) if chain.hook else _place(text, others, high, name)
        lines = [*chain_lines(name, chain), "", ""] if name in after.chains else []
        changes.append(Change(start, end, "\n".join(lines)))
    return _ended(changes, blocks, high)


def _behind_base_chains(text: str, start: int, end: int) -> int:
    """They come first, and are few."""
    while start < end:
        behind = text.find(BETWEEN_BLOCKS, start, end)
        behind = end if behind < 0 else behind + len(BETWEEN_BLOCKS)
        if not HOOK.search(text, start, behind):
            break
        start = behind
    return start


def _place(text: str, low: int, high: int, name: str) -> tuple[int, int]:
    """Where the block of that name begins and ends, or would, in those of one kind."""
    start = first(text, low, high, BETWEEN_BLOCKS, lambda line: line.split(" ")[1] >= name)
    return start, first(text, start, high, BETWEEN_BLOCKS, lambda line: line.split(" ")[1] > name)


def _ended(changes: Iterable[Change], blocks: int, end: int) -> list[Change]:
    """The same changes of blocks, without the empty line behind the last block that is behind all others."""
    ordered = sorted(changes, key=lambda change: change.start)
    start, new = end, ""
    while ordered and ordered[-1].end == start:
        last = ordered.pop()
        start, new = last.start, last.new + new
    if new:
        new = f"\n{new[:-1]}" if blocks < start == end else new[:-1]
    elif blocks < start < end:
        start -= 1
    return [*ordered, Change(start, end, new)]


def _changed_set(name: str, block: str, was: Set | None, wanted: Set) -> str:
    """The block of a set in which elements changed. The others' are in the text only, and not taken apart."""
    _head, opened, rest = block.partition(f"\n{OPEN_ELEMENTS}")
    elements = rest[: rest.rindex(" }\n")].split(ELEMENT_END) if opened else []
    gone = {element_text(*item) for item in was.elements.items()} if was else set()
    come = [element_text(*item) for item in wanted.elements.items()]
    # The order of these texts is that of their keys, as a space comes before whatever a key goes on with.
    lines = _set_lines(name, wanted, sorted([*(one for one in elements if one not in gone), *come]))
    return "\n".join([*lines, "", ""])
