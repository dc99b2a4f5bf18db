# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nftables mode drops what goes to an address of the service networks that no service has."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import ServiceData
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render

from tests.clusters import FACTS


@pytest.mark.parametrize(
    ("of_objects", "configured", "dropped"),
    [
        ((), (), []),
        (("10.96.0.0/16", "fd00:96::/108"), (), ["10.96.0.0/16"]),
        (("10.96.0.0/16",), ("10.97.0.0/16",), ["10.97.0.0/16"]),
    ],
)
def test_networks_of_service_cidr_objects_count_where_none_are_configured(
    of_objects: tuple[str, ...], configured: tuple[str, ...], dropped: list[str]
) -> None:
    configuration = ProxyConfiguration(mode="nftables", service_cidrs=configured)
    found = render(ServiceData((), service_cidrs=of_objects), Node("node-a"), configuration, FACTS)
    _reject, *rules = found.nftables["ip kube-proxy"].chains["cluster-ips-check"].rules
    assert rules == [f'ip daddr {network} drop comment "Drop traffic to unallocated ClusterIPs"' for network in dropped]
