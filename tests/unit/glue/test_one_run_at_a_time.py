# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules that write hold the lock of the node while they read, plan and write; a check run takes none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import (
    dummy_addresses,
    ipset_set,
    kernel_modules,
    kube_chain,
    nft_table,
    node,
    place,
    sysctls,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.module import Call
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import iptables

from tests.unit.glue.arguments import parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES: dict[Any, dict[str, Any]] = {
    dummy_addresses: {"state": "absent"},
    ipset_set: {"name": "a", "state": "absent"},
    kernel_modules: {"modules": ["dummy"], "persistent": False},
    kube_chain: {"name": "KUBE-A", "table": "nat", "state": "absent"},
    nft_table: {"family": "ip", "name": "a", "state": "absent"},
    sysctls: {"settings": {"net.ipv4.ip_forward": "1"}, "persistent": False},
}


class ReachedError(Exception):
    """All is ready to be read, planned and written."""


@pytest.mark.parametrize("check", [True, False], ids=["check", "write"])
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_who_writes_holds_the_lock(module: Any, check: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def exclusive(name: str, timeout: float) -> Iterator[None]:
        held.append((name, timeout))
        yield
        held.clear()

    def converge(*_arguments: Any) -> None:
        raise ReachedError(*held)

    monkeypatch.setattr(place, "exclusive", exclusive)
    monkeypatch.setattr(module, "converge", converge)
    monkeypatch.setattr(node, "ensure_net_admin", lambda: None)
    monkeypatch.setattr(iptables, "detect", lambda *_, **__: iptables.Backend({}, {}, ()))
    monkeypatch.setattr(kube_chain, "check_families", lambda *_: None)
    params = parameters(module.OPTIONS, {**MODULES[module], "lock_timeout": 7})
    with pytest.raises(ReachedError) as reached:
        module.work(Call(params, check, False, lambda _text: None))
    assert reached.value.args == (() if check else (("kubenode-proxy", 7.0),))
