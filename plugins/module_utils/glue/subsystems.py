# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The subsystems of a node's data plane, each with one way to read, plan and apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kernel import ipset as kernel_ipset
from ..kernel import iptables as kernel_iptables
from ..kernel import ipvs as kernel_ipvs
from ..kernel import legacy_tables
from ..kernel import links as kernel_links
from ..kernel import nftables as kernel_nftables
from ..kernel.accounting import AccountingObjects as Accounting
from ..kernel.conntrack import Conntrack
from ..kernel.facts import kernel_version
from ..plan import conntrack as plan_conntrack
from ..plan import ipset as plan_ipset
from ..plan import iptables as plan_iptables
from ..plan import ipvs as plan_ipvs
from ..plan import nftables as plan_nftables
from ..plan import node as plan_node
from ..plan.operation import REMOVE, Operation
from ..rules.names import is_own_table
from ..state.iptables import Chain
from ..state.iptables_rule import target
from ..state.rule_set import RuleSet
from .known import NOTHING, Known
from .subsystem import LookAgainError, Unverified

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..kernel.command import Runner
    from ..kernel.ipset_socket import SetsSocket
    from ..kernel.nftables import NftablesSocket
    from ..plan.conntrack import Flow
    from ..plan.operation import Ownership
    from ..state.iptables import Tables
    from ..state.ipvs import Statistics, VirtualServerKey
    from ..state.ipvs import VirtualServers as LiveServers
    from ..state.nftables import Tables as LiveTables
    from ..state.node import Link
    from .subsystem import TablesState, TablesStates

    LazyIPVS = Callable[[], kernel_ipvs.IPVS]

# Here kubelet and kube-proxy have chains that mark their presence, without rules.
OTHER_TABLES = ("mangle",)
NFTABLES = "nftables"


class Timeouts(Unverified):
    """Timeouts of IPVS connections."""

    def __init__(self, ipvs: LazyIPVS) -> None:
        self._ipvs = ipvs
        self._live: dict[str, int] = {}

    def read(self, desired: RuleSet) -> None:
        if desired.ipvs_timeouts and kernel_ipvs.available():
            found = self._ipvs().timeouts()
            self._live = {name: found[name] for name in desired.ipvs_timeouts if name in found}

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_node.plan_timeouts(self._live, desired.ipvs_timeouts)

    def apply(self, operations: list[Operation]) -> None:
        self._ipvs().apply(operations)

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto._replace(ipvs_timeouts=self._live)


class Sets:
    """IP sets. ``exact`` removes members that are not desired."""

    atomic = False

    def __init__(self, runner: Runner, sets_socket: SetsSocket, ownership: Ownership, exact: bool = True) -> None:
        self._runner = runner
        self._socket = sets_socket
        self._ownership = ownership
        self._exact = exact
        self.live_sets = RuleSet.empty().sets
        # Since the sets were read.
        self._applied: list[Operation] = []

    def read(self, desired: RuleSet) -> None:
        name, self._applied = plan_ipset.only_set(self._applied), []
        one = self._socket.read_one(name) if name else None
        if one:
            # The others are what they were read as.
            self.live_sets = {**self.live_sets, name: one}
            return
        wanted = desired.sets
        self.live_sets = kernel_ipset.read(
            self._runner, lambda name: name in wanted or self._ownership.sets(name), self._socket
        )

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_ipset.plan(self.live_sets, desired.sets, self._ownership.sets, self._exact)

    def verify(self, operations: list[Operation], alone: bool) -> None:
        kernel_ipset.verify(self._runner, operations)

    def apply(self, operations: list[Operation]) -> None:
        kernel_ipset.apply(self._runner, operations, self._socket)
        self._applied += operations

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto._replace(sets=self.live_sets)


