# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The nodes of a lab as an Ansible inventory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def render(
    hosts: Mapping[str, Mapping[str, str]],
    groups: Mapping[str, Sequence[str]],
    variables: Mapping[str, str],
) -> str:
    """YAML; a value that all hosts share stands once. variables: for all of them, whatever their own are."""
    shared = {}
    for name, value in next(iter(hosts.values()), {}).items():
        if name != "ansible_host" and all(other.get(name) == value for other in hosts.values()):
            shared[name] = value
    shared.update(variables)
    own = {host: {name: value for name, value in of.items() if name not in shared} for host, of in hosts.items()}
    document = {
        "all": {
            "hosts": own,
            "vars": shared,
            "children": {group: {"hosts": {name: {} for name in members}} for group, members in groups.items()},
        }
    }
    return "---\n" + "\n".join(_lines(document, 0)) + "\n"


def _lines(value: Mapping[str, object], depth: int) -> list[str]:
    lines = []
    for key, content in value.items():
        start = f"{'  ' * depth}{key}:"
        if isinstance(content, Mapping) and content:
            lines += [start, *_lines(content, depth + 1)]
        else:
            # A JSON value is a YAML value.
            lines.append(f"{start} {json.dumps(content)}")
    return lines
