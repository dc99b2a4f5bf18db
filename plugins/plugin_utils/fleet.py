# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What the page of a fleet shows: its drift report, and what proxy_info said of its nodes, without repetition.

A fleet may have hundreds of nodes with thousands of services each, most of them alike: every text, path and object is
there once, and what belongs to one node refers to it by its place in a list.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FACTS = ("mode", "kernel", "versions", "kube_proxy_running", "notes")
# A path that a node does not have.
NONE = -1
_MEMBER = re.compile(r"([^\s,]+),(tcp|udp|sctp):(\d+)")
_PORT_MEMBER = re.compile(r"-(TCP|UDP) (\d+)$")
_ELEMENT = re.compile(r"(?:(\S+) \. )?(tcp|udp|sctp) \. (\d+)$")


class Rates(NamedTuple):
    """What changed from one reading to the next, per second; None where counters began anew in between."""

    connections: float | None
    bytes: float | None


UNKNOWN = Rates(None, None)


class Sums:
    """Sums of rates; None where none is known."""

    def __init__(self) -> None:
        self.connections: float | None = None
        self.bytes: float | None = None

    def add(self, rates: Rates | Sums) -> None:
        """Adds what is known."""
        if rates.connections is not None:
            self.connections = (self.connections or 0) + rates.connections
        if rates.bytes is not None:
            self.bytes = (self.bytes or 0) + rates.bytes


class Series:
    """Sums of rates, by the number of the interval."""

    def __init__(self) -> None:
        self._sums: list[Sums] = []

    def at(self, interval: int) -> Sums:
        """The sums of an interval."""
        while len(self._sums) <= interval:
            self._sums.append(Sums())
        return self._sums[interval]

    def columns(self) -> list[list[float | None]]:
        """For each interval, connections and bytes per second."""
        return [[_rounded(sums.connections), _rounded(sums.bytes)] for sums in self._sums]


class Service:
    """One service port of the fleet."""

    def __init__(self, number: int, identity: tuple[str, str, str]) -> None:
        self.number = number
        self.identity = identity
        self.addresses: list[list[str]] = []
        # The steps of each path, as numbers of texts; its place, by all that was said of it; by node, which one it has.
        self.paths: list[list[list[int]]] = []
        self.places: dict[str, int] = {}
        self.path_of: dict[int, int] = {}
        self.series = Series()
        self.connections = 0


class Fleet:
    """Takes in what proxy_info says of nodes, one result after another, and keeps what the page needs."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        self._nodes: dict[str, int] = {}
        self._services: dict[tuple[str, str, str], Service] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._traffic: dict[str, _NodeTraffic] = {}
        self._series = Series()

    def add(self, name: str, result: Mapping[str, Any]) -> None:
        """Takes in a result for a node."""
        node = self._nodes.setdefault(name, len(self._nodes))
        facts = self._facts.setdefault(name, {"notes": []})
        notes = [*facts["notes"], *(note for note in result.get("notes", []) if note not in facts["notes"])]
        facts.update({key: result[key] for key in FACTS if key in result}, notes=notes)
        for one in result.get("services", []):
            self._add_path(node, one)
        if result.get("traffic"):
            self._add_traffic(name, result["traffic"])

    def data(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """All that the page shows. ``report`` is the drift report (docs/guides/drift.md)."""
        # Nodes that were not looked at are in the drift report only.
        order = sorted(report["nodes"])
        places = {self._nodes[name]: place for place, name in enumerate(order) if name in self._nodes}
        services = [self._service(service, places) for service in self._services.values()]
        objects = _Objects(_Index(self._services.values(), list(self._texts)))
        nodes = [self._node(name, report["nodes"][name], objects) for name in order]
        return {
            **{key: report[key] for key in ("started", "finished", "status", "totals")},
            "nodes": nodes,
            "objects": objects.listed,
            "services": services,
            "series": self._series.columns(),
            "seconds": self._seconds(),
            # At last: it is complete only now.
            "texts": list(self._texts),
        }

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _known_service(self, one: Mapping[str, Any]) -> Service:
        identity = (one["name"], one["protocol"], one["family"])
        if identity not in self._services:
            self._services[identity] = Service(len(self._services), identity)
        return self._services[identity]

    def _add_path(self, node: int, one: Mapping[str, Any]) -> None:
        service = self._known_service(one)
        service.addresses = service.addresses or [[a["kind"], a["address"]] for a in one["addresses"]]
        # Most nodes have the path of another one.
        text = json.dumps(one["path"])
        if text not in service.places:
            service.places[text] = len(service.paths)
            steps = ((step["from"], step["to"], step["label"], step["status"]) for step in one["path"])
            service.paths.append([list(map(self._text, step)) for step in steps])
        service.path_of[node] = service.places[text]

    def _add_traffic(self, name: str, traffic: Mapping[str, Any]) -> None:
        found = self._traffic.setdefault(name, _NodeTraffic())
        sums = Sums()
        for one, rates in found.read(traffic):
            service = self._known_service(one)
            found.latest[service.number] = (one, rates)
            sums.add(rates)
            if found.intervals:
                service.series.at(found.intervals - 1).add(rates)
        if found.intervals:
            for series in (found.series, self._series):
                series.at(found.intervals - 1).add(sums)

    def _service(self, service: Service, places: Mapping[int, int]) -> dict[str, Any]:
        """Of its paths, the most common one counts for all nodes that are not named."""
        counts = Counter(service.path_of.values())
        common = counts.most_common(1)[0][0] if counts else NONE
        other = {
            place: service.path_of.get(node, NONE)
            for node, place in places.items()
            if service.path_of.get(node, NONE) != common
        }
        name, protocol, family = service.identity
        return {
            "name": name,
            "protocol": protocol,
            "family": family,
            "addresses": service.addresses,
            "paths": service.paths,
            "common": common,
            "other": other,
            "series": service.series.columns(),
        }

    def _node(self, name: str, report: Mapping[str, Any], objects: _Objects) -> dict[str, Any]:
        traffic = self._traffic.get(name)
        return {
            "name": name,
            **{key: report[key] for key in ("status", "message", "objects_total", "truncated")},
            "objects": [objects.place(one) for one in report["objects"]],
            "facts": self._facts.get(name),
            "series": traffic.series.columns() if traffic else [],
            "resets": traffic.resets if traffic else 0,
            # Service, connections so far, connections and bytes per second, connections at present: five by five.
            "traffic": list(traffic.flat()) if traffic else [],
        }

    def _seconds(self) -> list[float]:
        """How long each interval was, on average of the nodes."""
        spans = [traffic.spans for traffic in self._traffic.values()]
        longest = max(map(len, spans), default=0)
        columns = ([span[place] for span in spans if len(span) > place] for place in range(longest))
        return [round(sum(column) / len(column), 1) for column in columns]


class _NodeTraffic:
    """The readings of one node's counters."""

    def __init__(self) -> None:
        self.series = Series()
        self.spans: list[float] = []
        self.resets = 0
        self.latest: dict[int, tuple[Mapping[str, Any], Rates]] = {}
        # Connections and bytes at the last reading.
        self._previous: dict[tuple[str, ...], tuple[int, int]] = {}
        self._uptime: float | None = None

    @property
    def intervals(self) -> int:
        """Number of intervals between readings."""
        return len(self.spans)

    def read(self, traffic: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Rates]]:
        """Each service of a reading, with what changed since the one before."""
        span = traffic["uptime"] - self._uptime if self._uptime is not None else 0
        if self._uptime is not None:
            self.spans.append(max(span, 0))
        self._uptime = traffic["uptime"]
        before, self._previous = self._previous, {}
        for one in traffic["services"]:
            key = (one["name"], one["protocol"], one["family"])
            now = (one["connections"], one.get("incoming_bytes", 0) + one.get("outgoing_bytes", 0))
            self._previous[key] = now
            connections, sent = self._rates(before.get(key), now, span)
            yield one, Rates(connections, sent if "incoming_bytes" in one else None)

    def _rates(self, before: tuple[int, int] | None, now: tuple[int, int], span: float) -> Rates:
        if before is None:
            return UNKNOWN
        # After a restart of the node its clock begins anew as well.
        if span <= 0 or now[0] < before[0] or now[1] < before[1]:
            self.resets += 1
            return UNKNOWN
        return Rates((now[0] - before[0]) / span, (now[1] - before[1]) / span)

    def flat(self) -> Iterator[float | None]:
        """See Fleet. Services without any traffic are left out."""
        for number, (one, rates) in sorted(self.latest.items()):
            row = [one["connections"], *map(_rounded, rates), one.get("active_connections")]
            if any(row):
                yield from (number, *row)


