# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Small parts of a node's state: addresses of a dummy link, sysctls, kernel modules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Link(NamedTuple):
    """A dummy link and its addresses with prefix length (``10.96.0.1/32``); link-local and loopback ones are left out.

    The link's own state is not part of it: kube-ipvs0 stays down, and its addresses answer all the same.
    """

    name: str
    addresses: frozenset[str]


class LocalAddress(NamedTuple):
    """One address of one interface of the node."""

    interface: str
    address: str
    prefix_length: int

    @property
    def family(self) -> str:
        """``ipv4`` or ``ipv6``."""
        return "ipv6" if ":" in self.address else "ipv4"


def render_link(link: Link | None) -> str:
    """``10.96.0.1/32`` a line, sorted, after the line ``link NAME``; "" where there is no link."""
    if link is None:
        return ""
    return "".join(f"{line}\n" for line in [f"link {link.name}", *sorted(link.addresses)])


def parse_link(text: str) -> Link | None:
    """The reverse of :func:`render_link`. Raises ValueError."""
    lines = text.split("\n")[:-1]
    if not lines:
        return None
    if not lines[0].startswith("link "):
        raise ValueError(f"not a link: {lines[0]!r}")
    return Link(lines[0][5:], frozenset(lines[1:]))


def render_sysctls(sysctls: dict[str, str]) -> str:
    """``name = value`` a line, sorted: the form of sysctl.d and of ``sysctl -a``."""
    return "".join(f"{name} = {value}\n" for name, value in sorted(sysctls.items()))


def parse_sysctls(text: str) -> dict[str, str]:
    """The reverse of :func:`render_sysctls`; comments and blank lines are passed over. Raises ValueError."""
    sysctls = {}
    for line in text.splitlines():
        line = line.strip()
        if line and line[0] not in "#;":
            name, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"not a sysctl setting: {line!r}")
            sysctls[name.strip()] = " ".join(value.split())
    return sysctls


def render_lines(names: Iterable[str]) -> str:
    """One name a line, sorted: the form of modules-load.d."""
    return "".join(f"{name}\n" for name in sorted(names))


def parse_lines(text: str) -> list[str]:
    """Names, one a line; comments and blank lines are passed over."""
    return [line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;"]
