# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""IPVS through its generic netlink family: virtual servers, real servers, statistics, timeouts."""

from __future__ import annotations

import errno
import functools
import os
import socket
import struct
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..plan.ipvs import RealServerPayload, VirtualServerPayload
from ..plan.operation import ADD, CHANGE, REMOVE
from ..state.ipvs import (
    TUNNEL_CHECKSUMS,
    TUNNEL_TYPES,
    RealServer,
    RealServerKey,
    RealServerStatistics,
    Statistics,
    Traffic,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
    VirtualServers,
)
from .attribute_reader import AttributeReader
from .command import KernelError
from .netlink import NESTED, GenericNetlink, NetlinkError, RefusedError, address_text, attribute, attributes, nested

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ..plan.operation import Operation

# The kernel has this file, in every network namespace, once ip_vs is loaded or built in.
PRESENT = "/proc/thread-self/net/ip_vs"
# What kube-proxy adds and removes again to learn whether the kernel has a scheduler (RFC 5737 address).
PROBE = VirtualServerKey("ipv4", "tcp", "198.51.100.0", 20000)
NO_SCHEDULER = "none"
# To ask for so many virtual servers one by one takes less than the dump of many others that comes with them.
FEW = 10

_FAMILY = "IPVS"
_NEW_SERVICE, _SET_SERVICE, _DELETE_SERVICE, _GET_SERVICE = 1, 2, 3, 4
_NEW_DESTINATION, _SET_DESTINATION, _DELETE_DESTINATION, _GET_DESTINATION = 5, 6, 7, 8
_SET_CONFIG, _GET_CONFIG, _GET_INFO, _ZERO = 12, 13, 15, 16
_SERVICE, _DESTINATION = 1, 2
_TIMEOUTS = {"tcp": 4, "tcpfin": 5, "udp": 6}
_INFO_VERSION, _INFO_TABLE_SIZE = 1, 2

_SVC_FAMILY, _SVC_PROTOCOL, _SVC_ADDRESS, _SVC_PORT, _SVC_FWMARK = 1, 2, 3, 4, 5
_SVC_SCHEDULER, _SVC_FLAGS, _SVC_TIMEOUT, _SVC_NETMASK, _SVC_ENGINE = 6, 7, 8, 9, 11
_SVC_TRAFFIC = (12, 10)
_DST_ADDRESS, _DST_PORT, _DST_FORWARDING, _DST_WEIGHT, _DST_UPPER, _DST_LOWER = 1, 2, 3, 4, 5, 6
_DST_ACTIVE, _DST_INACTIVE, _DST_PERSISTENT, _DST_FAMILY = 7, 8, 9, 11
_DST_TUNNEL_TYPE, _DST_TUNNEL_PORT, _DST_TUNNEL_FLAGS = 13, 14, 15
_DST_TRAFFIC = (12, 10)

# Flags come with a mask.
_READ_SERVICE = AttributeReader(
    _SERVICE,
    {
        _SVC_FAMILY: "H",
        _SVC_PROTOCOL: "H",
        _SVC_ADDRESS: "16s",
        _SVC_PORT: "H",
        _SVC_FWMARK: "I",
        _SVC_SCHEDULER: "",
        _SVC_FLAGS: "I4x",
        _SVC_TIMEOUT: "I",
        _SVC_NETMASK: "I",
        _SVC_ENGINE: "",
    },
)
_READ_DESTINATION = AttributeReader(
    _DESTINATION,
    {
        _DST_FAMILY: "H",
        _DST_ADDRESS: "16s",
        _DST_PORT: "H",
        _DST_ACTIVE: "I",
        _DST_INACTIVE: "I",
        _DST_PERSISTENT: "I",
        _DST_FORWARDING: "I",
        _DST_WEIGHT: "i",
        _DST_UPPER: "I",
        _DST_LOWER: "I",
        _DST_TUNNEL_TYPE: "B",
        _DST_TUNNEL_PORT: "H",
        _DST_TUNNEL_FLAGS: "H",
    },
)
# Names a real server: the header around it, then address, port and family.
_END = struct.Struct("=HH HH16s HHHxx HHHxx")

# The virtual server, or its real server, is not there.
_GONE = (errno.ESRCH, errno.ENOENT)

