# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""A node as a run works on it: one network namespace, one back end of iptables, one set of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..kernel import facts, files
from ..kernel import iptables as kernel_iptables
from ..kernel.accounting import AccountingObjects
from ..kernel.capabilities import ensure_net_admin
from ..kernel.conntrack import Conntrack
from ..kernel.ipset_socket import SetsSocket
from ..kernel.ipvs import IPVS
from ..kernel.links import LinksSocket
from ..kernel.lock import FOLDER as RUN
from ..kernel.nftables import NftablesSocket
from ..rules.facts import NodeFacts
from ..rules.names import DEVICE
from ..state import ipvs as state_ipvs
from . import subsystems
from .kernel_settings import Sysctls
from .known import NOTHING, Known, LeftFile
from .place import RULE_SET, Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..plan.operation import Ownership
    from ..state.ipvs import VirtualServerKey
    from ..state.rule_set import RuleSet
    from .module import Call
    from .subsystem import Subsystem


class NodeAccess(Place):
    """A place with its data plane: makes the subsystems on demand.

    ``backend`` is ``auto``, ``nft`` or ``legacy``. Raises KernelError where the namespace does not exist.
    """

    def __init__(self, netns: str | None = None, backend: str = "auto", state_folder: str | None = None) -> None:
        super().__init__(netns, state_folder)
        self.conntrack = Conntrack()
        self.accounting = AccountingObjects()
        self.sets_socket = SetsSocket()
        self.links = LinksSocket()
        self.nftables = NftablesSocket(os.path.join(RUN, f"{self.lock_name}.nftables"))
        self.left_file = LeftFile(os.path.join(RUN, f"{self.lock_name}.left"))
        self._ipvs: IPVS | None = None
        self._backend = backend

    def ipvs(self) -> IPVS:
        """IPVS of the kernel. Raises KernelError where it is not loaded."""
        if self._ipvs is None:
            self._ipvs = IPVS()
        return self._ipvs

    @property
    def messages(self) -> int:
        """Netlink messages sent so far."""
        sockets = (self.conntrack, self.accounting, self.sets_socket, self.links, self.nftables, self._ipvs)
        return sum(found.messages for found in sockets if found)

    def facts(self) -> NodeFacts:
        """What the rules need to know of this node. Raises KernelError."""
        ensure_net_admin()
        return NodeFacts(
            facts.kernel_version(),
            self.links.read().addresses(),
            facts.cpus(),
            facts.conntrack_buckets(),
            facts.conntrack_liberal(),
            self.accounting.read() is not None,
        )

    def subsystems(
        self,
        names: Iterable[str],
        ownership: Ownership,
        desired: RuleSet,
        exact: bool = True,
        drain: Collection[str] = ("tcp",),
        known: Known = NOTHING,
    ) -> dict[str, Subsystem]:
        """The subsystems of these names (see converge.ORDER; ``chains`` stands for those of all families).

        Raises KernelError.
        """
        ensure_net_admin()
        found: dict[str, Subsystem] = {}
        for name in names:
            if name == "sysctls":
                found[name] = Sysctls(self.sysctl_originals(RULE_SET))
            elif name == "ipvs timeouts":
                found[name] = subsystems.Timeouts(self.ipvs)
            elif name == "accounting objects":
                found[name] = subsystems.AccountingObjects(self.accounting, ownership)
            # Without the tool there is nothing of ours to remove.
            elif name == "sets" and (desired.sets or self.runner.find("ipset")):
                found[name] = subsystems.Sets(self.runner, self.sets_socket, ownership, exact)
            elif name == "chains" and (any(desired.tables.values()) or self._has_chains()):
                found.update(self._chains(ownership, desired, known))
            elif name == "nftables" and (desired.nftables or self.runner.find("nft")):
                found[name] = subsystems.NftablesTables(self.runner, ownership, self.nftables, known)
            elif name == "virtual servers":
                found[name] = subsystems.VirtualServers(self.ipvs, ownership, drain)
            elif name == "flows":
                found[name] = subsystems.Flows(self.conntrack)
            elif name == "link":
                found[name] = subsystems.DummyLink(
                    self.runner, self.links, desired.link.name if desired.link else DEVICE
                )
        return found

    def _has_chains(self) -> bool:
        return kernel_iptables.in_use(self.nftables) and self.runner.find("iptables") is not None

    def _chains(self, ownership: Ownership, desired: RuleSet, known: Known) -> dict[str, Subsystem]:
        backend = kernel_iptables.detect(self.runner, self._backend, nftables=self.nftables)
        if facts.has_ipv6():
            # As kube-proxy has it: the node then serves the other family only.
            self.warnings += [
                f"{family} rules are left out: {reason} (the package iptables has it)"
                for family, reason in backend.unavailable.items()
                if desired.tables.get(family)
            ]
        if backend.elsewhere:
            shown = ", ".join(backend.elsewhere[:6])
            self.warnings.append(f"the other back end of iptables holds rules too, and traffic passes both: {shown}")
        return {
            f"chains {family}": subsystems.Chains(self.runner, backend, family, ownership, self.nftables, known)
            for family in backend.tools
        }

    def recorded_virtual_servers(self) -> frozenset[VirtualServerKey]:
        """Virtual servers that earlier runs made here: they have no names, so this file is what makes them ours."""
        return frozenset(state_ipvs.parse(files.read_text(self._record) or ""))

    def record_of(self, keys: Iterable[VirtualServerKey]) -> dict[str, str | None]:
        """What that file should say: its text by its path, None for no file."""
        bare = {key: state_ipvs.VirtualServer("rr", (), 0, 0, {}) for key in keys}
        return {self._record: state_ipvs.render(bare) or None}

    @property
    def _record(self) -> str:
        return os.path.join(self.folder, "virtual_servers")


def access(module: Call) -> NodeAccess:
    """The node as the common options ``netns`` and ``backend`` tell."""
    return NodeAccess(netns=module.params.get("netns"), backend=module.params.get("backend") or "auto")
