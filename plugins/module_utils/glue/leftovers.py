# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Asks what the subsystems have read for objects that only the state of the kernel shows to be kube-proxy's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rules.leftovers import is_own_firewall, named_by_sets
from ..rules.names import FIREWALL
from .subsystems import Chains, DummyLink, Sets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..rules.leftovers import NamedBySets
    from ..state.ipset import IPSet
    from ..state.ipvs import VirtualServerKey
    from .subsystem import Subsystem


class Leftovers:
    """Answers once ``subsystems`` are set and have been read: a plan asks of live objects only."""

    def __init__(self) -> None:
        self.subsystems: Mapping[str, Subsystem] = {}
        self._addresses: frozenset[str] | None = None
        # Sets, and what they name: each stale virtual server is asked for.
        self._named: tuple[Mapping[str, IPSet], NamedBySets] | None = None

    def is_firewall(self, table: str, chain: str) -> bool:
        """Whether this is KUBE-FIREWALL, and kubelet has no share in it."""
        if (table, chain) != FIREWALL:
            return False
        found = [one for one in self.subsystems.values() if isinstance(one, Chains)]
        return bool(found) and all(is_own_firewall(chains.live_tables) for chains in found)

    def has_virtual_server(self, key: VirtualServerKey) -> bool:
        """Whether kube-proxy's sets speak of this virtual server."""
        sets = self.subsystems.get("sets")
        if not isinstance(sets, Sets):
            return False
        if self._named is None or self._named[0] is not sets.live_sets:
            self._named = sets.live_sets, named_by_sets(sets.live_sets)
        named = self._named[1]
        if key in named.keys:
            return True
        return (key.family, key.protocol, key.port) in named.node_ports and key.address in self._node_addresses()

    def _node_addresses(self) -> frozenset[str]:
        if self._addresses is None:
            link = self.subsystems.get("link")
            self._addresses = link.node_addresses() if isinstance(link, DummyLink) else frozenset()
        return self._addresses
