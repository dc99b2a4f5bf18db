# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1): which of its fields is which of ours; data-plane 1.1.6."""

from __future__ import annotations

from .errors import Problems, nearest
from .fields import Fields

# What decides what is programmed: path in the document -> field of ProxyConfiguration
_FIELDS = {
    "mode": "mode",
    "bindAddress": "bind_address",
    "clusterCIDR": "cluster_cidrs",
    "featureGates.AllowServiceExternalIPs": "external_ips",
    "detectLocalMode": "detect_local_mode",
    "detectLocal.bridgeInterface": "bridge_interface",
    "detectLocal.interfaceNamePrefix": "interface_name_prefix",
    "nodePortAddresses": "node_port_addresses",
    "iptables.localhostNodePorts": "localhost_node_ports",
    "ipvs.scheduler": "scheduler",
    "ipvs.strictARP": "strict_arp",
    "ipvs.tcpTimeout": "tcp_timeout",
    "ipvs.tcpFinTimeout": "tcp_fin_timeout",
    "ipvs.udpTimeout": "udp_timeout",
    "ipvs.excludeCIDRs": "exclude_cidrs",
    "conntrack.maxPerCore": "conntrack_max_per_core",
    "conntrack.min": "conntrack_min",
    "conntrack.tcpEstablishedTimeout": "conntrack_tcp_established_timeout",
    "conntrack.tcpCloseWaitTimeout": "conntrack_tcp_close_wait_timeout",
    "conntrack.tcpBeLiberal": "conntrack_tcp_be_liberal",
    "conntrack.udpTimeout": "conntrack_udp_timeout",
    "conntrack.udpStreamTimeout": "conntrack_udp_stream_timeout",
}
_MASQUERADE = {"masqueradeAll": "masquerade_all", "masqueradeBit": "masquerade_bit"}
_SECTIONS = ("iptables", "ipvs", "nftables", "conntrack", "detectLocal", "featureGates")


def flatten(document: object, mode: str, problems: Problems) -> tuple[dict[str, object], dict[str, str]]:
    """The document -> values by field of ProxyConfiguration, as they stand, and the path in the document of each.

    ``mode`` overrides the document's own. Empty text means the default, as it does to kube-proxy.
    """
    fields = Fields(document, "", problems)
    kind = fields.text("kind", "KubeProxyConfiguration")
    if kind != "KubeProxyConfiguration":
        fields.wrong("kind", f"{kind!r} is not KubeProxyConfiguration")
    entries = {str(key): value for key, value in fields.values.items() if key not in _SECTIONS}
    for section in _SECTIONS:
        entries.update({f"{section}.{key}": value for key, value in fields.fields(section).values.items()})
    # kube-proxy on Linux without a mode runs in iptables mode.
    mode = mode or fields.text("mode") or "iptables"
    names = _field_names(mode)
    values: dict[str, object] = {}
    for path, value in entries.items():
        if path not in names:
            _check_spelling(path, problems)
        elif value not in (None, ""):
            values[names[path]] = value
    values["mode"] = mode
    return values, {name: path for path, name in names.items()}


def _field_names(mode: str) -> dict[str, str]:
    # IPVS mode has no masquerade fields of its own and uses those of iptables.
    section = "nftables" if mode == "nftables" else "iptables"
    return {**_FIELDS, **{f"{section}.{key}": name for key, name in _MASQUERADE.items()}}


def _check_spelling(path: str, problems: Problems) -> None:
    """A field we do not know is one for the process, or of a later version, unless it looks like one that counts."""
    known = [*_FIELDS, *(f"{section}.{key}" for section in ("iptables", "nftables") for key in _MASQUERADE), *_SECTIONS]
    if path in known:
        return
    misplaced = [name for name in known if _last_word(name) == _last_word(path)]
    # Strict enough for metricsBindAddress not to pass for bindAddress.
    hint = nearest(path, misplaced[:1], 0) or nearest(path, known, 0.85)
    if hint:
        problems.add(path, f"unknown key{hint}")


def _last_word(path: str) -> str:
    return path.rpartition(".")[2].lower()
