# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""UDP flows that lead nowhere any more: (flows, services) -> flows to delete, as kube-proxy does from 1.32.

A flow keeps the translation of its first packet. A UDP client that goes on sending from one port would stay with an
endpoint that has gone, or with an address that was translated to nothing because no rule was there yet. TCP ends such
a flow by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .operation import REMOVE, Operation

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    Endpoints = Container[tuple[str, int]]


class End(NamedTuple):
    """Address and port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Flow(NamedTuple):
    """One UDP flow in the default zone of connection tracking.

    ``destination`` is what the client sent to; ``reply_source`` is who answers, after translation by a rule or by IPVS;
    ``reply_destination`` differs from ``source`` where the client is masqueraded. ``id`` is the kernel's.
    """

    source: End
    destination: End
    reply_source: End
    reply_destination: End
    id: int

    def __str__(self) -> str:
        return f"udp {self.source} -> {self.destination}"


def plan(flows: Iterable[Flow], services: Mapping[tuple[str, int], Endpoints]) -> list[Operation]:
    """Operations that remove the stale flows, sorted.

    ``services`` maps the address and port of each UDP service, node ports included, to its serving endpoints as
    (address, port): all of them, whatever the traffic policies say, so that a change of policy breaks no flow. A
    service without serving endpoints belongs in here, as of 1.37. What a flow's reply source is decides, not the
    kernel's status bits: IPVS sets none. So a flow to a service that nothing ever translated is stale too, and any
    flow to another destination is left alone.
    """
    operations = []
    for flow in sorted(flows):
        serving = services.get(flow.destination)
        if serving is not None and flow.reply_source not in serving:
            operations.append(Operation(REMOVE, "flow", str(flow), _reason(flow), flow))
    return operations


def _reason(flow: Flow) -> str:
    if flow.reply_source == flow.destination:
        return "not translated to an endpoint"
    return f"{flow.reply_source} is not a serving endpoint"
