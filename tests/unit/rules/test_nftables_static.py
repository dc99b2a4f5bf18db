# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Anonymous sets of networks, as nft prints them."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.nftables_static import address_set


@pytest.mark.parametrize(
    ("networks", "printed"),
    [
        (["10.0.0.0/8"], "10.0.0.0/8"),
        (["10.0.0.7/32"], "10.0.0.7"),
        (["fd00::7/128"], "fd00::7"),
        (["10.0.0.9/32", "10.0.0.7/32"], "{ 10.0.0.7, 10.0.0.9 }"),
        (["10.0.0.7/32", "10.0.0.8/32"], "{ 10.0.0.7-10.0.0.8 }"),
        (["10.0.0.8/32", "10.0.0.9/32"], "{ 10.0.0.8/31 }"),
        (["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"], "{ 10.0.0.0/8 }"),
        (["10.0.0.7/32", "10.0.0.7/32"], "{ 10.0.0.7 }"),
        (["fd00::/64", "fd00:0:0:1::/64", "fd00:0:0:3::/64"], "{ fd00::/63, fd00:0:0:3::/64 }"),
    ],
)
def test_networks_are_sorted_and_merged(networks: list[str], printed: str) -> None:
    assert address_set(networks) == printed
