# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses of a dummy link against a real kernel, with pyroute2 as the witness. Each test has a network namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import namespace
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipvs import available
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.links import Links, apply
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.node import plan_link
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import Link
from pyroute2 import IPRoute

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not available(), reason="needs root and a kernel with dummy links: a lab guest has them"
)
NAME = "kube-ipvs0"
ADDRESSES = frozenset({"10.96.0.1/32", "10.96.0.10/24", "fd00:96::a/128"})


@pytest.fixture(autouse=True)
def fresh_namespace() -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    namespace._unshare()
    try:
        yield
    finally:
        namespace._set_namespace(home)
        os.close(home)


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
    live = Links(Runner()).dummy(NAME)
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
    assert Links(Runner()).dummy(NAME) is None


def test_what_the_kernel_refuses_is_named() -> None:
    operations = plan_link(None, Link(NAME, ADDRESSES))
    apply(Runner(), operations)
    with pytest.raises(KernelError) as error:
        apply(Runner(), operations[1:])
    assert str(error.value).startswith(f"cannot add address {NAME} 10.96.0.10/24: ")
    assert "File exists" in str(error.value)
