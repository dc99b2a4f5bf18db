# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Which service ports differ between two canonical files, without reading the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Iterable, NamedTuple

from .canonical import TAIL, head_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Beyond this many service ports, or addresses of theirs, to look at all of them takes no longer.
MOST_PORTS = 100
MOST_ADDRESSES = 500
UDP = '"protocol":"udp"'
_ADDRESSES = ("external_ips", "load_balancer_ips")


class Part(NamedTuple):
    """The same service ports as two canonical files have them, each as a canonical file of its own."""

    before: str
    after: str


def changed_part(before: str, after: str) -> Part | None:
    """The service ports in which two canonical files differ, and those that go with them.

    None for very many, for other networks of services, and where somebody else than :mod:`.canonical` wrote a file.

    With them go all that share an address with one of them: what the kernel holds of an address may be wanted by
    several. So do those of UDP, whose flows are looked at in every run (kube-proxy reconciles them all, too).
    """
    head = head_of(before)
    if not head or head != head_of(after):
        return None
    old, new = _service_ports(before), _service_ports(after)
    gone, come = set(old).difference(new), set(new).difference(old)
    if len(gone) + len(come) > MOST_PORTS:
        return None
    try:
        addresses = {address for line in gone | come for address in _addresses(json.loads(line))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if len(addresses) > MOST_ADDRESSES:
        return None
    along = _lines_with(after, [UDP, *(f'"{address}"' for address in sorted(addresses))]) - come
    return Part(_file(head, old, gone | along), _file(head, new, come | along))


def _service_ports(text: str) -> list[str]:
    """The lines of the service ports: all but the first and the last one."""
    return [line.rstrip(",") for line in text.split("\n")[1:-2] if line]


def _file(head: str, lines: Iterable[str], chosen: set[str]) -> str:
    return head + ",\n".join([line for line in lines if line in chosen]) + TAIL


def _addresses(fields: dict[str, Any]) -> Iterator[str]:
    yield fields["cluster_ip"]
    for name in _ADDRESSES:
        yield from fields.get(name, ())
    for endpoint in fields.get("endpoints", ()):
        yield endpoint["ip"]


def _lines_with(text: str, words: Iterable[str]) -> set[str]:
    """The lines that hold one of the words."""
    found = set()
    for word in words:
        at = text.find(word)
        while at >= 0:
            end = text.index("\n", at)
            found.add(text[text.rindex("\n", 0, at) + 1 : end].rstrip(","))
            at = text.find(word, end)
    return found
