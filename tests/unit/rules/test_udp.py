# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where UDP services are reached, and who serves there."""

from __future__ import annotations

from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServicePort
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.udp import udp_endpoints

NODE = {"ipv4": ["192.168.100.11"], "ipv6": []}
DNS = ServicePort("default", "dns", "", "udp", "ipv4", "10.96.0.10", 53)
SERVING = Endpoint("10.244.1.5", 5353, ready=False, terminating=True)
GONE = Endpoint("10.244.1.6", 5353, ready=False, serving=False)


def test_every_address_of_a_udp_service_port_has_the_serving_endpoints() -> None:
    port = DNS._replace(
        external_ips=("203.0.113.1",),
        load_balancer_ips=("203.0.113.2",),
        node_port=30053,
        endpoints=(SERVING, GONE),
    )
    destinations = [("10.96.0.10", 53), ("203.0.113.1", 53), ("203.0.113.2", 53), ("192.168.100.11", 30053)]
    assert udp_endpoints([port], NODE) == dict.fromkeys(destinations, frozenset({("10.244.1.5", 5353)}))


def test_a_service_port_without_node_port_or_endpoints_has_its_cluster_ip_alone() -> None:
    assert udp_endpoints([DNS], NODE) == {("10.96.0.10", 53): frozenset()}


def test_other_protocols_do_not_count() -> None:
    assert udp_endpoints([DNS._replace(protocol="tcp")], NODE) == {}
