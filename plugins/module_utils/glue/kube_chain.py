# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module kube_chain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..kernel import iptables as kernel_iptables
from ..kernel.command import KernelError
from ..model.address import canonical_ip, family_of
from ..model.errors import Problems
from ..plan.operation import Ownership
from ..rules import names
from ..state.iptables import Chain
from ..state.iptables_rule import canonical, split, target
from ..state.rule_set import FAMILIES, RuleSet
from .compiled import read_compiled
from .converge import converge
from .module import BACKEND, LOCKING, NETNS, RULE_SET
from .node import access
from .result import result_of
from .rule_set import ownership_of
from .subsystems import Chains

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..kernel.iptables import Backend
    from ..state.iptables import Tables
    from .module import Call
    from .node import NodeAccess
    from .subsystem import Subsystem

# table -> its built-in chains
BUILT_IN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
}
BUILT_IN_NAMES = frozenset(name for chains in BUILT_IN.values() for name in chains)
KUBELET_CHAINS = names.KUBELET_CHAINS | {names.FIREWALL[1]}
VERDICTS = frozenset({"ACCEPT", "DROP", "RETURN", "QUEUE"})
CHAIN_NAME = re.compile(r"[A-Za-z0-9_.:+@#][A-Za-z0-9_.:+@#-]*")
MAX_NAME_LENGTH = 28
ADDRESS_OPTIONS = frozenset({"-s", "--source", "--src", "-d", "--destination", "--dst"})

