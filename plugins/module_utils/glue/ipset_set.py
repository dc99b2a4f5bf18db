# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module ipset_set."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from ..model.errors import Problems
from ..plan import ipset as plan_ipset
from ..plan.operation import Ownership
from ..rules.ipvs_sets import MAX_NAME_LENGTH, OWN_SETS
from ..state.ipset import FLAG_OPTIONS, IPSet
from ..state.ipset_member import normalise
from ..state.rule_set import RuleSet
from .compiled import read_compiled
from .converge import converge
from .module import LOCKING, NETNS, RULE_SET
from .node import access
from .result import result_of

if TYPE_CHECKING:
    from .module import Call
TYPES = [
    "bitmap:ip", "bitmap:ip,mac", "bitmap:port", "hash:ip", "hash:ip,mac", "hash:ip,mark", "hash:ip,port",
    "hash:ip,port,ip", "hash:ip,port,net", "hash:mac", "hash:net", "hash:net,iface", "hash:net,net", "hash:net,port",
    "hash:net,port,net", "list:set",
]  # fmt: skip
SET = {
    "name": {"type": "str"},
    "type": {"type": "str", "choices": TYPES},
    "members": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "family": {"type": "str", "choices": ["inet", "inet6"], "default": "inet"},
    "hashsize": {"type": "int"},
    "maxelem": {"type": "int"},
    "netmask": {"type": "int"},
    "range": {"type": "str"},
    "size": {"type": "int"},
    "markmask": {"type": "str"},
    "timeout": {"type": "int"},
    "counters": {"type": "bool", "default": False},
    "comment": {"type": "bool", "default": False},
    "skbinfo": {"type": "bool", "default": False},
    "forceadd": {"type": "bool", "default": False},
}
ARGUMENT_SPEC: dict[str, Any] = {
    **SET,
    "members_policy": {"type": "str", "choices": ["exact", "merge"], "default": "exact"},
    "sets": {"type": "list", "elements": "dict", "options": {**SET, "name": {"type": "str", "required": True}}},
    **RULE_SET,
    **NETNS,
    **LOCKING,
}
OPTIONS: dict[str, Any] = {
    "argument_spec": ARGUMENT_SPEC,
    "mutually_exclusive": [("name", "sets", "rule_set")],
    "required_one_of": [("name", "sets", "rule_set")],
}


def work(module: Call) -> dict[str, Any]:
    """Converges the sets."""
    if module.params["rule_set"]:
        sets = read_compiled(module.params["rule_set"]).sets
        owned: frozenset[str] = OWN_SETS
    else:
        sets, owned = desired_sets(module.params)
    ownership = Ownership(lambda *_: False, lambda *_: False, owned.__contains__, lambda _key: False)
    desired = RuleSet.empty()._replace(sets=sets)
    node = access(module)
    exact = module.params["members_policy"] == "exact"
    with node.lock(module):
        outcome = converge(node.subsystems(["sets"], ownership, desired, exact=exact), desired, module.check_mode)
    if module.check_mode:
        after = plan_ipset.expected(outcome.before.sets, sets, exact)
        outcome = outcome._replace(after=outcome.after._replace(sets=after))
    return result_of(module, outcome, node)


def desired_sets(params: dict[str, Any]) -> tuple[dict[str, IPSet], frozenset[str]]:
    """-> (sets that should be there, names of sets that should not). Raises InputError."""
    items = params["sets"] if params["sets"] is not None else [params]
    problems = Problems()
    sets: dict[str, IPSet] = {}
    absent = set()
    for index, item in enumerate(items):
        path = f"sets[{index}]." if params["sets"] is not None else ""
        name = item["name"]
        if name in sets or name in absent:
            problems.add(f"{path}name", f"{name} is given twice")
        elif len(name) > MAX_NAME_LENGTH:
            problems.add(f"{path}name", f"{name} is longer than {MAX_NAME_LENGTH} characters")
        elif item["state"] == "absent":
            absent.add(name)
        elif not item["type"]:
            problems.add(f"{path}type", "is required where the state is present")
        else:
            sets[name] = _set(item, path, problems)
    problems.raise_if_any()
    return sets, frozenset(absent)


def _set(item: dict[str, Any], path: str, problems: Problems) -> IPSet:
    members: dict[str, str] = {}
    for index, entry in enumerate(item["members"]):
        try:
            members.update(normalise(item["type"], item["family"], entry))
        except ValueError as error:
            problems.add(f"{path}members[{index}]", str(error))
    return IPSet(item["name"], item["type"], _create_options(item, path, problems), members)


def _create_options(item: dict[str, Any], path: str, problems: Problems) -> tuple[tuple[str, str], ...]:
    """The create options as ``ipset save`` prints them, with the defaults that it prints."""
    storage = item["type"].partition(":")[0]
    options: dict[str, str] = {}
    if storage == "hash":
        if item["type"] != "hash:mac":
            options["family"] = item["family"]
        options.update(hashsize=str(item["hashsize"] or 1024), maxelem=str(item["maxelem"] or 65536))
    elif storage == "list":
        options["size"] = str(item["size"] or 8)
    elif not item["range"]:
        problems.add(f"{path}range", f"is required for the type {item['type']}")
    else:
        options["range"] = _range(item["range"], f"{path}range", problems)
    for name in ("netmask", "markmask", "timeout"):
        if item[name] is not None:
            options[name] = str(item[name])
    options.update({name: "" for name in sorted(FLAG_OPTIONS & set(item)) if item[name]})
    return tuple(options.items())


def _range(text: str, path: str, problems: Problems) -> str:
    """A network as the range that ipset prints for it; ranges as they are."""
    if "/" not in text:
        return text
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        problems.add(path, f"{text!r} is not a network such as 192.0.2.0/24: {error}")
        return text
    return f"{network[0]}-{network[-1]}"
