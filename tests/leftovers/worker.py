# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes recorded nodes to other modes, each in a network namespace of its own, and compares with nodes that were fresh.

A job: {case, services (canonical), node, configuration, backend, moves}, a move: {files, left, to}; a result: {case,
wrong} or {case, error}.
"""

from __future__ import annotations

import difflib
import re
import subprocess
import tempfile

from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import (
    Options,
    compile_rule_set,
    converge_rule_set,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.namespace import enter
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.conformance import dump
from tests.conformance.worker import NAMESPACE, PREFIX, Job, Result, on_fresh_node, serve
from tests.tampering.recording import Recording

# What another program has on the node: beside kube-proxy's rules, and in every table that it uses.
FOREIGN_RULES = [
    ["-t", "filter", "-N", "KUBE-MINE"],
    ["-t", "filter", "-A", "INPUT", "-j", "KUBE-MINE"],
    ["-t", "filter", "-A", "KUBE-MINE", "-p", "tcp", "--dport", "9", "-j", "DROP"],
    ["-t", "nat", "-A", "POSTROUTING", "-p", "tcp", "--dport", "9", "-j", "MASQUERADE"],
    ["-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "9", "-j", "RETURN"],
    ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "9", "-j", "RETURN"],
    ["-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "--dport", "9", "-j", "RETURN"],
]
IPTABLES_TABLES = tuple(f"{family} {table} " for family in ("ip", "ip6") for table in ("filter", "nat", "mangle"))
FOREIGN_SET = "create KUBE-MINE hash:ip\nadd KUBE-MINE 192.0.2.1\n"
FOREIGN_SERVER = "-A -t 203.0.113.77:9 -s rr\n-a -t 203.0.113.77:9 -r 203.0.113.78:9 -m -w 1\n"


def compare(job: Job) -> Result:
    """What a job asks for."""
    wrong = []
    for move in job["moves"]:
        todo = {**job, "move": move}
        fresh, left = (on_fresh_node(work, todo) for work in (from_nothing, from_recording))
        for result in (fresh, left):
            if "error" in result:
                return result
        title = f"{move['left']} to {move['to'] or 'none'}"
        lines = difflib.unified_diff(fresh["lines"], left["lines"], "never there", "left", lineterm="", n=0)
        wrong += [f"{title}: {line}" for line in lines]
        wrong += [f"{title}: second run: {operation}" for operation in left["second"]]
    return {"case": job["case"], "wrong": wrong}


def from_nothing(job: Job) -> Result:
    """The node with foreign objects alone, taken where the move goes."""
    enter(PREFIX + NAMESPACE)
    add_foreign(job)
    return converge(job)


def from_recording(job: Job) -> Result:
    """The node as kube-proxy left it."""
    enter(PREFIX + NAMESPACE)
    wanted = parse_configuration({**job["configuration"], "mode": job["move"]["left"]})
    timeouts = (wanted.tcp_timeout, wanted.tcp_fin_timeout, wanted.udp_timeout)
    Recording(job["move"]["files"], job["backend"], timeouts).load()
    add_foreign(job)
    return converge(job)


def add_foreign(job: Job) -> None:
    """Foreign objects of every kind that the kernel has; for sets, one with a name much like kube-proxy's."""
    kind = "" if job["backend"] == "auto" else f"-{job['backend']}"
    for program in ("iptables", "ip6tables"):
        for rule in FOREIGN_RULES:
            subprocess.run([f"{program}{kind}", "-w", *rule], check=True, capture_output=True)
    subprocess.run(["ipset", "restore"], input=FOREIGN_SET, text=True, check=True)
    if job["configuration"]["mode"] == "ipvs":
        subprocess.run(["ipvsadm", "-R"], input=FOREIGN_SERVER, text=True, check=True)
    else:
        subprocess.run(["nft", "add", "table", "inet", "kube-proxy"], check=True)


def converge(job: Job) -> Result:
    """The node in the mode that the move goes to, as the tools show it, and what a second run would do."""
    mode = job["move"]["to"]
    configuration = parse_configuration({**job["configuration"], **({"mode": mode} if mode else {})})
    with tempfile.TemporaryDirectory() as folder:
        for check in (False, True):
            access = NodeAccess(PREFIX + NAMESPACE, backend=job["backend"], state_folder=folder)
            desired = RuleSet.empty()
            if mode:
                node, services = parse_node(job["node"]), canonical.load(job["services"])
                desired = compile_rule_set(services, node, configuration, access)
            outcome = converge_rule_set(access, desired, configuration, Options(), check)
    second = [f"{o.verb} {o.kind} {o.name}: {o.reason}" for o in outcome.operations]
    return {"case": job["case"], "lines": lines(job), "second": second}


def lines(job: Job) -> list[str]:
    """Everything on the node but sysctls: what kube-proxy changed of these, it did not note."""
    own = job["configuration"]["mode"]
    rules = {name: by_table(text) for name, text in dump.dump_iptables(job["backend"]).items() if name != "sysctl"}
    files = {**rules, "sets": dump.ipsets()}
    if own == "ipvs":
        files["servers"] = dump.virtual_servers()
    else:
        files["nft"] = nftables_words()
    links = subprocess.run(["ip", "-brief", "address"], check=True, capture_output=True, text=True).stdout
    # The kernel draws link-local addresses at random.
    files["links"] = re.sub(r"fe80::\S+", "", links)
    return [f"{name}: {line}" for name, text in files.items() for line in text.splitlines()]


def by_table(text: str) -> str:
    """The tables sorted: iptables-legacy-save shows them in the order of their first use."""
    return "".join(sorted(f"*{table}" for table in text.split("*")[1:]))


def nftables_words() -> str:
    """What nft shows of tables that are not those of iptables, as sorted words: sets have no order."""
    listed = subprocess.run(["nft", "-s", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    tables = [f"table {text}" for text in listed.split("table ")[1:] if not text.startswith(IPTABLES_TABLES)]
    return "\n".join(sorted(word for table in tables for word in re.split(r"[,\n]\s*", table)))


if __name__ == "__main__":
    serve(compare)
