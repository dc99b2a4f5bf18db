# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What a run need not read, as the last one left it and nobody else has written since.

The kernel counts the transactions of nftables in a network namespace, those of iptables with the nft back end too, and
whatever changes a rule is one: where the count is that of the last run, the tables hold what that run left. What others
write, even into other tables, changes the count: then all is read again. The tables of iptables' legacy back end have a
digest in place of a count.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from ..kernel import files
from ..kernel.run_file import RunFile
from ..model.service import ServiceData
from ..rules.difference import TABLES
from ..rules.modes import counting, render, settings_of
from ..state import iptables, large_text, rule_set
from .subsystem import LookAgainError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..model.node import Node, ProxyConfiguration
    from ..rules.facts import NodeFacts
    from ..state.iptables import Tables
    from ..state.rule_set import RuleSet
    from .subsystem import TablesState, TablesStates

# What decides over the tables of a node, whoever runs it: a module, or the node's own program, which has more in it.
SOURCES = (
    *("model.", "rules.", "plan.iptables", "plan.nftables", "plan.rule_order"),
    *(f"state.{name}" for name in ("ipset", "iptables", "ipvs", "large_text", "nftables", "node", "rule_set")),
)
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


class Known(NamedTuple):
    """Tables as they are while they are in these ``states``.

    ``content`` makes them late; ``part``: it is only what is to change, so that nothing of it can be read instead.
    """

    states: Mapping[str, TablesState]
    content: Callable[[], RuleSet | None]
    part: bool = False

    def tables(self, key: str, state: TablesState | None, desired: Mapping[str, object]) -> RuleSet | None:
        """What there is in this state, None where it has to be read.

        Raises LookAgainError where it cannot be read instead, as only a part of it is ``desired``.
        """
        if state is not None and self.states.get(key) == state:
            return self.content()
        if self.part and desired:
            raise LookAgainError
        return None


NOTHING = Known({}, rule_set.RuleSet.empty)


class Inputs(NamedTuple):
    """All but service data that a rule set is made from."""

    node: Node
    configuration: ProxyConfiguration
    facts: NodeFacts

    def counting(self, data: ServiceData) -> ServiceData:
        """What of it the rule set is made from."""
        return counting(data, settings_of(self.configuration))

    def render(self, data: ServiceData) -> RuleSet:
        """The rule set of these service ports."""
        return render(data, *self)

    def digest(self) -> str:
        """Equal for inputs of which the same service ports get the same chains, sets and maps.

        Of the node's addresses that is what the rules make of them without any service: interfaces of pods come and go.
        In IPVS mode each address of the node may serve, so all count but those that are bound for services; equal
        digests mean equal rule sets there.
        """
        of_addresses: object
        if self.configuration.mode in TABLES:
            of_addresses = rule_set.render(render(ServiceData(()), *self))
        else:
            of_addresses = [sorted(set(self.facts.local_addresses(family))) for family in rule_set.FAMILIES]
        return digest([program(), of_addresses, *self[:2], self.facts._replace(addresses=())])


