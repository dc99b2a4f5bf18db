# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules take from the node itself."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts, localhost_node_ports
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import DEVICE
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress

from tests.clusters import FACTS


def test_the_node_s_own_addresses_are_the_first_global_ones_and_none_of_services() -> None:
    bound = (LocalAddress(DEVICE, "10.96.0.1", 32), LocalAddress(DEVICE, "fd00:96::1", 128))
    facts = NodeFacts(FACTS.kernel, bound + FACTS.addresses)
    assert facts.node_addresses() == ("192.168.100.11", "fd00:100::11")


@pytest.mark.parametrize(
    ("networks", "answered"),
    [
        ((), True),
        (("127.0.0.0/8",), True),
        (("127.0.0.1/32",), True),
        (("126.0.0.0/7",), True),
        (("0.0.0.0/0",), True),
        (("10.0.0.0/8",), False),
        (("10.0.0.0/8", "127.0.0.0/8"), True),
        (("::1/128",), True),
    ],
)
def test_localhost_answers_where_node_port_addresses_hold_it(networks: tuple[str, ...], answered: bool) -> None:
    configuration = ProxyConfiguration(node_port_addresses=networks)
    assert localhost_node_ports(Node("node-a"), configuration, "ipv4") == answered
    assert not localhost_node_ports(Node("node-a"), configuration._replace(localhost_node_ports=False), "ipv4")
    assert not localhost_node_ports(Node("node-a"), configuration, "ipv6")
