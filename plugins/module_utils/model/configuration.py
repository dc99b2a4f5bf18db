# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The node and the proxy configuration from what a user gives: role variables, KubeProxyConfiguration, Node object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Callable

from .address import family_of
from .errors import InputError, Problems
from .fields import Fields, describe, ip, network, whole_number, without_repetition
from .kube_proxy import flatten
from .node import DETECT_LOCAL_MODES, MODES, Node, ProxyConfiguration
from .scheduling import scheduler
from .version import DEFAULT_VERSION, VERSIONS

LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1"}
PRIMARY = "primary"
ZONE_LABEL = "topology.kubernetes.io/zone"
_NODE_KEYS = ("name", "addresses", "pod_cidrs", "zone")
_MAXIMUM = 2**31 - 1
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_duration_parts = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns)").findall
_is_duration = re.compile(r"(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:h|ms|m|s|us|µs|ns))+").fullmatch


def parse_configuration(
    variables: Mapping[str, object], document: Mapping[str, object] | None = None
) -> ProxyConfiguration:
    """Role variables, named as the fields of ProxyConfiguration -> the proxy configuration.

    null and empty text, which a template makes of a variable that is not set, count as not given. ``document`` is a
    KubeProxyConfiguration that supplies what the variables leave open. Raises InputError.
    """
    problems = Problems()
    fields = Fields(dict(variables), "", problems)
    fields.only(ProxyConfiguration._fields)
    given = {str(name): value for name, value in fields.values.items() if value not in (None, "")}
    values = {} if document is None else _read_document(document, str(given.get("mode", "")), problems)
    values.update(_read(given, {}, problems))
    configuration = ProxyConfiguration(**values)  # type: ignore[arg-type]
    _check(configuration, problems)
    problems.raise_if_any()
    return configuration


def parse_kube_proxy_configuration(document: object, mode: str = "") -> dict[str, object]:
    """A KubeProxyConfiguration -> the values that it gives to fields of ProxyConfiguration. Raises InputError.

    ``mode`` overrides the document's own: it decides which section masquerading is taken from.
    """
    problems = Problems()
    values = _read_document(document, mode, problems)
    problems.raise_if_any()
    return values


def parse_snapshots(number: int) -> int:
    """How many snapshots a node keeps. Raises InputError."""
    if number < 0:
        raise InputError([f"snapshots: {number} is below 0: give the number of snapshots to keep"])
    return number


def parse_node(document: object, path: str = "node") -> Node:
    """A Kubernetes Node object, or the keys name, addresses, pod_cidrs and zone -> the node. Raises InputError."""
    problems = Problems()
    fields = Fields(document, path, problems)
    node = _kubernetes_node(fields) if fields.has("kind") or fields.has("metadata") else _native_node(fields)
    problems.raise_if_any()
    return node


def node_ip(node: Node, configuration: ProxyConfiguration, family: str) -> str:
    """The node's own IP of a family: the bind address if it is specific, else the node's first, else loopback."""
    bind_address = configuration.bind_address
    if bind_address not in ("", "0.0.0.0", "::") and family_of(bind_address) == family:
        return bind_address
    return next((address for address in node.addresses if family_of(address) == family), LOOPBACK[family])


def _kubernetes_node(fields: Fields) -> Node:
    metadata, spec = fields.fields("metadata"), fields.fields("spec")
    found: dict[str, list[str]] = {"InternalIP": [], "ExternalIP": []}
    for entry in fields.fields("status").mappings("addresses"):
        if entry.text("type") in found:
            found[entry.text("type")].append(ip(entry.text("address"), entry.at("address"), fields.problems))
    pod_cidrs = without_repetition(spec.networks("podCIDRs"))
    if not pod_cidrs and spec.text("podCIDR"):
        pod_cidrs = without_repetition([network(spec.text("podCIDR"), spec.at("podCIDR"), fields.problems)])
    return Node(
        metadata.text("name", None).lower(),
        without_repetition(found["InternalIP"] + found["ExternalIP"]),
        pod_cidrs,
        metadata.fields("labels").text(ZONE_LABEL),
    )


def _native_node(fields: Fields) -> Node:
    fields.only(_NODE_KEYS)
    return Node(
        fields.text("name", None).lower(),
        without_repetition(fields.service_ips("addresses")),
        without_repetition(fields.networks("pod_cidrs")),
        fields.text("zone"),
    )


def _read_document(document: object, mode: str, problems: Problems) -> dict[str, object]:
    values, paths = flatten(document, mode, problems)
    return _read(values, paths, problems)


def _read(values: dict[str, object], paths: dict[str, str], problems: Problems) -> dict[str, object]:
    """Values as given -> as the configuration has them. ``paths`` says where a value stands, if not at its name."""
    read: dict[str, object] = {}
    for name, reader in _READERS.items():
        if values.get(name) is not None:
            path, _dot, key = paths.get(name, name).rpartition(".")
            read[name] = reader(Fields({key: values[name]}, path, problems), key)
    return read


