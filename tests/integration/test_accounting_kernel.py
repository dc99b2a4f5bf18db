# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nfacct objects on this machine's own kernel, each test in a network namespace of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import (
    Options,
    compile_rule_set,
    converge_rule_set,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.accounting import AccountingObjects
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import ServiceData
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.node import plan_accounting_objects
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import ACCOUNTING_OBJECTS

from tests.lab.netns import Network
from tests.needs import root_and

pytestmark = root_and()
FOREIGN = "somebody-elses"


@pytest.fixture
def netns() -> Iterator[str]:
    with Network() as network:
        network.add("node")
        network.build()
        yield network.full_name("node")


def in_child(netns: str, check: str) -> None:
    """Runs ``check`` of this file in the namespace; a process enters a namespace for good."""
    if os.fork() == 0:
        status = 1
        try:
            globals()[check](netns)
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(status)
    _pid, status = os.wait()
    assert status == 0


def change(objects: AccountingObjects, desired: set[str], owned: set[str]) -> int:
    """How many changes it took to come to ``desired``."""
    live = objects.read()
    assert live is not None
    operations = plan_accounting_objects(live, frozenset(desired), owned.__contains__)
    objects.apply(operations)
    return len(operations)


def objects_come_and_go(netns: str) -> None:
    objects = NodeAccess(netns).accounting
    assert objects.read() == frozenset()
    assert change(objects, {"a", "b", FOREIGN}, set()) == 3
    assert change(objects, {"a"}, {"a", "b"}) == 1
    assert objects.read() == frozenset({"a", FOREIGN})
    assert change(objects, {"a"}, {"a", "b"}) == 0


def a_change_of_mode_takes_them_away(netns: str) -> None:
    for mode, version, wanted in (
        ("iptables", "1.36", ACCOUNTING_OBJECTS),
        ("iptables", "1.30", frozenset[str]()),
        ("iptables", "1.36", ACCOUNTING_OBJECTS),
    ):
        configuration = parse_configuration(
            {"mode": mode, "version": version, "conntrack_max_per_core": 0, "conntrack_min": 0}
        )
        with TemporaryDirectory() as folder:
            access = NodeAccess(netns, state_folder=folder)
            desired = compile_rule_set(ServiceData(()), parse_node({"name": "node-a"}), configuration, access)
            outcome = converge_rule_set(access, desired, configuration, Options(), check=False)
        assert outcome.changed
        assert access.accounting.read() == wanted


@pytest.mark.parametrize("check", ["objects_come_and_go", "a_change_of_mode_takes_them_away"])
def test_accounting_objects(netns: str, check: str) -> None:
    in_child(netns, check)
