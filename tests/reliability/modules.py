# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's modules as Ansible runs them, each in a process of its own, but started in milliseconds."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ansible.module_utils.testing import patch_module_args
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import (
    kernel_modules,
    module,
    rule_set_module,
    sysctls,
)

Result = dict[str, Any]
MODULES: dict[str, Any] = {"rule_set": rule_set_module, "kernel_modules": kernel_modules, "sysctls": sysctls}


class ModuleError(Exception):
    """The module failed; the text is its message."""


class Started(NamedTuple):
    """The process of a module, and where its result comes from."""

    pid: int
    output: int

    def kill(self) -> None:
        """Ends it as the kernel does when memory is short."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Its wait status, and what it printed."""
        with os.fdopen(self.output) as pipe:
            text = pipe.read()
        return os.waitpid(self.pid, 0)[1], text

    def result(self) -> Result:
        """Its result. Raises ModuleError."""
        status, text = self.wait()
        if not text:
            raise ModuleError(f"died with wait status {status}")
        result: Result = json.loads(text.splitlines()[-1])
        if result.get("failed"):
            raise ModuleError(result["msg"])
        return result


def start(name: str, arguments: dict[str, Any], before: Callable[[], object] = lambda: None) -> Started:
    """Starts a module; ``before`` is called in its process first."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            os.dup2(writer, sys.__stdout__.fileno())  # type: ignore[union-attr]
            sys.stdout = sys.__stdout__
            before()
            _work(name, arguments)
        except SystemExit:
            pass
        except BaseException as error:
            print(json.dumps({"failed": True, "msg": f"{type(error).__name__}: {error}", "unhandled": True}))
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(writer)
    return Started(child, reader)


def run(name: str, arguments: dict[str, Any], before: Callable[[], object] = lambda: None) -> Result:
    """The result of a module. Raises ModuleError."""
    return start(name, arguments, before).result()


def _work(name: str, arguments: dict[str, Any]) -> None:
    room = MODULES[name]
    with patch_module_args(arguments):
        module.run(room.work, **room.OPTIONS)
