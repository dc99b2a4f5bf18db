# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernels that hold on to what deleted elements led to, for a moment. Those at hand, 6.1 and 6.18, do not."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import (
    CommandError,
    KernelError,
    Result,
    Runner,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.nftables import plan
from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import Chain, Element, Set, Table

BUSY = "/dev/stdin:1:1-20: Error: Could not process rule: Device or resource busy"
DELETION = "delete chain ip t web\n"


def tables(*chains: str) -> dict[str, Table]:
    elements = {name: Element(f"goto {name}") for name in chains}
    sets = {"m": Set("map", (("type", "mark : verdict"),), elements)}
    return {"ip t": Table((), sets, {name: Chain("", "", ("drop",)) for name in chains}, {})}


class BusyRunner(Runner):
    """A kernel that refuses to delete a chain so many times, or for another reason."""

    def __init__(self, times: int, error: str = BUSY) -> None:
        super().__init__()
        self.times = times
        self.error = error
        self.scripts: list[str] = []

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        assert argv == ["nft", "-f", "-"]
        assert stdin is not None
        self.scripts.append(stdin)
        if "delete chain" in stdin and self.times:
            self.times -= 1
            raise CommandError(argv, 1, self.error, stdin)
        return Result(0, "", "")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "DELETE_PAUSE", 0)


def apply(runner: BusyRunner) -> None:
    nftables.apply(runner, plan(tables("web", "kept"), tables("kept"), lambda _name: False))


def test_one_transaction_where_the_kernel_takes_it() -> None:
    runner = BusyRunner(0)
    apply(runner)
    assert len(runner.scripts) == 1
    assert runner.scripts[0].endswith(DELETION)


def test_chains_are_emptied_at_once_and_deleted_later() -> None:
    runner = BusyRunner(3)
    apply(runner)
    first, emptied, *later = runner.scripts
    assert first == emptied + DELETION
    assert "flush chain ip t web\n" in emptied
    assert "delete element ip t m { web }\n" in emptied
    assert later == [DELETION] * 3


def test_a_kernel_that_stays_busy_is_an_error() -> None:
    with pytest.raises(KernelError, match="Device or resource busy"):
        apply(BusyRunner(nftables.DELETE_ATTEMPTS + 1))


def test_another_refusal_is_not_tried_again() -> None:
    runner = BusyRunner(1, BUSY.replace("Device or resource busy", "No such file or directory"))
    with pytest.raises(KernelError, match="No such file"):
        apply(runner)
    assert len(runner.scripts) == 1
