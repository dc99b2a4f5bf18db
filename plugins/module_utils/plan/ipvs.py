# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Virtual servers: (actual, statistics, desired, ownership) -> operations.

Configuration is compared, never statistics: those only say whether a real server that is to go still has connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .operation import ADD, CHANGE, REMOVE, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from ..state.ipvs import RealServer, RealServerKey, RealServerStatistics, VirtualServer, VirtualServerKey

    VirtualServersView = Mapping[VirtualServerKey, VirtualServer]
    StatisticsView = Mapping[tuple[VirtualServerKey, RealServerKey], RealServerStatistics]

# UDP and SCTP real servers go at once, as kube-proxy has it: expire_nodest_conn then ends their connections.
DRAINED_PROTOCOLS = frozenset({"tcp"})


class VirtualServerPayload(NamedTuple):
    """Of kind ``virtual server``. ``server`` is None for one to remove."""

    key: VirtualServerKey
    server: VirtualServer | None


class RealServerPayload(NamedTuple):
    """Of kind ``real server``. ``real_server`` is None for one to remove."""

    virtual_server: VirtualServerKey
    key: RealServerKey
    real_server: RealServer | None


def written(operations: Iterable[Operation]) -> set[VirtualServerKey]:
    """The virtual servers that operations change, or of which they change real servers."""
    payloads = [operation.payload for operation in operations]
    return {one.key if isinstance(one, VirtualServerPayload) else one.virtual_server for one in payloads}


class Draining(NamedTuple):
    """A real server that is to go, has weight 0, and waits for its connections to end."""

    virtual_server: VirtualServerKey
    key: RealServerKey
    connections: int


def plan(
    actual: VirtualServersView,
    statistics: StatisticsView,
    desired: VirtualServersView,
    owns: Callable[[VirtualServerKey], bool],
    drain: Container[str] = DRAINED_PROTOCOLS,
) -> list[Operation]:
    """Operations that turn ``actual`` into ``desired``: first what is added and changed, then what is removed.

    Virtual servers are sorted; the real servers of one keep the order of ``desired``. Live virtual servers that are
    ours by ``owns`` and not desired are removed with their real servers; all others are left alone. A real server
    that is not desired is removed, or, while it has connections of a protocol in ``drain``, gets weight 0 and stays:
    see :func:`draining`.
    """
    operations: list[Operation] = []
    for key, wanted in sorted(desired.items()):
        live = actual.get(key)
        if live == wanted:
            continue
        if live is None:
            operations.append(_virtual_server(ADD, key, wanted, "missing"))
        elif _configuration(key, live) != _configuration(key, wanted):
            operations.append(_virtual_server(CHANGE, key, wanted, _difference(key, live, wanted)))
        operations += _real_servers(key, live.real_servers if live else {}, wanted.real_servers)
    for key, real_key, connections in _superfluous(actual, statistics, desired, drain):
        if connections == 0:
            operations.append(_real_server(REMOVE, key, real_key, None, "not in the desired state"))
        elif actual[key].real_servers[real_key].weight != 0:
            idle = actual[key].real_servers[real_key]._replace(weight=0)
            operations.append(_real_server(CHANGE, key, real_key, idle, f"draining, {_count(connections)}"))
    for key in sorted(key for key in actual if key not in desired and owns(key)):
        operations.append(_virtual_server(REMOVE, key, None, "not in the desired state"))
    return operations


def draining(
    actual: VirtualServersView,
    statistics: StatisticsView,
    desired: VirtualServersView,
    drain: Container[str] = DRAINED_PROTOCOLS,
) -> list[Draining]:
    """The real servers that the plan leaves alone until their connections have ended: a later run removes them."""
    return [
        Draining(key, real_key, connections)
        for key, real_key, connections in _superfluous(actual, statistics, desired, drain)
        if connections and actual[key].real_servers[real_key].weight == 0
    ]


def _superfluous(
    actual: VirtualServersView,
    statistics: StatisticsView,
    desired: VirtualServersView,
    drain: Container[str],
) -> Iterator[tuple[VirtualServerKey, RealServerKey, int]]:
    """Real servers that are not desired in a virtual server that is, with the connections to wait for; sorted."""
    for key in sorted(key for key in actual if key in desired):
        superfluous = actual[key].real_servers.keys() - desired[key].real_servers.keys()
        # A firewall mark may stand for any protocol, so it may well carry TCP.
        waits = (key.protocol or "tcp") in drain
        for real_key in sorted(superfluous):
            found = statistics.get((key, real_key))
            yield key, real_key, found.connections if found and waits else 0


def _real_servers(
    key: VirtualServerKey, live: Mapping[RealServerKey, RealServer], wanted: Mapping[RealServerKey, RealServer]
) -> Iterator[Operation]:
    for real_key, real_server in wanted.items():
        found = live.get(real_key)
        if found is None:
            yield _real_server(ADD, key, real_key, real_server, "missing")
        elif found != real_server:
            reason = _fields(found._asdict(), real_server._asdict())
            yield _real_server(CHANGE, key, real_key, real_server, reason)


def _configuration(key: VirtualServerKey, server: VirtualServer) -> VirtualServer:
    whole_address = 128 if key.family == "ipv6" else 32
    configuration = server.configuration
    return configuration._replace(netmask=configuration.netmask % whole_address)


def _difference(key: VirtualServerKey, live: VirtualServer, wanted: VirtualServer) -> str:
    return _fields(_configuration(key, live)._asdict(), _configuration(key, wanted)._asdict())


def _fields(live: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    """``weight is 0, not 1; ...`` for the fields that differ."""
    return "; ".join(
        f"{name.replace('_', ' ')} is {_text(live[name])}, not {_text(value)}"
        for name, value in wanted.items()
        if live[name] != value
    )


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(str(part) for part in value) or "none"
    return "none" if value == "" else str(value)


def _count(connections: int) -> str:
    return "1 connection" if connections == 1 else f"{connections} connections"


def _virtual_server(verb: str, key: VirtualServerKey, server: VirtualServer | None, reason: str) -> Operation:
    return Operation(verb, "virtual server", str(key), reason, VirtualServerPayload(key, server))


def _real_server(
    verb: str, key: VirtualServerKey, real_key: RealServerKey, real_server: RealServer | None, reason: str
) -> Operation:
    return Operation(verb, "real server", f"{key} -> {real_key}", reason, RealServerPayload(key, real_key, real_server))
