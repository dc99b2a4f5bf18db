# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore of iptables that failed has changed; a script of answers stands in for the tool."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import (
    CommandError,
    KernelError,
    Result,
    Runner,
    UnchangedError,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables import LEGACY, NFT, Backend, Tool, apply
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables_stages import STAGE_CHAINS
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.iptables import ChainContent
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import ADD, Operation

LOCKED = "Another app is currently holding the xtables lock. Stopped waiting after 30s."


class Failing(Runner):
    """All restores but the first ones fail."""

    def __init__(self, status: int, message: str, successes: int = 0) -> None:
        super().__init__()
        self._failure = status, message
        self._successes = successes

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        if self._successes:
            self._successes -= 1
            return Result(0, "", "")
        raise CommandError(argv, *self._failure, stdin)


def chains(*tables: str, count: int = 1) -> list[Operation]:
    contents = [ChainContent(table, f"KUBE-{number}", ("-j DROP",)) for table in tables for number in range(count)]
    return [Operation(ADD, "chain", content.name, "", content) for content in contents]


def failure(kind: str, runner: Runner, operations: list[Operation]) -> KernelError:
    tool = Tool("iptables", kind, lambda: (kind, (1, 8, 9)))
    with pytest.raises(KernelError) as caught:
        apply(runner, Backend({"ipv4": tool}, {}, ()), "ipv4", operations)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "status", "message", "unchanged"),
    [
        # *nat, the chain, its rule, COMMIT
        (NFT, 1, "iptables-nft-restore v1.8.9: line 3: RULE_APPEND failed", True),
        (NFT, 1, "iptables-nft-restore: line 4 failed", True),
        (LEGACY, 2, "iptables-legacy-restore: line 3 failed", True),
        (LEGACY, 1, "iptables-legacy-restore: line 4 failed", False),
        (LEGACY, 4, LOCKED, True),
        (NFT, -9, "iptables-nft-restore: line 3 failed", False),
        (NFT, 1, "", False),
        (NFT, 1, "line 5 failed", False),
    ],
)
def test_of_one_table_all_is_written_or_nothing(kind: str, status: int, message: str, unchanged: bool) -> None:
    error = failure(kind, Failing(status, message), chains("nat"))
    assert isinstance(error, UnchangedError) is unchanged


def test_of_two_tables_one_may_be_written() -> None:
    assert not isinstance(failure(NFT, Failing(1, "line 7 failed"), chains("filter", "nat")), UnchangedError)


def test_stages_before_the_one_that_is_refused_are_written() -> None:
    many = chains("nat", count=STAGE_CHAINS + 1)
    error = failure(NFT, Failing(1, "line 3 failed", successes=1), many)
    assert not isinstance(error, UnchangedError)
    assert "stage 2 of 2; those before it are written" in str(error)