def _version(fields: Fields, key: str) -> str:
    value = fields.values[key]
    if isinstance(value, float):
        fields.wrong(key, f"{value} is a number; write it in quotes, such as '{DEFAULT_VERSION}'")
        return DEFAULT_VERSION
    return fields.choice(key, tuple(VERSIONS), DEFAULT_VERSION)


def _choice(known: tuple[str, ...], default: str) -> _Reader:
    return lambda fields, key: fields.choice(key, known, default)


def _integer(high: int) -> _Reader:
    return lambda fields, key: fields.integer(key, 0, high)


def _boolean(fields: Fields, key: str) -> bool:
    return fields.boolean(key, False)


def _duration(fields: Fields, key: str) -> int:
    """``1h2m``, ``900s`` (Go's duration text) or a number of seconds -> whole seconds; kube-proxy drops fractions."""
    value = fields.values[key]
    seconds = whole_number(value)
    if seconds is None and isinstance(value, str) and _is_duration(value):
        exact = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _duration_parts(value))
        seconds = int(min(exact, _MAXIMUM + 1))
    if seconds is None or not 0 <= seconds <= _MAXIMUM:
        fields.wrong(key, f"must be a duration such as 900s or 1h30m, not {describe(value)}")
        return 0
    return seconds


def _bind_address(fields: Fields, key: str) -> str:
    text = fields.text(key)
    return ip(text, fields.at(key), fields.problems) if text else ""


def _interface(fields: Fields, key: str) -> str:
    name = fields.text(key)
    # IFNAMSIZ is 16 with the final zero byte.
    if len(name) > 15 or re.search(r"[\s/:\"]", name):
        fields.wrong(
            key, f"{name!r} is not the name of a network interface (15 characters, no blank, slash, : or quote)"
        )
    return name


def _scheduler(fields: Fields, key: str) -> str:
    return scheduler(fields.text(key), fields.at(key), fields.problems) or "rr"


def _networks(fields: Fields, key: str) -> tuple[str, ...]:
    return without_repetition(fields.networks(key))


def _cluster_cidrs(fields: Fields, key: str) -> tuple[str, ...]:
    """A list, or text with commas as in clusterCIDR; at most one network per family."""
    value = fields.values[key]
    if isinstance(value, str):
        items = [item.strip() for item in value.split(",") if item.strip()]
        networks = without_repetition(network(item, fields.at(key), fields.problems) for item in items)
    else:
        networks = _networks(fields, key)
    if len({family_of(item) for item in networks}) < len(networks):
        fields.wrong(key, f"{', '.join(networks)} are of one family; at most one network per family is possible")
    return networks


def _node_port_addresses(fields: Fields, key: str) -> tuple[str, ...]:
    """Networks, or the word ``primary`` alone."""
    texts = [text for _path, text in fields.texts(key)]
    if PRIMARY not in texts:
        return _networks(fields, key)
    if len(texts) > 1:
        fields.wrong(key, f"{PRIMARY!r} must stand alone")
    return (PRIMARY,)


def _check(configuration: ProxyConfiguration, problems: Problems) -> None:
    """What fits together only with something else."""
    for mode, name in (("BridgeInterface", "bridge_interface"), ("InterfaceNamePrefix", "interface_name_prefix")):
        if configuration.detect_local_mode == mode and not getattr(configuration, name):
            problems.add(name, f"is required where detect_local_mode is {mode}")
    if configuration.node_port_addresses == (PRIMARY,) and not VERSIONS[configuration.version].primary_node_ports:
        problems.add("node_port_addresses", f"{PRIMARY!r} is known from version 1.31 on")
    if configuration.mode == "nftables" and not VERSIONS[configuration.version].nftables:
        known = " or ".join(version for version in VERSIONS if VERSIONS[version].nftables)
        problems.add("version", f"nftables mode is written as of {known}, not as of {configuration.version}")


_Reader = Callable[[Fields, str], object]
_READERS: dict[str, _Reader] = {
    "mode": _choice(MODES, "ipvs"),
    "version": _version,
    "bind_address": _bind_address,
    "cluster_cidrs": _cluster_cidrs,
    "service_cidrs": _networks,
    "external_ips": _boolean,
    "detect_local_mode": _choice(DETECT_LOCAL_MODES, "ClusterCIDR"),
    "bridge_interface": _interface,
    "interface_name_prefix": _interface,
    "masquerade_all": _boolean,
    "masquerade_bit": _integer(31),
    "localhost_node_ports": _boolean,
    "node_port_addresses": _node_port_addresses,
    "scheduler": _scheduler,
    "strict_arp": _boolean,
    "tcp_timeout": _duration,
    "tcp_fin_timeout": _duration,
    "udp_timeout": _duration,
    "exclude_cidrs": _networks,
    "conntrack_max_per_core": _integer(_MAXIMUM),
    "conntrack_min": _integer(_MAXIMUM),
    "conntrack_tcp_established_timeout": _duration,
    "conntrack_tcp_close_wait_timeout": _duration,
    "conntrack_tcp_be_liberal": _boolean,
    "conntrack_udp_timeout": _duration,
    "conntrack_udp_stream_timeout": _duration,
    "canary_chains": _boolean,
}
