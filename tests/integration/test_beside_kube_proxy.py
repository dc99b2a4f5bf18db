# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks on a node where a process kube-proxy runs: one that could write ends before it does.

The process runs in the network namespace that is the node, and does nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.documentation import CHECKOUT
from tests.integration.namespace_controller import NamespaceController
from tests.needs import root_and

pytestmark = root_and()

REFUSAL = "kube-proxy runs on node-a and would undo what it does not know of"
# All that a run could write or remove, but for snapshots: files, rules, and settings of the namespace.
DUMP = """\
find /etc/modules-load.d /etc/sysctl.d /var/lib/kubenode-proxy -type f -exec stat -c '%n %y' {} + 2>/dev/null | sort
iptables-save | sed -e '/^#/d' -e 's/ \\[.*//'
cat /proc/sys/net/ipv4/ip_forward
"""

LOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: kubenode.proxy.node_prepare}
      check_mode: true
"""


@pytest.fixture
def controller(ansible_env: Mapping[str, str], tmp_path: Path) -> Iterator[NamespaceController]:
    inventory, services = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    env = {name: value for name, value in ansible_env.items() if name not in ("ANSIBLE_CONFIG", "PYTHONPATH")}
    program = tmp_path / "kube-proxy"
    shutil.copy(shutil.which("sleep") or "", program)
    with NamespaceController(tmp_path, env) as found:
        found.inventory(inventory, kube_proxy_mode_before="iptables")
        found.write("services.yml", services)
        process = int(found.look("sh", "-c", f"{program} 600 </dev/null >/dev/null 2>&1 & echo $!"))
        try:
            yield found
        finally:
            os.kill(process, signal.SIGKILL)


def play(controller: NamespaceController, name: str, *variables: str, status: int = 0) -> str:
    given = "".join(f" -e {variable}" for variable in variables)
    return controller.run(f"ansible-playbook -i inventory.yml kubenode.proxy.{name}{given}", status)


def test_a_node_that_kube_proxy_looks_after_is_only_looked_at(controller: NamespaceController) -> None:
    # What the role drift_timer leaves behind, and a clean-up removes first.
    controller.run("mkdir -p /var/lib/kubenode-proxy && echo {} >/var/lib/kubenode-proxy/last_run.json")
    bare = controller.run(DUMP)
    for refused in ("site", "preflight", "cleanup"):
        assert REFUSAL in " ".join(play(controller, refused, status=2).split())
        assert controller.run(DUMP) == bare
    migrate = play(controller, "migrate", "kube_proxy_mode=nftables", "kube_proxy_accept_drift=true", status=2)
    assert REFUSAL in " ".join(migrate.split())
    assert REFUSAL in " ".join(play(controller, "drift", "kube_proxy_drift_correct=true", status=2).split())
    # To compare, and to try what would happen, it may stay.
    assert "add chain " in play(controller, "drift", status=10)
    assert "node-a  would change " in play(controller, "site --check")
    controller.write("look.yml", LOOK)
    controller.run("ansible-playbook -i inventory.yml look.yml")
    assert controller.run(DUMP) == bare
    assert "node-a  changed " in play(controller, "site", "kube_proxy_take_over=true")
