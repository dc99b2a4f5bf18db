# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with a node that was brought to a rule set, and says what one run does not heal, or heals at others' cost.

Runs where the kernel is: reads a job a line from standard input, as JSON, and writes a result a line to standard
output. A job: {case, backend, modules, kinds (of tampers), cluster: {services (canonical), node, configuration}}; a
result: {case, tampers: [{kind, what, problems}]} or {case, error}.
"""

from __future__ import annotations

import random
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.conformance.worker import Job, Result, on_fresh_node, serve
from tests.reliability import iptables_tampers as chains
from tests.reliability import nftables_tampers, node_tampers
from tests.reliability.scene import Scene

Tamper = Callable[[Scene, random.Random], "str | None"]

CHAINS = (
    chains.rule_edited,
    chains.rule_removed,
    chains.rule_duplicated,
    chains.rule_added,
    chains.rules_reordered,
    chains.chain_flushed,
    chains.chain_removed,
    chains.chain_renamed,
    chains.jump_removed,
    chains.jump_edited,
    chains.jump_duplicated,
    chains.jumps_reordered,
    chains.table_flushed,
    chains.table_wiped,
)
# In every mode: what other modes have is not to be there, and what is foreign is to stay.
ALWAYS = (
    chains.chain_added,
    chains.jump_added,
    chains.foreign_rule_added,
    node_tampers.set_added,
    node_tampers.sysctl_changed,
    node_tampers.file_deleted,
    node_tampers.file_edited,
    node_tampers.drop_in_removed,
    node_tampers.drop_in_edited,
    node_tampers.module_unloaded,
)
IPVS = (
    node_tampers.member_removed,
    node_tampers.member_added,
    node_tampers.set_flushed,
    node_tampers.set_destroyed,
    node_tampers.set_of_another_type,
    node_tampers.set_of_other_options,
    node_tampers.real_server_removed,
    node_tampers.real_server_reweighted,
    node_tampers.real_server_forwarded_otherwise,
    node_tampers.real_server_added,
    node_tampers.virtual_server_removed,
    node_tampers.virtual_server_edited,
    node_tampers.virtual_server_added,
    node_tampers.virtual_servers_cleared,
    node_tampers.ipvs_timeouts_changed,
    node_tampers.address_removed,
    node_tampers.address_added,
    node_tampers.addresses_flushed,
    node_tampers.link_removed,
)
NFTABLES = (
    nftables_tampers.rule_edited,
    nftables_tampers.rule_removed,
    nftables_tampers.rule_duplicated,
    nftables_tampers.rule_added,
    nftables_tampers.rules_reordered,
    nftables_tampers.chain_flushed,
    nftables_tampers.chain_removed,
    nftables_tampers.chain_added,
    nftables_tampers.chain_hooked_otherwise,
    nftables_tampers.element_removed,
    nftables_tampers.element_changed,
    nftables_tampers.element_added,
    nftables_tampers.set_flushed,
    nftables_tampers.set_added,
    nftables_tampers.set_destroyed,
    nftables_tampers.set_of_another_type,
    nftables_tampers.table_flushed,
    nftables_tampers.table_removed,
    nftables_tampers.table_dormant,
    nftables_tampers.ruleset_flushed,
    nftables_tampers.foreign_table_added,
)
BY_MODE: dict[str, tuple[Tamper, ...]] = {
    "iptables": (*CHAINS, *ALWAYS),
    "ipvs": (*CHAINS, *IPVS, *ALWAYS),
    "nftables": (*NFTABLES, *ALWAYS),
}
# What takes foreign objects along comes last: what follows has fewer of them to leave alone.
LAST = {"table flushed", "table wiped", "virtual servers cleared", "ruleset flushed"}
# What the module rule_set leaves to the others.
OF_THE_NODE = {"sysctl changed", "drop in removed", "drop in edited", "module unloaded"}
# These change what is foreign, or nothing of ours.
STAY = {"foreign rule added", "foreign table added", "virtual server added"}


def kind(tamper: Tamper) -> str:
    """A tamper's kind, in words."""
    return tamper.__name__.replace("_", " ")


def kinds(mode: str) -> list[str]:
    """All kinds of a mode, those with side effects last."""
    return sorted(map(kind, BY_MODE[mode]), key=LAST.__contains__)


def tamper_and_heal(job: Job) -> Result:
    """Brings the node to the cluster, and heals it after each tamper."""
    source = random.Random(job["case"])
    tampers = {kind(tamper): tamper for tamper in BY_MODE[job["cluster"]["configuration"]["mode"]]}
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        scene = Scene(job, Path(scratch))
        try:
            scene.prepare()
            own = scene.own()
            for name in job["kinds"]:
                if what := tampers[name](scene, source):
                    found.append({"kind": name, "what": what, "problems": _healed(scene, own, name)})
        finally:
            scene.close()
    return {"case": job["case"], "tampers": found}


def _healed(scene: Scene, own: list[str], name: str) -> list[str]:
    problems: list[str] = []
    if (scene.own() == own) != (name in STAY):
        problems.append("the tamper did not show" if name not in STAY else "the tamper changed what is ours")
    foreign = scene.foreign()
    heal = scene.heal if name in OF_THE_NODE else scene.converge_only
    try:
        changed, operations = heal()
        if changed == (name in STAY):
            problems.append(f"the run says changed={changed}: {operations}")
        # kubelet's chain is the wish of kube-proxy too: it is there again after a table was flushed.
        problems += [line for line in scene.problems(own, foreign) if name not in LAST or "KUBE-FIREWALL" not in line]
        changed, operations = heal()
        if changed:
            problems.append(f"the second run changed: {operations}")
    except Exception:
        problems.append(traceback.format_exc())
    return problems


if __name__ == "__main__":
    serve(lambda job: on_fresh_node(tamper_and_heal, job))
