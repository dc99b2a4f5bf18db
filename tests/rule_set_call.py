# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls the module rule_set as Ansible does on a node, but without Ansible, and with the node's files elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import rule_set_module
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.module import Call, without_garbage_collection

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess


def call_rule_set(access: Callable[[], NodeAccess], check: bool = False, diff: bool = False, **given: Any) -> Any:
    """The result of the module with these arguments, on the node that ``access`` gives. A warning fails."""
    defaults = {name: option.get("default") for name, option in rule_set_module.ARGUMENT_SPEC.items()}
    with mock.patch.object(rule_set_module, "access", lambda _call: access()), without_garbage_collection():
        return rule_set_module.work(Call({**defaults, **given}, check, diff, _warn))


def operations(result: Any) -> list[str]:
    """What a result says of the kernel, as verb and kind."""
    return [f"{one['verb']} {one['kind']}" for one in result["operations"] if one["kind"] != "file"]


def _warn(text: str) -> None:
    raise AssertionError(text)