_ADDRESS_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
_PROTOCOL_NAMES = {int(number): name for name, number in _PROTOCOLS.items()}
# 1 is "local node", which kernels before 2.6.37 made of a masqueraded real server on the node itself.
_FORWARDING_NAMES = {0: "masquerade", 1: "masquerade", 2: "tunnel", 3: "route"}
_FORWARDING = {"masquerade": 0, "tunnel": 2, "route": 3}
_FORWARDING_MASK = 7
_PERSISTENT = 0x1
# 0x2 says that the kernel has hashed the virtual server: no configuration.
_FLAGS = {"one-packet": 0x4, "flag-1": 0x8, "flag-2": 0x10, "flag-3": 0x20}
_ALL_FLAGS = 0xFFFFFFFF


class Info(NamedTuple):
    """Version of IPVS (``1.2.1``), and number of hash buckets of its connection table."""

    version: str
    connection_table_size: int


class IPVS:
    """IPVS of the network namespace in which this is made. ``messages`` counts what was sent.

    Raises KernelError, first of all where the kernel has no IPVS: from 5.15 on a look at the family would load the
    module, which is not for a reader to do.
    """

    def __init__(self) -> None:
        if not available():
            raise KernelError(
                f"kernel {os.uname().release} has no IPVS: modprobe ip_vs (role kubenode.proxy.node_prepare does)"
            )
        self._netlink = GenericNetlink(_FAMILY)
        self._schedulers: set[str] = {NO_SCHEDULER}
        self._has_probe: bool | None = None

    @property
    def messages(self) -> int:
        """How many messages were sent, with the one that asked for the family."""
        return self._netlink.messages

    def close(self) -> None:
        """Closes the socket."""
        self._netlink.close()

    def read(
        self,
        only: Collection[VirtualServerKey] | None = None,
        alike: Mapping[VirtualServerKey, VirtualServer] = MappingProxyType({}),
    ) -> tuple[VirtualServers, Statistics]:
        """Virtual servers, ``only`` some or all, and connection counts of those real servers that have connections.

        One that equals that of ``alike`` is given as the very same: held once, many take half the memory. Of the others
        real servers are in the order in which they were added; the kernel lists the newest first. Takes a dump, or for
        few ``only`` a question each, and a dump for each virtual server.
        """
        servers: VirtualServers = {}
        statistics: Statistics = {}
        for service in self._services() if only is None or len(only) > FEW else self._some_services(only):
            key, server = decode_virtual_server(service)
            if only is not None and key not in only:
                continue
            real_servers: dict[RealServerKey, RealServer] = {}
            for destination in reversed(self._destinations(key)):
                real_key, real_servers[real_key], counts = decode_real_server(key, destination)
                if any(counts):
                    statistics[key, real_key] = RealServerStatistics(*counts)
            found = server._replace(real_servers=real_servers)
            servers[key] = alike[key] if alike.get(key) == found else found
            self._schedulers.add(server.scheduler)
        self._has_probe = self._has_probe if only is not None else PROBE in servers
        return servers, statistics

    def traffic(self) -> tuple[dict[VirtualServerKey, Traffic], dict[tuple[VirtualServerKey, RealServerKey], Traffic]]:
        """Counters and rates of the virtual servers, and of their real servers."""
        servers: dict[VirtualServerKey, Traffic] = {}
        real_servers: dict[tuple[VirtualServerKey, RealServerKey], Traffic] = {}
        for service in self._services():
            key, _server = decode_virtual_server(service)
            servers[key] = _decode_traffic(service, _SERVICE, _SVC_TRAFFIC)
            for destination in reversed(self._destinations(key)):
                real_key = decode_real_server(key, destination)[0]
                real_servers[key, real_key] = _decode_traffic(destination, _DESTINATION, _DST_TRAFFIC)
        return servers, real_servers

    def apply(self, operations: Sequence[Operation]) -> None:
        """Writes operations of the kinds ``virtual server``, ``real server`` and ``ipvs timeouts``, one message each.

        The schedulers are tried before the first write. Removing what has gone meanwhile is done. Raises KernelError
        that names the object that the kernel refused, and says how many operations it carried out.
        """
        payloads = [o.payload for o in operations if isinstance(o.payload, VirtualServerPayload)]
        self.ensure_schedulers(payload.server.scheduler for payload in payloads if payload.server)
        try:
            self._netlink.submit(
                [_encode(operation) for operation in operations],
                lambda index, number: operations[index].verb == REMOVE and number in _GONE,
            )
        except RefusedError as error:
            raise _refusal(operations[error.index], error, len(operations)) from error

    def ensure_schedulers(self, schedulers: Iterable[str]) -> None:
        """Raises KernelError for a scheduler that the kernel neither has nor can load.

        A scheduler that :meth:`read` has seen in use is there. For any other a virtual server is added and removed
        again, as kube-proxy does: adding is what makes the kernel load the module. Both go in one send, in which the
        process cannot be killed, so that nothing is left of it.
        """
        for scheduler in sorted(set(schedulers) - self._schedulers):
            if self._probe_is_taken():
                return
            probe = encode_virtual_server(PROBE, VirtualServer(scheduler, (), 0, 0, {}))
            try:
                self._netlink.submit(
                    [(_NEW_SERVICE, probe), (_DELETE_SERVICE, encode_virtual_server_key(PROBE))],
                    lambda index, _number: index == 1,
                )
            except RefusedError as error:
                if error.number == errno.ENOENT:
                    raise KernelError(_no_scheduler(scheduler)) from error
                raise KernelError(f"scheduler {scheduler!r}: {error}") from error
            self._schedulers.add(scheduler)

    def _probe_is_taken(self) -> bool:
        """Whether the address of the probe is that of somebody's virtual server: then the write itself will tell."""
        if self._has_probe is None:
            self.read()
        return bool(self._has_probe)

    def timeouts(self) -> dict[str, int]:
        """Connection timeouts in seconds: ``tcp``, ``tcpfin``, ``udp``."""
        reply = self._netlink.request(_GET_CONFIG)[0]
        return {name: _integer(reply[kind]) for name, kind in _TIMEOUTS.items()}

    def zero(self, key: VirtualServerKey | None = None) -> None:
        """Sets the counters of a virtual server and its real servers to 0; those of all for None."""
        self._netlink.request(_ZERO, encode_virtual_server_key(key) if key else b"")

    def info(self) -> Info:
        """What IPVS says of itself."""
        reply = self._netlink.request(_GET_INFO)[0]
        version = _integer(reply[_INFO_VERSION])
        return Info(f"{version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF}", _integer(reply[_INFO_TABLE_SIZE]))

    def _services(self) -> list[bytes]:
        return self._netlink.dump(_GET_SERVICE)

    def _some_services(self, keys: Collection[VirtualServerKey]) -> Iterator[bytes]:
        for key in keys:
            try:
                yield from self._netlink.replies(_GET_SERVICE, encode_virtual_server_key(key))
            except NetlinkError as error:
                if error.number not in _GONE:
                    raise

    def _destinations(self, key: VirtualServerKey) -> list[bytes]:
        return self._netlink.dump(_GET_DESTINATION, encode_virtual_server_key(key))


