# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ansible-test integration on throw-away nodes: python -m tests.integration.run_targets [TARGET..]

A target's file "aliases" names where it runs:

namespace  in a network namespace of this machine, with directories of its own to write to
guest      over SSH on a node with a kernel of its own, which has ip_vs and loads modules
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.demo import namespace_node
from tests.lab import Lab
from tests.lab.netns import Network
from tests.lab.node import CHECKOUT

OPTIONS = ("--color", "no", "--allow-destructive", "--continue-on-error")
TARGETS = CHECKOUT / "tests/integration/targets"
# Where ansible-test looks for a key before it makes one.
KEY = CHECKOUT / ".cache/ansible-test/home/.ansible/test/id_rsa"
GUEST_PYTHON = "python=3.11@/usr/bin/python3"
MODULES = ("ip_vs", "ip_vs_rr", "ip_vs_wrr")


def places(target: str) -> set[str]:
    return set((TARGETS / target / "aliases").read_text().split())


def ansible_test(wrapper: Sequence[str], targets: Sequence[str], *options: str) -> int:
    """The exit status of ansible-test."""
    command = [*wrapper, str(CHECKOUT / "scripts/ansible-test"), "integration", *OPTIONS, *options, *targets]
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode


def in_namespace(targets: Sequence[str]) -> int:
    with Network() as network, tempfile.TemporaryDirectory(prefix="kubenode-targets-") as copies:
        network.add("node")
        network.build()
        return ansible_test(namespace_node.wrapper(network.full_name("node"), Path(copies)), targets)


def in_guest(targets: Sequence[str]) -> int:
    with Lab("targets") as lab:
        node = lab.start("node-a", modprobe=MODULES)
        KEY.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(lab.directory / "id", KEY)
        shutil.copy(lab.directory / "id.pub", KEY.with_suffix(".pub"))
        wrapper = ["ip", "netns", "exec", lab.namespace]
        return ansible_test(wrapper, targets, "--target", f"ssh:root@{node.address},{GUEST_PYTHON}")


def main(names: Sequence[str]) -> int:
    targets = list(names) or sorted(path.parent.name for path in TARGETS.glob("*/aliases"))
    status = 0
    for place, run in {"namespace": in_namespace, "guest": in_guest}.items():
        if here := [target for target in targets if place in places(target)]:
            status = run(here) or status
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
