# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The compiled rule set of one node: every object that the collection puts into the node's kernel.

Its file is text in sections, each in the form that the tool of that subsystem prints, so that a person can read it,
diff it, and load a section by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Dict, FrozenSet, NamedTuple, Tuple

from . import ipset, iptables, ipvs, nftables, node

FIRST_LINE = "# kubenode.proxy rule set, format 1"
FAMILIES = ("ipv4", "ipv6")
SECTIONS = (
    *("settings", "sysctls", "ipvs timeouts", "sets", *(f"tables {family}" for family in FAMILIES)),
    *("virtual servers", "link", "udp endpoints", "accounting objects", "nftables"),
)
# What stands before a section: after an empty line, which no tool prints inside its part.
SECTION = re.compile(rf"\n\[({'|'.join(SECTIONS)})\]\n")
# (address, port) of a service -> (address, port) of its serving endpoints
UDPEndpoints = Dict[Tuple[str, int], FrozenSet[Tuple[str, int]]]


class RuleSet(NamedTuple):
    """What a node's kernel should hold.

    ``tables`` maps a family to its tables. In a built-in chain they hold our jumps only, in their order.
    ``ipvs_timeouts`` maps ``tcp``, ``tcpfin`` and ``udp`` to seconds; those left out keep what the kernel has.
    ``sysctls`` maps dotted names to values. ``udp_endpoints`` maps each UDP service's address and port to its serving
    endpoints: a flow of the service that leads elsewhere is stale. ``accounting_objects`` are the names of nfacct
    objects. ``nftables`` are whole tables, by family and name.
    """

    settings: dict[str, str]
    sysctls: dict[str, str]
    ipvs_timeouts: dict[str, int]
    sets: dict[str, ipset.IPSet]
    tables: dict[str, iptables.Tables]
    virtual_servers: ipvs.VirtualServers
    link: node.Link | None
    udp_endpoints: UDPEndpoints
    accounting_objects: frozenset[str]
    nftables: nftables.Tables

    @classmethod
    def empty(cls) -> RuleSet:
        """A rule set that holds nothing."""
        return cls({}, {}, {}, {}, {family: {} for family in FAMILIES}, {}, None, {}, frozenset(), {})


def render(rule_set: RuleSet) -> str:
    """Rule set -> file text; the same rule set always gives the same text."""
    return "".join(pieces(rule_set))


def pieces(rule_set: RuleSet) -> Iterator[str]:
    """That text piece by piece: all of a large one takes as much memory again."""
    return _pieces(
        {
            **_small_sections(rule_set),
            **{f"tables {family}": iptables.pieces(rule_set.tables.get(family, {})) for family in FAMILIES},
            "nftables": nftables.pieces(rule_set.nftables),
        }
    )


def changed_pieces(text: str, before: RuleSet, after: RuleSet) -> Iterator[str]:
    """The text of a rule set once tables have changed in what ``before`` and ``after`` hold; all else is after's.

    Raises ValueError for the text of another rule set.
    """
    places = _places(text)
    changed = _small_sections(after)
    for family in FAMILIES:
        name = f"tables {family}"
        changed[name] = iptables.changed_pieces(text, *places[name], before.tables[family], after.tables[family])
    changed["nftables"] = nftables.changed_pieces(text, *places["nftables"], before.nftables, after.nftables)
    return _pieces(changed)


def _small_sections(rule_set: RuleSet) -> dict[str, Iterable[str]]:
    return {
        "settings": [node.render_sysctls(rule_set.settings)],
        "sysctls": [node.render_sysctls(rule_set.sysctls)],
        "ipvs timeouts": [node.render_sysctls({name: str(value) for name, value in rule_set.ipvs_timeouts.items()})],
        "sets": ipset.pieces(rule_set.sets.values()),
        "virtual servers": ipvs.pieces(rule_set.virtual_servers),
        "link": [node.render_link(rule_set.link)],
        "udp endpoints": [_render_endpoints(rule_set.udp_endpoints)],
        "accounting objects": [node.render_lines(rule_set.accounting_objects)],
    }


def _pieces(sections: Mapping[str, Iterable[str]]) -> Iterator[str]:
    yield f"{FIRST_LINE}\n"
    for name in SECTIONS:
        yield f"\n[{name}]\n"
        yield from sections[name]


def parse(text: str) -> RuleSet:
    """File text -> rule set. Raises ValueError where the text is not one, or is of another format."""
    sections = _sections(text)
    timeouts = node.parse_sysctls(sections["ipvs timeouts"])
    return RuleSet(
        settings=node.parse_sysctls(sections["settings"]),
        sysctls=node.parse_sysctls(sections["sysctls"]),
        ipvs_timeouts={name: int(value) for name, value in timeouts.items()},
        sets=ipset.parse(sections["sets"]),
        tables={family: iptables.parse(sections[f"tables {family}"]) for family in FAMILIES},
        virtual_servers=ipvs.parse(sections["virtual servers"]),
        link=node.parse_link(sections["link"]),
        udp_endpoints=_parse_endpoints(sections["udp endpoints"]),
        accounting_objects=frozenset(node.parse_lines(sections["accounting objects"])),
        nftables=nftables.parse(sections["nftables"]),
    )


def parse_settings(text: str) -> dict[str, str]:
    """File text -> the settings of that rule set, without all else of it. Raises ValueError as :func:`parse`."""
    start, end = _places(text)["settings"]
    return node.parse_sysctls(text[start:end])


def _render_endpoints(endpoints: UDPEndpoints) -> str:
    lines = []
    for service, serving in sorted(endpoints.items()):
        names = sorted(ipvs.endpoint(*endpoint) for endpoint in serving)
        lines.append(" ".join([ipvs.endpoint(*service), "->", *names]))
    return "".join(f"{line}\n" for line in lines)


def _parse_endpoints(text: str) -> UDPEndpoints:
    found = {}
    for line in text.splitlines():
        service, _arrow, *serving = line.split()
        found[ipvs.split_endpoint(service)] = frozenset(ipvs.split_endpoint(endpoint) for endpoint in serving)
    return found


def _sections(text: str) -> dict[str, str]:
    # A large section is copied just once.
    return {name: text[start:end] for name, (start, end) in _places(text).items()}


def _places(text: str) -> dict[str, tuple[int, int]]:
    """Where each section begins and ends; at one place, if it is missing. Raises ValueError for another text."""
    if not text.startswith(FIRST_LINE + "\n"):
        raise ValueError(f"does not start with {FIRST_LINE!r}")
    heads = list(SECTION.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    missing = dict.fromkeys(SECTIONS, (len(text), len(text)))
    return {**missing, **{head.group(1): (head.end(), end) for head, end in zip(heads, ends)}}
