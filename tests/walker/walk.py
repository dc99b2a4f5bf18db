# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way of the first packet of a connection through a node that has nothing but one rule set.

    from outside   nat PREROUTING ── local? ── filter INPUT ── IPVS ──┬─ a process of the node
                                     └─ filter FORWARD ───────────────┼─ nat POSTROUTING
    from the node  nat OUTPUT ── IPVS ── filter OUTPUT ── nat POSTROUTING ── local? ── filter INPUT

A packet that IPVS sends on passes filter OUTPUT and nat POSTROUTING. Rules that choose at random split the packet: each
part has its share. Not walked: mangle and raw, in which there are no rules of ours, reverse path filters, martians. The
tables of nftables mode are walked by `nftables.Walk`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address

from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import DEVICE
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables import Chain
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import VirtualServerKey, endpoint
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from . import members, nftables
from .outcome import DELIVERED, DROPPED, PASSED, REACHED, REFUSED, Answer, MissingObjectError, Outcome, Packet, State
from .rule import Condition, Rule, UnknownFormError, parse
from .scheduling import shares

PROTOCOL_NUMBERS = {"6": "tcp", "17": "udp", "132": "sctp"}
# Verdicts of a chain; a rule without one is walked past.
ACCEPT, DROP, REJECT, RETURN, NEXT = "ACCEPT", "DROP", "REJECT", "RETURN", ""
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"
# As many as the kernel follows.
MAXIMUM_DEPTH = 16


class Walker:
    """A node with one rule set. ``policies`` of built-in chains of filter, where they are not ACCEPT.

    Raises ValueError for a set that the kernel would not take.
    """

    def __init__(self, rule_set: RuleSet, facts: NodeFacts, policies: Mapping[str, str] | None = None) -> None:
        self.rule_set = rule_set
        self.policies = policies or {}
        others = [found.address for found in facts.addresses if found.interface != DEVICE]
        self.others = [one for one in others if not ip_address(one).is_loopback]
        bound = rule_set.link.addresses if rule_set.link else ()
        self.addresses = {*others, *(one.partition("/")[0] for one in bound)}
        for ip_set in rule_set.sets.values():
            members.verify(ip_set)

    def walk(self, packet: Packet) -> Answer:
        """What becomes of a packet. Raises UnknownFormError and MissingObjectError."""
        if self.rule_set.nftables:
            return nftables.Walk(self, packet).answer()
        return _Walk(self, packet).answer()

    def is_local(self, address: str) -> bool:
        return address in self.addresses or address.startswith("127.")

    def source_for(self, packet: Packet) -> str:
        """The source address that the kernel chooses for a packet of the node: of a local route, the destination."""
        if self.is_local(packet.destination):
            return packet.destination
        return next(one for one in self.others if (":" in one) == (packet.family == "ipv6"))


