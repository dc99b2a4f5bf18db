# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module proxy_info."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..kernel import ipset as kernel_ipset
from ..kernel import iptables as kernel_iptables
from ..kernel import ipvs as kernel_ipvs
from ..kernel import modules as kernel_modules
from ..kernel import nftables as kernel_nftables
from ..kernel import processes
from ..kernel.command import KernelError
from ..model.errors import InputError
from ..rules import names
from ..rules.ipvs_sets import OWN_SETS
from ..state.ipvs import SCHEDULER_FLAG_NAMES, RealServerStatistics, Traffic
from .compiled import read_settings
from .live_services import LiveServices
from .module import BACKEND, NETNS
from .node import access
from .rule_set import default_path
from .snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..state.ipvs import RealServer, RealServerKey, VirtualServer, VirtualServerKey
    from .module import Call
    from .node import NodeAccess

DEFAULT_SUBSETS = ["virtual_servers", "sets", "chains", "nftables", "addresses", "versions"]
SUBSETS = [*DEFAULT_SUBSETS, "services", "traffic"]
# A node without nft is no oddity.
NEEDED = frozenset({"iptables", "ipset", "ipvs"})
VERSION = re.compile(r"v(\d[\w.]*)")
ARGUMENT_SPEC: dict[str, Any] = {
    "gather": {"type": "list", "elements": "str", "choices": SUBSETS, "default": DEFAULT_SUBSETS},
    "members": {"type": "bool", "default": False},
    "rules": {"type": "bool", "default": False},
    "link": {"type": "str", "default": "kube-ipvs0"},
    **BACKEND,
    **NETNS,
}
OPTIONS: dict[str, Any] = {"argument_spec": ARGUMENT_SPEC}


def work(module: Call) -> dict[str, Any]:
    """Looks, and changes nothing."""
    params = module.params
    node = access(module)
    readers: dict[str, Callable[[], Any]] = {
        "virtual_servers": lambda: virtual_servers(node),
        "sets": lambda: sets(node, params["members"]),
        "chains": lambda: chains(node, params["backend"], params["rules"]),
        "nftables": lambda: nftables(node),
        "addresses": lambda: addresses(node, params["link"]),
        "versions": lambda: versions(node),
        "services": lambda: LiveServices(node, params["backend"]).paths(),
        "traffic": lambda: LiveServices(node, params["backend"]).traffic(),
    }
    notes: list[str] = []
    found: dict[str, Any] = {}
    for subset in SUBSETS:
        if subset in params["gather"]:
            try:
                found[subset], more = readers[subset]()
                notes += more
            except (KernelError, InputError) as error:
                # What is missing is something to know of a node, too.
                found[subset] = {} if subset in ("versions", "traffic") else []
                notes.append(f"{subset}: {error}")
    return {
        "changed": False,
        **found,
        "kernel": kernel_modules.release(),
        "snapshots": Snapshots(node.folder).names(),
        "mode": mode(node),
        "kube_proxy_running": bool(processes.in_network_namespace(processes.KUBE_PROXY)),
        "notes": notes,
    }


def mode(node: NodeAccess) -> str | None:
    """The mode that the last run brought the node to. None where there was none. Raises KernelError."""
    return read_settings(default_path(node)).get("mode")


def virtual_servers(node: NodeAccess) -> tuple[list[dict[str, Any]], list[str]]:
    """All virtual servers with their real servers, configuration, statistics and traffic."""
    ipvs = node.ipvs()
    servers, statistics = ipvs.read()
    traffic, real_traffic = ipvs.traffic()
    recorded = node.recorded_virtual_servers()
    found = []
    for key, server in sorted(servers.items()):
        real_servers = [
            {
                **_real_server(real_key, real_server),
                **statistics.get((key, real_key), RealServerStatistics(0, 0))._asdict(),
                "traffic": real_traffic.get((key, real_key), Traffic())._asdict(),
            }
            for real_key, real_server in server.real_servers.items()
        ]
        found.append(
            {
                **_virtual_server(key, server),
                "recorded": key in recorded,
                "traffic": traffic.get(key, Traffic())._asdict(),
                "real_servers": real_servers,
            }
        )
    return found, []