JUMP = {"chain": {"type": "str", "required": True}, "rule": {"type": "str", "default": ""}}
CHAIN: dict[str, Any] = {
    "name": {"type": "str"},
    "table": {"type": "str", "choices": sorted(BUILT_IN), "default": "nat"},
    "family": {"type": "str", "choices": [*FAMILIES, "both"], "default": "both"},
    "rules": {"type": "list", "elements": "str", "default": []},
    "jumps": {"type": "list", "elements": "dict", "options": JUMP},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ARGUMENT_SPEC: dict[str, Any] = {
    **CHAIN,
    "chains": {
        "type": "list",
        "elements": "dict",
        "options": {**CHAIN, "name": {"type": "str", "required": True}},
    },
    **RULE_SET,
    **BACKEND,
    **NETNS,
    **LOCKING,
}
OPTIONS: dict[str, Any] = {
    "argument_spec": ARGUMENT_SPEC,
    "mutually_exclusive": [("name", "chains", "rule_set")],
    "required_one_of": [("name", "chains", "rule_set")],
}


class FamilyChains(NamedTuple):
    """What a task says of one family: its tables; (table, chain) of what is named; of these, whose jumps are given."""

    tables: Tables
    named: set[tuple[str, str]]
    jumped: set[tuple[str, str]]

    def ownership(self) -> Ownership:
        """The named chains are ours, and the jumps to those whose jumps are given."""
        return Ownership(
            lambda table, chain: (table, chain) in self.named,
            lambda table, _chain, to: (table, to) in self.jumped,
            lambda _name: False,
            lambda _key: False,
        )


def work(module: Call) -> dict[str, Any]:
    """Converges the chains."""
    params = module.params
    families = {} if params["rule_set"] else desired_chains(params)
    node = access(module)
    backend = kernel_iptables.detect(node.runner, params["backend"], nftables=node.nftables)
    if params["rule_set"]:
        tables = read_compiled(params["rule_set"]).tables
        subsystems = rule_set_subsystems(node, backend)
    else:
        check_families(params, backend)
        tables = {family: chains.tables for family, chains in families.items()}
        subsystems = {f"chains {family}": TablesOf(node, backend, family, families[family]) for family in backend.tools}
    tables = {family: tables[family] if family in backend.tools else {} for family in FAMILIES}
    with node.lock(module):
        outcome = converge(subsystems, RuleSet.empty()._replace(tables=tables), module.check_mode)
    return {**result_of(module, outcome, node), "backend": backend.kind}


def rule_set_subsystems(node: NodeAccess, backend: Backend) -> dict[str, Subsystem]:
    """The chains that are kube-proxy's."""
    own = ownership_of((), only_owner=False, exclude_cidrs=())
    return {
        f"chains {family}": WrittenChains(node.runner, backend, family, own, node.nftables) for family in backend.tools
    }


def desired_chains(params: dict[str, Any]) -> dict[str, FamilyChains]:
    """What a task says, by family. Raises InputError."""
    bulk = params["chains"] is not None
    problems = Problems()
    families = {family: FamilyChains({}, set(), set()) for family in FAMILIES}
    for index, item in enumerate(params["chains"] if bulk else [params]):
        path = f"chains[{index}]." if bulk else ""
        if not _check_name(item["name"], f"{path}name", problems):
            continue
        for family in FAMILIES if item["family"] == "both" else [item["family"]]:
            place = (item["table"], item["name"])
            if place in families[family].named:
                problems.add(f"{path}name", f"{item['name']} is given twice for {family} {item['table']}")
            families[family].named.add(place)
            _add(families[family], item, family, path, problems)
    problems.raise_if_any()
    return families


def check_families(params: dict[str, Any], backend: Backend) -> None:
    """Raises KernelError where a chain is for a family that the node does not have; ``both`` is what there is."""
    items = params["chains"] if params["chains"] is not None else [params]
    for item in items:
        family = item["family"]
        if family != "both" and family not in backend.tools and item["state"] == "present":
            raise KernelError(
                f"chain {item['name']} is for {family}, which is not available: {backend.unavailable[family]}"
            )


def _check_name(name: str, path: str, problems: Problems) -> bool:
    problem = ""
    if name in BUILT_IN_NAMES:
        problem = f"{name} is a built-in chain: give a chain of your own, and jump to it from {name} with jumps"
    elif name in KUBELET_CHAINS:
        problem = f"{name} is kubelet's, which would write it anew: give a chain of your own"
    elif name in VERDICTS:
        problem = f"{name} is a target of iptables, not a chain"
    elif len(name) > MAX_NAME_LENGTH:
        problem = f"{name} is longer than {MAX_NAME_LENGTH} characters"
    elif not CHAIN_NAME.fullmatch(name):
        problem = f"{name!r} is not the name of a chain"
    if problem:
        problems.add(path, problem)
    return not problem


def _add(found: FamilyChains, item: dict[str, Any], family: str, path: str, problems: Problems) -> None:
    table, name = item["table"], item["name"]
    if item["state"] == "absent":
        found.jumped.add((table, name))
        return
    chains = found.tables.setdefault(table, {})
    rules = [
        _rule(rule, family, item["family"], f"{path}rules[{index}]", problems)
        for index, rule in enumerate(item["rules"])
    ]
    chains[name] = Chain(None, tuple(rules))
    if item["jumps"] is None:
        return
    found.jumped.add((table, name))
    for index, jump in enumerate(item["jumps"]):
        place = f"{path}jumps[{index}]"
        if jump["chain"] not in BUILT_IN[table]:
            known = ", ".join(BUILT_IN[table])
            problems.add(f"{place}.chain", f"{jump['chain']} is not a built-in chain of the table {table}: {known}")
            continue
        if target(jump["rule"]):
            problems.add(f"{place}.rule", f"leave {target(jump['rule'])} out: the rule jumps to {name}")
            continue
        rule = _rule(f"{jump['rule']} -j {name}", family, item["family"], f"{place}.rule", problems)
        present = chains.get(jump["chain"], Chain("ACCEPT", ()))
        chains[jump["chain"]] = present._replace(rules=(*present.rules, rule))


def _rule(text: str, family: str, given: str, path: str, problems: Problems) -> str:
    """A rule as iptables-save prints it."""
    try:
        words = split(text)
        if words[:1] and words[0] in ("-A", "-I", "--append", "--insert"):
            raise ValueError(f"leave {' '.join(words[:2])} out: give the rule alone, such as '-p tcp -j ACCEPT'")
        for option, value in zip(words, words[1:]):
            address = canonical_ip(value.partition("/")[0]) if option in ADDRESS_OPTIONS else ""
            if address and family_of(address) != family:
                remedy = "give one chain for each family" if given == "both" else f"set family to {family_of(address)}"
                raise ValueError(f"{value} is {family_of(address)}, the chain's family is {given}: {remedy}")
        return canonical(text, family)
    except ValueError as error:
        problems.add(path, str(error))
        return text


class WrittenChains(Chains):
    """Chains whose rules somebody wrote: only a listing tells of one that iptables prints in other words."""

    in_its_words = False


class TablesOf(WrittenChains):
    """The tables that a task names."""

    def __init__(self, node: NodeAccess, backend: Backend, family: str, chains: FamilyChains) -> None:
        super().__init__(node.runner, backend, family, chains.ownership(), node.nftables)
        self._named = frozenset(table for table, _chain in chains.named)

    def _to_read(self, desired: RuleSet) -> tuple[frozenset[str], Collection[str]]:
        return self._named, ()
