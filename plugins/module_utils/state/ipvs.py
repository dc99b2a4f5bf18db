# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""IPVS virtual servers and real servers, in the text form of ``ipvsadm -Sn``.

Identity, configuration and statistics are separate types, so that a counter can never cause a difference.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Dict, NamedTuple, Tuple

PROTOCOL_OPTIONS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
OPTION_OF_PROTOCOL = {protocol: option for option, protocol in PROTOCOL_OPTIONS.items()}
FORWARDING_OPTIONS = {"-m": "masquerade", "-g": "route", "-i": "tunnel"}
OPTION_OF_FORWARDING = {method: option for option, method in FORWARDING_OPTIONS.items()}
TUNNEL_TYPES = ("ipip", "gue", "gre")
TUNNEL_CHECKSUMS = ("nocsum", "csum", "remcsum")
BARE_OPTIONS = frozenset({*FORWARDING_OPTIONS, "-o", "--ops", *(f"--tun-{checksum}" for checksum in TUNNEL_CHECKSUMS)})
# Names that ipvsadm gives to the three flag bits a scheduler may define, where it knows the scheduler.
SCHEDULER_FLAG_NAMES = {
    "sh": {"sh-fallback": "flag-1", "sh-port": "flag-2"},
    "mh": {"mh-fallback": "flag-1", "mh-port": "flag-2"},
}


class VirtualServerKey(NamedTuple):
    """What identifies a virtual server: protocol, address and port, or a firewall mark (then the rest is empty).

    ``family`` is ``ipv4`` or ``ipv6``; a firewall mark may exist in both. ``protocol`` is ``tcp``, ``udp`` or
    ``sctp``; the kernel also takes any other number, as ``47``, which ipvsadm cannot write.
    """

    family: str
    protocol: str
    address: str
    port: int
    fwmark: int = 0

    def __str__(self) -> str:
        if self.fwmark:
            return f"fwmark {self.fwmark}" + (" ipv6" if self.family == "ipv6" else "")
        return f"{self.protocol} {endpoint(self.address, self.port)}"


class RealServerKey(NamedTuple):
    """What identifies a real server within its virtual server."""

    address: str
    port: int

    def __str__(self) -> str:
        return endpoint(self.address, self.port)


class Tunnel(NamedTuple):
    """Encapsulation of the forwarding method ``tunnel``.

    ``type`` is ``ipip``, ``gue`` or ``gre``; ``port`` is the UDP port of ``gue``; ``checksum`` is ``nocsum``,
    ``csum`` or ``remcsum``.
    """

    type: str = "ipip"
    port: int = 0
    checksum: str = "nocsum"


class RealServer(NamedTuple):
    """Configuration of a real server. Thresholds are connection counts, 0 for none.

    ``forwarding`` is ``masquerade``, ``route`` or ``tunnel``. ``tunnel`` keeps its default with the other two.
    """

    forwarding: str = "masquerade"
    weight: int = 1
    upper_threshold: int = 0
    lower_threshold: int = 0
    tunnel: Tunnel = Tunnel()


class VirtualServer(NamedTuple):
    """Configuration of a virtual server and its real servers.

    ``flags`` are ``flag-1`` .. ``flag-3`` and ``one-packet``, sorted. ``timeout`` is the persistence timeout in
    seconds, 0 for a virtual server that is not persistent. ``netmask`` is the persistence granularity as a prefix
    length; 0 stands for a whole address (32 or 128), the default. ``real_servers`` are in the order in which they are
    to be added; the kernel keeps them the other way round, each new one first.
    """

    scheduler: str
    flags: tuple[str, ...]
    timeout: int
    netmask: int
    real_servers: Mapping[RealServerKey, RealServer]
    persistence_engine: str = ""

    @property
    def configuration(self) -> VirtualServer:
        """The same without real servers, in canonical form: what an update of the virtual server itself writes."""
        netmask = self.netmask if self.timeout else 0
        return self._replace(real_servers={}, flags=tuple(sorted(set(self.flags))), netmask=netmask)


class RealServerStatistics(NamedTuple):
    """Connection counts of a real server."""

    active_connections: int
    inactive_connections: int
    persistent_connections: int = 0

    @property
    def connections(self) -> int:
        """What draining waits for. Persistence templates are not connections."""
        return self.active_connections + self.inactive_connections


class Traffic(NamedTuple):
    """What a virtual server or a real server has carried, and its current rates per second.

    The kernel refreshes rates every two seconds, and sums up counters for a reader as late as that.
    """

    connections: int = 0
    incoming_packets: int = 0
    outgoing_packets: int = 0
    incoming_bytes: int = 0
    outgoing_bytes: int = 0
    connection_rate: int = 0
    incoming_packet_rate: int = 0
    outgoing_packet_rate: int = 0
    incoming_byte_rate: int = 0
    outgoing_byte_rate: int = 0


VirtualServers = Dict[VirtualServerKey, VirtualServer]
Statistics = Dict[Tuple[VirtualServerKey, RealServerKey], RealServerStatistics]


