# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What all modules share: the common options, and the way to fail.

Ansible sends a module with all that this file names, and reads it first, so that is little.
"""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any, NamedTuple

from ..kernel.command import KernelError
from ..model.errors import InputError
from ..state.large_text import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


NETNS = {"netns": {"type": "str"}}
BACKEND = {"backend": {"type": "str", "choices": ["auto", "nft", "legacy"], "default": "auto"}}
RULE_SET = {"rule_set": {"type": "path"}}
# Seconds to wait for another run.
LOCK_TIMEOUT = 60
LOCKING = {"lock_timeout": {"type": "float", "default": LOCK_TIMEOUT}}
REMEMBER = {"remember": {"type": "bool", "default": False}}


class Call(NamedTuple):
    """One call of a module, by Ansible or by the node's own program.

    ``params`` are its arguments, with defaults filled in. ``warn`` takes what a person should know, though it is no
    error.
    """

    params: dict[str, Any]
    check_mode: bool
    diff: bool
    warn: Callable[[str], None]


def run(work: Callable[[Call], dict[str, Any]], **options: Any) -> None:
    """Runs a module: ``work`` gives the result, its errors become the module's failure."""
    # Here, because the node's own program uses the rest without Ansible.
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(supports_check_mode=True, **options)
    call = Call(module.params, module.check_mode, module._diff, lambda text: module.warn(printable(text)))
    try:
        with without_garbage_collection():
            result = work(call)
    except InputError as error:
        text = f"{len(error.problems)} problem(s) in the input: {error}"
        module.fail_json(msg=printable(text), problems=printable(error.problems))
    except KernelError as error:
        module.fail_json(msg=printable(str(error)))
    module.exit_json(**printable(result))


def printable(value: Any) -> Any:
    """The same with bytes that are not UTF-8, as rules of others may have them, escaped: Ansible takes no others."""
    if isinstance(value, str):
        return value if value.isascii() else encoded(value).decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {printable(key): printable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(one) for one in value]
    return value


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Saves a large run a third of its time: it makes hundreds of thousands of objects, no cycles, and soon ends."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
