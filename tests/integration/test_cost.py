# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many processes a whole run starts and how many netlink messages it sends: exactly, so that none slips in."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.bench.__main__ import measure
from tests.lab import Node
from tests.lab.netns import Runner, run_here
from tests.needs import root_and

ENDPOINTS = 3


class Cost(NamedTuple):
    """Of one run."""

    objects: int
    processes: int
    messages: int


def costs(run: Runner, mode: str, backend: str, services: int) -> list[Cost]:
    """Of a first run, a second one, and one after which a service has an endpoint less."""
    figures = measure(run, mode, backend, f"{services}x{ENDPOINTS}")
    runs = (figures[name] for name in ("first converge", "second run", "one endpoint changed"))
    return [Cost(found["operations"], found["processes"], found["messages"]) for found in runs]


@root_and("nft", "iptables-nft")
@pytest.mark.parametrize("services", [20, 40])
@pytest.mark.parametrize(
    ("mode", "backend", "first", "second", "changed"),
    [
        # To write: the version of the one program, and a restore a family; a test of each where there are several.
        ("iptables", "nft", (7, 21), (0, 11), (2, 14)),
        ("iptables", "legacy", (7, 13), (0, 11), (2, 11)),
        # Nothing where there is no table of iptables. To write: one transaction, for a new table nft's version.
        ("nftables", "auto", (2, 22), (0, 10), (1, 13)),
    ],
)
def test_tables_cost_the_same_whatever_they_hold(
    mode: str,
    backend: str,
    services: int,
    first: tuple[int, int],
    second: tuple[int, int],
    changed: tuple[int, int],
) -> None:
    found = costs(run_here, mode, backend, services)
    assert [one[1:] for one in found] == [first, second, changed]
    assert [one.objects for one in found[1:]] == [0, 2]


@pytest.mark.lab
@pytest.mark.parametrize("services", [20, 40])
def test_virtual_servers_cost_a_message_each(services: int, guest: Node) -> None:
    """One to read the real servers of each, one to write it, and one to write each real server.

    Before the first write the test of iptables puts the legacy tables to use, so that they are listed after it.
    """
    first, second, changed = costs(guest.run, "ipvs", "auto", services)
    assert first[1:] == (12, 21 + services * (1 + 1 + ENDPOINTS))
    assert second == (0, 0, 13 + services)
    assert changed == (2, 0, 18 + services)
