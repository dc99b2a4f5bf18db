# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kube-proxy leaves out, by version or configuration, gets no rules."""

from __future__ import annotations

from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServiceData, ServicePort
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render

from tests.clusters import FACTS

PORT = ServicePort("default", "web", "", "tcp", "ipv4", "10.96.0.10", 80)
ENDPOINT = Endpoint("10.244.1.5", 80, other_proxy=True)


def chains(version: str, *ports: ServicePort, external_ips: bool = True) -> dict[str, tuple[str, ...]]:
    configuration = ProxyConfiguration(mode="iptables", version=version, external_ips=external_ips)
    tables = render(ServiceData(ports), Node("node-a"), configuration, FACTS).tables["ipv4"]
    return {f"{table} {name}": chain.rules for table, found in tables.items() for name, chain in found.items()}


def test_a_service_with_the_label_headless_has_rules_in_new_versions_only() -> None:
    headless = PORT._replace(headless=True)
    assert chains("1.30", headless) == chains("1.30")
    assert chains("1.36", headless) == chains("1.36", PORT)


def test_an_endpoint_slice_with_the_label_service_proxy_name_has_rules_in_new_versions_only() -> None:
    labelled = PORT._replace(endpoints=(ENDPOINT,))
    assert chains("1.30", labelled) == chains("1.30", PORT)
    assert chains("1.36", labelled) == chains("1.36", PORT._replace(endpoints=(ENDPOINT._replace(other_proxy=False),)))


def test_without_external_ips_a_service_is_as_one_that_has_none() -> None:
    external = PORT._replace(external_ips=("198.51.100.50",), external_local=True)
    assert chains("1.36", external, external_ips=False) == chains("1.36", PORT)
    assert chains("1.36", external) != chains("1.36", PORT)