def available() -> bool:
    """Whether the kernel has IPVS, loaded or built in. Does not load it."""
    return os.path.exists(PRESENT)


@functools.lru_cache(maxsize=64)
def encode_virtual_server_key(key: VirtualServerKey) -> bytes:
    """The attribute that names a virtual server."""
    return nested(_SERVICE, _identity(key))


def encode_virtual_server(key: VirtualServerKey, server: VirtualServer) -> bytes:
    """The attribute that names and configures a virtual server; its real servers are not part of it."""
    flags = sum(_FLAGS[flag] for flag in set(server.flags)) | (_PERSISTENT if server.timeout else 0)
    parts = [
        _identity(key),
        attribute(_SVC_SCHEDULER, server.scheduler.encode() + b"\0"),
        attribute(_SVC_FLAGS, struct.pack("=II", flags, _ALL_FLAGS)),
        attribute(_SVC_TIMEOUT, _u32(server.timeout)),
        attribute(_SVC_NETMASK, _encode_netmask(key.family, server.configuration.netmask)),
    ]
    if server.persistence_engine:
        parts.append(attribute(_SVC_ENGINE, server.persistence_engine.encode() + b"\0"))
    return nested(_SERVICE, *parts)


def decode_virtual_server(body: bytes) -> tuple[VirtualServerKey, VirtualServer]:
    """A message that tells of a service -> key and configuration, without real servers."""
    number, protocol, address, port, fwmark, scheduler, flags, timeout, netmask, engine = _READ_SERVICE.read(body)
    family = "ipv6" if number == socket.AF_INET6 else "ipv4"
    if fwmark:
        key = VirtualServerKey(family, "", "", 0, fwmark)
    else:
        name = _PROTOCOL_NAMES.get(protocol, str(protocol))
        key = VirtualServerKey(family, name, *_decode_end(number, address, port))
    persistent = flags & _PERSISTENT
    return key, VirtualServer(
        _text(scheduler),
        _decode_flags(flags),
        timeout if persistent else 0,
        _decode_netmask(family, netmask) if persistent else 0,
        {},
        _text(engine or b""),
    )


