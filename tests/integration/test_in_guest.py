# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the tests of tests/guest, which need IPVS in the kernel that they run on, inside a guest of the lab."""

from __future__ import annotations

import re
import shlex
import sysconfig

from tests.lab import Node
from tests.lab.node import CHECKOUT

# The guest's own Python has no pytest: it takes that of the environment in which these tests run.
PATHS = [str(CHECKOUT / ".cache/collections"), str(CHECKOUT), sysconfig.get_paths()["purelib"]]
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/guest"]


def test_ipvs_in_a_guest(guest: Node) -> None:
    guest.forget_host_files()
    environment = f"PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={shlex.quote(':'.join(PATHS))}"
    command = f"cd {shlex.quote(str(CHECKOUT))} && {environment} {shlex.join(PYTEST)}"
    done = guest.run(["sh", "-c", command], check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"^\d+ passed in ", done.stdout, re.M), f"some were skipped:\n{done.stdout[-2000:]}"
