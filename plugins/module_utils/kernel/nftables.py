# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads and writes tables of nftables: a few dumps or one listing a table, one transaction for all changes."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator

from ..plan.nftables import ChainChange, ElementChange, OtherChange, SetChange, TableChange
from ..plan.operation import ADD, Operation
from ..state.nftables import Chain, Table, Tables, element_text, parse, table_lines
from . import nftables_dump
from .command import CommandError, KernelError, Result, Runner, UnchangedError
from .namespace import in_fresh_namespace
from .netlink import NetlinkClient, NetlinkError, attributes
from .nftables_codec import HEADER_BYTES
from .nftables_dump import GET_TABLE, SUBSYSTEM, header

PROGRAM = "nft"
# kube-proxy wants both (data-plane 2.4): older ones do not know all of its rules, or fail in ways of their own.
MINIMUM_VERSION = (1, 0, 1)
MINIMUM_KERNEL = (5, 13)
VERSION = re.compile(r"v(\d+)\.(\d+)(?:\.(\d+))?")
BUSY = "Device or resource busy"
UNCHANGED = " (nothing has changed in nftables)"
# More operations than this are not tested first, even where others write before: it takes as long as the transaction.
MAX_TESTED = 2000
# Kernels before 6.2 hold on to what deleted elements led to for a moment.
DELETE_ATTEMPTS = 5
DELETE_PAUSE = 0.5
# Of a rule: what is quoted, the element that a packet adds, and an anonymous set of one.
SET_OF_ONE = re.compile(r'"[^"]*"|@\S+ \{|\{ ((?:"[^"]*"|[^\s{}",])+) \}')
ONE_IN_BRACES = re.compile(r"\{ [^ ]+ \}")
NUL = b"\0"
_TABLE_NAME = 1
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}


