# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The compiled rule set that the role leaves on a node, as an argument of the single modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..kernel import files
from ..kernel.command import KernelError
from ..state import rule_set as state

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..state.rule_set import RuleSet

T = TypeVar("T")


def read_compiled(path: str) -> RuleSet:
    """Raises KernelError where there is no rule set."""
    found = _read(path, state.parse)
    if found is None:
        raise KernelError(f"there is no rule set at {path}: the module kubenode.proxy.rule_set compiles it")
    return found


def read_settings(path: str) -> dict[str, str]:
    """The settings of that rule set, none where there is no rule set. Raises KernelError."""
    return _read(path, state.parse_settings) or {}


def _read(path: str, parse: Callable[[str], T]) -> T | None:
    text = files.read_text(path)
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise KernelError(
            f"{path} is not a rule set: {error}; compile it again with kubenode.proxy.rule_set"
        ) from error
