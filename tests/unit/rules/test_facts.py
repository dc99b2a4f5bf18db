# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules take from the node itself."""

from __future__ import annotations

from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import DEVICE
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress

from tests.clusters import FACTS


def test_the_node_s_own_addresses_are_the_first_global_ones_and_none_of_services() -> None:
    bound = (LocalAddress(DEVICE, "10.96.0.1", 32), LocalAddress(DEVICE, "fd00:96::1", 128))
    facts = NodeFacts(FACTS.kernel, bound + FACTS.addresses)
    assert facts.node_addresses() == ("192.168.100.11", "fd00:100::11")