@functools.lru_cache(maxsize=64)
def _decode_flags(flags: int) -> tuple[str, ...]:
    return tuple(sorted(name for name, bit in _FLAGS.items() if flags & bit))


def encode_real_server(key: VirtualServerKey, real_key: RealServerKey, real_server: RealServer | None) -> bytes:
    """The attributes that name a virtual server, and name and configure (None: only name) one of its real servers."""
    family = socket.AF_INET6 if ":" in real_key.address else socket.AF_INET
    configuration = _encode_configuration(real_server) if real_server else b""
    end = _END.pack(
        _END.size + len(configuration),
        _DESTINATION | NESTED,
        *(20, _DST_ADDRESS, socket.inet_pton(family, real_key.address)),
        *(6, _DST_PORT, socket.htons(real_key.port)),
        # A tunnel may lead to a real server of the other family.
        *(6, _DST_FAMILY, family),
    )
    return encode_virtual_server_key(key) + end + configuration


@functools.lru_cache(maxsize=64)
def _encode_configuration(real_server: RealServer) -> bytes:
    parts = [
        attribute(_DST_FORWARDING, _u32(_FORWARDING[real_server.forwarding])),
        attribute(_DST_WEIGHT, _u32(real_server.weight)),
        attribute(_DST_UPPER, _u32(real_server.upper_threshold)),
        attribute(_DST_LOWER, _u32(real_server.lower_threshold)),
    ]
    # Kernels before 5.2 know ipip only, and what they do not know they pass over.
    if real_server.tunnel != Tunnel():
        parts += _encode_tunnel(real_server.tunnel)
    return b"".join(parts)


def decode_real_server(key: VirtualServerKey, body: bytes) -> tuple[RealServerKey, RealServer, tuple[int, int, int]]:
    """A message that tells of a destination -> key, configuration, and active, inactive, persistent connections."""
    family, address, port, active, inactive, persistent, *configuration = _READ_DESTINATION.read(body)
    # Kernels before 3.18 have no family here: the virtual server's.
    end = _decode_end(family or _ADDRESS_FAMILIES[key.family], address, port)
    return RealServerKey(*end), _decode_configuration(*configuration), (active, inactive, persistent)


@functools.lru_cache(maxsize=64)
def _decode_configuration(
    method: int, weight: int, upper: int, lower: int, tunnel: int | None, port: int, checksum: int
) -> RealServer:
    """``tunnel``, ``port`` and ``checksum`` are None of a kernel before 5.2."""
    forwarding = _FORWARDING_NAMES[method & _FORWARDING_MASK]
    if forwarding != "tunnel" or tunnel is None:
        return RealServer(forwarding, weight, upper, lower)
    # Both bits together mean the first.
    flag = TUNNEL_CHECKSUMS[1 if checksum & 1 else checksum & 2]
    return RealServer(forwarding, weight, upper, lower, Tunnel(TUNNEL_TYPES[tunnel], socket.ntohs(port), flag))


def _encode(operation: Operation) -> tuple[int, bytes]:
    payload: Any = operation.payload
    if isinstance(payload, VirtualServerPayload):
        command = {ADD: _NEW_SERVICE, CHANGE: _SET_SERVICE, REMOVE: _DELETE_SERVICE}[operation.verb]
        if payload.server is None:
            return command, encode_virtual_server_key(payload.key)
        return command, encode_virtual_server(payload.key, payload.server)
    if isinstance(payload, RealServerPayload):
        command = {ADD: _NEW_DESTINATION, CHANGE: _SET_DESTINATION, REMOVE: _DELETE_DESTINATION}[operation.verb]
        return command, encode_real_server(payload.virtual_server, payload.key, payload.real_server)
    if operation.kind == "ipvs timeouts":
        return _SET_CONFIG, _encode_timeouts(payload)
    raise TypeError(f"no operation of IPVS: {operation.verb} {operation.kind} {operation.name}")


