# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changes in sysctls, timeouts, a dummy link, accounting objects, kernel modules and drop-in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.node import (
    plan_accounting_objects,
    plan_drop_in,
    plan_kernel_modules,
    plan_link,
    plan_sysctls,
    plan_timeouts,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.state.kernel_module import KernelModules, WantedModule
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import Link

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation

DEVICE = "kube-ipvs0"


def lines(operations: Iterable[Operation]) -> list[str]:
    return [f"{o.verb} {o.kind} {o.name}: {o.reason}" for o in operations]


def link(*addresses: str) -> Link:
    return Link(DEVICE, frozenset(addresses))


# -------------------------------------------------------------------------------------- sysctls and timeouts


@pytest.mark.parametrize(
    ("actual", "desired", "expected"),
    [
        ({"a": "1"}, {"a": "1"}, []),
        ({"a": "1", "other": "7"}, {}, []),
        ({"a": "0"}, {"a": "1"}, ["change sysctl a: is 0, not 1"]),
        ({}, {"a": "1"}, ["add sysctl a: missing, to be 1"]),
        ({"r": "1024 65535"}, {"r": "1 2"}, ["change sysctl r: is 1024 65535, not 1 2"]),
        ({}, {"b": "1", "a": "2"}, ["add sysctl a: missing, to be 2", "add sysctl b: missing, to be 1"]),
    ],
)
def test_sysctls(actual: dict[str, str], desired: dict[str, str], expected: list[str]) -> None:
    operations = plan_sysctls(actual, desired)
    assert lines(operations) == expected
    assert {**actual, **dict(o.payload for o in operations)} == {**actual, **desired}


@pytest.mark.parametrize(
    ("actual", "desired", "expected"),
    [
        ({"tcp": 900, "tcpfin": 120, "udp": 300}, {}, []),
        ({"tcp": 900, "tcpfin": 120, "udp": 300}, {"udp": 300}, []),
        ({"tcp": 900, "udp": 300}, {"tcp": 60, "udp": 5}, ["tcp is 900, not 60; udp is 300, not 5"]),
        ({}, {"tcp": 60}, ["tcp is None, not 60"]),
    ],
)
def test_timeouts_are_one_change(actual: dict[str, int], desired: dict[str, int], expected: list[str]) -> None:
    operations = plan_timeouts(actual, desired)
    assert lines(operations) == [f"change ipvs timeouts tcp, tcpfin, udp: {reason}" for reason in expected]
    assert all(o.payload == desired for o in operations)


# ----------------------------------------------------------------------------------------------------- link


@pytest.mark.parametrize(
    ("actual", "desired", "expected"),
    [
        (None, None, []),
        (link("10.96.0.1/32"), link("10.96.0.1/32"), []),
        (None, link(), [f"add link {DEVICE}: missing"]),
        (
            None,
            link("10.96.0.10/32", "10.96.0.9/32", "fd00:96::1/128"),
            [
                f"add link {DEVICE}: missing",
                f"add address {DEVICE} 10.96.0.9/32: missing",
                f"add address {DEVICE} 10.96.0.10/32: missing",
                f"add address {DEVICE} fd00:96::1/128: missing",
            ],
        ),
        (
            link("10.96.0.1/32", "10.96.0.2/24"),
            link("10.96.0.2/32"),
            [
                f"add address {DEVICE} 10.96.0.2/32: missing",
                f"remove address {DEVICE} 10.96.0.2/24: not in the desired state",
                f"remove address {DEVICE} 10.96.0.1/32: not in the desired state",
            ],
        ),
        (link("10.96.0.1/32"), None, [f"remove link {DEVICE}: not in the desired state"]),
    ],
)
def test_link(actual: Link | None, desired: Link | None, expected: list[str]) -> None:
    assert lines(plan_link(actual, desired)) == expected


def test_merging_leaves_addresses_that_are_not_desired() -> None:
    operations = plan_link(link("10.96.0.1/32"), link("10.96.0.2/32"), exact=False)
    assert lines(operations) == [f"add address {DEVICE} 10.96.0.2/32: missing"]
    assert operations[0].payload == (DEVICE, "10.96.0.2/32")


# ------------------------------------------------------------------ accounting objects, modules, drop-in files


def test_accounting_objects_come_and_only_own_ones_go() -> None:
    operations = plan_accounting_objects(frozenset({"own", "other"}), frozenset("edcba"), {"own"}.__contains__)
    assert lines(operations) == [
        *(f"add accounting object {name}: missing" for name in "abcde"),
        "remove accounting object own: not in the desired state",
    ]


def test_the_first_name_that_a_kernel_has_is_loaded() -> None:
    actual = KernelModules("6.1", frozenset({"ip_vs"}), frozenset({"nf_conntrack", "ip_vs_rr"}), None)
    wanted = [
        WantedModule(("ip_vs",)),
        WantedModule(("nf_conntrack_ipv4", "nf_conntrack")),
        WantedModule(("nf_conntrack",)),
        WantedModule(("ip_vs_twos",), required=False),
    ]
    operations, names, missing = plan_kernel_modules(actual, wanted)
    assert lines(operations) == ["add kernel module nf_conntrack: not loaded"]
    assert names == ["ip_vs", "nf_conntrack"]
    assert missing == [wanted[-1]]


@pytest.mark.parametrize(
    ("actual", "desired", "expected", "payload"),
    [
        (None, None, [], None),
        (("a",), ("a",), [], None),
        (None, ("a",), ["add file /f: missing"], ("/f", "a\n")),
        (("b",), ("a",), ["change file /f: says something else"], ("/f", "a\n")),
        (("a",), None, ["remove file /f: no longer wanted"], ("/f", None)),
    ],
)
def test_drop_in_files(actual: object, desired: object, expected: list[str], payload: object) -> None:
    operations = plan_drop_in("/f", actual, desired, "a\n")
    assert lines(operations) == expected
    assert [o.payload for o in operations] == ([payload] if expected else [])
