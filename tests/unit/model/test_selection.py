# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which endpoints a node sends to (data-plane 1.1.5), as tables of cases.

node      node-a in zone-a
endpoints l* are on node-a, r* on node-b; each is written as its name and what differs from a ready endpoint
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node
from ansible_collections.kubenode.proxy.plugins.module_utils.model.selection import select
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServicePort
from ansible_collections.kubenode.proxy.plugins.module_utils.model.version import VERSIONS

NODE = Node("node-a", zone="zone-a")
IPS = {"l1": "10.244.1.1", "l2": "10.244.1.2", "r1": "10.244.2.1", "r2": "10.244.2.2"}
NAMES = {ip: name for name, ip in IPS.items()}
OLD, NEW = "1.30", "1.36"
BOTH = (OLD, NEW)


def endpoint(text: str) -> Endpoint:
    """``r1 draining zones=zone-a,zone-b nodes=node-a``; draining is serving and terminating, gone terminating only."""
    name, *words = text.split()
    found = Endpoint(IPS[name], 80, "node-a" if name.startswith("l") else "node-b")
    for word in words:
        key, _equals, value = word.partition("=")
        if key == "zones":
            found = found._replace(zones=tuple(value.split(",")))
        elif key == "nodes":
            found = found._replace(nodes=tuple(value.split(",")))
        elif key == "on":
            found = found._replace(node=value)
        else:
            found = found._replace(**CONDITIONS[key])
    return found


CONDITIONS: dict[str, dict[str, Any]] = {
    "unready": {"ready": False},
    "failed": {"ready": False, "serving": False},
    "draining": {"ready": False, "terminating": True},
    "gone": {"ready": False, "serving": False, "terminating": True},
}
# Which policies and ways in a service has.
INSIDE = ServicePort("default", "web", "", "tcp", "ipv4", "10.96.0.1", 80)
INSIDE_LOCAL = INSIDE._replace(internal_local=True)
NODE_PORT = INSIDE._replace(node_port=30080)
EXTERNAL_LOCAL = NODE_PORT._replace(external_local=True)
ALL_LOCAL = EXTERNAL_LOCAL._replace(internal_local=True)


def selected(port: ServicePort, endpoints: str, version: str, node: Node = NODE) -> str:
    """``cluster | local | has endpoints``, endpoints by name."""
    found = select(
        port._replace(endpoints=tuple(map(endpoint, filter(None, endpoints.split("; "))))), node, VERSIONS[version]
    )
    parts = [" ".join(NAMES[e.ip] for e in part) for part in (found.cluster, found.local)]
    assert [NAMES[e.ip] for e in found.reachable] == sorted({*parts[0].split(), *parts[1].split()})
    return f"{parts[0] or '-'} | {parts[1] or '-'} | {'yes' if found.has_endpoints else 'no'}"


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    ("port", "endpoints", "expected"),
    [
        # which of the sets a service uses at all
        (INSIDE, "l1; r1", "l1 r1 | - | yes"),
        (INSIDE_LOCAL, "l1; r1", "- | l1 | yes"),
        (NODE_PORT, "l1; r1", "l1 r1 | - | yes"),
        (EXTERNAL_LOCAL, "l1; r1", "l1 r1 | l1 | yes"),
        (ALL_LOCAL, "l1; r1", "l1 r1 | l1 | yes"),
        (INSIDE._replace(external_local=True), "l1; r1", "l1 r1 | - | yes"),
        (INSIDE._replace(external_ips=("203.0.113.1",), external_local=True), "l1; r1", "l1 r1 | l1 | yes"),
        (INSIDE._replace(load_balancer_ips=("203.0.113.1",), external_local=True), "r1", "r1 | - | yes"),
        # none, none here
        (INSIDE, "", "- | - | no"),
        (ALL_LOCAL, "", "- | - | no"),
        (INSIDE_LOCAL, "r1", "- | - | yes"),
        (EXTERNAL_LOCAL, "r1", "r1 | - | yes"),
        # not ready ones do not count
        (INSIDE, "l1 unready; r1", "r1 | - | yes"),
        (INSIDE, "l1 unready; r1 failed", "- | - | no"),
        (INSIDE_LOCAL, "l1 unready", "- | - | no"),
        # terminating ones count where nothing else is ready, each set by itself
        (INSIDE, "l1 draining; r1", "r1 | - | yes"),
        (INSIDE, "l1 draining; r1 draining", "l1 r1 | - | yes"),
        (INSIDE, "l1 draining; r1 unready", "l1 | - | yes"),
        (INSIDE, "l1 gone; r1 gone", "- | - | no"),
        (INSIDE_LOCAL, "l1 draining; l2; r1", "- | l2 | yes"),
        (INSIDE_LOCAL, "l1 draining; r1", "- | l1 | yes"),
        (INSIDE_LOCAL, "r1 draining", "- | - | yes"),
        (EXTERNAL_LOCAL, "l1 draining; r1", "r1 | l1 | yes"),
        (EXTERNAL_LOCAL, "l1 draining; r1 draining; r2 gone", "l1 r1 | l1 | yes"),
        # by endpoint string
        (INSIDE, "r2; l2; r1; l1", "l1 l2 r1 r2 | - | yes"),
    ],
)
def test_policies_and_conditions(port: ServicePort, endpoints: str, expected: str, version: str) -> None:
    assert selected(port, endpoints, version) == expected


HERE, THERE, EVERYWHERE = "zones=zone-a", "zones=zone-b", "zones=zone-a,zone-b"


