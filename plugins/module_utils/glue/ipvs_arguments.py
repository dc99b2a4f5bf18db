# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Virtual servers as the arguments of a task describe them -> as the kernel holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.address import WHOLE_ADDRESS, canonical_ip, family_of, why_no_ip
from ..model.errors import Problems
from ..model.scheduling import MAXIMUM_WEIGHT
from ..model.service import PROTOCOLS
from ..state.ipvs import (
    SCHEDULER_FLAG_NAMES,
    TUNNEL_CHECKSUMS,
    TUNNEL_TYPES,
    RealServer,
    RealServerKey,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state.ipvs import VirtualServers

FORWARDING = ["masquerade", "route", "tunnel"]
FLAGS = [
    *("flag-1", "flag-2", "flag-3"),
    *(name for names in SCHEDULER_FLAG_NAMES.values() for name in sorted(names)),
]
# The limits of ipvsadm; the timeout is 31 days.
MAX_TIMEOUT = 2678400
MAX_U32 = 2**32 - 1

TUNNEL = {
    "type": {"type": "str", "choices": list(TUNNEL_TYPES), "default": "ipip"},
    "port": {"type": "int"},
    "checksum": {"type": "str", "choices": list(TUNNEL_CHECKSUMS), "default": "nocsum"},
}
REAL_SERVER = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int"},
    "weight": {"type": "int", "default": 1},
    "forwarding": {"type": "str", "choices": FORWARDING, "default": "masquerade"},
    "upper_threshold": {"type": "int", "default": 0},
    "lower_threshold": {"type": "int", "default": 0},
    "tunnel": {"type": "dict", "options": TUNNEL},
}
SERVICE: dict[str, Any] = {
    "protocol": {"type": "str", "choices": list(PROTOCOLS), "default": "tcp"},
    "address": {"type": "str"},
    "port": {"type": "int"},
    "fwmark": {"type": "int"},
    "family": {"type": "str", "choices": ["ipv4", "ipv6"], "default": "ipv4"},
    "scheduler": {"type": "str", "default": "rr"},
    "scheduler_flags": {"type": "list", "elements": "str", "choices": FLAGS, "default": []},
    "one_packet": {"type": "bool", "default": False},
    "persistence_timeout": {"type": "int", "default": 0},
    "persistence_netmask": {"type": "int"},
    "persistence_engine": {"type": "str"},
    "real_servers": {"type": "list", "elements": "dict", "options": REAL_SERVER, "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def names_one(params: Mapping[str, Any]) -> bool:
    """Whether the arguments of a task describe a virtual server themselves."""
    return any(params[name] is not None for name in ("address", "port", "fwmark")) or bool(params["real_servers"])


def desired_servers(params: Mapping[str, Any]) -> tuple[VirtualServers, frozenset[VirtualServerKey]]:
    """-> (virtual servers that should be there, keys of those that should not). Raises InputError."""
    bulk = params["services"] is not None
    items = params["services"] if bulk else [params] if names_one(params) else []
    problems = Problems()
    servers: VirtualServers = {}
    absent: set[VirtualServerKey] = set()
    for index, item in enumerate(items):
        path = f"services[{index}]." if bulk else ""
        key = _key(item, path, problems)
        if key is None:
            continue
        if key in servers or key in absent:
            problems.add(f"{path}{'fwmark' if key.fwmark else 'address'}", f"{key} is given twice")
        elif item["state"] == "absent":
            absent.add(key)
        else:
            servers[key] = _server(key, item, path, problems)
    problems.raise_if_any()
    return servers, frozenset(absent)


def _key(item: Mapping[str, Any], path: str, problems: Problems) -> VirtualServerKey | None:
    if item["fwmark"] is not None:
        for name in ("address", "port"):
            if item[name] is not None:
                problems.add(f"{path}{name}", "does not go with fwmark, which stands for any address and port")
        if not 1 <= item["fwmark"] <= MAX_U32:
            problems.add(f"{path}fwmark", f"{item['fwmark']} is not in 1..{MAX_U32}")
            return None
        return VirtualServerKey(item["family"], "", "", 0, item["fwmark"])
    missing = [name for name in ("address", "port") if item[name] is None]
    for name in missing:
        problems.add(f"{path}{name}", "is required where there is no fwmark")
    if missing:
        return None
    address = _address(item["address"], f"{path}address", problems)
    valid_port = _in_range(item["port"], 65535, f"{path}port", problems)
    if not address or not valid_port:
        return None
    return VirtualServerKey(family_of(address), item["protocol"], address, item["port"])


def _server(key: VirtualServerKey, item: Mapping[str, Any], path: str, problems: Problems) -> VirtualServer:
    _check_persistence(key, item, path, problems)
    # ipvsadm refuses one-packet scheduling for other protocols too: the kernel would pass over it.
    if item["one_packet"] and key.protocol not in ("udp", ""):
        problems.add(f"{path}one_packet", f"is for udp and firewall marks only, not for {key.protocol}")
    netmask = item["persistence_netmask"] or 0
    return VirtualServer(
        item["scheduler"],
        _flags(item, path, problems),
        item["persistence_timeout"],
        netmask % WHOLE_ADDRESS[key.family],
        _real_servers(key, item["real_servers"], path, problems),
        item["persistence_engine"] or "",
    )


def _check_persistence(key: VirtualServerKey, item: Mapping[str, Any], path: str, problems: Problems) -> None:
    timeout, netmask = item["persistence_timeout"], item["persistence_netmask"]
    _in_range(timeout, MAX_TIMEOUT, f"{path}persistence_timeout", problems)
    for name in ("persistence_netmask", "persistence_engine"):
        if item[name] is not None and not timeout:
            problems.add(f"{path}{name}", "has no effect without persistence_timeout: set that too")
    longest = WHOLE_ADDRESS[key.family]
    if netmask is not None and not 1 <= netmask <= longest:
        problems.add(f"{path}persistence_netmask", f"{netmask} is not a prefix length of {key.family}, 1..{longest}")
    # The kernel schedules port 0, which stands for all ports, in persistent virtual servers only.
    if not key.fwmark and key.port == 0 and not timeout:
        problems.add(f"{path}port", "0 stands for all ports, which needs persistence_timeout")


def _flags(item: Mapping[str, Any], path: str, problems: Problems) -> tuple[str, ...]:
    """Names of bits; those that belong to a scheduler become flag-1 .. flag-3, as the kernel knows no names."""
    names = SCHEDULER_FLAG_NAMES.get(item["scheduler"], {})
    flags = {"one-packet"} if item["one_packet"] else set()
    for index, flag in enumerate(item["scheduler_flags"]):
        owner = next((scheduler for scheduler, known in SCHEDULER_FLAG_NAMES.items() if flag in known), "")
        if owner and owner != item["scheduler"]:
            problems.add(
                f"{path}scheduler_flags[{index}]", f"{flag} is for the scheduler {owner}, not for {item['scheduler']}"
            )
        flags.add(names.get(flag, flag))
    return tuple(sorted(flags))


def _real_servers(
    key: VirtualServerKey, entries: list[dict[str, Any]], path: str, problems: Problems
) -> dict[RealServerKey, RealServer]:
    found: dict[RealServerKey, RealServer] = {}
    for index, entry in enumerate(entries):
        place = f"{path}real_servers[{index}]"
        address = _address(entry["address"], f"{place}.address", problems)
        port = key.port if entry["port"] is None else entry["port"]
        _in_range(port, 65535, f"{place}.port", problems)
        _check_forwarding(key, entry, address, port, place, problems)
        real_key = RealServerKey(address, port)
        if address and real_key in found:
            problems.add(f"{place}.address", f"{real_key} is given twice")
        found[real_key] = _real_server(entry, place, problems)
    return found


def _check_forwarding(
    key: VirtualServerKey, entry: Mapping[str, Any], address: str, port: int, place: str, problems: Problems
) -> None:
    forwarding = entry["forwarding"]
    # A tunnel wraps the packet whole, so it may lead through the other family; the others send the packet itself.
    if address and family_of(address) != key.family and forwarding != "tunnel":
        problems.add(
            f"{place}.address",
            f"{address} is {family_of(address)}, the virtual server is {key.family}: with forwarding {forwarding} both "
            "are of one family, only a tunnel may lead to the other",
        )
    if port != key.port and forwarding != "masquerade":
        why = "a firewall mark's has to be 0" if key.fwmark else f"it has to be {key.port}, that of the virtual server"
        problems.add(f"{place}.port", f"{port}: forwarding {forwarding} does not change the port of a packet, so {why}")


def _real_server(entry: Mapping[str, Any], place: str, problems: Problems) -> RealServer:
    _in_range(entry["weight"], MAXIMUM_WEIGHT, f"{place}.weight", problems)
    upper, lower = entry["upper_threshold"], entry["lower_threshold"]
    thresholds = [
        _in_range(entry[name], MAX_U32, f"{place}.{name}", problems) for name in ("upper_threshold", "lower_threshold")
    ]
    if all(thresholds) and lower > upper:
        problems.add(f"{place}.lower_threshold", f"{lower} is above upper_threshold, {upper}: the kernel refuses that")
    tunnel = _tunnel(entry, f"{place}.tunnel", problems)
    return RealServer(entry["forwarding"], entry["weight"], upper, lower, tunnel)


def _tunnel(entry: Mapping[str, Any], place: str, problems: Problems) -> Tunnel:
    given = entry["tunnel"]
    if given is None:
        return Tunnel()
    if entry["forwarding"] != "tunnel":
        problems.add(place, f"has no effect with forwarding {entry['forwarding']}: leave it out, or set that to tunnel")
    kind, port, checksum = given["type"], given["port"], given["checksum"]
    if kind == "gue" and not (port and _in_range(port, 65535, f"{place}.port", problems)):
        problems.add(f"{place}.port", "is required for gue: the UDP port on which the real server takes packets")
    if kind != "gue" and port is not None:
        problems.add(f"{place}.port", f"is for gue only, not for {kind}")
    if checksum != "nocsum" and (kind == "ipip" or (kind == "gre" and checksum == "remcsum")):
        problems.add(f"{place}.checksum", f"{kind} has no {checksum}")
    return Tunnel(kind, port or 0, checksum)


def _address(text: str, path: str, problems: Problems) -> str:
    address = canonical_ip(text)
    if not address:
        problems.add(path, f"{text!r} {why_no_ip(text)}")
    return address


def _in_range(number: int, highest: int, path: str, problems: Problems) -> bool:
    if 0 <= number <= highest:
        return True
    problems.add(path, f"{number} is not in 0..{highest}")
    return False
