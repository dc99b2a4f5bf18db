# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way of a packet through the tables of nftables mode.

    from outside   prerouting ── local? ── input
                                 └─ forward ── postrouting
    from the node  output ── postrouting ── local? ── input

Base chains of a hook are walked in the order of their priorities, and a policy is that of another table: no verdict
here saves a packet from it. Statements that kube-proxy does not write are refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import nftables_name
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import endpoint, split_endpoint
from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import Set

from .members import within
from .outcome import DELIVERED, DROPPED, PASSED, REACHED, REFUSED, Answer, MissingObjectError, Outcome, Packet, State
from .rule import UnknownFormError

if TYPE_CHECKING:
    from .walk import Walker

HOOK = re.compile(r"type (filter|nat) hook (\w+) priority ([\w+-]+(?: [+-] \d+)?); policy accept;")
NAMED_PRIORITIES = {"dstnat": -100, "filter": 0, "srcnat": 100}
MAXIMUM_DEPTH = 16
# What becomes of a part in a chain: the next rule, no rule of the chain that sent it here, no rule of the base chain.
NEXT, GONE, STOP = "next", "gone", "stop"
FIELD = r"(?:ip6? [sd]addr|meta l4proto|th dport)"
NAME = r"[^\s{}]+"
# Matches and statements, tried in this order where the one before ends.
STATEMENTS = {
    "new": re.compile(r"ct state new"),
    "translated": re.compile(r"ct status dnat"),
    "mark": re.compile(r"meta mark(?: & (0x\w+) != 0x0{8}| != 0x0{8}/(1))"),
    "set_mark": re.compile(r"meta mark set meta mark ([|^]) (0x\w+)"),
    "verdict_map": re.compile(rf"({FIELD}(?: \. {FIELD})*) vmap @({NAME})"),
    "in_set": re.compile(rf"({FIELD}(?: \. {FIELD})*) @({NAME})"),
    "protocol": re.compile(r"meta l4proto (tcp|udp|sctp)"),
    "network": re.compile(r"(ip6? [sd]addr) (!= )?(?:\{ ([^}]+) \}|([0-9a-f.:/-]+))"),
    "interface": re.compile(r'iifname (!= )?"([^"]+)"'),
    "local": re.compile(r"fib ([sd]addr) type local"),
    "spread": re.compile(r"numgen random mod (\d+) vmap \{ ([^}]+) \}"),
    "translate_spread": re.compile(r"dnat ip6? to numgen random mod (\d+) map \{ ([^}]+) \}"),
    "translate": re.compile(r"dnat to (\S+)"),
    "remember": re.compile(rf"update @({NAME}) \{{ ip6? saddr \}}"),
    "masquerade": re.compile(r"masquerade fully-random"),
    "reject": re.compile(r"reject"),
    "verdict": re.compile(rf"(drop|(?:goto|jump) {NAME})"),
    "comment": re.compile(r'comment "[^"]*"'),
}
Part = tuple[str, State]