@pytest.mark.parametrize(
    ("mode", "endpoints", "old", "new"),
    [
        # 1.30 goes by the annotation, 1.36 by the hints alone
        ("", f"l1 {HERE}; r1 {THERE}", "l1 r1", "l1"),
        ("Auto", f"l1 {HERE}; r1 {THERE}", "l1", "l1"),
        ("anything", f"l1 {HERE}; r1 {THERE}", "l1", "l1"),
        ("disabled", f"l1 {HERE}; r1 {THERE}", "l1 r1", "l1"),
        ("Disabled", f"l1 {HERE}; r1 {THERE}", "l1 r1", "l1"),
        ("Auto", f"l1 {EVERYWHERE}; r1 {THERE}; r2 {EVERYWHERE}", "l1 r2", "l1 r2"),
        # hints are for all or for none
        ("Auto", f"l1 {HERE}; r1", "l1 r1", "l1 r1"),
        ("Auto", f"l1 {THERE}; r1 {THERE}", "l1 r1", "l1 r1"),
        # those of endpoints that are not ready do not count
        ("Auto", f"l1 {HERE}; r1 {THERE}; r2 unready", "l1", "l1"),
        ("Auto", f"l1 {HERE} unready; r1 {THERE}; r2 {THERE}", "r1 r2", "r1 r2"),
        # nor are they asked where only terminating ones are left
        ("Auto", f"l1 {HERE} draining; r1 {THERE} draining", "l1 r1", "l1 r1"),
        # hints for nodes come first
        ("Auto", f"l1 {HERE} nodes=node-b; r1 {THERE} nodes=node-a", "l1", "r1"),
        ("", "l1 nodes=node-b; r1 nodes=node-a", "l1 r1", "r1"),
        ("", "l1 nodes=node-b; r1 nodes=node-b", "l1 r1", "l1 r1"),
        ("", f"l1 {HERE} nodes=node-b; r1 {THERE} nodes=node-b", "l1 r1", "l1"),
        ("", f"l1 {HERE} nodes=node-a; r1 {THERE}", "l1 r1", "l1"),
    ],
)
def test_topology(mode: str, endpoints: str, old: str, new: str) -> None:
    port = INSIDE._replace(topology_mode=mode)
    for version, expected in ((OLD, old), (NEW, new)):
        assert selected(port, endpoints, version) == f"{expected} | - | yes"


@pytest.mark.parametrize("version", BOTH)
def test_topology_needs_a_zone(version: str) -> None:
    port = INSIDE._replace(topology_mode="Auto")
    assert selected(port, f"l1 {HERE}; r1 {THERE}", version, Node("node-a")) == "l1 r1 | - | yes"


@pytest.mark.parametrize("version", BOTH)
def test_topology_leaves_local_sets_alone(version: str) -> None:
    port = EXTERNAL_LOCAL._replace(topology_mode="Auto")
    assert selected(port, f"l1 {THERE}; r1 {HERE}", version) == "r1 | l1 | yes"


@pytest.mark.parametrize(
    ("endpoints", "old", "new"),
    [
        # The address is the same: up to 1.35 the last on this node counts, from then on the last that stays.
        ("r1 draining; r1 on=node-a", "r1 | r1 | yes", "r1 | r1 | yes"),
        ("r1 on=node-a draining; r1", "r1 | r1 | yes", "r1 | - | yes"),
        ("r1; r1 on=node-a draining", "r1 | r1 | yes", "r1 | - | yes"),
        ("r1 on=node-a unready; r1", "- | - | no", "r1 | - | yes"),
        ("r1; r1 on=node-a unready", "- | - | no", "- | - | no"),
        ("r1; r1 unready", "r1 | - | yes", "- | - | no"),
        ("r1 unready; r1", "- | - | no", "r1 | - | yes"),
        ("r1 on=node-a unready; r1 on=node-a", "r1 | r1 | yes", "r1 | r1 | yes"),
        ("r1 on=node-a; r1 on=node-a unready; r1 on=node-a draining", "r1 | r1 | yes", "- | - | no"),
        ("r1 draining; r1 on=node-b draining", "r1 | - | yes", "r1 | - | yes"),
    ],
)
def test_one_address_several_times(endpoints: str, old: str, new: str) -> None:
    for version, expected in ((OLD, old), (NEW, new)):
        assert selected(EXTERNAL_LOCAL, endpoints, version) == expected


def test_endpoints_of_the_node_are_known_whatever_their_readiness() -> None:
    endpoints = tuple(map(endpoint, ["r1", "l2 gone", "l1 unready"]))
    found = select(INSIDE._replace(endpoints=endpoints), NODE, VERSIONS[NEW])
    assert [NAMES[e.ip] for e in found.on_node] == ["l1", "l2"]


@pytest.mark.parametrize("version", BOTH)
def test_order_is_that_of_endpoint_strings(version: str) -> None:
    endpoints = tuple(Endpoint(ip, 80) for ip in ("10.0.0.2", "10.0.0.10", "10.0.0.1"))
    found = select(INSIDE._replace(endpoints=endpoints), NODE, VERSIONS[version])
    assert [e.ip for e in found.cluster] == ["10.0.0.10", "10.0.0.1", "10.0.0.2"]


def test_order_of_both_sets_together_is_that_of_endpoint_strings() -> None:
    near = Endpoint("10.0.0.1", 80, "node-a", zones=("zone-b",))
    far = Endpoint("10.0.0.10", 80, "node-b", zones=("zone-a",))
    found = select(ALL_LOCAL._replace(endpoints=(near, far)), NODE, VERSIONS[NEW])
    assert (found.cluster, found.local, found.reachable) == ((far,), (near,), (far, near))
