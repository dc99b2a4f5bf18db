# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Which packages a node lacks for what the collection runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .command import Runner


class PackageManager(NamedTuple):
    """A package manager, by its command, and the names of its packages by what they are for."""

    command: str
    packages: dict[str, str]


_COMMON = {
    "ipset": "ipset",
    "ipvsadm": "ipvsadm",
    "iptables": "iptables",
    "modprobe": "kmod",
    "nft": "nftables",
}
MANAGERS = (
    PackageManager("apt-get", {**_COMMON, "ip": "iproute2"}),
    PackageManager("dnf", {**_COMMON, "ip": "iproute"}),
)


def manager(runner: Runner) -> PackageManager | None:
    """The node's package manager; None for one that the collection does not know."""
    return next((known for known in MANAGERS if runner.find(known.command)), None)


def missing(runner: Runner, needed: list[str]) -> list[str]:
    """Those of the needed commands that the node does not have."""
    return [name for name in needed if runner.find(name) is None]