def _refusal(operation: Operation, error: RefusedError, total: int) -> KernelError:
    hint = ""
    payload: Any = operation.payload
    if isinstance(payload, RealServerPayload) and operation.verb == ADD and error.number == errno.EINVAL:
        hint = " (its address must be local or unicast, and an interface must be up in this namespace)"
    elif isinstance(payload, VirtualServerPayload) and payload.server and error.number == errno.ENOENT:
        engine = payload.server.persistence_engine
        hint = f" (scheduler {payload.server.scheduler!r}" + (f" or persistence engine {engine!r})" if engine else ")")
    done = f"{error.done} of {total} operations were carried out, the next run does the rest"
    return KernelError(f"cannot {operation.verb} {operation.kind} {operation.name}: {error}{hint}; {done}")


def _no_scheduler(scheduler: str) -> str:
    return (
        f"kernel {os.uname().release} has no scheduler {scheduler!r}: its module ip_vs_{scheduler} is not loaded and "
        f"cannot be (modprobe ip_vs_{scheduler} says why)"
    )


def _identity(key: VirtualServerKey) -> bytes:
    family = _ADDRESS_FAMILIES[key.family]
    parts = attribute(_SVC_FAMILY, struct.pack("=H", family))
    if key.fwmark:
        return parts + attribute(_SVC_FWMARK, _u32(key.fwmark))
    protocol = _PROTOCOLS[key.protocol] if key.protocol in _PROTOCOLS else int(key.protocol)
    return (
        parts
        + attribute(_SVC_PROTOCOL, struct.pack("=H", protocol))
        + attribute(_SVC_ADDRESS, _encode_address(family, key.address))
        + attribute(_SVC_PORT, struct.pack("!H", key.port))
    )


def _encode_address(family: int, address: str) -> bytes:
    """A union of both families: always 16 bytes, an IPv4 address in the first four."""
    return socket.inet_pton(family, address).ljust(16, b"\0")


def _decode_end(family: int, address: bytes, port: int) -> tuple[str, int]:
    return address_text(family, address if family == socket.AF_INET6 else address[:4]), socket.ntohs(port)


def _encode_netmask(family: str, prefix_length: int) -> bytes:
    """IPv4: a mask in network byte order. IPv6: a prefix length in the node's byte order. 0 is a whole address."""
    if family == "ipv6":
        return _u32(prefix_length or 128)
    return struct.pack("!I", 0xFFFFFFFF << (32 - (prefix_length or 32)) & 0xFFFFFFFF)


def _decode_netmask(family: str, value: int) -> int:
    return value % 128 if family == "ipv6" else bin(value).count("1") % 32


def _encode_tunnel(tunnel: Tunnel) -> list[bytes]:
    return [
        attribute(_DST_TUNNEL_TYPE, bytes([TUNNEL_TYPES.index(tunnel.type)])),
        attribute(_DST_TUNNEL_PORT, struct.pack("!H", tunnel.port)),
        attribute(_DST_TUNNEL_FLAGS, struct.pack("=H", TUNNEL_CHECKSUMS.index(tunnel.checksum))),
    ]


def _decode_traffic(body: bytes, kind: int, kinds: tuple[int, int]) -> Traffic:
    """The counters of 64 bits, or those of 32 bits that kernels before 4.1 have."""
    owner = attributes(attributes(body, 4)[kind])
    found = next((owner[kind] for kind in kinds if kind in owner), b"")
    counters = attributes(found)
    return Traffic(*(_integer(counters.get(kind, b"")) for kind in range(1, 11)))


def _encode_timeouts(timeouts: dict[str, int]) -> bytes:
    return b"".join(attribute(_TIMEOUTS[name], _u32(seconds)) for name, seconds in timeouts.items())


def _u32(value: int) -> bytes:
    return struct.pack("=I", value)


def _integer(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
