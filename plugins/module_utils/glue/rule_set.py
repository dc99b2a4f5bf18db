# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Compiles the rule set of a node, and converges the node to it."""

from __future__ import annotations

import contextlib
import os
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from ..kernel import files
from ..plan.operation import Ownership
from ..rules import difference, names
from ..rules.ipvs_sets import OWN_SETS
from ..state import rule_set as state
from ..state.rule_set import RuleSet
from . import own_file
from .converge import Outcome, converge
from .known import NOTHING, Inputs, Known, rest_of
from .leftovers import Leftovers
from .place import RULE_SET
from .subsystems import Chains, NftablesTables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from ..model.node import Node, ProxyConfiguration
    from ..model.service import ServiceData
    from ..state.iptables import Tables
    from ..state.ipvs import VirtualServerKey
    from ..state.large_text import Text
    from .node import NodeAccess
    from .snapshots import Snapshots
    from .subsystem import Subsystem, TablesStates

SUBSYSTEMS = (
    "sysctls",
    "ipvs timeouts",
    "accounting objects",
    "sets",
    "chains",
    "nftables",
    "virtual servers",
    "link",
    "flows",
)


class Options(NamedTuple):
    """How to converge.

    ``only_owner``: every virtual server of the node counts as ours. ``drain``: protocols whose real servers are
    drained. ``snapshots``: where the state before the first write is kept; None takes none, and keeps all.
    ``sysctls``: names of the settings that count as wanted from now on; None: all of the rule set. ``texts`` by path
    are the files that the caller brings up to date afterwards, None for no file: where they cannot be written, nothing
    is changed. ``known`` need not be read; ``live_pieces`` makes the text of all that is there from what was read, and
    where that is a part from what the last run brought the node to.
    """

    only_owner: bool = False
    drain: Collection[str] = ("tcp",)
    snapshots: Snapshots | None = None
    sysctls: Collection[str] | None = None
    texts: Mapping[str, Text | None] = {}
    known: Known = NOTHING
    live_pieces: Callable[[RuleSet], Iterable[str]] = state.pieces


def compile_rule_set(data: ServiceData, node: Node, configuration: ProxyConfiguration, access: NodeAccess) -> RuleSet:
    """The rule set of this node: it depends on the node's addresses and kernel."""
    return inputs_of(node, configuration, access).render(data)


def inputs_of(node: Node, configuration: ProxyConfiguration, access: NodeAccess) -> Inputs:
    """What rule sets of this node are made from, beside service data. Raises KernelError."""
    facts = access.facts()
    if not node.addresses:
        node = node._replace(addresses=facts.node_addresses())
    return Inputs(node, configuration, facts)


def converge_rule_set(
    access: NodeAccess, desired: RuleSet, configuration: ProxyConfiguration, options: Options, check: bool
) -> Outcome:
    """Converges the node's kernel and its records, for a caller that holds NodeAccess.lock. Raises KernelError."""
    wanted = desired.virtual_servers.keys()
    record = access.record_of(wanted)
    record_changes = own_file.converge_all(record, check=True)
    # Else it says just that, and need not be taken apart.
    recorded = access.recorded_virtual_servers() if record_changes else frozenset(wanted)
    leftovers = Leftovers()
    ownership = ownership_of(
        recorded, options.only_owner, configuration.exclude_cidrs, leftovers, not _watches(desired)
    )
    subsystems = access.subsystems(SUBSYSTEMS, ownership, desired, drain=options.drain, known=options.known)
    leftovers.subsystems = subsystems
    if check:
        outcome = converge(subsystems, desired, check=True)
    else:
        outcome = _converge_and_record(access, subsystems, desired, options, record, recorded)
    return outcome._replace(operations=[*outcome.operations, *record_changes])


