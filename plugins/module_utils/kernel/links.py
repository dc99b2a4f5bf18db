# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads the addresses of all links with one ``ip``, and writes those of a dummy link with another."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from ..plan.operation import REMOVE, Operation
from ..state.node import Link, LocalAddress
from .command import CommandError, KernelError, Runner

if TYPE_CHECKING:
    from collections.abc import Iterable

FAILED_LINE = re.compile(r"^Command failed -:(\d+)", re.MULTILINE)
# As the kernel says it, and as newer ones explain it.
NO_DUMMY = re.compile(r"not supported|Unknown device type")


class Links:
    """The links of the network namespace as one ``ip`` showed them."""

    def __init__(self, runner: Runner) -> None:
        text = runner.run(["ip", "-json", "-details", "address", "show"]).stdout
        self._links: list[dict[str, Any]] = [link for link in json.loads(text or "[]") if link.get("ifname")]

    def addresses(self) -> tuple[LocalAddress, ...]:
        """Every address of every link."""
        return tuple(
            LocalAddress(link["ifname"], found["local"], found["prefixlen"])
            for link in self._links
            for found in link.get("addr_info", ())
            if "local" in found
        )

    def dummy(self, name: str) -> Link | None:
        """The dummy link of this name, None where there is none. Raises KernelError where the link is of another
        type."""
        for link in self._links:
            if link["ifname"] != name:
                continue
            kind = link.get("linkinfo", {}).get("info_kind")
            if kind != "dummy":
                raise KernelError(
                    f"link {name} is of type {kind or link.get('link_type')}, not dummy: rename or delete it"
                )
            return Link(name, frozenset(_bound(link)))
        return None


def apply(runner: Runner, operations: Iterable[Operation]) -> None:
    """Applies operations of the kinds ``link`` and ``address``, with one ``ip``. Raises KernelError.

    A new link stays down, as kube-proxy leaves it: its addresses answer all the same.
    """
    found = list(operations)
    if not found:
        return
    try:
        runner.run(["ip", "-batch", "-"], "".join(f"{_command(operation)}\n" for operation in found))
    except CommandError as error:
        line = FAILED_LINE.search(error.stderr)
        if line is None:
            raise
        raise KernelError(_refusal(found[int(line.group(1)) - 1], error.stderr[: line.start()].strip())) from error


def _command(operation: Operation) -> str:
    verb = "delete" if operation.verb == REMOVE else "add"
    if operation.kind == "link":
        return f"link {verb} {operation.payload} type dummy"
    link, address = operation.payload
    return f"address {verb} {address} dev {link}"


def _refusal(operation: Operation, said: str) -> str:
    hint = ""
    if operation.kind == "link" and NO_DUMMY.search(said):
        hint = f": kernel {os.uname().release} has no dummy links and cannot load the module dummy"
    return f"cannot {operation.verb} {operation.kind} {operation.name}: {said}{hint}"


def _bound(link: dict[str, Any]) -> Iterable[str]:
    """Addresses but the link-local ones, which the kernel itself puts on a link, and loopback ones."""
    for found in link.get("addr_info", ()):
        if "local" in found and found.get("scope") not in ("link", "host"):
            yield f"{found['local']}/{found['prefixlen']}"
