# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What differs between the rule sets of a few service ports, as they were and as they are.

In iptables and nftables mode each service port adds chains of its own, and to common sets and maps elements of its own:
what differs for these service ports is all that differs on the node. IPVS mode is left out: the kernel does not tell
whether virtual servers are what they were, so that all have to be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.service import FAMILIES
from ..state.iptables import Tables
from ..state.nftables import Table
from . import iptables
from .modes import render
from .names import SERVICE_CHAIN_PREFIXES

if TYPE_CHECKING:
    from ..model.node import Node, ProxyConfiguration
    from ..model.service import ServiceData
    from ..state import nftables
    from ..state.rule_set import RuleSet
    from .facts import NodeFacts

# What a mode writes into, as in converge.ORDER.
TABLES = {"iptables": "chains", "nftables": "nftables"}


def render_difference(
    before: ServiceData, after: ServiceData, node: Node, configuration: ProxyConfiguration, facts: NodeFacts
) -> tuple[RuleSet, RuleSet] | None:
    """The rule sets of service ports as they were and as they are; of tables, only that in which the two differ.

    None where rules of other service ports change too, or have to be written again with them.
    """
    if configuration.mode == "iptables" and iptables.large_families(before) != iptables.large_families(after):
        return None
    was, wanted = (render(data, node, configuration, facts) for data in (before, after))
    tables = {family: _chains(was.tables[family], wanted.tables[family]) for family in FAMILIES}
    if any(not name.startswith(SERVICE_CHAIN_PREFIXES) for pair in tables.values() for name in _names(pair)):
        return None
    if any(_replaces_sets(was.nftables[name], wanted.nftables[name]) for name in wanted.nftables):
        return None
    of_nftables = {name: _of_table(was.nftables[name], wanted.nftables[name]) for name in wanted.nftables}
    return (
        was._replace(
            tables={family: pair[0] for family, pair in tables.items()},
            nftables={name: pair[0] for name, pair in of_nftables.items()},
        ),
        wanted._replace(
            tables={family: pair[1] for family, pair in tables.items()},
            nftables={name: pair[1] for name, pair in of_nftables.items()},
        ),
    )


def _chains(was: Tables, wanted: Tables) -> tuple[Tables, Tables]:
    found: tuple[Tables, Tables] = ({}, {})
    for table in {*was, *wanted}:
        of_was, of_wanted = was.get(table, {}), wanted.get(table, {})
        differing = [name for name in {**of_was, **of_wanted} if of_was.get(name) != of_wanted.get(name)]
        for side, chains in zip(found, (of_was, of_wanted)):
            side[table] = {name: chains[name] for name in differing if name in chains}
    return found


def _names(tables: tuple[Tables, Tables]) -> set[str]:
    return {name for side in tables for chains in side.values() for name in chains}


def _replaces_sets(was: nftables.Table, wanted: nftables.Table) -> bool:
    """Whether a set becomes another one: then all chains that name it are written again."""
    both = was.sets.keys() & wanted.sets.keys()
    return any(was.sets[name]._replace(elements={}) != wanted.sets[name]._replace(elements={}) for name in both)


def _of_table(was: nftables.Table, wanted: nftables.Table) -> tuple[Table, Table]:
    sets = [name for name in {**was.sets, **wanted.sets} if was.sets.get(name) != wanted.sets.get(name)]
    chains = [name for name in {**was.chains, **wanted.chains} if was.chains.get(name) != wanted.chains.get(name)]
    first, second = (
        Table(
            side.options,
            {name: side.sets[name] for name in sets if name in side.sets},
            {name: side.chains[name] for name in chains if name in side.chains},
            {},
        )
        for side in (was, wanted)
    )
    return first, second
