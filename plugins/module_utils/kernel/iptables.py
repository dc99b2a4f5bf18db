# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads and writes the tables of iptables and ip6tables, with either back end.

A restore is atomic per table: the kernel takes all lines up to a COMMIT, or none. Built-in chains are never declared in
its input, as that would set their policies.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Tuple

from ..plan.iptables import ChainContent, JumpChange
from ..plan.operation import REMOVE, Operation
from ..state.iptables import Tables, parse, parse_counters
from . import legacy_tables, xtables_lock
from .command import CommandError, KernelError, Runner, UnchangedError
from .iptables_stages import is_large, stages
from .nftables import NftablesSocket

AUTO = "auto"
NFT = "nft"
LEGACY = "legacy"
PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}
NFT_FAMILIES = {"ipv4": "ip", "ipv6": "ip6"}
NFT_TABLES = ("filter", "nat", "mangle", "raw", "security")
TABLES = ("filter", "nat")
LOCK_SECONDS = 30
# -w of iptables-restore and MASQUERADE --random-fully both came with it.
FULL_FEATURED = (1, 6, 2)
# From 1.8.6 on its lock is what XTABLES_LOCKFILE says. This one is in Debian 11 and Ubuntu 22.04.
LOCK_BY_ENVIRONMENT = (1, 8, 7)
RANDOM_FULLY = "--random-fully"
# What the commands are links to since 1.8; its name tells the back end.
KINDS = {"xtables-nft-multi": NFT, "xtables-legacy-multi": LEGACY}
VERSION = re.compile(r" v(\d+)\.(\d+)(?:\.(\d+))?(?: \((nf_tables|legacy)\))?")
NAMES_OBJECT = re.compile(r" --match-set | -j SET | --nfacct-name ")
# What an -A or -I line says before its rule.
COMMAND = re.compile(r"-[AI] \S+(?: \d+(?= ))?")
UNREADABLE = re.compile(r"^# Table `(\S+)' is incompatible", re.MULTILINE)
LOCKED = "xtables lock"
ERROR_LINE = re.compile(r"\bline:? (\d+)")
NOISE = re.compile(r"^(?:# Warning: ip6?tables-legacy tables present|Try `).*\n?", re.MULTILINE)


# Back end and version.
Printed = Tuple[str, Tuple[int, int, int]]


class Tool(NamedTuple):
    """The iptables of one address family: program, back end (``nft`` or ``legacy``).

    ``printed`` is what the program says of itself, and runs it for that once: only who writes has to know the version.
    """

    program: str
    kind: str
    printed: Callable[[], Printed]

    @property
    def version(self) -> tuple[int, int, int]:
        """The version. Raises KernelError where the program does not tell."""
        return self.printed()[1]

    @property
    def waits(self) -> bool:
        """Whether the restore can wait for the xtables lock."""
        return self.version >= FULL_FEATURED

    @property
    def random_fully(self) -> bool:
        """Whether MASQUERADE takes ``--random-fully``."""
        return self.version >= FULL_FEATURED


