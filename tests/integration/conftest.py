# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures of the tests with real kernels.

guest        a node of the lab with a kernel of its own, for the whole run
ansible_env  the environment in which Ansible finds the collection in this checkout
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab import Lab, LabError, Node
from tests.lab.node import CHECKOUT

GUEST_MODULES = ("ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "nf_conntrack_netlink", "br_netfilter", "dummy")


@pytest.fixture(scope="session")
def guest() -> Iterator[Node]:
    try:
        with Lab("integration") as lab:
            yield lab.start("node-a", modprobe=GUEST_MODULES)
    except LabError as error:
        if os.geteuid() == 0:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def ansible_env(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".cache/collections"),
        "ANSIBLE_HOME": str(tmp_path_factory.mktemp("ansible")),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