def sets(node: NodeAccess, members: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """All sets."""
    found = []
    for name, ip_set in sorted(kernel_ipset.read(node.runner, sets_socket=node.sets_socket).items()):
        one = {
            "name": name,
            "type": ip_set.type,
            "family": ip_set.family,
            "own": name in OWN_SETS,
            "member_count": len(ip_set.members),
        }
        found.append({**one, "members": sorted(ip_set.members)} if members else one)
    return found, []


def chains(node: NodeAccess, choice: str, rules: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """kube-proxy's chains."""
    backend = kernel_iptables.detect(node.runner, choice, nftables=node.nftables)
    notes = [f"chains: no {family}: {reason}" for family, reason in backend.unavailable.items()]
    found = []
    for family in backend.tools:
        for table, live in sorted(kernel_iptables.read(node.runner, backend, family).items()):
            for name, chain in sorted(live.items()):
                if names.is_own_chain(table, name):
                    one = {"family": family, "table": table, "name": name, "rule_count": len(chain.rules)}
                    found.append({**one, "rules": list(chain.rules)} if rules else one)
    return found, notes


def nftables(node: NodeAccess) -> tuple[list[dict[str, Any]], list[str]]:
    """kube-proxy's tables."""
    own = names.is_own_table
    found = [
        {
            "name": name,
            "chain_count": len(table.chains),
            "rule_count": sum(len(chain.rules) for chain in table.chains.values()),
            "sets": [
                {"name": set_name, "kind": one.kind, "element_count": len(one.elements)}
                for set_name, one in sorted(table.sets.items())
            ],
        }
        for name, table in sorted(kernel_nftables.read(node.runner, node.nftables, own, own).items())
    ]
    return found, []


def addresses(node: NodeAccess, link: str) -> tuple[list[str], list[str]]:
    """Addresses of the dummy link."""
    found = node.links.read().dummy(link)
    if found is None:
        return [], [f"addresses: there is no link {link}"]
    return sorted(found.addresses), []


def versions(node: NodeAccess) -> tuple[dict[str, Any], list[str]]:
    """Versions of the tools and of IPVS; None for what is not there."""
    runner = node.runner
    found: dict[str, Any] = {"iptables": None, "iptables_backend": None}
    if runner.find("iptables"):
        printed = runner.run(["iptables", "--version"]).stdout
        found["iptables"] = _version(printed)
        found["iptables_backend"] = kernel_iptables.NFT if "nf_tables" in printed else kernel_iptables.LEGACY
    found["ipset"] = _version(kernel_ipset.version(runner)) if runner.find("ipset") else None
    found["nft"] = _version(runner.run(["nft", "--version"]).stdout) if runner.find("nft") else None
    found["ipvs"] = node.ipvs().info().version if kernel_ipvs.available() else None
    return found, [f"versions: no {name}" for name, version in found.items() if not version and name in NEEDED]


def _virtual_server(key: VirtualServerKey, server: VirtualServer) -> dict[str, Any]:
    """With the names that the options of ipvs_service have."""
    named = {bit: name for name, bit in SCHEDULER_FLAG_NAMES.get(server.scheduler, {}).items()}
    identity: dict[str, Any] = {"protocol": key.protocol, "address": key.address, "port": key.port}
    return {
        "name": str(key),
        "family": key.family,
        **({"fwmark": key.fwmark} if key.fwmark else identity),
        "scheduler": server.scheduler,
        "scheduler_flags": [named.get(flag, flag) for flag in server.flags if flag != "one-packet"],
        "one_packet": "one-packet" in server.flags,
        "persistence_timeout": server.timeout,
        "persistence_netmask": server.netmask or None,
        "persistence_engine": server.persistence_engine or None,
    }


def _real_server(key: RealServerKey, real_server: RealServer) -> dict[str, Any]:
    fields = {**key._asdict(), **real_server._asdict()}
    return {**fields, "tunnel": real_server.tunnel._asdict() if real_server.forwarding == "tunnel" else None}


def _version(text: str) -> str:
    found = VERSION.search(text)
    return found.group(1) if found else text.strip()