class Backend(NamedTuple):
    """What a node has: tools by family, why a family has none, and what rules the other back end holds as well.

    ``elsewhere`` can only be non-empty where the back end was chosen explicitly.
    """

    tools: Mapping[str, Tool]
    unavailable: Mapping[str, str]
    elsewhere: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``nft`` or ``legacy``; "" where the node has no iptables."""
        return next((tool.kind for tool in self.tools.values()), "")


def detect(
    runner: Runner,
    choice: str = AUTO,
    proc_net: str = legacy_tables.PROC_NET,
    nftables: NftablesSocket | None = None,
) -> Backend:
    """The node's iptables. ``choice`` is ``auto`` (what the command iptables is), ``nft`` or ``legacy``.

    Costs a process per family where the other back end has tables, and one where the name of the program does not tell
    its back end. Raises KernelError where iptables is missing, and, for ``auto``, where both back ends hold
    rules: traffic would pass through both.
    """
    tools: dict[str, Tool] = {}
    unavailable: dict[str, str] = {}
    for family, program in PROGRAMS.items():
        name = program if choice == AUTO else f"{program}-{choice}"
        if family == "ipv6" and not os.path.exists(f"{proc_net}/if_inet6"):
            unavailable[family] = "the kernel runs without IPv6"
        elif family == "ipv6" and runner.find(name) is None:
            unavailable[family] = f"{name} is not installed"
        else:
            tools[family] = _tool(runner, name, tools.values())
    elsewhere: list[str] = []
    for family, tool in tools.items():
        other = LEGACY if tool.kind == NFT else NFT
        used = legacy_tables.in_use(family, proc_net) if other == LEGACY else _nft_tables([family], nftables)
        elsewhere += _held(runner, family, other) if used else []
    if elsewhere and choice == AUTO:
        kinds = " and ".join(sorted({f"{tool.program} is {tool.kind}" for tool in tools.values()}))
        raise KernelError(
            f"rules are in both back ends of iptables: {kinds}, and the other one holds {', '.join(elsewhere[:6])}"
            f"{' and more' if len(elsewhere) > 6 else ''}. Flush that one, or choose one with 'nft' or 'legacy'"
        )
    return Backend(tools, unavailable, tuple(elsewhere))


def in_use(nftables: NftablesSocket) -> bool:
    """Whether the network namespace has any table of iptables, of either back end. Costs no process."""
    return any(legacy_tables.in_use(family) for family in PROGRAMS) or bool(_nft_tables(PROGRAMS, nftables))


def read(
    runner: Runner, backend: Backend, family: str, tables: Iterable[str] = TABLES, if_readable: Collection[str] = ()
) -> Tables:
    """The tables of one family, in one process; none where the family is not available. Raises KernelError."""
    return tables_of(listing(runner, backend, family), tables, if_readable)


def listing(runner: Runner, backend: Backend, family: str) -> str:
    """What iptables-save prints of one family, "" where the family is not available. Raises KernelError."""
    tool = backend.tools.get(family)
    return runner.run([f"{tool.program}-save"]).stdout if tool else ""


def tables_of(text: str, tables: Iterable[str], if_readable: Collection[str] = ()) -> Tables:
    """The tables of a listing.

    Raises KernelError for a table that iptables cannot show, as nft wrote what it does not understand into it; such a
    table of ``if_readable`` is left out.
    """
    wanted = set(tables)
    unreadable = wanted.intersection(UNREADABLE.findall(text))
    if unreadable:
        raise KernelError(
            f"iptables cannot show the table {', '.join(sorted(unreadable))}: another program keeps nftables "
            "rules in it that iptables does not understand. See 'nft list ruleset', and move these into another table"
        )
    wanted.update(if_readable)
    return {name: chains for name, chains in parse(text).items() if name in wanted}


def counters(runner: Runner, backend: Backend, family: str) -> dict[str, list[int]]:
    """How many packets the rules of each chain of the table nat have matched, in the order of the rules.

    These are statistics: nothing compares them. Raises KernelError.
    """
    program = backend.tools[family].program
    return parse_counters(runner.run([f"{program}-save", "-c", "-t", "nat"]).stdout)


def verify(runner: Runner, backend: Backend, family: str, operations: Iterable[Operation], alone: bool = False) -> None:
    """Tests operations without writing anything: one ``iptables-restore --test``. Raises KernelError.

    The test parses all rules and asks the kernel for their matches; the legacy back end also finds jumps to missing
    chains and deletions of missing rules. It costs nearly what the restore costs, and is worth it once, before the
    first write of any subsystem: a restore by itself is atomic per table. Rules that name sets or nfacct objects are
    tested as empty rules, as the tool looks these up, and the same run may be about to create them.

    Large changes are not tested: written in stages, what is refused has changed nothing that traffic reaches. Nor are
    those of one table where nothing else is to be written (``alone``), as the kernel takes all of them or none.
    """
    found = list(operations)
    tool = _tool_of(backend, family)
    if not tool.random_fully and any(RANDOM_FULLY in rule for operation in found for rule in _added(operation)):
        raise KernelError(
            f"{tool.program} {'.'.join(map(str, tool.version))} is too old for {RANDOM_FULLY}, which rules of "
            f"kube-proxy have: it takes {'.'.join(map(str, FULL_FEATURED))} or newer"
        )
    text = "" if is_large(found) or (alone and len(_tables(found)) == 1) else restore_input(found)
    if text:
        tested = "".join(f"{_without_objects(line)}\n" for line in _lines(text))
        _restore(runner, tool, tested, "--test")


def apply(
    runner: Runner,
    backend: Backend,
    family: str,
    operations: Iterable[Operation],
    nftables: NftablesSocket | None = None,
) -> None:
    """Carries out operations of one phase, or of all, of one family: one restore, none where there is nothing to do.

    With the nft back end large changes take several, see :mod:`.iptables_stages`; ``nftables`` takes note of the
    transactions. Raises KernelError; it says which line was refused, and which tables were written before. Of these, an
    UnchangedError where none was.
    """
    found = list(operations)
    if not found:
        return
    tool = _tool_of(backend, family)
    parts = list(stages(found)) if tool.kind == NFT and is_large(found) else [found]
    for number, part in enumerate(parts, 1):
        try:
            with _noted(nftables, part):
                _restore(runner, tool, restore_input(part))
        except KernelError as error:
            if len(parts) == 1:
                raise
            stage = f"stage {number} of {len(parts)}"
            raise KernelError(f"{error}. That was {stage}; those before it are written") from error


def can_lock(backend: Backend, family: str) -> bool:
    """Whether the tool has the legacy back end, and can be told that the xtables lock is held for it."""
    tool = _tool_of(backend, family)
    return tool.kind == LEGACY and tool.version >= LOCK_BY_ENVIRONMENT and xtables_lock.available()


def apply_locked(
    runner: Runner,
    backend: Backend,
    family: str,
    operations: Iterable[Operation],
    tables: Iterable[str],
    seen: str,
    growth: Mapping[str, int],
) -> str | None:
    """As :func:`apply` with the legacy back end, under the xtables lock. -> state of the tables afterwards.

    ``seen`` is their state when they were read; ``growth`` says for each table that is written how many entries more it
    has then. None where nobody knows what they hold now: where others have changed them since they were read, or
    meanwhile without the lock. Raises KernelError.
    """
    with xtables_lock.held(LOCK_SECONDS):
        before = legacy_tables.look(family, tables)
        apply(runner, backend, family, operations)
        after = legacy_tables.look(family, tables)
    if before is None or after is None or legacy_tables.state(before) != seen:
        return None
    others = {*before, *after}.difference(growth)
    as_written = all(
        table in after and after[table].entries - (before[table].entries if table in before else 0) == more
        for table, more in growth.items()
    )
    return legacy_tables.state(after) if as_written and all(before.get(t) == after.get(t) for t in others) else None


def _noted(nftables: NftablesSocket | None, operations: list[Operation]) -> contextlib.AbstractContextManager[None]:
    """With the nft back end, each table that is written is a transaction."""
    return nftables.writing(len(_tables(operations))) if nftables else contextlib.nullcontext()


def _tables(operations: Iterable[Operation]) -> set[str]:
    return {operation.payload.table for operation in operations}


def restore_input(operations: Iterable[Operation]) -> str:
    """Operations -> input of ``iptables-restore --noflush``, table by table."""
    by_table: dict[str, list[Operation]] = {}
    for operation in operations:
        by_table.setdefault(operation.payload.table, []).append(operation)
    return "".join(_table_input(table, found) for table, found in sorted(by_table.items()))


def _table_input(table: str, operations: list[Operation]) -> str:
    """Chains (their line empties them), rules, jumps, and last the deletion of what nothing names any more.

    The tools keep chains in a list by name, and look for the place of each from its beginning: so the last come first.
    """
    chains = [operation.payload for operation in operations if isinstance(operation.payload, ChainContent)]
    chains.sort(key=lambda chain: chain.name, reverse=True)
    declared = [f":{chain.name} - [0:0]" for chain in chains]
    rules = [f"-A {chain.name} {rule}" for chain in chains for rule in chain.rules or ()]
    deleted_chains = [f"-X {chain.name}" for chain in chains if chain.rules is None]
    deleted_jumps: list[str] = []
    inserted_jumps: list[str] = []
    stale_jumps: list[str] = []
    for operation in operations:
        change = operation.payload
        if isinstance(change, JumpChange):
            # Insertions count positions among the rules that the second phase removes.
            deletions = stale_jumps if operation.verb == REMOVE else deleted_jumps
            deletions += [f"-D {change.chain} {rule}" for rule in change.delete]
            if change.insert:
                head = f"-I {change.chain} {change.position}" if change.position else f"-A {change.chain}"
                inserted_jumps.append(f"{head} {change.insert}")
    lines = [f"*{table}", *declared, *rules, *deleted_jumps, *inserted_jumps, *stale_jumps, *deleted_chains, "COMMIT"]
    return "\n".join([*lines, ""])


def _added(operation: Operation) -> tuple[str, ...]:
    """The rules that an operation writes."""
    change = operation.payload
    return (change.rules or ()) if isinstance(change, ChainContent) else (change.insert,)


def _tool_of(backend: Backend, family: str) -> Tool:
    if family not in backend.tools:
        raise KernelError(f"{family} rules cannot be written: {backend.unavailable.get(family, 'no such family')}")
    return backend.tools[family]


def _lines(text: str) -> list[str]:
    """Comments may hold what else str.splitlines takes for the end of a line."""
    return text.rstrip("\n").split("\n")


def _without_objects(line: str) -> str:
    """The line, without its rule where that is a new one and names a set or an nfacct object."""
    command = COMMAND.match(line)
    return command.group() if command and NAMES_OBJECT.search(line) else line


def _restore(runner: Runner, tool: Tool, text: str, *options: str) -> None:
    wait = ["-w", str(LOCK_SECONDS)] if tool.waits else []
    try:
        runner.run([f"{tool.program}-restore", *wait, "--noflush", *options], stdin=text)
    except CommandError as error:
        explained = _explain(error, text, written="--test" not in options)
        raise (UnchangedError if _changed_nothing(error, tool, text) else KernelError)(explained) from error


def _changed_nothing(error: CommandError, tool: Tool, text: str) -> bool:
    """Whether that is sure of a restore that failed: of one table, and refused by the tool or as a whole.

    The legacy back end writes counters after the rules of a table, and may fail then.
    """
    if error.returncode < 0 or text.count("\nCOMMIT\n") != 1:
        return False
    line = _refused_line(error, _lines(text))[1]
    return LOCKED in error.stderr or bool(line and (tool.kind == NFT or line != "COMMIT"))


def _refused_line(error: CommandError, lines: list[str]) -> tuple[int, str]:
    """Number and text of the line at fault; 0 and "" where the tool names none."""
    number = max((int(found) for found in ERROR_LINE.findall(error.stderr)), default=0)
    return (number, lines[number - 1]) if 0 < number <= len(lines) else (0, "")


def _explain(error: CommandError, text: str, written: bool) -> str:
    """What a failed restore means, and what it left."""
    message = NOISE.sub("", error.stderr + "\n").strip()
    if LOCKED in message:
        return f"another program held the xtables lock for {LOCK_SECONDS} s: {message}"
    parts = [f"{error.argv[0]} refused its input: {message or f'exit status {error.returncode}'}"]
    lines = _lines(text)
    number, line = _refused_line(error, lines)
    if not number:
        return parts[0]
    before = lines[: number - 1]
    tables = [line[1:] for line in before if line.startswith("*")]
    complete = tables[: before.count("COMMIT")] if written else []
    parts.append(f"line {number}, in table {tables[-1] if tables else '?'}: {line}")
    if line == "COMMIT":
        parts.append("the kernel refused the table as a whole")
    elif line.startswith(("-D ", "-I ")):
        parts.append("if another program changed the chain meanwhile, run again")
    parts.append(f"written before that: table {', '.join(complete)}" if complete else "nothing was written")
    return "; ".join(parts)


def _tool(runner: Runner, name: str, tools: Iterable[Tool]) -> Tool:
    """The tool of this name. Where it is another link to the program of one of the tools, that one's answer counts."""
    path = os.path.realpath(runner.find(name) or "")
    alike = (tool for tool in tools if os.path.realpath(runner.find(tool.program) or "") == path)
    same = next(alike, None)
    printed = same.printed if same else functools.lru_cache(maxsize=None)(lambda: _printed(runner, name))
    return Tool(name, KINDS.get(os.path.basename(path)) or printed()[0], printed)


def _printed(runner: Runner, program: str) -> Printed:
    printed = runner.run([program, "--version"]).stdout
    found = VERSION.search(printed)
    if found is None:
        raise KernelError(f"{program} --version does not print a version: {printed.strip()!r}")
    major, minor, patch, kind = found.groups()
    # Before 1.8 there was one back end, and no word for it.
    return NFT if kind == "nf_tables" else LEGACY, (int(major), int(minor), int(patch or 0))


def _held(runner: Runner, family: str, kind: str) -> list[str]:
    """Chains that hold rules in a back end, and user-defined chains there."""
    program = f"{PROGRAMS[family]}-{kind}-save"
    if runner.find(program) is None:
        return []
    return [
        f"{family} {table} {name}"
        for table, chains in parse(runner.run([program]).stdout).items()
        for name, chain in chains.items()
        if chain.rules or chain.policy is None
    ]


def _nft_tables(families: Iterable[str], nftables: NftablesSocket | None) -> list[str]:
    """Tables of families that iptables-nft would list."""
    names = {f"{NFT_FAMILIES[family]} {table}" for family in families for table in NFT_TABLES}
    return [name for name in (nftables or NftablesSocket()).names() if name in names]
