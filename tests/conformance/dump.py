# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps the data plane of the network namespace that it runs in, in the form of the recordings."""

from __future__ import annotations

import json
import re
import subprocess

# recordings/README.md and the files there say what is dumped.
SYSCTLS = (
    "net.ipv4.conf.all.route_localnet",
    "net.ipv4.ip_forward",
    "net.ipv4.vs.conntrack",
    "net.ipv4.vs.conn_reuse_mode",
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv4.vs.expire_quiescent_template",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.arp_announce",
    "net.bridge.bridge-nf-call-iptables",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.ipv6.conf.all.forwarding",
)
DEVICE = "kube-ipvs0"


def dump_ipvs(backend: str) -> dict[str, str]:
    """File name -> text, for IPVS mode."""
    return {**dump_iptables(backend), "ipset.save": ipsets(), "ipvs.save": virtual_servers(), "addresses": _addresses()}


def dump_iptables(backend: str) -> dict[str, str]:
    """File name -> text, for iptables mode. ``backend`` is ``auto``, ``nft`` or ``legacy``."""
    suffix = "save" if backend == "auto" else f"{backend}-save"
    return {
        "iptables.rules": _rules(f"iptables-{suffix}"),
        "ip6tables.rules": _rules(f"ip6tables-{suffix}"),
        "sysctl": _sysctls(),
    }


def dump_nftables(_backend: str) -> dict[str, str]:
    """File name -> text, for nftables mode."""
    tables = {f"{family}.nft": _run("nft", "-s", "list", "table", family, "kube-proxy") for family in ("ip", "ip6")}
    return {**tables, "sysctl": _sysctls()}


DUMPS = {"ipvs": dump_ipvs, "iptables": dump_iptables, "nftables": dump_nftables}


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def _rules(command: str) -> str:
    text = re.sub(r" \[\d+:\d+\]$", "", _run(command), flags=re.MULTILINE)
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#"))


def ipsets() -> str:
    """All sets, the ``create`` lines first, each part sorted."""
    lines = re.sub(r" (bucketsize \d+|initval 0x[0-9a-f]+)", "", _run("ipset", "save")).splitlines()
    ordered = sorted(line for line in lines if line.startswith("create ")) + sorted(
        line for line in lines if line.startswith("add ")
    )
    return "".join(f"{line}\n" for line in ordered)


def virtual_servers() -> str:
    """All virtual servers sorted, each followed by its real servers sorted."""
    groups: list[list[str]] = []
    for line in _run("ipvsadm", "-Sn").splitlines():
        if line.startswith("-A "):
            groups.append([line])
        else:
            groups[-1].append(line)
    ordered = sorted([group[0], *sorted(group[1:])] for group in groups)
    return "".join(f"{line.rstrip()}\n" for group in ordered for line in group)


def _addresses() -> str:
    links = json.loads(_run("ip", "-json", "-details", "address", "show", "dev", DEVICE))
    lines = []
    for link in links:
        flags = [flag for flag in link["flags"] if flag == "NOARP"]
        state = "UP" if "UP" in link["flags"] else "DOWN"
        kind = link["linkinfo"]["info_kind"]
        lines.append(" ".join(["link", link["ifname"], kind, state, *flags, "mtu", str(link["mtu"])]))
        lines += sorted(f"{a['local']}/{a['prefixlen']} scope {a['scope']}" for a in link["addr_info"])
    return "".join(f"{line}\n" for line in lines)


def _sysctls() -> str:
    lines = []
    for name in SYSCTLS:
        try:
            with open("/proc/sys/" + name.replace(".", "/"), encoding="utf-8") as file:
                lines.append(f"{name} = {file.read().strip()}")
        except FileNotFoundError:
            continue
    return "".join(f"{line}\n" for line in lines)
