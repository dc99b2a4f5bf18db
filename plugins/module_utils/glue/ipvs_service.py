# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module ipvs_service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..kernel import ipvs as kernel_ipvs
from ..model.errors import InputError
from ..model.service import PROTOCOLS
from ..plan import ipvs as plan_ipvs
from ..plan.operation import CHANGE, REMOVE, Operation, Ownership
from ..state.rule_set import RuleSet
from .compiled import read_compiled
from .converge import Outcome, converge
from .ipvs_arguments import SERVICE, desired_servers, names_one
from .module import LOCKING, NETNS, RULE_SET
from .node import access
from .result import result_of
from .rule_set import converge_recorded, ownership_of
from .subsystems import VirtualServers

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..state.ipvs import Traffic, VirtualServerKey
    from ..state.ipvs import VirtualServers as Servers
    from .module import Call
    from .node import NodeAccess

# Fields of Traffic that count up; the others are rates.
COUNTERS = 5
ARGUMENT_SPEC: dict[str, Any] = {
    **SERVICE,
    "services": {"type": "list", "elements": "dict", "options": SERVICE},
    "real_servers_policy": {"type": "str", "choices": ["exact", "merge"], "default": "exact"},
    "drain": {"type": "list", "elements": "str", "choices": list(PROTOCOLS), "default": ["tcp"]},
    "only_owner": {"type": "bool", "default": False},
    "reset_counters": {"type": "bool", "default": False},
    **RULE_SET,
    **NETNS,
    **LOCKING,
}
OPTIONS: dict[str, Any] = {
    "argument_spec": ARGUMENT_SPEC,
    "mutually_exclusive": [("address", "fwmark", "services", "rule_set")],
}


class Task(NamedTuple):
    """What a task wants: the virtual servers, what else may be touched, and whose counters are to be zero."""

    desired: RuleSet
    ownership: Ownership
    recorded: frozenset[VirtualServerKey]
    counted: Collection[VirtualServerKey]


def work(module: Call) -> dict[str, Any]:
    """Converges the virtual servers; sets counters to zero on request."""
    params = module.params
    check_arguments(params)
    node = access(module)
    with node.lock(module):
        task = _task(module, node)
        subsystem = ServersByPolicy(
            node.ipvs, task.ownership, params["drain"], params["real_servers_policy"] == "merge"
        )
        outcome = _converge(module, node, subsystem, task)
        resets = counters_to_reset(node, task.counted) if params["reset_counters"] else []
        if not module.check_mode:
            for operation in resets:
                node.ipvs().zero(operation.payload)
    outcome = outcome._replace(operations=outcome.operations + resets)
    return {**result_of(module, outcome, node), "draining": subsystem.draining(task.desired)}


def _converge(module: Call, node: NodeAccess, subsystem: ServersByPolicy, task: Task) -> Outcome:
    subsystems = {"virtual servers": subsystem}
    if module.params["rule_set"]:
        outcome = converge_recorded(node, subsystems, task.desired, task.recorded, module.check_mode)
    else:
        outcome = converge(subsystems, task.desired, module.check_mode)
    return outcome._replace(after=subsystem.expected(outcome)) if module.check_mode else outcome


def check_arguments(params: dict[str, Any]) -> None:
    """Raises InputError where a task says nothing of what it wants."""
    named = params["rule_set"] or params["services"] is not None or names_one(params)
    if not named and not params["reset_counters"]:
        raise InputError(["address: give address and port, or fwmark, services, rule_set or reset_counters"])
    if not named and params["only_owner"]:
        raise InputError(["only_owner: would remove every virtual server: say so with an empty list of services"])


def _task(module: Call, node: NodeAccess) -> Task:
    params = module.params
    recorded = node.recorded_virtual_servers()
    if params["rule_set"]:
        servers = read_compiled(params["rule_set"]).virtual_servers
        ownership = ownership_of(recorded, params["only_owner"], ())
        return Task(RuleSet.empty()._replace(virtual_servers=servers), ownership, recorded, servers)
    servers, absent = desired_servers(params)
    ownership = Ownership(
        lambda *_: False, lambda *_: False, lambda _name: False, lambda key: params["only_owner"] or key in absent
    )
    named = servers or absent
    desired = RuleSet.empty()._replace(virtual_servers=servers)
    return Task(desired, ownership, recorded, servers if named else recorded)


class ServersByPolicy(VirtualServers):
    """Virtual servers; ``merge`` leaves real servers that are not desired."""

    def __init__(self, ipvs: Any, ownership: Ownership, drain: Collection[str], merge: bool) -> None:
        super().__init__(ipvs, ownership, drain)
        self._merge = merge

    def plan(self, desired: RuleSet) -> list[Operation]:
        return super().plan(desired._replace(virtual_servers=self._wanted(desired)))

    def draining(self, desired: RuleSet) -> list[dict[str, Any]]:
        """Real servers that wait for the end of their connections."""
        found = plan_ipvs.draining(self._live, self._statistics, self._wanted(desired), self._drain)
        return [
            {"virtual_server": str(one.virtual_server), "real_server": str(one.key), "connections": one.connections}
            for one in found
        ]

    def expected(self, outcome: Outcome) -> RuleSet:
        """What the operations of a run in check mode would lead to; drained real servers are still there."""
        servers = {k: v._replace(real_servers=dict(v.real_servers)) for k, v in outcome.before.virtual_servers.items()}
        for operation in outcome.operations:
            payload = operation.payload
            if isinstance(payload, plan_ipvs.RealServerPayload):
                real_servers: dict[Any, Any] = dict(servers[payload.virtual_server].real_servers)
                if payload.real_server:
                    real_servers[payload.key] = payload.real_server
                else:
                    real_servers.pop(payload.key, None)
                changed = servers[payload.virtual_server]._replace(real_servers=real_servers)
                servers[payload.virtual_server] = changed
            elif operation.verb == REMOVE:
                servers.pop(payload.key)
            else:
                live = servers.get(payload.key)
                servers[payload.key] = payload.server._replace(real_servers=live.real_servers if live else {})
        return outcome.after._replace(virtual_servers=servers)

    def _wanted(self, desired: RuleSet) -> Servers:
        servers = desired.virtual_servers
        if not self._merge:
            return servers
        return {
            key: server._replace(
                real_servers={**(self._live[key].real_servers if key in self._live else {}), **server.real_servers}
            )
            for key, server in servers.items()
        }


def counters_to_reset(node: NodeAccess, keys: Collection[VirtualServerKey]) -> list[Operation]:
    """Virtual servers of which some counter, or one of a real server, is not zero. Payload: the key."""
    if not kernel_ipvs.available():
        return []
    servers, real_servers = node.ipvs().traffic()
    counts = {key: _counts(traffic) for key, traffic in servers.items() if key in keys}
    for (key, _real_key), traffic in real_servers.items():
        if key in counts:
            counts[key] = [max(pair) for pair in zip(counts[key], _counts(traffic))]
    return [
        Operation(CHANGE, "counters", str(key), f"{found[0]} connections, {found[1]} packets and more", key)
        for key, found in sorted(counts.items())
        if any(found)
    ]


def _counts(traffic: Traffic) -> list[int]:
    return list(traffic[:COUNTERS])