class Left(NamedTuple):
    """What a run left, for the next one.

    ``inputs`` is :meth:`Inputs.digest`, ``services`` the digest of the service data, ``rule_set`` the fingerprint of
    the file, ``small`` the digest of its text without tables, "" in IPVS mode. ``endpoints`` counts those of all
    service ports by family. ``rest`` is by family what live tables hold otherwise than the rule set: the chains of
    others, and such of ours as say the same in other words. Of IPVS mode it is all that they hold: it is little, and
    the text of that rule set large.
    """

    inputs: str
    services: str
    rule_set: list[str]
    small: str
    endpoints: dict[str, int]
    states: TablesStates
    rest: dict[str, Tables]

    @property
    def rest_is_all(self) -> bool:
        """Whether ``rest`` is all that tables hold, as in IPVS mode."""
        return not self.small

    def knows(self, kind: str, generation: int | None) -> bool:
        """Whether tables of this kind may be what they were; of those with a digest only that itself tells."""
        counts = [state for state in self.states.values() if isinstance(state, int)]
        return any(key.startswith(kind) for key in self.states) and all(count == generation for count in counts)

    def is_of(self, path: str) -> bool:
        """Whether the rule set of that path is the one that was left."""
        return bool(self.rule_set) and self.rule_set == files.fingerprint(path)

    def rest_without(self, *changed: RuleSet | None) -> dict[str, Tables]:
        """The rest but for chains of these rule sets, which are now literally as desired, or gone."""
        return {
            family: {
                table: {
                    name: chain
                    for name, chain in chains.items()
                    if not any(one and name in one.tables[family].get(table, {}) for one in changed)
                }
                for table, chains in tables.items()
            }
            for family, tables in self.rest.items()
        }

    def whole(self, text: Callable[[], str], desired: RuleSet) -> Known:
        """All tables that are known; ``text`` is that of the rule set, which this was left with.

        What is there as ``desired`` is held once: large tables take as much memory as all else.
        """

        @functools.lru_cache(maxsize=None)
        def content() -> RuleSet | None:
            try:
                compiled = rule_set.RuleSet.empty() if self.rest_is_all else rule_set.parse(text())
            except ValueError:
                return None
            tables = {
                family: merged(as_desired(found, desired.tables[family]), self.rest.get(family, {}))
                for family, found in compiled.tables.items()
            }
            return compiled._replace(tables=tables)

        return Known(self.states, content)


class LeftFile:
    """The file with what the last run left. ``path`` is that of a :class:`RunFile`."""

    def __init__(self, path: str | None) -> None:
        self._file = RunFile(path)
        self._loaded: Left | None = None

    def load(self) -> Left | None:
        """None where there is nothing to rely on."""
        try:
            found = Left(**self._file.load())
            rest = {family: iptables.of_json(tables) for family, tables in found.rest.items()}
            endpoints = {family: int(found.endpoints[family]) for family in rule_set.FAMILIES}
            states = {key: state for key, state in found.states.items() if type(state) in (int, str)}
            # What is no text is not the "" of IPVS mode either.
            self._loaded = found._replace(rest=rest, endpoints=endpoints, states=states, small=str(found.small))
        except UNREADABLE:
            self._loaded = None
        return self._loaded

    def save(self, left: Left) -> None:
        """Writes the file where it does not say so yet. Where it cannot be written, the next run reads all."""
        if left != self._loaded:
            self._file.save(left._asdict())

    def forget(self) -> None:
        """Removes the file. Raises KernelError."""
        self._file.remove()


def merged(tables: Tables, rest: Tables) -> Tables:
    """Tables with the chains of ``rest`` in the place of those of the same name."""
    return {name: {**tables.get(name, {}), **rest.get(name, {})} for name in {**tables, **rest}}


def as_desired(tables: Tables, desired: Tables) -> Tables:
    """The same tables, with the very chains of ``desired`` in the place of equal ones."""
    found: Tables = {}
    for table, chains in tables.items():
        wanted = desired.get(table, {})
        found[table] = {name: wanted[name] if wanted.get(name) == chain else chain for name, chain in chains.items()}
    return found


def rest_of(live: Tables, desired: Tables) -> Tables:
    """The live chains that are not literally desired."""
    return {
        table: {name: chain for name, chain in chains.items() if desired.get(table, {}).get(name) != chain}
        for table, chains in live.items()
    }


def digest(value: Any) -> str:
    """A digest of text, or of what the text form of a value tells apart."""
    found = hashlib.sha256()
    for piece in large_text.pieces(value if isinstance(value, str) else repr(value)):
        found.update(large_text.encoded(piece))
    return found.hexdigest()


@functools.lru_cache(maxsize=None)
def program() -> str:
    """A digest of the source that makes rule sets, wherever it was loaded from: another one may make others."""
    parent = __name__.rpartition(".glue.")[0]
    sources = tuple(f"{parent}.{source}" for source in SOURCES)
    found = hashlib.sha256()
    for name in sorted(sys.modules):
        specification = sys.modules[name].__spec__ if name.startswith(sources) else None
        loader: Any = specification.loader if specification else None
        if specification and specification.origin and loader:
            # The package has another name in the node's own program.
            found.update(name[len(parent) :].encode() + loader.get_data(specification.origin))
    return found.hexdigest()