class NftablesSocket(NetlinkClient):
    """What the kernel tells of its tables without a listing.

    ``own`` counts this run's own transactions. ``path`` is the file of :class:`nftables_dump.Memory`.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__()
        self._memory = nftables_dump.Memory(path)
        self.own = 0

    def generation(self) -> int | None:
        """How many transactions of others there were (see :func:`nftables_dump.generation`), None if that is unknown.

        As long as it stays, the tables are what they were read as, and what this run made of them: see :meth:`writing`.
        """
        try:
            found = nftables_dump.generation(self._socket)
        except NetlinkError:
            return None
        return None if found is None else found - self.own

    @contextlib.contextmanager
    def writing(self, transactions: int) -> Iterator[None]:
        """Counts as this run's own, at most so many transactions, what is written in a ``with`` block.

        Not simply so many: where nothing is left to change, a transaction does not count, and whoever wrote meanwhile
        would be taken for us.
        """
        before = self.generation()
        yield
        after = self.generation()
        if before is not None and after is not None:
            self.own += min(transactions, after - before)

    def table(self, name: str) -> Table | None:
        """A table, by family and name, if it holds nothing but the forms of nftables mode. Raises NetlinkError."""
        return nftables_dump.read_table(self._socket, name, self._memory)

    def remember(self, written: Tables, at: int, learn: bool) -> None:
        """Keeps for later runs what they need not read again, of tables that were as written at a generation.

        ``learn``: also what was not read by this one. Where somebody has written since, nothing is kept.
        """
        names = written if learn else ()
        learned = {name: nftables_dump.learn_table(self._socket, name, written[name]) for name in names}
        if self.generation() != at:
            return
        for name, found in learned.items():
            if found:
                self._memory.replace(name, *found)
        self._memory.save(written)

    def names(self) -> list[str]:
        """Live tables, by family and name; none where the kernel is without nftables.

        ``nft list tables`` would read all of their content first.
        """
        try:
            found = self._socket.dump(SUBSYSTEM | GET_TABLE, header(socket.AF_UNSPEC))
        except NetlinkError as error:
            if error.number == errno.EPERM:
                raise
            return []
        named = [(body[0], attributes(body, HEADER_BYTES)[_TABLE_NAME]) for body in found]
        return [f"{FAMILIES.get(family, family)} {name.rstrip(NUL).decode()}" for family, name in named]


def version(runner: Runner) -> tuple[int, int, int]:
    """The version of nft; (0, 0, 0) where it does not tell."""
    found = VERSION.search(runner.run([PROGRAM, "--version"]).stdout)
    return (int(found.group(1)), int(found.group(2)), int(found.group(3) or 0)) if found else (0, 0, 0)


def ensure_able(runner: Runner, kernel: tuple[int, int]) -> None:
    """Raises KernelError where nft is missing or too old for the tables of nftables mode, or the kernel is."""
    found = version(runner)
    if found < MINIMUM_VERSION:
        raise KernelError(
            f"nft {_dotted(found)} is too old for nftables mode: it takes {_dotted(MINIMUM_VERSION)} or newer"
        )
    if kernel < MINIMUM_KERNEL:
        raise KernelError(
            f"Linux {_dotted(kernel)} is too old for nftables mode: it takes {_dotted(MINIMUM_KERNEL)} or newer"
        )


def read(
    runner: Runner,
    tables: NftablesSocket,
    wanted: Callable[[str], bool],
    of_the_mode: Callable[[str], bool],
) -> Tables:
    """The wanted tables, by family and name, that are there. Raises KernelError.

    ``of_the_mode`` tells tables of nftables mode, which are read without nft, unless something strange is in them.
    """
    found: Tables = {}
    for name in filter(wanted, tables.names()):
        table = tables.table(name) if of_the_mode(name) else None
        if table is not None:
            found[name] = table
        else:
            found.update(_parse(runner.run([PROGRAM, "-s", "list", "table", *name.split(" ")]).stdout))
    return found


def listed_form(runner: Runner, text: str) -> tuple[Tables, str]:
    """Tables as nft would list them once it has loaded the text, and what is wrong with the text, "" for nothing.

    They are loaded into a network namespace of their own, which does not last. Raises KernelError.
    """

    def load_and_list() -> tuple[Result, Tables]:
        done = runner.run([PROGRAM, "-f", "-"], text, check=False)
        listed = runner.run([PROGRAM, "-s", "list", "ruleset"]).stdout if done.returncode == 0 else ""
        return done, _parse(listed)

    done, tables = in_fresh_namespace(load_and_list)
    if done.returncode == 0:
        return tables, ""
    # The first line of the text is ours.
    found = re.search(r"/dev/stdin:(\d+):\S+ Error: (.*)", done.stderr)
    if not found:
        raise CommandError([PROGRAM, "-f", "-"], done.returncode, done.stderr, text)
    number = int(found.group(1))
    line = text.split("\n")[number - 1].strip() if number <= text.count("\n") else ""
    return {}, f"{found.group(2)}, in line {number - 1}: {line}"


def verify(runner: Runner, operations: list[Operation]) -> None:
    """Tests operations without writing anything. Raises KernelError."""
    if len(operations) <= MAX_TESTED and all(operation.kind != "table" for operation in operations):
        _run(runner, script(operations), "--check")


def apply(runner: Runner, operations: list[Operation]) -> None:
    """Carries out operations in one transaction. Raises UnchangedError, CommandError.

    An old kernel may take the deletion of chains and sets only a moment after that of what led to them: then these
    follow in a transaction of their own. Raises KernelError where it does not.
    """
    if not operations:
        return
    try:
        _run(runner, script(operations))
    except KernelError as error:
        deletions = list(_deletions(operations))
        if BUSY not in str(error) or not deletions:
            raise
        _run(runner, script(operations, delete=False))
        _delete_later(runner, deletions)


def _delete_later(runner: Runner, deletions: list[str]) -> None:
    for attempt in range(1, DELETE_ATTEMPTS + 1):
        time.sleep(DELETE_PAUSE)
        try:
            _run(runner, _text(deletions))
            return
        except KernelError as error:
            if BUSY not in str(error) or attempt == DELETE_ATTEMPTS:
                refused = str(error).replace(UNCHANGED, "")
                raise KernelError(f"what led to it is gone, but it stays: {refused}") from error


def script(operations: list[Operation], delete: bool = True) -> str:
    """Operations -> input of ``nft -f``. ``delete``: chains and sets that go are deleted, not just emptied."""
    # An interval has to go before another that overlaps it can come.
    lines = [*_clearing(operations), *_emptying(operations), *_additions(operations)]
    return _text([*lines, *(_deletions(operations) if delete else ())])


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _clearing(operations: list[Operation]) -> Iterator[str]:
    """Makes room: what is replaced goes, after the rules that name it, and the rules of chains that go."""
    replaced: list[str] = []
    for operation in operations:
        change = operation.payload
        if operation.verb == ADD:
            continue
        if isinstance(change, TableChange):
            yield f"delete table {change.table}"
        elif isinstance(change, ChainChange):
            yield f"flush chain {change.table} {change.name}"
            if change.anew:
                replaced.append(f"delete chain {change.table} {change.name}")
        elif isinstance(change, SetChange) and change.content is not None:
            replaced.append(f"delete {change.kind} {change.table} {change.name}")
        elif isinstance(change, ElementChange) and change.content is not None:
            yield f"delete element {change.table} {change.set_name} {{ {change.key} }}"
    yield from replaced


def _additions(operations: list[Operation]) -> Iterator[str]:
    """One block a table: nft makes its sets and chains first, then rules and elements."""
    blocks: dict[str, Table] = {}
    for operation in operations:
        change = operation.payload
        if isinstance(change, TableChange):
            if change.content is not None:
                chains = {name: _written(chain) for name, chain in change.content.chains.items()}
                yield from table_lines(change.table, change.content._replace(chains=chains))
        elif not isinstance(change, OtherChange) and change.content is not None:
            block = blocks.setdefault(change.table, Table.empty())
            if isinstance(change, ChainChange):
                block.chains[change.name] = _written(change.content)
            elif isinstance(change, SetChange):
                block.sets[change.name] = change.content
    for name, block in blocks.items():
        yield from table_lines(name, block)
    yield from _added_elements(operations)


def _written(chain: Chain) -> Chain:
    """The chain as nft has to be given it: to a set of one element in a rule it takes the braces away, unless that one
    is what several merge into.
    """
    if not any(map(ONE_IN_BRACES.search, chain.rules)):
        return chain
    return chain._replace(rules=tuple([SET_OF_ONE.sub(_twice, rule) for rule in chain.rules]))


def _twice(found: re.Match[str]) -> str:
    return f"{{ {found[1]}, {found[1]} }}" if found[1] else found[0]


def _added_elements(operations: list[Operation]) -> Iterator[str]:
    added: dict[tuple[str, str], list[str]] = {}
    for operation in operations:
        change = operation.payload
        if isinstance(change, ElementChange) and change.content is not None:
            added.setdefault((change.table, change.set_name), []).append(element_text(change.key, change.content))
    for (table, name), elements in added.items():
        yield f"add element {table} {name} {{ {', '.join(elements)} }}"


def _emptying(operations: list[Operation]) -> Iterator[str]:
    """Takes away elements: afterwards none leads to a chain that is deleted."""
    removed: dict[tuple[str, str], list[str]] = {}
    for operation in operations:
        change = operation.payload
        if isinstance(change, ElementChange) and change.content is None:
            removed.setdefault((change.table, change.set_name), []).append(change.key)
        elif isinstance(change, SetChange) and change.content is None:
            yield f"flush {change.kind} {change.table} {change.name}"
    for (table, name), keys in removed.items():
        yield f"delete element {table} {name} {{ {', '.join(keys)} }}"


def _deletions(operations: list[Operation]) -> Iterator[str]:
    for operation in operations:
        change = operation.payload
        if isinstance(change, ChainChange) and change.content is None:
            yield f"delete chain {change.table} {change.name}"
        elif isinstance(change, SetChange) and change.content is None:
            yield f"delete {change.kind} {change.table} {change.name}"
        elif isinstance(change, OtherChange):
            kind, _space, name = change.what.partition(" ")
            yield f"delete {kind} {change.table} {name}"


def _run(runner: Runner, text: str, *options: str) -> None:
    """One ``nft -f -``. Raises UnchangedError that quotes the line at fault, CommandError where nft names none."""
    try:
        runner.run([PROGRAM, *options, "-f", "-"], text)
    except CommandError as error:
        found = re.search(r"/dev/stdin:(\d+):\S+ Error: (.*)", error.stderr)
        if not found:
            raise
        line = text.split("\n")[int(found.group(1)) - 1].strip()
        shown = line if len(line) < 200 else f"{line[:200]}..."
        raise UnchangedError(f"nft: {found.group(2)}, in: {shown}{UNCHANGED}") from error


def _parse(text: str) -> Tables:
    try:
        return parse(text)
    except ValueError as error:
        raise KernelError(f"cannot read what nft lists: {error}") from error


def _dotted(numbers: Iterable[int]) -> str:
    return ".".join(str(number) for number in numbers)
