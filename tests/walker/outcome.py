# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packets, and what becomes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import VirtualServerKey

# An endpoint of a service gets it.
REACHED = "reached"
# The client is told so at once, by a REJECT rule or by IPVS that has nobody to send to.
REFUSED = "refused"
DROPPED = "dropped"
# A process of the node itself gets it.
DELIVERED = "delivered"
# It goes on, as if there were no services.
PASSED = "passed"


class MissingObjectError(ValueError):
    """A rule names what the rule set does not hold; the kernel would refuse it."""


class Packet(NamedTuple):
    """The first packet of a connection, as the node sees it.

    ``source`` may be empty for a packet of the node itself, which has no ``interface``: the kernel chooses then.
    ``bridged``: the interface is a bridge whose ports iptables sees (br_netfilter). ``endpoint`` is the endpoint of a
    service with session affinity (``10.244.1.11:8080``) that this client was sent to before.
    """

    destination: str
    port: int
    protocol: str = "tcp"
    source: str = ""
    interface: str = ""
    bridged: bool = False
    endpoint: str = ""

    @property
    def family(self) -> str:
        return "ipv6" if ":" in self.destination else "ipv4"


class State(NamedTuple):
    """A part of the packets on their way: address and port as they are now, and what happened to them so far."""

    destination: str
    port: int
    share: float = 1.0
    mark: int = 0
    interface: str = ""
    translated: bool = False
    masqueraded: bool = False
    server: VirtualServerKey | None = None


class Outcome(NamedTuple):
    """What may become of a packet. ``masqueraded``: it leaves with an address of the node as its source."""

    kind: str
    endpoint: str = ""
    masqueraded: bool = False


# Outcome -> its share of all such packets
Answer = Mapping[Outcome, float]


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers agree; rules keep shares in parts of 2^31."""
    return one.keys() == other.keys() and all(math.isclose(one[key], other[key], abs_tol=1e-6) for key in one)


def kinds(answer: Answer) -> set[str]:
    return {outcome.kind for outcome in answer}


def endpoints(answer: Answer) -> set[str]:
    """Endpoints that get a packet."""
    return {outcome.endpoint for outcome in answer if outcome.kind == REACHED}


def masqueraded(answer: Answer) -> set[str]:
    """Endpoints that see an address of the node."""
    return {outcome.endpoint for outcome in answer if outcome.masqueraded}
