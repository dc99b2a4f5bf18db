# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A network namespace of this machine's kernel as a node that Ansible manages: the kernel of the lab has no nftables.

What Ansible writes goes to copies of the directories below, which last as long as the demonstration.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.world import layout

DIRECTORIES = ("/etc", "/var/lib", "/run")
# Run with the directory of the copies, and the command.
SCRIPT = """\
set -eu
copies=$1; shift
for directory in {directories}; do
    name=$(echo "$directory" | tr / _)
    upper=$copies/$name.upper work=$copies/$name.work
    mkdir -p "$upper" "$work"
    mount -t overlay overlay -o "lowerdir=$directory,upperdir=$upper,workdir=$work" "$directory"
done
exec "$@"
"""
HOST = {
    "ansible_connection": "local",
    "kube_proxy_node_addresses": [address.partition("/")[0] for address in layout.NODE_ADDRESSES["nodes"]],
    # Limits of connection tracking are the first namespace's alone.
    "kube_proxy_conntrack_max_per_core": 0,
    "kube_proxy_conntrack_min": 0,
}


def wrapper(namespace: str, copies: Path) -> list[str]:
    """What stands before a command that is to run on the node."""
    script = SCRIPT.format(directories=shlex.join(DIRECTORIES))
    return ["ip", "netns", "exec", namespace, "sh", "-c", script, "sh", str(copies)]


def write_inventory(path: Path, node: str, groups: Sequence[str], python: str) -> None:
    """An inventory with the way to the node. python: the path of the interpreter that modules run with."""
    host = {**HOST, "ansible_python_interpreter": python}
    path.write_text(yaml.safe_dump({group: {"hosts": {node: host}} for group in groups}))
