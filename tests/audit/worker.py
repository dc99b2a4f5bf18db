# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loads recordings one by one, each into a fresh network namespace of the kernel that it runs on, and audits them.

A job: {case, services (canonical), node, configuration, backend, files, seeds}; a result: {case, operations, wrong,
note} or {case, error}. For each seed the node is tampered with in one way after the other, and loaded again in between;
``wrong`` are those ways after which the audit names anything but what they changed.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator

from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import (
    Options,
    compile_rule_set,
    converge_rule_set,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.conformance.worker import NAMESPACE, PREFIX, Job, Result, on_fresh_node, serve
from tests.tampering import tampers
from tests.tampering.recording import Recording, ToolError


class Auditor:
    """Moves this process into the namespace; afterwards tells what differs there from what a job wants."""

    def __init__(self, job: Job, folder: str) -> None:
        self.configuration: ProxyConfiguration = parse_configuration(job["configuration"])
        self.access = NodeAccess(PREFIX + NAMESPACE, backend=job["backend"], state_folder=folder)
        node, services = parse_node(job["node"]), canonical.load(job["services"])
        self.desired: RuleSet = compile_rule_set(services, node, self.configuration, self.access)

    def audit(self) -> list[dict[str, str]]:
        """The operations that a run in check mode reports, but for the node's files, which it does not have."""
        outcome = converge_rule_set(self.access, self.desired, self.configuration, Options(), check=True)
        return [operation.report() for operation in outcome.operations if operation.kind != "file"]


def audit(job: Job) -> Result:
    """What a job asks for."""
    with tempfile.TemporaryDirectory() as folder:
        auditor = Auditor(job, folder)
        wanted = auditor.configuration
        timeouts = (wanted.tcp_timeout, wanted.tcp_fin_timeout, wanted.udp_timeout)
        recording = Recording(job["files"], job["backend"], timeouts)
        recording.load()
        operations = auditor.audit()
        found = [one for seed in job["seeds"] for one in tampered(auditor, recording, random.Random(seed))]
    note = f" ({len(found)} tampers)" if found else ""
    return {"case": job["case"], "operations": operations, "wrong": list(filter(None, found)), "note": note}


def tampered(auditor: Auditor, recording: Recording, source: random.Random) -> Iterator[str]:
    """What is wrong with the audit after each tamper, "" for nothing."""
    for tamper in tampers(recording, source):
        try:
            tamper.apply()
        except ToolError as error:
            yield f"{tamper.what}: {error}"
            continue
        operations = auditor.audit()
        recording.load_again(tamper.argv[0])
        found = {(operation["kind"], operation["name"]) for operation in operations}
        if found == tamper.finds:
            yield ""
        else:
            shown = "; ".join(f"{o['verb']} {o['kind']} {o['name']} ({o['reason']})" for o in operations) or "nothing"
            wanted = "; ".join(sorted(" ".join(one) for one in tamper.finds)) or "nothing"
            yield f"{tamper.what}: found {shown}, not {wanted}"


if __name__ == "__main__":
    serve(lambda job: on_fresh_node(audit, job))
