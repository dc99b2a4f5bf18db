# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module nft_table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..kernel.nftables import listed_form
from ..model.errors import InputError
from ..plan.operation import Ownership
from ..rules.names import is_own_table
from ..state.rule_set import RuleSet
from .compiled import read_compiled
from .converge import converge
from .module import LOCKING, NETNS, RULE_SET
from .node import access
from .result import result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..state.nftables import Tables
    from .module import Call
    from .node import NodeAccess

FAMILIES = ["ip", "ip6", "inet", "arp", "bridge"]
is_name = re.compile(r"[A-Za-z_][A-Za-z0-9_/\\.-]{0,254}").fullmatch
ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str"},
    "family": {"type": "str", "choices": FAMILIES, "default": "inet"},
    "content": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **RULE_SET,
    **NETNS,
    **LOCKING,
}
OPTIONS: dict[str, Any] = {
    "argument_spec": ARGUMENT_SPEC,
    "mutually_exclusive": [("name", "rule_set")],
    "required_one_of": [("name", "rule_set")],
}


def work(module: Call) -> dict[str, Any]:
    """Converges one table, or those of the rule set."""
    node = access(module)
    owned: Callable[[str], bool]
    if module.params["rule_set"]:
        tables, owned = read_compiled(module.params["rule_set"]).nftables, is_own_table
    else:
        name = _name(module.params)
        tables, owned = _desired(module.params, name, node), [name].__contains__
    ownership = Ownership(lambda *_: False, lambda *_: False, lambda _name: False, lambda _key: False, tables=owned)
    desired = RuleSet.empty()._replace(nftables=tables)
    with node.lock(module):
        outcome = converge(node.subsystems(["nftables"], ownership, desired), desired, module.check_mode)
    return result_of(module, outcome, node)


def _name(params: dict[str, Any]) -> str:
    if not is_name(params["name"]):
        raise InputError([f"name: {params['name']!r} is not a name that nft takes"])
    return f"{params['family']} {params['name']}"


def _desired(params: dict[str, Any], name: str, node: NodeAccess) -> Tables:
    """The table as nft would list it. Raises InputError."""
    if params["state"] == "absent":
        return {}
    text = f"table {name} {{\n{params['content']}\n}}\n"
    found, problem = listed_form(node.runner, text)
    if problem:
        raise InputError([f"content: {problem}"])
    if set(found) != {name}:
        others = ", ".join(sorted(set(found) - {name}))
        raise InputError([f"content: must be what stands between the braces of the table; it makes others: {others}"])
    return found