def endpoint(address: str, port: int) -> str:
    """Address and port as ipvsadm writes them: ``10.0.0.1:80``, ``[fd00::1]:80``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split_endpoint(text: str) -> tuple[str, int]:
    """``10.0.0.1:80`` or ``[fd00::1]:80`` -> address and port. Raises ValueError."""
    address, _colon, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def service_option(key: VirtualServerKey) -> str:
    """The ipvsadm option that names this virtual server, as ``-t 10.0.0.1:80`` or ``-f 7 -6``."""
    if key.fwmark:
        return f"-f {key.fwmark}" + (" -6" if key.family == "ipv6" else "")
    option = OPTION_OF_PROTOCOL.get(key.protocol, f"--protocol-{key.protocol}")
    return f"{option} {endpoint(key.address, key.port)}"


def service_lines(key: VirtualServerKey, server: VirtualServer) -> Iterator[str]:
    """The lines of ``ipvsadm -Sn`` for one virtual server; real servers sorted as text, the order of kube-proxy."""
    option = service_option(key)
    words = [f"-A {option} -s {server.scheduler}"]
    if server.timeout:
        words.append(f"-p {server.timeout}")
        if server.netmask:
            words.append(f"-M {server.netmask if key.family == 'ipv6' else _dotted(server.netmask)}")
    if server.persistence_engine:
        words.append(f"--pe {server.persistence_engine}")
    yield " ".join(words + _flag_words(server))
    for end, real in sorted([(str(real_key), real) for real_key, real in server.real_servers.items()]):
        yield f"-a {option} -r {end} {_real_server_words(real)}"


def render(servers: VirtualServers) -> str:
    """Virtual servers -> ``ipvsadm -Sn`` text, sorted."""
    return "".join(pieces(servers))


def pieces(servers: VirtualServers) -> Iterator[str]:
    """That text by virtual server."""
    return ("\n".join([*service_lines(key, server), ""]) for key, server in sorted(servers.items()))


def parse(text: str) -> VirtualServers:
    """``ipvsadm -Sn`` text -> virtual servers. Raises ValueError with the line that it does not know."""
    servers: VirtualServers = {}
    real_servers: dict[VirtualServerKey, dict[RealServerKey, RealServer]] = {}
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        try:
            key, rest = _parse_key(words)
            if words[0] == "-A":
                real_servers[key] = {}
                servers[key] = _parse_virtual_server(rest, real_servers[key])
            else:
                real_key, real = _parse_real_server(rest)
                real_servers[key][real_key] = real
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(f"not a line of ipvsadm -Sn: {line!r}") from error
    return servers


def _parse_key(words: list[str]) -> tuple[VirtualServerKey, list[str]]:
    if words[1] == "-f":
        family = "ipv6" if words[3:4] == ["-6"] else "ipv4"
        return VirtualServerKey(family, "", "", 0, int(words[2])), words[4 if family == "ipv6" else 3 :]
    address, port = split_endpoint(words[2])
    family = "ipv6" if ":" in address else "ipv4"
    return VirtualServerKey(family, PROTOCOL_OPTIONS[words[1]], address, port), words[3:]


def _options(words: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        found[word] = "" if word in BARE_OPTIONS else next(rest)
    return found


def _parse_virtual_server(words: list[str], real_servers: dict[RealServerKey, RealServer]) -> VirtualServer:
    options = _options(words)
    scheduler = options.pop("-s")
    names = SCHEDULER_FLAG_NAMES.get(scheduler, {})
    flags = [names.get(name, name) for name in options.pop("-b", "").split(",") if name]
    if "-o" in options or "--ops" in options:
        flags.append("one-packet")
    return VirtualServer(
        scheduler,
        tuple(sorted(flags)),
        int(options.get("-p", "0")),
        _prefix_length(options.get("-M", "")),
        real_servers,
        options.get("--pe", ""),
    )


def _parse_real_server(words: list[str]) -> tuple[RealServerKey, RealServer]:
    options = _options(words)
    forwarding = next(method for option, method in FORWARDING_OPTIONS.items() if option in options)
    checksum = next((name for name in TUNNEL_CHECKSUMS if f"--tun-{name}" in options), "nocsum")
    return RealServerKey(*split_endpoint(options["-r"])), RealServer(
        forwarding,
        int(options.get("-w", "1")),
        int(options.get("-x", "0")),
        int(options.get("-y", "0")),
        Tunnel(options.get("--tun-type", "ipip"), int(options.get("--tun-port", "0")), checksum),
    )


# Most real servers of a node are configured alike.
@functools.lru_cache(maxsize=256)
def _real_server_words(real: RealServer) -> str:
    words = f"{OPTION_OF_FORWARDING[real.forwarding]} -w {real.weight}"
    if real.upper_threshold:
        words += f" -x {real.upper_threshold}"
    if real.lower_threshold:
        words += f" -y {real.lower_threshold}"
    return words + _tunnel_words(real.tunnel)


def _flag_words(server: VirtualServer) -> list[str]:
    names = {bit: name for name, bit in SCHEDULER_FLAG_NAMES.get(server.scheduler, {}).items()}
    flags = [names.get(flag, flag) for flag in server.flags if flag != "one-packet"]
    words = ["-o"] if "one-packet" in server.flags else []
    return words + ([f"-b {','.join(flags)}"] if flags else [])


def _tunnel_words(tunnel: Tunnel) -> str:
    if tunnel == Tunnel():
        return ""
    port = f" --tun-port {tunnel.port}" if tunnel.port else ""
    return f" --tun-type {tunnel.type}{port}" + (f" --tun-{tunnel.checksum}" if tunnel.checksum != "nocsum" else "")


def _dotted(prefix_length: int) -> str:
    mask = (0xFFFFFFFF << (32 - prefix_length)) & 0xFFFFFFFF
    return ".".join(str(mask >> shift & 0xFF) for shift in (24, 16, 8, 0))


def _prefix_length(text: str) -> int:
    if "." in text:
        return bin(int.from_bytes(bytes(int(part) for part in text.split(".")), "big")).count("1") % 32
    return int(text or 0) % 128
