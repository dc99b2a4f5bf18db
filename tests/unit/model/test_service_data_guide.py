# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide to service data shows examples that work and lists every key."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import native, source

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "service_data.md").read_text(encoding="utf-8")


def test_the_examples_are_service_data() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert examples
    assert all(source.parse(yaml.safe_load(example)).service_ports for example in examples)


def test_the_tables_list_every_native_key() -> None:
    tables = GUIDE.partition("## Native form")[2].partition("## Kubernetes form")[0]
    keys = re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE)
    assert sorted(keys) == sorted(native.SERVICE_KEYS + native.PORT_KEYS + native.ENDPOINT_KEYS)
