# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of dummy_addresses -> link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import dummy_addresses
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.node import plan_link
from ansible_collections.kubenode.proxy.plugins.module_utils.state import rule_set
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import Link

from tests.unit.glue.arguments import parameters, problems


def params(**arguments: Any) -> dict[str, Any]:
    return parameters(dummy_addresses.OPTIONS, arguments)


def link(*addresses: str, **arguments: Any) -> Link | None:
    return dummy_addresses.desired_link(params(addresses=list(addresses), **arguments))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.96.0.1", "10.96.0.1/32"),
        ("10.96.0.1/32", "10.96.0.1/32"),
        ("10.96.0.1/24", "10.96.0.1/24"),
        ("169.254.20.10", "169.254.20.10/32"),
        ("FD00:0:0::A", "fd00::a/128"),
        ("fd00::a/064", "fd00::a/64"),
    ],
)
def test_an_address_is_in_the_form_that_the_kernel_shows(text: str, address: str) -> None:
    assert link(text) == Link("kube-ipvs0", frozenset({address}))


def test_no_addresses_are_a_link_and_absent_is_none() -> None:
    assert link(link="lvs0") == Link("lvs0", frozenset())
    assert dummy_addresses.desired_link(params(state="absent")) is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "addresses: is required where the state is present; an empty list is one, too"),
        (
            {"addresses": ["10.96.0.0/33"]},
            "addresses[0]: '10.96.0.0/33' has no prefix length of ipv4, 1..32: leave it out",
        ),
        (
            {"addresses": ["10.96.0.1/\u00b2"]},
            "addresses[0]: '10.96.0.1/\u00b2' has no prefix length of ipv4, 1..32: leave it out",
        ),
        ({"addresses": ["fd00::1/0"]}, "addresses[0]: 'fd00::1/0' has no prefix length of ipv6, 1..128: leave it out"),
        ({"addresses": ["10.96.0.1", "x"]}, "addresses[1]: 'x' is not an IP address; names are not resolved"),
        (
            {"addresses": ["10.96.0.1", "10.96.0.1/32"]},
            "addresses[1]: 10.96.0.1/32 is given twice, as addresses[0] too",
        ),
        ({"addresses": ["127.0.0.1"]}, "addresses[0]: 127.0.0.1 is a loopback address, which a dummy link is not for"),
        ({"addresses": ["fe80::1"]}, "addresses[0]: fe80::1 is a link-local address, which a dummy link is not for"),
        (
            {"addresses": [], "link": "a-name-too-long0"},
            "link: 'a-name-too-long0' is not the name of a link: 1..15 letters, digits, or _ . + @, and - but in front",
        ),
    ],
)
def test_an_address_that_cannot_be_is_refused(arguments: dict[str, Any], problem: str) -> None:
    assert problems(dummy_addresses.desired_link, params(**arguments)) == [problem]


def test_merge_leaves_other_addresses() -> None:
    live = Link("kube-ipvs0", frozenset({"10.96.0.1/32"}))
    wanted = Link("kube-ipvs0", frozenset({"10.96.0.2/32"}))
    assert [o.verb for o in plan_link(live, wanted)] == ["add", "remove"]
    assert [o.verb for o in plan_link(live, wanted, exact=False)] == ["add"]


def test_a_rule_set_has_the_link_or_none(tmp_path: Path) -> None:
    compiled = tmp_path / "rule_set"
    wanted = Link("kube-ipvs0", frozenset({"10.96.0.1/32"}))
    for content in (None, wanted):
        compiled.write_text(rule_set.render(rule_set.RuleSet.empty()._replace(link=content)))
        assert dummy_addresses.compiled_link(params(rule_set=str(compiled))) == content
    assert problems(dummy_addresses.compiled_link, params(rule_set=str(compiled), state="absent")) == [
        "state: absent does not go with rule_set; leave rule_set out to remove the link"
    ]