def _rounded(value: float | None) -> float | None:
    """Three digits are what a page shows."""
    if value is None:
        return None
    rounded = float(f"{value:.3g}")
    return int(rounded) if rounded.is_integer() else rounded


class _Objects:
    """The objects that differ, each once, with the services that they belong to."""

    def __init__(self, index: _Index) -> None:
        self._index = index
        self._places: dict[tuple[str, ...], int] = {}
        self.listed: list[list[Any]] = []

    def place(self, one: Mapping[str, str]) -> int:
        """The place of an object in the list."""
        key = (one["verb"], one["kind"], one["name"], one["reason"])
        if key not in self._places:
            self._places[key] = len(self.listed)
            self.listed.append([*key, sorted(self._index.services(one["kind"], one["name"]))])
        return self._places[key]


class _Index:
    """Which services an object belongs to, by its name. Paths are of numbers, which stand for ``texts``."""

    def __init__(self, services: Iterable[Service], texts: list[str]) -> None:
        self._found: dict[str, set[int]] = {}
        for service in services:
            _name, protocol, _family = service.identity
            for _kind, address in service.addresses:
                self._put(f"{protocol} {address}", service)
                self._put(_host(address), service)
            for source, target in {(step[0], step[1]) for path in service.paths for step in path}:
                self._put(texts[source], service)
                self._put(f"{protocol} {texts[target]}", service)

    def services(self, kind: str, name: str) -> set[int]:
        """Numbers of the services; none where the object belongs to the node as a whole."""
        for key in _keys(kind, name):
            if key in self._found:
                return self._found[key]
        return set()

    def _put(self, key: str, service: Service) -> None:
        if key != "*":
            self._found.setdefault(key, set()).add(service.number)


def _keys(kind: str, name: str) -> Iterator[str]:
    """Under which names an object's services are known, the most specific first."""
    last = name.rpartition(" ")[2]
    if kind in ("virtual server", "real server"):
        server = name.partition(" -> ")[0]
        protocol, _space, address = server.partition(" ")
        yield server
        yield f"{protocol} *:{address.rpartition(':')[2]}"
    elif kind in ("member", "element"):
        found = (_MEMBER if kind == "member" else _ELEMENT).search(name)
        of_port = _PORT_MEMBER.search(name)
        if found:
            address, protocol, port = found.groups()
            yield f"{protocol} [{address}]:{port}" if ":" in (address or "") else f"{protocol} {address}:{port}"
            yield f"{protocol} *:{port}"
        elif of_port:
            yield f"{of_port.group(1).lower()} *:{of_port.group(2)}"
        yield last
    elif kind == "address":
        yield last.partition("/")[0]
    elif kind in ("chain", "set"):
        yield last
        # The set that remembers the clients of an endpoint, in nftables mode.
        yield last.replace("affinity-", "endpoint-", 1)


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
