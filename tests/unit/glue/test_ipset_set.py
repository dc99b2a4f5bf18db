# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of ipset_set -> sets."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import ipset_set

from tests.unit.glue.arguments import parameters, problems


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"name": "n" * 32, "type": "hash:ip"}, f"name: {'n' * 32} is longer than 31 characters"),
        ({"name": "a"}, "type: is required where the state is present"),
        ({"name": "a", "type": "bitmap:ip"}, "range: is required for the type bitmap:ip"),
        (
            {"name": "a", "type": "bitmap:ip", "range": "10.0.0.0/33"},
            (
                "range: '10.0.0.0/33' is not a network such as 192.0.2.0/24: '10.0.0.0/33' does not appear to be an "
                "IPv4 or IPv6 network"
            ),
        ),
        ({"sets": [{"name": "a", "type": "hash:ip"}, {"name": "a"}]}, "sets[1].name: a is given twice"),
        (
            {"name": "a", "type": "hash:ip", "members": ["10.0.0.1", "fd00::1"]},
            "members[1]: 'fd00::1' is IPv6, the set's family is inet",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(arguments: dict[str, Any], problem: str) -> None:
    assert problems(ipset_set.desired_sets, parameters(ipset_set.OPTIONS, arguments)) == [problem]


@pytest.mark.parametrize(("given", "printed"), [("10.0.0.0/24", "10.0.0.0-10.0.0.255"), ("10.0.0.1-10.0.0.9", None)])
def test_a_range_is_as_ipset_prints_it(given: str, printed: str | None) -> None:
    arguments = parameters(ipset_set.OPTIONS, {"name": "a", "type": "bitmap:ip", "range": given})
    sets, _absent = ipset_set.desired_sets(arguments)
    assert dict(sets["a"].options)["range"] == (printed or given)