def _converge_and_record(
    access: NodeAccess,
    subsystems: Mapping[str, Subsystem],
    desired: RuleSet,
    options: Options,
    record: Mapping[str, str | None],
    recorded: frozenset[VirtualServerKey],
) -> Outcome:
    originals = access.sysctl_originals(RULE_SET)
    wanted = desired.virtual_servers.keys()

    def ended() -> dict[str, str | None]:
        return {**record, **originals.settled(desired.sysctls if options.sysctls is None else options.sysctls)}

    with contextlib.ExitStack() as held:
        take = held.enter_context(options.snapshots.around()) if options.snapshots else None

        def keep(before: RuleSet) -> None:
            # Whatever is made from here on is known as ours, even if this run is killed half-way.
            ours = record if recorded <= wanted else access.record_of(recorded | wanted)
            records = {**ours, **originals.noted(before.sysctls, desired.sysctls)}
            now, in_the_end = own_file.not_said(records), ended()
            # They are no larger in the end. Where none is written, a full disk does not matter.
            later = {path: text for path, text in records.items() if in_the_end[path] != text}
            held.enter_context(files.reserved({**now, **later}))
            held.enter_context(own_file.reserved(options.texts))
            with files.reserved(now):
                if take:
                    # Flows are ended, never made: there is nothing of theirs to restore.
                    take(options.live_pieces(before._replace(udp_endpoints={})))
            own_file.converge_all(now, check=False)

        outcome = converge(subsystems, desired, check=False, before_write=keep)
    own_file.converge_all(ended(), check=False)
    states, rest = _tables_left(subsystems, desired)
    return outcome._replace(states=states, rest=rest)


def _tables_left(subsystems: Mapping[str, Subsystem], desired: RuleSet) -> tuple[TablesStates, dict[str, Tables]]:
    """In what states the tables are, and where all of them is known, what of it :class:`.known.Left` is to hold."""
    states: TablesStates = {}
    rest: dict[str, Tables] = {}
    in_text = desired.tables if desired.settings.get("mode") in difference.TABLES else RuleSet.empty().tables
    for subsystem in subsystems.values():
        if isinstance(subsystem, (Chains, NftablesTables)):
            states.update(subsystem.states())
        if isinstance(subsystem, Chains) and not subsystem.partial:
            rest[subsystem.family] = rest_of(subsystem.live_tables, in_text[subsystem.family])
    return states, rest


def converge_recorded(
    access: NodeAccess,
    subsystems: Mapping[str, Subsystem],
    desired: RuleSet,
    recorded: frozenset[VirtualServerKey],
    check: bool,
) -> Outcome:
    """Converges subsystems, and records the virtual servers of ``desired`` as ours. Raises KernelError."""
    if check:
        return converge(subsystems, desired, check=True)

    def record_both(_before: RuleSet) -> None:
        own_file.converge_all(access.record_of(recorded | set(desired.virtual_servers)), check=False)

    outcome = converge(subsystems, desired, check=False, before_write=record_both)
    own_file.converge_all(access.record_of(desired.virtual_servers), check=False)
    return outcome


def ownership_of(
    recorded: Collection[VirtualServerKey],
    only_owner: bool,
    exclude_cidrs: Iterable[str],
    leftovers: Leftovers | None = None,
    canaries: bool = False,
) -> Ownership:
    """Ownership on a node that this collection looks after.

    ``leftovers`` adds what the kernel's state shows to be kube-proxy's, ``canaries`` its canary chains.
    """
    excluded = [ip_network(cidr) for cidr in exclude_cidrs]

    def owns_chain(table: str, chain: str) -> bool:
        if names.is_own_chain(table, chain) or (canaries and chain == names.CANARY):
            return True
        return leftovers is not None and leftovers.is_firewall(table, chain)

    def owns_jump(table: str, chain: str, target: str) -> bool:
        return names.is_own_jump(table, chain, target) or (
            leftovers is not None and leftovers.is_firewall(table, target)
        )

    def owns_virtual_server(key: VirtualServerKey) -> bool:
        if not key.address or any(ip_address(key.address) in network for network in excluded):
            return key in recorded and not key.address
        return key in recorded or only_owner or (leftovers is not None and leftovers.has_virtual_server(key))

    return Ownership(
        owns_chain,
        owns_jump,
        OWN_SETS.__contains__,
        owns_virtual_server,
        names.ACCOUNTING_OBJECTS.__contains__,
        names.is_shared_chain,
        names.is_own_table,
        names.is_dispatch_chain,
    )


def _watches(desired: RuleSet) -> bool:
    """Whether kube-proxy watches these tables with its canaries, as it does in iptables mode only."""
    table, chain = names.IPTABLES_MODE_CHAIN
    return any(chain in tables.get(table, {}) for tables in desired.tables.values())


def default_path(access: NodeAccess) -> str:
    """Where the compiled rule set of a node lies."""
    return os.path.join(access.folder, RULE_SET)
