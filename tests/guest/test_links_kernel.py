# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses of a dummy link against a real kernel, with pyroute2 as the witness. Each test has a network namespace."""

from __future__ import annotations

import json
import os
import subprocess
from ipaddress import ip_address

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipvs import available
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.links import LinksSocket, apply
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.node import plan_link
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import Link, LocalAddress
from pyroute2 import IPRoute

pytestmark = [
    pytest.mark.usefixtures("fresh_namespace"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not available(), reason="needs root and a kernel with dummy links: a lab guest has them"
    ),
]
NAME = "kube-ipvs0"
ADDRESSES = frozenset({"10.96.0.1/32", "10.96.0.10/24", "127.0.0.5/32", "fd00:96::a/128"})


def witnessed() -> tuple[str, frozenset[str]]:
    """State and global addresses of the link."""
    with IPRoute() as routes:
        [index] = routes.link_lookup(ifname=NAME)
        [link] = routes.get_links(index)
        addresses = {
            f"{found.get_attr('IFA_ADDRESS')}/{found['prefixlen']}"
            for found in routes.get_addr(index=index)
            if found["scope"] == 0
        }
        return link["state"], frozenset(addresses)


def converge(wanted: Link | None) -> int:
    """Processes that it took to write."""
    live = LinksSocket().read().dummy(NAME)
    runner = Runner()
    apply(runner, plan_link(live, wanted))
    return runner.processes


def test_a_link_comes_changes_and_goes() -> None:
    assert converge(Link(NAME, ADDRESSES)) == 1
    assert witnessed() == ("down", ADDRESSES)
    assert converge(Link(NAME, ADDRESSES)) == 0
    other = frozenset({"10.96.0.1/32", "fd00:96::b/128"})
    assert converge(Link(NAME, other)) == 1
    assert witnessed() == ("down", other)
    assert converge(None) == 1
    assert LinksSocket().read().dummy(NAME) is None


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def test_addresses_are_those_that_ip_shows() -> None:
    ip("link", "set", "lo", "up")
    ip("link", "add", "one", "type", "veth", "peer", "name", "two")
    for device in ("one", "two"):
        ip("link", "set", device, "up")
    for address in ("10.9.0.1/24", "10.9.0.2/24", "169.254.0.9/16", "fd00:9::1/64", "::a00:1/128"):
        ip("address", "add", address, "dev", "one")
    ip("address", "add", "10.9.1.1", "peer", "10.9.1.2/32", "dev", "two")
    shown = [
        LocalAddress(link["ifname"], str(ip_address(found["local"])), found["prefixlen"])
        for link in json.loads(ip("-json", "address", "show"))
        for found in link["addr_info"]
    ]
    assert LinksSocket().read().addresses() == tuple(shown)
    assert ("two", "10.9.1.1", 32) in shown
    assert len(shown) == 10


def test_only_what_somebody_has_bound_counts() -> None:
    ip("link", "add", NAME, "type", "dummy")
    ip("link", "set", NAME, "up")
    for address, scope in (("10.96.0.1/32", "global"), ("10.96.0.2/32", "link"), ("10.96.0.3/32", "host")):
        ip("address", "add", address, "dev", NAME, "scope", scope)
    found = LinksSocket().read()
    assert found.dummy(NAME) == Link(NAME, frozenset({"10.96.0.1/32"}))
    # With the link-local address of IPv6.
    assert len(found.addresses()) == 4


@pytest.mark.parametrize("kind", ["bridge", "veth"])
def test_a_link_of_another_type_is_no_dummy(kind: str) -> None:
    ip("link", "add", NAME, "type", kind)
    with pytest.raises(KernelError, match=f"^link {NAME} is of type {kind}, not dummy: rename or delete it$"):
        LinksSocket().read().dummy(NAME)
    with pytest.raises(KernelError, match=r"^link lo is of type loopback, not dummy"):
        LinksSocket().read().dummy("lo")


def test_what_the_kernel_refuses_is_named() -> None:
    operations = plan_link(None, Link(NAME, ADDRESSES))
    apply(Runner(), operations)
    with pytest.raises(KernelError) as error:
        apply(Runner(), operations[1:])
    assert str(error.value).startswith(f"cannot add address {NAME} 10.96.0.10/24: ")
    assert "File exists" in str(error.value)
