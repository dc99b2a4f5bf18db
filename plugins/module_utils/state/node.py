# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Small parts of a node's state: addresses of a dummy link, sysctls, kernel modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

DROP_IN_HEADER = "# Written by the Ansible collection kubenode.proxy\n"


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


def sysctl_path(name: str) -> str:
    """``net.ipv4.conf.eth0/100.rp_filter`` -> ``net/ipv4/conf/eth0.100/rp_filter``, the path under /proc/sys.

    As in sysctl.d(5): after a dot as the first separator, a slash stands for a dot in a part; after a slash all stays.
    """
    first = next((character for character in name if character in "./"), "/")
    return name if first == "/" else name.translate({ord("."): "/", ord("/"): "."})


def overriding(sysctls: Mapping[str, str], later: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Of settings, those to which files that are read later give another value: (path, value) of the last by name.

    ``later`` holds texts by path. Patterns do not count: a setting that some file names keeps that value.
    """
    names = {sysctl_path(name): name for name in sysctls}
    last = {}
    for path, text in later.items():
        for line in text.splitlines():
            key, equals, value = line.partition("=")
            # A minus says to ignore errors.
            name = names.get(sysctl_path(key.strip().lstrip("-")))
            if equals and name:
                last[name] = (path, " ".join(value.split()))
    return {name: found for name, found in last.items() if found[1] != sysctls[name]}


def in_write_order(names: Iterable[str]) -> list[str]:
    """Sorted, but switches of forwarding first: the kernel resets other settings of the interfaces with them."""
    return sorted(names, key=lambda name: (not re.search(r"[./](ip_forward|forwarding)$", name), name))


def render_sysctl_file(sysctls: Mapping[str, str]) -> str:
    """A drop-in file of sysctl.d."""
    return DROP_IN_HEADER + "".join(f"{name} = {sysctls[name]}\n" for name in in_write_order(sysctls))


def render_lines(names: Iterable[str]) -> str:
    """One name a line, sorted: the form of modules-load.d."""
    return "".join(f"{name}\n" for name in sorted(names))


def parse_lines(text: str) -> list[str]:
    """Names, one a line; comments and blank lines are passed over."""
    return [line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;"]