class Chains:
    """Chains, rules and jumps of the iptables tables of one family."""

    atomic = False
    # Whether desired rules are in iptables' own words: then what it wrote need not be read.
    in_its_words = True

    def __init__(
        self,
        runner: Runner,
        backend: kernel_iptables.Backend,
        family: str,
        ownership: Ownership,
        nftables: NftablesSocket,
        known: Known = NOTHING,
    ) -> None:
        self._runner = runner
        self._backend = backend
        self.family = family
        self._ownership = ownership
        # One of the families may have the legacy back end.
        tool = backend.tools.get(family)
        self._nftables = nftables if tool and tool.kind == kernel_iptables.NFT else None
        self._known = known
        self.live_tables: Tables = {}
        # Whether live_tables are only what is to change.
        self.partial = False
        # Under what live_tables are known: a table that iptables could not show counts only where it may be left out.
        self._key = ""
        # The state in which live_tables were seen, where it is known: the count of others' transactions, or a digest.
        self._at: TablesState | None = None
        # What that digest is of.
        self._looked_at: frozenset[str] = frozenset()
        # Whether live_tables are known from what this run wrote.
        self._known_after_write = False

    def read(self, desired: RuleSet) -> None:
        if self._known_after_write:
            self._known_after_write = False
            return
        tables, if_readable = self._to_read(desired)
        self._looked_at = tables.union(if_readable)
        before = self._state()
        if before is not None and before == self._at:
            return
        self._key = f"chains {self.family} of {', '.join(sorted(tables))}"
        known = self._known.tables(self._key, before, desired.tables[self.family])
        if known is not None:
            self.live_tables, self._at, self.partial = known.tables[self.family], before, self._known.part
            return
        self.partial = False
        text = kernel_iptables.listing(self._runner, self._backend, self.family)
        # In this order, as rules and what a digest is made of take much memory each.
        self._at = before if before == self._state() else None
        self.live_tables = kernel_iptables.tables_of(text, tables, if_readable)

    def _to_read(self, desired: RuleSet) -> tuple[frozenset[str], Collection[str]]:
        """Names of tables, and of those that may be such as iptables cannot show."""
        return frozenset(kernel_iptables.TABLES).union(desired.tables[self.family]), OTHER_TABLES

    def _state(self) -> TablesState | None:
        if self._nftables:
            return self._nftables.generation()
        return legacy_tables.state(legacy_tables.look(self.family, self._looked_at))

    def states(self) -> TablesStates:
        """In what state the tables were last seen, or left by this run; empty where nobody knows."""
        if self._at is None:
            return {}
        return {self._key: self._at + self._nftables.own if self._nftables and isinstance(self._at, int) else self._at}

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_iptables.plan(self.live_tables, desired.tables[self.family], self._ownership, self.family)

    def verify(self, operations: list[Operation], alone: bool) -> None:
        if self.partial and isinstance(self._at, str) and not self._countable(operations):
            # What becomes of the tables then only a look at all of them tells.
            raise LookAgainError
        kernel_iptables.verify(self._runner, self._backend, self.family, operations, alone)

    def apply(self, operations: list[Operation]) -> None:
        if not self.in_its_words:
            self._at = None
        if isinstance(self._at, str):
            self._at = self._apply_counted(operations, self._at)
            self._known_after_write = self._at is not None
            return
        kernel_iptables.apply(self._runner, self._backend, self.family, operations, self._nftables)
        if self._at is not None:
            # Else they are listed again.
            self.live_tables = plan_iptables.applied(self.live_tables, operations)

    def _apply_counted(self, operations: list[Operation], seen: str) -> str | None:
        """With the legacy back end: the state of the tables afterwards, None where they have to be listed again."""
        counted = self._countable(operations)
        if not counted:
            kernel_iptables.apply(self._runner, self._backend, self.family, operations)
            return None
        self.live_tables, growth = counted
        return kernel_iptables.apply_locked(
            self._runner, self._backend, self.family, operations, self._looked_at, seen, growth
        )

    def _countable(self, operations: list[Operation]) -> tuple[Tables, dict[str, int]] | None:
        """What becomes of the tables, and by how many entries those grow that are written; None where that is not sure.

        Who does not take the lock may have read a table before this write and write it after, undoing this one. The
        kernel refuses that only where the number of entries is another one then, which a second write might undo.
        """
        if self._known_after_write or not kernel_iptables.can_lock(self._backend, self.family):
            return None
        after = plan_iptables.applied(self.live_tables, operations)
        growth = plan_iptables.growth(self.live_tables, after, {operation.payload.table for operation in operations})
        return (after, growth) if all(growth.values()) else None

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto._replace(tables={**onto.tables, self.family: self._own(desired.tables[self.family])})

    def _own(self, desired: Tables) -> Tables:
        """Our chains, and of those into which others write too, our rules."""
        found: Tables = {}
        for table, chains in self.live_tables.items():
            wanted = desired.get(table, {})
            own = {name: kept for name, chain in chains.items() if (kept := self._kept(table, name, chain, wanted))}
            if own:
                found[table] = own
        return found

    def _kept(self, table: str, name: str, chain: Chain, desired: Mapping[str, Chain]) -> Chain | None:
        if chain.policy is None:
            if not self._ownership.chains(table, name):
                return None
            wanted = desired.get(name)
            return chain if wanted is None or wanted == chain else self._shown(table, name, chain, wanted)
        jumps = tuple(rule for rule in chain.rules if self._ownership.jumps(table, name, target(rule)))
        return Chain("ACCEPT", jumps) if jumps else None

    def _shown(self, table: str, name: str, chain: Chain, wanted: Chain) -> Chain:
        """As desired where only the order or the spelling differs, which is no difference to show either."""
        any_order = self._ownership.dispatch_chains(table, name)
        differs = plan_iptables.chain_difference(chain.rules, wanted.rules, self.family, any_order)
        return chain if differs else wanted


