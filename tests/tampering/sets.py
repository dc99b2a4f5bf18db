# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with sets and their members."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset import IPSet, parse

from .recording import FAMILIES, Recording
from .tamper import Tamper, only

COMMAND = ["ipset", "restore"]
HOSTS = {"inet": ("192.0.2.5", "192.0.2.0/24"), "inet6": ("2001:db8:2::5", "2001:db8:2::/48")}
# Type -> an entry that no recording has; for an address and a network.
ENTRIES = {
    "hash:ip": "{0}",
    "hash:ip,port": "{0},tcp:7",
    "hash:ip,port,ip": "{0},tcp:7,{0}",
    "hash:ip,port,net": "{0},tcp:7,{1}",
    "bitmap:port": "7",
}


def tampers(recording: Recording, source: random.Random) -> Iterator[Tamper]:
    """One of each kind that the recording has an object for."""
    sets = list(parse(recording.files["ipset.save"]).values())
    yield from _of_members(sets, source)
    for set_type in sorted({found.type for found in sets}):
        yield from _of_set(source.choice([found for found in sets if found.type == set_type]))
    rules = "".join(recording.files[f"{program}.rules"] for program in FAMILIES.values())
    unused = [found.name for found in sets if f"--match-set {found.name} " not in rules]
    if unused:
        name = source.choice(unused)
        yield _tamper(f"destroy {name}", [f"destroy {name}"], "set", name)
    yield Tamper("foreign set", COMMAND, "create FOREIGN hash:ip family inet\nadd FOREIGN 192.0.2.5\n")


def _tamper(what: str, lines: list[str], kind: str, name: str) -> Tamper:
    return Tamper(what, COMMAND, "".join(f"{line}\n" for line in lines), only(kind, name))


def _of_members(sets: list[IPSet], source: random.Random) -> Iterator[Tamper]:
    filled = [found for found in sets if found.members]
    if filled:
        victim = source.choice(filled)
        entry = source.choice(sorted(victim.members))
        name = f"{victim.name} {entry}"
        yield _tamper(f"remove member {name}", [f"del {name}"], "member", name)
        flushed = source.choice(filled)
        finds = frozenset(("member", f"{flushed.name} {entry}") for entry in flushed.members)
        yield Tamper(f"flush {flushed.name}", ["ipset", "flush", flushed.name], finds=finds)


def _of_set(victim: IPSet) -> Iterator[Tamper]:
    entry = ENTRIES[victim.type].format(*HOSTS[victim.family])
    name = f"{victim.name} {entry}"
    yield _tamper(f"add member {name}", [f"add {name}"], "member", name)
    other = dict(victim.options)
    other.update({"range": "0-65534"} if "range" in other else {"maxelem": "65535"})
    lines = IPSet("OTHER", victim.type, tuple(other.items()), victim.members).lines()
    # A set that rules name cannot be destroyed, but its content and options can be swapped.
    yield _tamper(
        f"make {victim.name} with other options",
        [*lines, f"swap OTHER {victim.name}", "destroy OTHER"],
        "set",
        victim.name,
    )
