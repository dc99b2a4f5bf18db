# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Operations for sysctls, kernel modules, their drop-in files, IPVS timeouts and the addresses of a dummy link."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

from ..state.node import in_write_order
from .operation import ADD, CHANGE, REMOVE, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..state.kernel_module import KernelModules, WantedModule
    from ..state.large_text import Text
    from ..state.node import Link


def plan_sysctls(
    actual: Mapping[str, str], desired: Mapping[str, str], originals: Mapping[str, str] | None = None
) -> list[Operation]:
    """Payload: (name, value). A setting that the kernel does not have yet is one to add.

    ``originals`` are the values that settings get back which are no longer wanted: removals, as other subsystems need
    the settings until they are gone.
    """
    operations = []
    for name in in_write_order(desired):
        found, value = actual.get(name), desired[name]
        if found is None:
            operations.append(Operation(ADD, "sysctl", name, f"missing, to be {value}", (name, value)))
        elif found != value:
            operations.append(Operation(CHANGE, "sysctl", name, f"is {found}, not {value}", (name, value)))
    for name, value in sorted((originals or {}).items()):
        if actual.get(name, value) != value:
            reason = f"is no longer wanted, and was {value} before"
            operations.append(Operation(REMOVE, "sysctl", name, reason, (name, value)))
    return operations


def plan_timeouts(actual: Mapping[str, int], desired: Mapping[str, int]) -> list[Operation]:
    """Payload: seconds by name (``tcp``, ``tcpfin``, ``udp``); those left out keep what the kernel has."""
    wrong = [
        f"{name} is {actual.get(name)}, not {value}" for name, value in desired.items() if actual.get(name) != value
    ]
    return [Operation(CHANGE, "ipvs timeouts", "tcp, tcpfin, udp", "; ".join(wrong), dict(desired))] if wrong else []


def plan_link(actual: Link | None, desired: Link | None, exact: bool = True) -> list[Operation]:
    """Payload: the link's name, or (link, address with prefix length). ``desired`` None removes a link that is there.

    Without ``exact`` addresses that are not desired stay.
    """
    if desired is None:
        return [Operation(REMOVE, "link", actual.name, "not in the desired state", actual.name)] if actual else []
    operations = []
    if actual is None:
        operations.append(Operation(ADD, "link", desired.name, "missing", desired.name))
    live = actual.addresses if actual else frozenset()
    surplus = live - desired.addresses if exact else frozenset()
    operations += [_address(ADD, desired.name, a, "missing") for a in _sorted(desired.addresses - live)]
    operations += [_address(REMOVE, desired.name, a, "not in the desired state") for a in _sorted(surplus)]
    return operations


def plan_accounting_objects(
    actual: frozenset[str], desired: frozenset[str], owns: Callable[[str], bool]
) -> list[Operation]:
    """Payload: the object's name."""
    kind = "accounting object"
    stale = sorted(name for name in actual - desired if owns(name))
    return [Operation(ADD, kind, name, "missing", name) for name in sorted(desired - actual)] + [
        Operation(REMOVE, kind, name, "not in the desired state", name) for name in stale
    ]


def plan_kernel_modules(
    actual: KernelModules, wanted: Iterable[WantedModule]
) -> tuple[list[Operation], list[str], list[WantedModule]]:
    """-> (operations, names of the modules that the kernel has, wanted modules that it does not have).

    Payload: the name to load.
    """
    operations: list[Operation] = []
    missing: list[WantedModule] = []
    names: list[str] = []
    for module in wanted:
        name = actual.choose(module)
        if name is None:
            missing.append(module)
        elif name not in names:
            names.append(name)
            if name not in actual.present:
                operations.append(Operation(ADD, "kernel module", name, "not loaded", name))
    return operations, names, missing


def plan_drop_in(path: str, actual: Any, desired: Any, text: Text = "") -> list[Operation]:
    """A drop-in file by what it says; None is no file. Payload: (path, ``text``), or (path, None) to remove it."""
    if actual == desired:
        return []
    if desired is None:
        return [Operation(REMOVE, "file", path, "no longer wanted", (path, None))]
    if actual is None:
        return [Operation(ADD, "file", path, "missing", (path, text))]
    return [Operation(CHANGE, "file", path, "says something else", (path, text))]


def _address(verb: str, link: str, address: str, reason: str) -> Operation:
    return Operation(verb, "address", f"{link} {address}", reason, (link, address))


def _sorted(addresses: Iterable[str]) -> list[str]:
    return sorted(addresses, key=lambda text: (":" in text, ip_interface(text)))
