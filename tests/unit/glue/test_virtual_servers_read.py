# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After a write, those virtual servers are read again that were written."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import ownership_of
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.subsystems import VirtualServers
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import ipvs as kernel_ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStatistics,
    VirtualServer,
    VirtualServerKey,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation
    from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import Statistics
    from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import VirtualServers as State

A, B, C = (VirtualServerKey("ipv4", "tcp", f"10.96.0.{number}", 80) for number in (1, 2, 3))


def server(*endpoints: str) -> VirtualServer:
    return VirtualServer("rr", (), 0, 0, {RealServerKey(ip, 80): RealServer() for ip in endpoints})


class Kernel:
    """Virtual servers that do not change by themselves, and which of them were asked for."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.asked: list[Collection[VirtualServerKey] | None] = []

    def read(self, only: Collection[VirtualServerKey] | None, _alike: State) -> tuple[State, Statistics]:
        self.asked.append(only)
        found = {key: one for key, one in self.state.items() if only is None or key in only}
        return found, {
            (key, real): RealServerStatistics(0, 0, 0) for key, one in found.items() for real in one.real_servers
        }

    def apply(self, operations: Sequence[Operation]) -> None:
        pass


def test_after_a_write_only_what_was_written_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_ipvs, "available", lambda: True)
    kernel = Kernel({A: server("10.0.0.1"), B: server("10.0.0.2"), C: server("10.0.0.3")})
    ownership = ownership_of(set(kernel.state), only_owner=False, exclude_cidrs=())
    subsystem = VirtualServers(lambda: cast("kernel_ipvs.IPVS", kernel), ownership, ())
    desired = RuleSet.empty()._replace(virtual_servers={A: server("10.0.0.1", "10.0.0.9"), C: server("10.0.0.3")})
    subsystem.read(desired)
    subsystem.apply(subsystem.plan(desired))
    kernel.state = dict(desired.virtual_servers)
    subsystem.read(desired)
    assert kernel.asked == [None, {A, B}]
    assert subsystem.plan(desired) == []
    assert subsystem.live(RuleSet.empty(), desired).virtual_servers == desired.virtual_servers
    subsystem.read(desired)
    assert kernel.asked[-1] is None
