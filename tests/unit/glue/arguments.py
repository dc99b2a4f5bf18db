# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task's arguments as a module gets them: types converted, defaults filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError


def parameters(options: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` are those that a module is run with."""
    result = ArgumentSpecValidator(**options).validate(dict(arguments))
    assert not result.error_messages, result.error_messages
    validated: dict[str, Any] = result.validated_parameters
    return validated


def problems(function: Callable[[dict[str, Any]], Any], params: dict[str, Any]) -> list[str]:
    """What a function finds wrong with arguments; [] for nothing."""
    try:
        function(params)
    except InputError as error:
        return error.problems
    return []
