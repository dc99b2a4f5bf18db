# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Reads the addresses of all links with one ``ip``, and writes those of a dummy link through pyroute2."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

from ..plan.operation import ADD, REMOVE, Operation
from ..state.node import Link, LocalAddress
from .command import KernelError, Runner

if TYPE_CHECKING:
    from collections.abc import Iterable


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


def apply(operations: Iterable[Operation]) -> None:
    """Applies operations of the kinds ``link`` and ``address``. Raises KernelError.

    A new link stays down, as kube-proxy leaves it: its addresses answer all the same.
    """
    operations = list(operations)
    if not operations:
        return
    error_type, routes = _netlink()
    indexes: dict[str, int] = {}
    with routes as sockets:
        for operation in operations:
            try:
                _apply(sockets, operation, indexes)
            except error_type as error:
                raise KernelError(_refusal(operation, error)) from error


def _refusal(operation: Operation, error: Any) -> str:
    hint = ""
    if operation.kind == "link" and error.code == errno.EOPNOTSUPP:
        hint = f": kernel {os.uname().release} has no dummy links and cannot load the module dummy"
    return f"cannot {operation.verb} {operation.kind} {operation.name}: {error}{hint}"


def _apply(sockets: Any, operation: Operation, indexes: dict[str, int]) -> None:
    if operation.kind == "link":
        if operation.verb == ADD:
            sockets.link("add", ifname=operation.payload, kind="dummy")
        else:
            sockets.link("del", index=_index(sockets, operation.payload, indexes))
        return
    link, text = operation.payload
    address, _slash, length = text.partition("/")
    index = _index(sockets, link, indexes)
    verb = "del" if operation.verb == REMOVE else "add"
    sockets.addr(verb, index=index, address=address, prefixlen=int(length))


def _index(sockets: Any, name: str, indexes: dict[str, int]) -> int:
    if name not in indexes:
        found = sockets.link_lookup(ifname=name)
        if not found:
            raise KernelError(f"there is no link {name}")
        indexes[name] = found[0]
    return indexes[name]


def _bound(link: dict[str, Any]) -> Iterable[str]:
    """Addresses but the link-local ones, which the kernel itself puts on a link, and loopback ones."""
    for found in link.get("addr_info", ()):
        if "local" in found and found.get("scope") not in ("link", "host"):
            yield f"{found['local']}/{found['prefixlen']}"


def _netlink() -> tuple[type[Exception], Any]:
    # Loading pyroute2 takes up to a second on small nodes, so only a run that writes pays for it.
    try:
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError as error:
        raise KernelError(
            "the Python library pyroute2 is not installed: install the package python3-pyroute2 "
            "(role kubenode.proxy.node_prepare does)"
        ) from error
    return NetlinkError, IPRoute()