# A map in the rule of a chain takes the kernel a fraction of a millisecond to find.
FEW_CHAINS = 100


class NftablesTables:
    """Whole tables of nftables, of both families: one transaction takes them from one state to the next."""

    atomic = True

    def __init__(self, runner: Runner, ownership: Ownership, nftables: NftablesSocket, known: Known = NOTHING) -> None:
        self._runner = runner
        self._ownership = ownership
        self._socket = nftables
        self._known = known
        self._live: LiveTables = {}
        # The generation of others' transactions of which _live speaks, where it is known.
        self._at: int | None = None

    def read(self, desired: RuleSet) -> None:
        before = self._socket.generation()
        if before is not None and before == self._at:
            return
        known = self._known.tables(NFTABLES, before, desired.nftables)
        if known is not None:
            self._live, self._at = known.nftables, before
            return
        wanted = desired.nftables
        self._live = kernel_nftables.read(
            self._runner, self._socket, lambda name: name in wanted or self._ownership.tables(name), is_own_table
        )
        self._at = before if before == self._socket.generation() else None

    def states(self) -> TablesStates:
        """As :meth:`Chains.states`."""
        return {} if self._at is None else {NFTABLES: self._at + self._socket.own}

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_nftables.plan(self._live, desired.nftables, self._ownership.tables)

    def verify(self, operations: list[Operation], alone: bool) -> None:
        new = any(operation.verb != REMOVE and is_own_table(operation.name) for operation in operations)
        if new or not self._runner.find(kernel_nftables.PROGRAM):
            kernel_nftables.ensure_able(self._runner, kernel_version())
        if not alone:
            kernel_nftables.verify(self._runner, operations)

    def apply(self, operations: list[Operation]) -> None:
        with self._socket.writing(1):
            kernel_nftables.apply(self._runner, operations)
        if self._at is not None:
            self._live = plan_nftables.applied(self._live, operations)
            if not self._known.part:
                self._remember(operations, self._at)

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto._replace(nftables=self._live)

    def _remember(self, operations: list[Operation], at: int) -> None:
        """Saves the next run the most expensive part of its reading; of a few new chains, it may read that itself."""
        written = sum(operation.kind == "chain" for operation in operations)
        whole = any(operation.kind == "table" for operation in operations)
        own = {name: table for name, table in self._live.items() if is_own_table(name)}
        self._socket.remember(own, at, learn=whole or written > FEW_CHAINS)


