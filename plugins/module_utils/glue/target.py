# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What a run has to bring a node to: the rule set of all service ports, or what changes with those that changed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from ..kernel import files
from ..model import canonical
from ..model.changed_part import changed_part
from ..model.errors import InputError
from ..rules import difference
from ..state import rule_set as state
from ..state.iptables_rule import target
from ..state.large_text import Made
from ..state.rule_set import RuleSet
from .known import NOTHING, Known, Left, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..model.service import ServiceData
    from ..state.iptables import Tables
    from ..state.large_text import Text
    from .converge import Outcome
    from .known import Inputs
    from .service_data import NodeServiceData


class Target(NamedTuple):
    """``desired`` is the rule set, or of its tables only what changes, from what ``known`` has of it.

    ``texts`` and ``live_pieces`` are as in Options. ``note`` is what there is to say of it to the next run, but for
    what is found on the node.
    """

    desired: RuleSet
    known: Known
    texts: dict[str, Text | None]
    live_pieces: Callable[[RuleSet], Iterable[str]]
    note: Left

    def left(self, before: Left | None, path: str, outcome: Outcome) -> Left:
        """What there is to say to the next run after this one; ``path`` is that of the rule set."""
        fingerprint = files.fingerprint(path)
        if path not in self.texts and before and fingerprint[:-1] != before.rule_set[:-1]:
            # Somebody has written it meanwhile. The last of it changes with a snapshot too, which links the file.
            fingerprint = []
        left = self.note._replace(rule_set=fingerprint)
        kept = before.rest_without(self.known.content(), self.desired) if self.known.part and before else {}
        return left._replace(states=dict(outcome.states), rest={**kept, **outcome.rest})


def whole(
    services: NodeServiceData, inputs: Inputs, left: Left | None, path: str, warn: Callable[[str], None]
) -> Target:
    """The rule set of all service ports. ``warn`` takes what a person should know. Raises InputError."""
    data = inputs.counting(services.parse())
    alike = data.node_like(inputs.node.name)
    if alike:
        warn(
            f"no endpoint is on {inputs.node.name}, but some are on {alike}: if that is this node, give it this name "
            "(node.name, kube_proxy_node_name). What stays on a node finds no endpoint here"
        )
    desired = inputs.render(data)
    small = _small(desired, inputs)
    note = Left(inputs.digest(), digest(services.text), [], small, data.endpoint_counts(), {}, {})
    texts = services.texts()
    found = left if left and left.is_of(path) else None
    if found is None or (found.inputs, found.services, found.small) != (note.inputs, note.services, note.small):
        # Of chains to make it twice takes longer than to hold it.
        texts[path] = Made(lambda: state.pieces(desired)) if note.rest_is_all else state.render(desired)
    known = found.whole(lambda: files.read_text(path) or "", desired) if found else NOTHING
    return Target(desired, known, texts, state.pieces, note)


def part(
    services: NodeServiceData, inputs: Inputs, left: Left | None, path: str, generation: int | None
) -> Target | None:
    """What changes with the service ports that changed since the last run; None where all have to be looked at.

    ``generation`` is that of the tables now. Raises KernelError.
    """
    if left is None or not _may_hold(left, inputs, path, generation):
        return None
    changed = _changed(services, left)
    if changed is None:
        return None
    was, are = map(inputs.counting, changed)
    counts = was.endpoint_counts()
    left_out = {family: count - counts[family] for family, count in left.endpoints.items()}
    was, are = was._replace(left_out=left_out), are._replace(left_out=left_out)
    found = difference.render_difference(was, are, *inputs)
    # What becomes of these only a look at all tables tells.
    if found is None or _leads_to_what_goes(left.rest, *found):
        return None
    before, desired = found
    text = functools.lru_cache(maxsize=None)(lambda: files.read_text(path) or "")
    note = left._replace(services=digest(services.text), small=_small(desired, inputs), endpoints=are.endpoint_counts())
    texts = services.texts()
    if was != are or note.small != left.small:
        try:
            texts[path] = "".join(state.changed_pieces(text(), before, desired))
        except ValueError:
            # A check run holds no lock: another run has written the file in between.
            return None

    def live_pieces(live: RuleSet) -> Iterable[str]:
        nothing = RuleSet.empty()
        small = live._replace(tables=nothing.tables, nftables=nothing.nftables)
        return state.changed_pieces(text(), nothing, small)

    return Target(desired, Known(left.states, lambda: before, part=True), texts, live_pieces, note)


def _may_hold(left: Left, inputs: Inputs, path: str, generation: int | None) -> bool:
    """Whether what was left may be what there is, and what it was made from is the same but for service data."""
    kind = difference.TABLES.get(inputs.configuration.mode)
    if kind is None or not left.knows(kind, generation):
        return False
    return left.is_of(path) and inputs.digest() == left.inputs


def _changed(services: NodeServiceData, left: Left) -> tuple[ServiceData, ServiceData] | None:
    """The service ports that changed since the last run, as they were and as they are; None where nobody knows."""
    before = services.before()
    if before is None or digest(before) != left.services:
        return None
    part_of_both = changed_part(before, services.text)
    try:
        return part_of_both and (canonical.load(part_of_both.before), canonical.load(part_of_both.after))
    except InputError:
        return None


def _leads_to_what_goes(rest: Mapping[str, Tables], before: RuleSet, desired: RuleSet) -> bool:
    """Whether foreign rules jump to chains that are to go: the kernel keeps these, and the plan has to know."""
    for family, tables in rest.items():
        for table, chains in tables.items():
            gone = before.tables[family].get(table, {}).keys() - desired.tables[family].get(table, {}).keys()
            if gone and any(target(rule) in gone for chain in chains.values() for rule in chain.rules):
                return True
    return False


def _small(rule_set: RuleSet, inputs: Inputs) -> str:
    """A digest of the text without tables.

    "" in IPVS mode: there it is nearly all of the text, and :meth:`Inputs.digest` decides all of it.
    """
    if inputs.configuration.mode not in difference.TABLES:
        return ""
    return digest(state.render(rule_set._replace(tables={}, nftables={})))
