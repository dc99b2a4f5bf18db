# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of links and settings, read and written."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import (
    Link,
    parse_link,
    parse_sysctls,
    render_link,
)


@pytest.mark.parametrize(
    "link", [None, Link("kube-ipvs0", frozenset()), Link("kube-ipvs0", frozenset({"10.96.0.1/32", "fd00::1/128"}))]
)
def test_a_link_is_read_as_it_was_written(link: Link | None) -> None:
    assert parse_link(render_link(link)) == link


def test_what_is_no_link_is_refused() -> None:
    with pytest.raises(ValueError, match="not a link"):
        parse_link("10.96.0.1/32\nlink kube-ipvs0\n")


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="not a sysctl setting"):
        parse_sysctls("# remark\n\nnet.ipv4.ip_forward\n")