class VirtualServers:
    """IPVS virtual servers and their real servers. ``drain`` names the protocols whose real servers are drained."""

    atomic = False

    def __init__(self, ipvs: LazyIPVS, ownership: Ownership, drain: Collection[str]) -> None:
        self._ipvs = ipvs
        self._ownership = ownership
        self._drain = drain
        self._live: LiveServers = {}
        self._statistics: Statistics = {}
        # Those that were written since they were read; None: nothing was.
        self._written: set[VirtualServerKey] | None = None

    def read(self, desired: RuleSet) -> None:
        # A kernel without IPVS has no virtual servers: a first check run can say so, and a write says what is missing.
        if not kernel_ipvs.available():
            return
        live, statistics = self._ipvs().read(self._written, desired.virtual_servers)
        if self._written is not None:
            same = {key: server for key, server in self._live.items() if key not in self._written}
            live = {**same, **live}
            statistics = {**{key: one for key, one in self._statistics.items() if key[0] in same}, **statistics}
        self._live, self._statistics, self._written = live, statistics, None

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_ipvs.plan(
            self._live, self._statistics, desired.virtual_servers, self._ownership.virtual_servers, self._drain
        )

    def verify(self, operations: list[Operation], alone: bool) -> None:
        self._ipvs().ensure_schedulers(
            o.payload.server.scheduler for o in operations if o.kind == "virtual server" and o.payload.server
        )

    def apply(self, operations: list[Operation]) -> None:
        self._ipvs().apply(operations)
        # The others are what they were read as, and nobody has to be asked 1,000 times for the sake of one.
        self._written = plan_ipvs.written(operations).union(self._written or ())

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        wanted = desired.virtual_servers
        own = {k: v for k, v in self._live.items() if k in wanted or self._ownership.virtual_servers(k)}
        return onto._replace(virtual_servers=own)


class DummyLink(Unverified):
    """A dummy link and its addresses."""

    def __init__(self, runner: Runner, links: kernel_links.LinksSocket, name: str) -> None:
        self._runner = runner
        self._links = links
        self._name = name
        self._live: Link | None = None

    def read(self, desired: RuleSet) -> None:
        self._live = self._links.read().dummy(self._name)

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_node.plan_link(self._live, desired.link)

    def apply(self, operations: list[Operation]) -> None:
        kernel_links.apply(self._runner, operations)

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto._replace(link=self._live)

    def node_addresses(self) -> frozenset[str]:
        """The addresses of all links of the node. Raises KernelError."""
        return frozenset(local.address for local in self._links.read().addresses())


class Flows(Unverified):
    """Flows of UDP services that connection tracking remembers."""

    def __init__(self, conntrack: Conntrack) -> None:
        self._conntrack = conntrack
        self._live: list[Flow] = []

    def read(self, desired: RuleSet) -> None:
        if desired.udp_endpoints:
            self._live = self._conntrack.read()

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_conntrack.plan(self._live, desired.udp_endpoints)

    def apply(self, operations: list[Operation]) -> None:
        self._conntrack.apply(operations)

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        return onto._replace(udp_endpoints=desired.udp_endpoints)


class AccountingObjects(Unverified):
    """Counters that rules name."""

    def __init__(self, accounting: Accounting, ownership: Ownership) -> None:
        self._accounting = accounting
        self._ownership = ownership
        self._live: frozenset[str] = frozenset()

    def read(self, desired: RuleSet) -> None:
        self._live = self._accounting.read() or frozenset()

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_node.plan_accounting_objects(
            self._live, desired.accounting_objects, self._ownership.accounting_objects
        )

    def apply(self, operations: list[Operation]) -> None:
        self._accounting.apply(operations)

    def live(self, onto: RuleSet, desired: RuleSet) -> RuleSet:
        wanted, owns = desired.accounting_objects, self._ownership.accounting_objects
        return onto._replace(accounting_objects=frozenset(name for name in self._live if name in wanted or owns(name)))
