# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""A change as data: what a plan is made of, what a kernel room applies, what a result reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..state.ipvs import VirtualServerKey

ADD = "add"
CHANGE = "change"
REMOVE = "remove"


class Operation(NamedTuple):
    """One change of one object.

    ``verb`` is add, change or remove; ``kind`` is ``set``, ``member``, ``chain``, ``jump``, ``virtual server``, ``real
    server``, ``address``, ``link``, ``sysctl``, ``ipvs timeouts``, ``kernel module``, ``flow``, ``accounting object``,
    ``file``, ``counters``, or of nftables ``table``, ``map`` and ``element``; ``name`` says which one; ``reason`` why.
    ``payload`` is what the kernel room of that kind needs, and is not reported.
    """

    verb: str
    kind: str
    name: str
    reason: str
    payload: Any = None

    def report(self) -> dict[str, str]:
        """The operation as a result shows it."""
        return {"verb": self.verb, "kind": self.kind, "name": self.name, "reason": self.reason}


class Ownership(NamedTuple):
    """Which live objects a plan may touch. Everything else is foreign and never enters a plan.

    ``chains(table, name)``, ``jumps(table, built_in_chain, target)``, ``sets(name)`` and ``virtual_servers(key)``
    answer for live objects that are not in the desired state; what is desired is ours by definition.
    ``shared_chains(table, name)`` are user-defined chains into which others write too: as in built-in chains, only the
    desired rules are ours there. In ``dispatch_chains(table, name)`` rules of different destinations may stand in any
    order: see :mod:`.rule_order`.
    """

    chains: Callable[[str, str], bool]
    jumps: Callable[[str, str, str], bool]
    sets: Callable[[str], bool]
    virtual_servers: Callable[[VirtualServerKey], bool]
    accounting_objects: Callable[[str], bool] = lambda _name: False
    shared_chains: Callable[[str, str], bool] = lambda _table, _name: False
    # By family and name, as in "ip kube-proxy".
    tables: Callable[[str], bool] = lambda _name: False
    dispatch_chains: Callable[[str, str], bool] = lambda _table, _name: False