class _Walk:
    """One packet on its way."""

    def __init__(self, walker: Walker, packet: Packet) -> None:
        self.walker = walker
        self.packet = packet
        self.rule_set = walker.rule_set
        self.tables = walker.rule_set.tables[packet.family]
        if packet.interface and not packet.source:
            raise ValueError("a packet from outside has a source")
        self.source = packet.source or walker.source_for(packet)
        self.outcomes: defaultdict[Outcome, float] = defaultdict(float)

    def answer(self) -> Answer:
        start = State(self.packet.destination, self.packet.port, interface=self.packet.interface)
        if self.packet.interface:
            self._from_outside(start)
        else:
            self._from_node(start)
        return {outcome: share for outcome, share in self.outcomes.items() if share}

    def _from_outside(self, start: State) -> None:
        for state in self._hook("nat", PREROUTING, start):
            if not self.walker.is_local(state.destination):
                for forwarded in self._hook("filter", FORWARD, state):
                    self._leave(forwarded)
                continue
            for received in self._hook("filter", INPUT, state):
                for sent in self._balance(received):
                    if sent.server is None or self.walker.is_local(sent.destination):
                        self._end(sent)
                    else:
                        self._send(sent)

    def _from_node(self, start: State) -> None:
        for state in self._hook("nat", OUTPUT, start):
            for sent in self._balance(state):
                self._send(sent)

    def _send(self, state: State) -> None:
        for sent in self._hook("filter", OUTPUT, state._replace(interface="")):
            self._leave(sent)

    def _leave(self, state: State) -> None:
        for left in self._hook("nat", POSTROUTING, state._replace(interface="")):
            # What the node sends to itself comes back in; it has passed nat already.
            if self.walker.is_local(left.destination):
                for received in self._hook("filter", INPUT, left._replace(interface="lo")):
                    self._end(received)
            else:
                self._end(left)

    def _end(self, state: State) -> None:
        name = endpoint(state.destination, state.port)
        if state.translated or state.server:
            outcome = Outcome(REACHED, name, state.masqueraded)
        else:
            kind = DELIVERED if self.walker.is_local(state.destination) else PASSED
            outcome = Outcome(kind, "", state.masqueraded)
        self.outcomes[outcome] += state.share

    def _balance(self, state: State) -> Iterator[State]:
        """IPVS: the parts for each real server, or the packet itself where no virtual server is meant."""
        key = VirtualServerKey(self.packet.family, self.packet.protocol, state.destination, state.port)
        server = self.rule_set.virtual_servers.get(key)
        if server is None:
            yield state
            return
        found = shares(server, self.packet.endpoint)
        if not found:
            self.outcomes[Outcome(REFUSED)] += state.share
        for real, share in found.items():
            yield state._replace(destination=real.address, port=real.port, share=state.share * share, server=key)

    def _hook(self, table: str, name: str, state: State) -> Iterator[State]:
        """A built-in chain: what it accepts."""
        chain = self.tables.get(table, {}).get(name)
        if chain is None:
            yield state
            return
        for verdict, after in self._chain((table, name), chain, state, 0):
            if verdict in (RETURN, NEXT) and table == "filter":
                verdict = self.walker.policies.get(name, ACCEPT)
            if verdict in (DROP, REJECT):
                if table != "filter":
                    raise UnknownFormError(f"{verdict} in table {table}")
                outcome = Outcome(DROPPED if verdict == DROP else REFUSED)
                self.outcomes[outcome] += after.share
            else:
                yield after

    def _chain(self, hook: tuple[str, str], chain: Chain, state: State, depth: int) -> Iterator[tuple[str, State]]:
        """Verdicts of a chain on the parts of a packet."""
        if depth > MAXIMUM_DEPTH:
            raise MissingObjectError(f"chains of {hook[0]} jump in a circle")
        parts = [state]
        for text in chain.rules:
            rule, waiting, parts = parse(text), parts, []
            for part in waiting:
                matched = self._probability(rule, part)
                if matched < 1.0:
                    parts.append(part._replace(share=part.share * (1 - matched)))
                if matched > 0.0:
                    for verdict, after in self._target(hook, rule, part._replace(share=part.share * matched), depth):
                        if verdict == NEXT:
                            parts.append(after)
                        else:
                            yield verdict, after
        for part in parts:
            yield NEXT, part

    def _target(self, hook: tuple[str, str], rule: Rule, state: State, depth: int) -> Iterator[tuple[str, State]]:
        name = rule.target
        if name in ("", ACCEPT, DROP, REJECT, RETURN):
            yield name, state
        elif name == "MARK":
            value, _slash, mask = rule.options["--set-xmark"][0].partition("/")
            yield NEXT, state._replace(mark=(state.mark & ~int(mask, 0)) ^ int(value, 0))
        elif name == "DNAT":
            if hook not in (("nat", PREROUTING), ("nat", OUTPUT)):
                raise UnknownFormError(f"DNAT in {hook}")
            address, _colon, port = rule.options["--to-destination"][0].rpartition(":")
            yield ACCEPT, state._replace(destination=members.bare(address), port=int(port), translated=True)
        elif name == "MASQUERADE":
            if hook != ("nat", POSTROUTING):
                raise UnknownFormError(f"MASQUERADE in {hook}")
            yield ACCEPT, state._replace(masqueraded=True)
        else:
            chain = self.tables[hook[0]].get(name)
            if chain is None or chain.policy is not None or rule.options:
                raise MissingObjectError(f"{hook[0]} has no chain {name}")
            for verdict, after in self._chain(hook, chain, state, depth + 1):
                yield (NEXT if verdict == RETURN else verdict), after

    def _probability(self, rule: Rule, state: State) -> float:
        """How likely a rule matches: 0 or 1 unless it asks for a random number."""
        probability = 1.0
        for condition in rule.conditions:
            if condition.match == "statistic":
                probability *= float(condition.value("--probability"))
                continue
            option = next(iter(condition.options), "")
            matches = _CONDITIONS.get(condition.match or option)
            if matches is None:
                raise UnknownFormError(f"match {condition.match}")
            if matches(self, state, condition) == (option in condition.negated):
                return 0.0
        return probability

    def local(self, direction: str, state: State) -> bool:
        return self.walker.is_local(self.source if direction == "--src-type" else state.destination)

    def in_set(self, state: State, condition: Condition) -> bool:
        name, fields = condition.options["--match-set"]
        ip_set = self.rule_set.sets.get(name)
        if ip_set is None or not members.is_of_family(ip_set, self.packet.family):
            raise MissingObjectError(f"there is no {self.packet.family} set {name}")
        addresses = {"src": self.source, "dst": state.destination}
        return members.contains(ip_set, fields, addresses.__getitem__, self.packet.protocol, state.port)

    def seen(self, condition: Condition) -> bool:
        """Whether the client is on a list of xt_recent: that of a chain which leads to the endpoint it had before."""
        if "--set" in condition.options:
            return True
        chain = self.tables["nat"].get(condition.value("--name"))
        if chain is None:
            raise MissingObjectError(f"nobody adds to the list {condition.value('--name')}")
        targets = {parse(rule).options.get("--to-destination", ("",))[0] for rule in chain.rules}
        return bool(self.packet.endpoint) and self.packet.endpoint in targets

    def counted(self, condition: Condition) -> bool:
        if condition.value("--nfacct-name") not in self.rule_set.accounting_objects:
            raise MissingObjectError(f"there is no nfacct object {condition.value('--nfacct-name')}")
        return True