class Walk:
    """One packet on its way."""

    def __init__(self, walker: Walker, packet: Packet) -> None:
        self.walker = walker
        self.packet = packet
        self.table = walker.rule_set.nftables[nftables_name(packet.family)]
        if packet.interface and not packet.source:
            raise ValueError("a packet from outside has a source")
        self.source = packet.source or walker.source_for(packet)
        self.outcomes: defaultdict[Outcome, float] = defaultdict(float)
        self.hook = ("", "")

    def answer(self) -> Answer:
        start = State(self.packet.destination, self.packet.port, interface=self.packet.interface)
        for state in self._hook("prerouting" if self.packet.interface else "output", start):
            local = self.walker.is_local(state.destination)
            if self.packet.interface and local:
                self._receive(state)
            elif self.packet.interface:
                for forwarded in self._hook("forward", state):
                    self._leave(forwarded, local)
            else:
                self._leave(state, local)
        return {outcome: share for outcome, share in self.outcomes.items() if share}

    def _leave(self, state: State, local: bool) -> None:
        for left in self._hook("postrouting", state._replace(interface="")):
            # What the node sends to itself comes back in; it has passed nat already.
            if local:
                self._receive(left._replace(interface="lo"))
            else:
                self._end(left)

    def _receive(self, state: State) -> None:
        for received in self._hook("input", state):
            self._end(received)

    def _end(self, state: State) -> None:
        if state.translated:
            outcome = Outcome(REACHED, endpoint(state.destination, state.port), state.masqueraded)
        else:
            kind = DELIVERED if self.walker.is_local(state.destination) else PASSED
            outcome = Outcome(kind, "", state.masqueraded)
        self.outcomes[outcome] += state.share

    def _hook(self, name: str, state: State) -> Iterator[State]:
        """What the base chains of a hook let pass."""
        chains = []
        for chain_name, chain in self.table.chains.items():
            found = HOOK.fullmatch(chain.hook) if chain.hook else None
            if chain.hook and not found:
                raise UnknownFormError(chain.hook)
            if found and found[2] == name:
                chains.append((priority(found[3]), found[1], chain_name))
        states = [state]
        for _priority, kind, chain_name in sorted(chains):
            self.hook = (kind, name)
            states = [after for one in states for _verdict, after in self._chain(chain_name, one, 0)]
        if self.walker.policies.get(name.upper()) == "DROP":
            self.outcomes[Outcome(DROPPED)] += sum(one.share for one in states)
        else:
            yield from states

    def _chain(self, name: str, state: State, depth: int) -> Iterator[Part]:
        """The parts of a packet that a chain lets pass, and where they go on."""
        if depth > MAXIMUM_DEPTH:
            raise MissingObjectError(f"chains jump in a circle, at {name}")
        if name not in self.table.chains:
            raise MissingObjectError(f"there is no chain {name}")
        parts = [state]
        for text in self.table.chains[name].rules:
            waiting, parts = parts, []
            for part in waiting:
                for verdict, after in self._rule(text, part, depth):
                    if verdict == NEXT:
                        parts.append(after)
                    else:
                        yield verdict, after
        for part in parts:
            yield NEXT, part

    def _rule(self, text: str, state: State, depth: int) -> Iterator[Part]:
        """Statement after statement; a match that fails ends the rule."""
        rest = text
        while rest:
            name, found = next(((n, m) for n, p in STATEMENTS.items() if (m := p.match(rest))), ("", None))
            if found is None or rest[found.end() :][:1].strip():
                raise UnknownFormError(f"{rest}, in: {text}")
            rest = rest[found.end() :].lstrip()
            done = getattr(self, f"_{name}")(found, state, depth)
            if isinstance(done, State):
                state = done
            elif done is not None:
                yield from done
                return
            else:
                break
        yield NEXT, state

    def _verdicts(self, text: str, state: State, depth: int) -> Iterator[Part]:
        verb, _blank, name = text.partition(" ")
        if verb == "drop":
            self._refuse(state, DROPPED)
            return
        for verdict, after in self._chain(name, state, depth + 1):
            # Who was sent by goto does not come back.
            yield STOP if verdict == STOP else GONE if verb == "goto" else NEXT, after

    def _refuse(self, state: State, kind: str) -> None:
        if self.hook[0] != "filter":
            raise UnknownFormError(f"{kind} in a chain of nat")
        self.outcomes[Outcome(kind)] += state.share

    def _value(self, field: str, state: State) -> str:
        fields = {
            "saddr": self.source,
            "daddr": state.destination,
            "l4proto": self.packet.protocol,
            "dport": str(state.port),
        }
        return fields[field.split()[1]]

    def _key(self, fields: str, state: State) -> str:
        return " . ".join(self._value(field, state) for field in fields.split(" . "))

    # One method a statement: the state goes on; None where a match fails; parts where the rule ends here.

    def _new(self, found: re.Match[str], state: State, depth: int) -> State | None:
        return state

    _comment = _remember = _new

    def _translated(self, found: re.Match[str], state: State, depth: int) -> State | None:
        return state if state.translated else None

    def _mark(self, found: re.Match[str], state: State, depth: int) -> State | None:
        bits = int(found[1], 16) if found[1] else 1 << 31
        return state if state.mark & bits else None

    def _set_mark(self, found: re.Match[str], state: State, depth: int) -> State | None:
        bits = int(found[2], 16)
        return state._replace(mark=state.mark | bits if found[1] == "|" else state.mark ^ bits)

    def _verdict_map(self, found: re.Match[str], state: State, depth: int) -> State | Iterator[Part] | None:
        element = self._set(found[2]).elements.get(self._key(found[1], state))
        return self._verdicts(element.data, state, depth) if element else None

    def _in_set(self, found: re.Match[str], state: State, depth: int) -> State | None:
        found_set = self._set(found[2])
        if found_set.dynamic:
            return state if self._remembered(found[2]) else None
        return state if self._key(found[1], state) in found_set.elements else None

    def _set(self, name: str) -> Set:
        if name not in self.table.sets:
            raise MissingObjectError(f"there is no set {name}")
        return self.table.sets[name]

    def _remembered(self, name: str) -> bool:
        """Whether the client was with the endpoint whose chain adds to the set."""
        adding = [chain for chain in self.table.chains.values() if any(f"update @{name} " in r for r in chain.rules)]
        if not adding:
            raise MissingObjectError(f"nobody adds to {name}")
        return bool(self.packet.endpoint) and any(
            rule.endswith(f" dnat to {self.packet.endpoint}") for chain in adding for rule in chain.rules
        )

    def _protocol(self, found: re.Match[str], state: State, depth: int) -> State | None:
        return state if self.packet.protocol == found[1] else None

    def _network(self, found: re.Match[str], state: State, depth: int) -> State | None:
        address = self._value(found[1], state)
        inside = any(_between(address, one) for one in (found[3] or found[4]).split(", "))
        return state if inside != bool(found[2]) else None

    def _interface(self, found: re.Match[str], state: State, depth: int) -> State | None:
        wanted = found[2]
        is_it = state.interface.startswith(wanted[:-1]) if wanted.endswith("*") else state.interface == wanted
        return state if is_it != bool(found[1]) else None

    def _local(self, found: re.Match[str], state: State, depth: int) -> State | None:
        return state if self.walker.is_local(self.source if found[1] == "saddr" else state.destination) else None

    def _shares(self, count: str, text: str, state: State) -> Iterator[tuple[str, State]]:
        choices = [one.partition(" : ") for one in text.split(", ")]
        if [number for number, _colon, _data in choices] != [str(number) for number in range(int(count))]:
            raise UnknownFormError(text)
        for _number, _colon, data in choices:
            yield data, state._replace(share=state.share / len(choices))

    def _spread(self, found: re.Match[str], state: State, depth: int) -> Iterator[Part]:
        for data, part in self._shares(found[1], found[2], state):
            yield from self._verdicts(data, part, depth)

    def _translate_spread(self, found: re.Match[str], state: State, depth: int) -> Iterator[Part]:
        for data, part in self._shares(found[1], found[2], state):
            address, _dot, port = data.partition(" . ")
            yield from self._to(address, int(port), part)

    def _translate(self, found: re.Match[str], state: State, depth: int) -> Iterator[Part]:
        return self._to(*split_endpoint(found[1]), state)

    def _to(self, address: str, port: int, state: State) -> Iterator[Part]:
        if self.hook not in (("nat", "prerouting"), ("nat", "output")):
            raise UnknownFormError(f"dnat in {self.hook}")
        yield STOP, state._replace(destination=address, port=port, translated=True)

    def _masquerade(self, found: re.Match[str], state: State, depth: int) -> Iterator[Part]:
        if self.hook != ("nat", "postrouting"):
            raise UnknownFormError(f"masquerade in {self.hook}")
        yield STOP, state._replace(masqueraded=True)

    def _reject(self, found: re.Match[str], state: State, depth: int) -> Iterator[Part]:
        self._refuse(state, REFUSED)
        return iter(())

    def _verdict(self, found: re.Match[str], state: State, depth: int) -> Iterator[Part]:
        return self._verdicts(found[1], state, depth)


def priority(text: str) -> int:
    """``dstnat - 10`` -> -110."""
    name, *more = text.split()
    base = NAMED_PRIORITIES[name] if name in NAMED_PRIORITIES else int(name)
    return base + int("".join(more) or 0)


def _between(address: str, network: str) -> bool:
    """Whether an address is in a network, or between two addresses."""
    first, dash, last = network.partition("-")
    if not dash:
        return within(address, network)
    return ip_address(first) <= ip_address(address) <= ip_address(last)  # type: ignore[operator]
