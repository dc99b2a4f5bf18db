# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Names that kube-proxy gives to what it programs, and with them: which live objects are ours."""

from __future__ import annotations

import hashlib

# (table, built-in chain) -> chains that kube-proxy jumps to from there, in any mode (data-plane 1.3, 1.12). The jumps
# to KUBE-FIREWALL are left out: kubelet owns them too.
JUMPS = {
    ("filter", "INPUT"): frozenset(
        {"KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-NODE-PORT", "KUBE-IPVS-FILTER"}
    ),
    ("filter", "FORWARD"): frozenset(
        {"KUBE-EXTERNAL-SERVICES", "KUBE-SERVICES", "KUBE-FORWARD", "KUBE-PROXY-FIREWALL"}
    ),
    ("filter", "OUTPUT"): frozenset({"KUBE-SERVICES", "KUBE-PROXY-FIREWALL", "KUBE-IPVS-OUT-FILTER"}),
    ("nat", "PREROUTING"): frozenset({"KUBE-SERVICES"}),
    ("nat", "OUTPUT"): frozenset({"KUBE-SERVICES"}),
    ("nat", "POSTROUTING"): frozenset({"KUBE-POSTROUTING"}),
}

FILTER_CHAINS = frozenset(
    {
        "KUBE-SERVICES",
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-FORWARD",
        "KUBE-NODEPORTS",
        "KUBE-PROXY-FIREWALL",
        "KUBE-NODE-PORT",
        "KUBE-SOURCE-RANGES-FIREWALL",
        "KUBE-IPVS-FILTER",
        "KUBE-IPVS-OUT-FILTER",
    }
)
NAT_CHAINS = frozenset(
    {
        "KUBE-SERVICES",
        "KUBE-NODEPORTS",
        "KUBE-POSTROUTING",
        "KUBE-MARK-MASQ",
        "KUBE-NODE-PORT",
        "KUBE-LOAD-BALANCER",
    }
)
# (table, chain) in which kube-proxy writes the rules of the services in a random order.
DISPATCH_CHAINS = frozenset(
    {
        ("nat", "KUBE-SERVICES"),
        ("nat", "KUBE-NODEPORTS"),
        ("filter", "KUBE-SERVICES"),
        ("filter", "KUBE-EXTERNAL-SERVICES"),
        ("filter", "KUBE-NODEPORTS"),
        ("filter", "KUBE-PROXY-FIREWALL"),
        ("filter", "KUBE-IPVS-OUT-FILTER"),
    }
)
DROPPED_INVALID = "ct_state_invalid_dropped_pkts"
ACCEPTED_LOCALHOST = "localhost_nps_accepted_pkts"
ACCOUNTING_OBJECTS = frozenset({DROPPED_INVALID, ACCEPTED_LOCALHOST})
# With these kube-proxy notices in iptables mode that somebody flushed a table; it makes them in three tables.
CANARY = "KUBE-PROXY-CANARY"
IPTABLES_MODE_CHAIN = ("filter", "KUBE-EXTERNAL-SERVICES")
# Chains that only kubelet makes: where one is, KUBE-FIREWALL is kubelet's too.
KUBELET_CHAINS = frozenset({"KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT", "KUBE-MARK-DROP"})
FIREWALL = ("filter", "KUBE-FIREWALL")
# The link of IPVS mode.
DEVICE = "kube-ipvs0"
# The families as nft calls them; our tables have one name in both.
NFTABLES_FAMILIES = {"ipv4": "ip", "ipv6": "ip6"}
# Chains of one service or endpoint (iptables mode), all in nat.
SERVICE_CHAIN_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-")

BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
BASE32_PAIRS = [first + second for first in BASE32 for second in BASE32]


def is_own_chain(table: str, chain: str) -> bool:
    """Whether a live chain is one that kube-proxy makes and kubelet does not."""
    if table == "nat":
        return chain in NAT_CHAINS or chain.startswith(SERVICE_CHAIN_PREFIXES)
    return table == "filter" and chain in FILTER_CHAINS


def is_shared_chain(table: str, chain: str) -> bool:
    """Whether kubelet writes into a chain of ours too."""
    return (table, chain) == FIREWALL


def is_dispatch_chain(table: str, chain: str) -> bool:
    """Whether the rules of different destinations have no order among each other in kube-proxy's chain."""
    return (table, chain) in DISPATCH_CHAINS


def is_own_jump(table: str, chain: str, target: str) -> bool:
    """Whether a rule of a built-in chain with this target is a jump of kube-proxy's."""
    return target in JUMPS.get((table, chain), ())


def nftables_name(family: str) -> str:
    """Family and name of kube-proxy's table of nftables."""
    return f"{NFTABLES_FAMILIES[family]} kube-proxy"


def is_own_table(name: str) -> bool:
    """Whether a live table of nftables, by family and name, is kube-proxy's."""
    return name in map(nftables_name, NFTABLES_FAMILIES)


def short_hash(text: str, length: int) -> str:
    """The first letters, at most 16, of a text's SHA-256 in base 32: how kube-proxy makes names unique."""
    # base64.b32encode or a loop take twice as long, and a large cluster has 100,000 of these names.
    number, pairs = int.from_bytes(hashlib.sha256(text.encode()).digest()[:10], "big"), BASE32_PAIRS
    return (
        f"{pairs[number >> 70]}{pairs[number >> 60 & 1023]}{pairs[number >> 50 & 1023]}{pairs[number >> 40 & 1023]}"
        f"{pairs[number >> 30 & 1023]}{pairs[number >> 20 & 1023]}{pairs[number >> 10 & 1023]}{pairs[number & 1023]}"
    )[:length]