def _interface(walk: _Walk, state: State, condition: Condition) -> bool:
    wanted = condition.value("-i")
    return state.interface.startswith(wanted[:-1]) if wanted.endswith("+") else state.interface == wanted


def _port(walk: _Walk, state: State, condition: Condition) -> bool:
    return "--dport" not in condition.options or state.port == int(condition.value("--dport"))


def _mark(walk: _Walk, state: State, condition: Condition) -> bool:
    value, _slash, mask = condition.value("--mark").partition("/")
    return state.mark & int(mask or "0xffffffff", 0) == int(value, 0)


def _states(walk: _Walk, state: State, condition: Condition) -> bool:
    """A new connection; DNAT counts from the rule on, IPVS does not set it."""
    found = {"NEW", "DNAT"} if state.translated else {"NEW"}
    return not found.isdisjoint(condition.value("--ctstate").split(","))


def _virtual_server(walk: _Walk, state: State, condition: Condition) -> bool:
    protocol = PROTOCOL_NUMBERS[condition.value("--vproto")]
    wanted = (protocol, condition.value("--vaddr"), int(condition.value("--vport")))
    return state.server is not None and (state.server.protocol, state.server.address, state.server.port) == wanted


_Matches = Callable[[_Walk, State, Condition], bool]
# Match, or selector -> whether it matches
_CONDITIONS: dict[str, _Matches] = {
    "-s": lambda walk, state, condition: members.within(walk.source, condition.value("-s")),
    "-d": lambda walk, state, condition: members.within(state.destination, condition.value("-d")),
    "-p": lambda walk, state, condition: walk.packet.protocol == condition.value("-p"),
    "-i": _interface,
    "tcp": _port,
    "udp": _port,
    "sctp": _port,
    "comment": lambda walk, state, condition: True,
    "addrtype": lambda walk, state, condition: walk.local(next(iter(condition.options)), state),
    "conntrack": _states,
    "ipvs": _virtual_server,
    "mark": _mark,
    "nfacct": lambda walk, state, condition: walk.counted(condition),
    "physdev": lambda walk, state, condition: walk.packet.bridged,
    "recent": lambda walk, state, condition: walk.seen(condition),
    "set": lambda walk, state, condition: walk.in_set(state, condition),
}
