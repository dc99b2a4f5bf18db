# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which UDP flows are stale.

client     10.0.0.5:4000
service    10.96.0.10:53 -> 10.244.0.8:53, 10.244.0.9:53 serving; 10.96.0.11:53 without endpoints
node       192.0.2.1, node port 30053 of the same service
"""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.conntrack import End, Flow, plan

SERVING = {("10.244.0.8", 53), ("10.244.0.9", 53), ("fd00:244::8", 53)}
NONE = set[tuple[str, int]]()
SERVICES = {
    ("10.96.0.10", 53): SERVING,
    ("10.96.0.11", 53): NONE,
    ("fd00:96::10", 53): SERVING,
    ("192.0.2.1", 30053): SERVING,
    ("192.0.2.1", 30054): NONE,
}


def end(text: str) -> End:
    address, _colon, port = text.rpartition(":")
    return End(address.strip("[]"), int(port))


def flow(destination: str, reply_source: str, number: int = 1) -> Flow:
    client = End("fd00::5" if "[" in destination else "10.0.0.5", 4000)
    return Flow(client, end(destination), end(reply_source), client, number)


@pytest.mark.parametrize(
    "destination, reply_source, reason",
    [
        # to a service address
        ("10.96.0.10:53", "10.244.0.8:53", None),
        ("10.96.0.10:53", "10.244.0.7:53", "10.244.0.7:53 is not a serving endpoint"),
        ("10.96.0.10:53", "10.244.0.8:54", "10.244.0.8:54 is not a serving endpoint"),
        ("10.96.0.10:53", "10.96.0.10:53", "not translated to an endpoint"),
        ("10.96.0.11:53", "10.244.0.8:53", "10.244.0.8:53 is not a serving endpoint"),
        ("[fd00:96::10]:53", "[fd00:244::8]:53", None),
        ("[fd00:96::10]:53", "[fd00:244::7]:53", "[fd00:244::7]:53 is not a serving endpoint"),
        # to another port or address
        ("10.96.0.10:54", "10.244.0.7:53", None),
        ("10.96.0.12:53", "10.244.0.7:53", None),
        ("203.0.113.53:53", "203.0.113.53:53", None),
        ("10.244.0.7:53", "10.244.0.7:53", None),
        # to a node port
        ("192.0.2.1:30053", "10.244.0.9:53", None),
        ("192.0.2.1:30053", "10.244.0.7:53", "10.244.0.7:53 is not a serving endpoint"),
        ("192.0.2.1:30053", "192.0.2.1:30053", "not translated to an endpoint"),
        ("192.0.2.1:30054", "10.244.0.8:53", "10.244.0.8:53 is not a serving endpoint"),
        ("192.0.2.1:30055", "10.244.0.7:53", None),
        ("192.0.2.9:30053", "192.0.2.9:30053", None),
    ],
)
def test_a_flow_is_stale_if_no_serving_endpoint_answers_it(
    destination: str, reply_source: str, reason: str | None
) -> None:
    operations = plan([flow(destination, reply_source)], SERVICES)
    assert [operation.reason for operation in operations] == ([reason] if reason else [])


def test_operations_are_sorted_and_carry_the_flow() -> None:
    flows = [flow("10.96.0.11:53", "10.244.0.8:53", 2), flow("10.96.0.10:53", "10.244.0.7:53", 1)]
    operations = plan(flows, SERVICES)
    assert [operation.report() for operation in operations] == [
        {
            "verb": "remove",
            "kind": "flow",
            "name": "udp 10.0.0.5:4000 -> 10.96.0.10:53",
            "reason": "10.244.0.7:53 is not a serving endpoint",
        },
        {
            "verb": "remove",
            "kind": "flow",
            "name": "udp 10.0.0.5:4000 -> 10.96.0.11:53",
            "reason": "10.244.0.8:53 is not a serving endpoint",
        },
    ]
    assert [operation.payload for operation in operations] == flows[::-1]
