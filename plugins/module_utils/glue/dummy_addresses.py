# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module dummy_addresses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..model.address import WHOLE_ADDRESS, canonical_ip, family_of, special_range, why_no_ip
from ..model.errors import InputError, Problems
from ..model.fields import whole_number
from ..plan.node import plan_link
from ..state.node import Link
from ..state.rule_set import RuleSet
from .compiled import read_compiled
from .converge import converge
from .module import LOCKING, NETNS, RULE_SET
from .node import access
from .result import result_of
from .subsystems import DummyLink

if TYPE_CHECKING:
    from ..kernel.command import Runner
    from ..kernel.links import LinksSocket
    from ..plan.operation import Operation
    from .module import Call

# IFNAMSIZ less the final zero. The kernel takes more characters, but not all of them pass through the batch mode of ip.
LINK_NAME = re.compile(r"[\w.+@][\w.+@-]{0,14}", re.ASCII)
LINK_NAME_RULE = "1..15 letters, digits, or _ . + @, and - but in front"
ARGUMENT_SPEC: dict[str, Any] = {
    "link": {"type": "str", "default": "kube-ipvs0"},
    "addresses": {"type": "list", "elements": "str"},
    "policy": {"type": "str", "choices": ["exact", "merge"], "default": "exact"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **RULE_SET,
    **NETNS,
    **LOCKING,
}
OPTIONS: dict[str, Any] = {"argument_spec": ARGUMENT_SPEC, "mutually_exclusive": [("addresses", "rule_set")]}


def work(module: Call) -> dict[str, Any]:
    """Converges the link and its addresses."""
    params = module.params
    link = compiled_link(params) if params["rule_set"] else desired_link(params)
    node = access(module)
    subsystem = Addresses(
        node.runner, node.links, link.name if link else params["link"], exact=params["policy"] == "exact"
    )
    desired = RuleSet.empty()._replace(link=link)
    with node.lock(module):
        outcome = converge({"link": subsystem}, desired, module.check_mode)
    if module.check_mode:
        outcome = outcome._replace(after=subsystem.expected(desired))
    return result_of(module, outcome, node)


def compiled_link(params: dict[str, Any]) -> Link | None:
    """The link of a compiled rule set, None where its mode has none. Raises InputError."""
    if params["state"] == "absent":
        raise InputError(["state: absent does not go with rule_set; leave rule_set out to remove the link"])
    return read_compiled(params["rule_set"]).link


def desired_link(params: dict[str, Any]) -> Link | None:
    """The link that should be there, None for none. Raises InputError."""
    problems = Problems()
    name = params["link"]
    if not LINK_NAME.fullmatch(name):
        problems.add("link", f"{name!r} is not the name of a link: {LINK_NAME_RULE}")
    if params["state"] == "present" and params["addresses"] is None:
        problems.add("addresses", "is required where the state is present; an empty list is one, too")
    found: dict[str, int] = {}
    for index, text in enumerate(params["addresses"] or []):
        address = _address(text, f"addresses[{index}]", problems)
        if address in found:
            problems.add(f"addresses[{index}]", f"{address} is given twice, as addresses[{found[address]}] too")
        elif address:
            found[address] = index
    problems.raise_if_any()
    return Link(name, frozenset(found)) if params["state"] == "present" else None


def _address(text: str, path: str, problems: Problems) -> str:
    """``10.96.0.1`` -> ``10.96.0.1/32``; "" where there is a problem."""
    bare, slash, length = text.strip().partition("/")
    address = canonical_ip(bare)
    if not address:
        problems.add(path, f"{text!r} {why_no_ip(bare)}")
        return ""
    longest = WHOLE_ADDRESS[family_of(address)]
    if slash and not 0 < (whole_number(length) or 0) <= longest:
        problems.add(path, f"{text!r} has no prefix length of {family_of(address)}, 1..{longest}: leave it out")
        return ""
    if special_range(address) or address.startswith(("fe8", "fe9", "fea", "feb")):
        kind = special_range(address) or "link-local"
        problems.add(path, f"{address} is a {kind} address, which a dummy link is not for")
        return ""
    return f"{address}/{whole_number(length) or longest}"


class Addresses(DummyLink):
    """A dummy link; without ``exact`` it keeps addresses that are not desired."""

    def __init__(self, runner: Runner, links: LinksSocket, name: str, exact: bool) -> None:
        super().__init__(runner, links, name)
        self._exact = exact

    def plan(self, desired: RuleSet) -> list[Operation]:
        return plan_link(self._live, desired.link, self._exact)

    def expected(self, desired: RuleSet) -> RuleSet:
        """What a run leads to."""
        if desired.link is None or self._exact or self._live is None:
            return desired
        return desired._replace(link=Link(self._name, desired.link.addresses | self._live.addresses))
