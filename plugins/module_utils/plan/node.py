# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Operations for sysctls, kernel modules, IPVS timeouts and the addresses of a dummy link."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from .operation import ADD, CHANGE, REMOVE, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..state.kernel_module import KernelModules, WantedModule
    from ..state.node import Link


def plan_sysctls(actual: Mapping[str, str], desired: Mapping[str, str]) -> list[Operation]:
    """Payload: (name, value). A setting that the kernel does not have yet is one to add."""
    operations = []
    for name, value in sorted(desired.items()):
        found = actual.get(name)
        if found is None:
            operations.append(Operation(ADD, "sysctl", name, f"missing, to be {value}", (name, value)))
        elif found != value:
            operations.append(Operation(CHANGE, "sysctl", name, f"is {found}, not {value}", (name, value)))
    return operations


def plan_timeouts(actual: Mapping[str, int], desired: Mapping[str, int]) -> list[Operation]:
    """Payload: seconds by name (``tcp``, ``tcpfin``, ``udp``); those left out keep what the kernel has."""
    wrong = [
        f"{name} is {actual.get(name)}, not {value}" for name, value in desired.items() if actual.get(name) != value
    ]
    return [Operation(CHANGE, "ipvs timeouts", "tcp, tcpfin, udp", "; ".join(wrong), dict(desired))] if wrong else []


def plan_link(actual: Link | None, desired: Link | None) -> list[Operation]:
    """Payload: the link's name, or (link, address with prefix length). ``desired`` None removes a link that is
    there."""
    if desired is None:
        return [Operation(REMOVE, "link", actual.name, "not in the desired state", actual.name)] if actual else []
    operations = []
    if actual is None:
        operations.append(Operation(ADD, "link", desired.name, "missing", desired.name))
    live = actual.addresses if actual else frozenset()
    operations += [_address(ADD, desired.name, a, "missing") for a in _sorted(desired.addresses - live)]
    operations += [
        _address(REMOVE, desired.name, a, "not in the desired state") for a in _sorted(live - desired.addresses)
    ]
    return operations


def plan_kernel_modules(
    actual: KernelModules, wanted: Iterable[WantedModule], at_boot: bool
) -> tuple[list[Operation], list[WantedModule]]:
    """-> (operations, wanted modules that the kernel does not have).

    Payload of kind ``kernel module``: the name to load. Of kind ``file``: all names that the drop-in file should hold.
    """
    operations, missing, names = [], [], []
    for module in wanted:
        name = actual.choose(module)
        if name is None:
            missing.append(module)
            continue
        names.append(name)
        if name not in actual.present:
            operations.append(Operation(ADD, "kernel module", name, "not loaded", name))
    boot = tuple(sorted(set(names)))
    if at_boot and actual.at_boot != boot:
        reason = f"lists {', '.join(actual.at_boot) or 'nothing'}"
        operations.append(Operation(CHANGE if actual.at_boot else ADD, "file", "modules loaded at boot", reason, boot))
    return operations, missing


def _address(verb: str, link: str, address: str, reason: str) -> Operation:
    return Operation(verb, "address", f"{link} {address}", reason, (link, address))


def _sorted(addresses: Iterable[str]) -> list[str]:
    return sorted(addresses, key=lambda text: (":" in text, ip_interface(text)))
