# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with virtual servers, real servers, their addresses, and kernel settings."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import DEVICE
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import (
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
    parse,
    service_lines,
    service_option,
)

from .recording import Recording
from .tamper import Object, Tamper, only

# What each mode sets where it sets it, and another value.
SETTINGS = {
    "net.ipv4.vs.conntrack": ("1", "0"),
    "net.ipv4.vs.expire_nodest_conn": ("1", "0"),
    "net.ipv4.vs.expire_quiescent_template": ("1", "0"),
    "net.ipv4.conf.all.route_localnet": ("1", "0"),
    "net.ipv4.conf.all.arp_ignore": ("1", "0"),
    "net.ipv4.conf.all.arp_announce": ("2", "1"),
}
FORWARDING = "net.ipv4.ip_forward"
NODE = "192.168.100.11"
REAL = {"ipv4": RealServerKey("192.0.2.20", 8080), "ipv6": RealServerKey("2001:db8:2::20", 8080)}


def of_settings(recording: Recording, source: random.Random) -> Iterator[Tamper]:
    """Of kernel settings that the mode has set, and of one that it leaves alone."""
    live = dict(line.split(" = ") for line in recording.files["sysctl"].splitlines())
    names = [name for name, (value, _other) in SETTINGS.items() if live.get(name) == value]
    if names:
        name = source.choice(names)
        yield Tamper(f"sysctl {name}", ["sysctl", "-q", f"{name}={SETTINGS[name][1]}"], finds=only("sysctl", name))
    if "addresses" in recording.files:
        yield Tamper("sysctl ip_forward", ["sysctl", "-q", f"{FORWARDING}=0"], finds=only("sysctl", FORWARDING))
    yield Tamper("foreign sysctl", ["sysctl", "-q", "net.ipv4.conf.all.log_martians=1"])


def of_addresses(recording: Recording, source: random.Random) -> Iterator[Tamper]:
    """Of the dummy link."""
    bound = [line.split()[0] for line in recording.files["addresses"].splitlines()[1:]]
    device = ["dev", DEVICE]
    if bound:
        gone = source.choice(bound)
        finds = only("address", f"{DEVICE} {gone}")
        yield Tamper(f"remove address {gone}", ["ip", "address", "delete", gone, *device], finds=finds)
    for address in ("192.0.2.30/32", "2001:db8:2::30/128"):
        finds = only("address", f"{DEVICE} {address}")
        yield Tamper(f"add address {address}", ["ip", "address", "add", address, *device], finds=finds)
    everything = frozenset({("link", DEVICE), *(("address", f"{DEVICE} {address}") for address in bound)})
    yield Tamper("delete the link", ["ip", "link", "delete", DEVICE], finds=everything)
    # kube-proxy leaves it down, and the kernel answers for its addresses either way.
    yield Tamper("the link is up", ["ip", "link", "set", DEVICE, "up"])


def of_servers(recording: Recording, source: random.Random) -> Iterator[Tamper]:
    """Of virtual and real servers."""
    servers = parse(recording.files.get("ipvs.save", ""))
    # A virtual server has no name: nothing tells whose another one is, unless a set names its address or port.
    yield Tamper("foreign virtual server", ["ipvsadm", "-A", "-t", "192.0.2.10:80", "-s", "rr"])
    finds = only("ipvs timeouts", "tcp, tcpfin, udp") if any(recording.timeouts) else frozenset()
    yield Tamper("timeouts", ["ipvsadm", "--set", "77", "78", "79"], finds=finds)
    ports = sorted(key.port for key in servers if (key.protocol, key.address) == ("tcp", NODE))
    if ports:
        added = VirtualServerKey("ipv4", "tcp", "127.0.0.1", source.choice(ports))
        words = ["ipvsadm", "-A", *service_option(added).split(), "-s", "rr"]
        yield Tamper(f"add {added}, a node port", words, finds=only("virtual server", str(added)))
    if servers:
        yield from _of_virtual_server(*source.choice(sorted(servers.items(), key=lambda item: item[0])))
    served = sorted(key for key, server in servers.items() if server.real_servers)
    if served:
        key = source.choice(served)
        yield from _of_real_server(key, source.choice(sorted(servers[key].real_servers)))


def _of_virtual_server(key: VirtualServerKey, server: VirtualServer) -> Iterator[Tamper]:
    finds = only("virtual server", str(key))
    bare = server._replace(real_servers={})
    changes = {
        "scheduler": bare._replace(scheduler="lc" if server.scheduler != "lc" else "rr", flags=()),
        "flags": bare._replace(flags=() if server.flags else ("flag-1",)),
        "timeout": bare._replace(timeout=server.timeout + 60),
        "one-packet": bare._replace(flags=(*server.flags, "one-packet")),
    }
    for what, changed in changes.items():
        # One-packet scheduling is UDP's.
        if what != "one-packet" or key.protocol == "udp":
            words, *_real_servers = service_lines(key, changed)
            yield Tamper(f"change {what} of {key}", ["ipvsadm", "-E", *words.split()[1:]], finds=finds)
    gone: set[Object] = {("real server", f"{key} -> {real}") for real in server.real_servers}
    yield Tamper(f"delete {key}", ["ipvsadm", "-D", *service_option(key).split()], finds=finds | gone)


def _of_real_server(key: VirtualServerKey, real: RealServerKey) -> Iterator[Tamper]:
    option = service_option(key).split()
    changes = {
        "delete": ["-d", *option, "-r", str(real)],
        "reweight": ["-e", *option, "-r", str(real), "-m", "-w", "7"],
        "limit": ["-e", *option, "-r", str(real), "-m", "-w", "1", "-x", "9", "-y", "3"],
    }
    # ipvsadm takes the virtual server's port for that of a real server that is tunnelled to.
    if real.port == key.port:
        changes["tunnel to"] = ["-e", *option, "-r", str(real), "-i", "-w", "1"]
    for what, words in changes.items():
        finds = only("real server", f"{key} -> {real}")
        yield Tamper(f"{what} {key} -> {real}", ["ipvsadm", *words], finds=finds)
    added = REAL[key.family]
    words = ["-a", *option, "-r", str(added), "-m", "-w", "1"]
    yield Tamper(f"add to {key}", ["ipvsadm", *words], finds=only("real server", f"{key} -> {added}"))
