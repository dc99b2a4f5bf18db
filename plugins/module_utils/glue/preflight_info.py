# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module preflight_info."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..kernel import facts, modules, packages, processes
from ..kernel.command import Runner
from ..kernel.namespace import enter
from .module import NETNS

if TYPE_CHECKING:
    from .module import Call
# By default, what IPVS mode takes. iptables mode does without ipset and ipvsadm, nftables mode with nft alone.
NEEDED = ["ip", "iptables", "ipset", "ipvsadm", "modprobe"]
CHOICES = [*NEEDED, "nft"]
# What IPVS mode cannot do without; nf_conntrack_ipv4 and the schedulers come on top.
IPVS_MODULES = ["ip_vs", "ip_set", "xt_set", "dummy", "nf_conntrack"]
NETWORK_MANAGER = "/etc/NetworkManager"
OPTIONS: dict[str, Any] = {
    "argument_spec": {"needed": {"type": "list", "elements": "str", "choices": CHOICES, "default": NEEDED}, **NETNS}
}


def work(module: Call) -> dict[str, Any]:
    """Looks, and changes nothing."""
    runner = Runner()
    manager = packages.manager(runner)
    lacking = packages.missing(runner, module.params["needed"])
    absent = _absent_modules(runner)
    return {
        "changed": False,
        "kernel": modules.release(),
        "kernel_version": list(facts.kernel_version()),
        "package_manager": manager.command if manager else None,
        "missing": lacking,
        "missing_packages": sorted({manager.packages[name] for name in lacking}) if manager else [],
        "missing_kernel_modules": absent,
        "ipvs_possible": not absent,
        "ipv6": facts.has_ipv6(),
        "network_manager": os.path.isdir(NETWORK_MANAGER),
        "check_mode": module.check_mode,
        "kube_proxy_running": _kube_proxy_runs(module.params["netns"]),
    }


def _absent_modules(runner: Runner) -> list[str]:
    """Modules of IPVS mode that the kernel surely lacks. Without a list of its modules only IPVS itself can be told."""
    found = modules.read(runner, IPVS_MODULES, boot_file="")
    known = os.path.isdir(f"/lib/modules/{found.kernel}")
    candidates = IPVS_MODULES if known else ["ip_vs"]
    return [name for name in candidates if name not in found.present and name not in found.available]


def _kube_proxy_runs(netns: str | None) -> bool:
    """Whether kube-proxy runs there. Enters the network namespace, where all else is the node's: so it comes last."""
    if netns:
        enter(netns)
    return bool(processes.in_network_namespace(processes.KUBE_PROXY))
