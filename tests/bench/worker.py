# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures one mode at one size on the kernel that it runs on, beside the raw tools, and prints the figures as JSON.

usage: python -m tests.bench.worker MODE BACKEND SERVICES ENDPOINTS NETNS

The figures of a run are those of parsing the file, compiling, reading, planning, writing, reading again, and of the
files of the node, with a snapshot.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.place import LOCK
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import compile_rule_set
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables import restore_input
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.iptables_stages import stages
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.ipvs import IPVS
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.lock import FOLDER
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.namespace import enter
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.nftables import script
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import iptables as plan_iptables
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import ipvs as plan_ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import nftables as plan_nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import CHANGE, Operation, Ownership
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import nftables_name
from ansible_collections.kubenode.proxy.plugins.module_utils.state import ipset, nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.bench.converge import CONFIGURATION
from tests.clusters import NODE, regular_services

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = Ownership(lambda *_: False, lambda *_: False, lambda _: False, lambda _: False)
PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}
# How often the tools and the runs that figures compare are measured, unless that takes so many seconds.
TIMES, SECONDS = 3, 20.0
TABLES = [nftables_name(family) for family in PROGRAMS]


class Bench:
    """One mode at one size, on the node whose files are in a folder."""

    def __init__(self, mode: str, backend: str, netns: str | None, folder: str) -> None:
        self._arguments = [mode, backend, netns or "", folder]

    def converge(self, path: Path) -> dict[str, Any]:
        """The figures of a run of the module with this service data."""
        command = [sys.executable, "-m", "tests.bench.converge", *self._arguments, str(path)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    def one_endpoint(self, path: Path, changed: Path) -> dict[str, Any]:
        """The figures of runs with service data that differ in one endpoint from what was there."""
        order = itertools.cycle((changed, path))
        found = median(lambda: self.converge(next(order)))
        self.converge(changed)
        return found

    def compile(self, path: Path) -> RuleSet:
        """The rule set alone."""
        mode, backend, netns, folder = self._arguments
        configuration = parse_configuration({**CONFIGURATION, "mode": mode})
        access = NodeAccess(netns or None, backend, folder)
        return compile_rule_set(canonical.load(path.read_text()), parse_node({"name": NODE}), configuration, access)


def of_tools(work: Callable[[], float]) -> dict[str, float]:
    """The seconds of tools that ``work`` runs, and the processor seconds, without what prepares their input."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor": processor}


def timed(argv: list[str], stdin: str = "") -> float:
    start = time.monotonic()
    subprocess.run(argv, input=stdin, check=True, capture_output=True, text=True)
    return time.monotonic() - start


def empty(mode: str, backend: str, netns: str) -> None:
    """Takes away what the node holds, with the tools; in IPVS mode with its network namespace.

    Real servers that are gone the kernel remembers for two minutes, and looks through all of them for each new one.
    """
    if mode == "ipvs":
        subprocess.run(["ip", "netns", "delete", netns], check=True)
        subprocess.run(["ip", "netns", "add", netns], check=True)
        enter(netns)
        # Without an interface that is up the kernel takes no real server.
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if mode == "nftables":
        for name in TABLES:
            subprocess.run(["nft", "delete", "table", *name.split(" ")], check=True)
        return
    suffix = "" if backend == "auto" else f"-{backend}"
    flush = "*nat\n:PREROUTING ACCEPT\nCOMMIT\n*filter\n:INPUT ACCEPT\nCOMMIT\n"
    for program in PROGRAMS.values():
        subprocess.run([f"{program}{suffix}-restore"], input=flush, check=True, capture_output=True, text=True)


def others_write(backend: str, number: int) -> None:
    """What somebody else writes, a table or chain of that number, after which nothing counts that a node remembers."""
    name = f"others-{number}"
    if backend == "legacy":
        subprocess.run(["iptables-legacy", "-N", name], check=True)
    else:
        subprocess.run(["nft", "add", "table", "inet", name], check=True)


def edit_a_rule(desired: RuleSet, backend: str) -> list[list[str]]:
    """The command that edits a rule of the last service."""
    chain = [name for name in desired.tables["ipv4"]["nat"] if name.startswith("KUBE-SVC-")][-1]
    return [[f"iptables-{backend}", "-t", "nat", "-R", chain, "1", "-j", "RETURN"]]


def empty_a_chain(desired: RuleSet, _backend: str) -> list[list[str]]:
    """The command that removes the rules of the last service."""
    chain = [name for name in desired.nftables[TABLES[0]].chains if name.startswith("service-")][-1]
    return [["nft", "flush", "chain", *TABLES[0].split(" "), chain]]


def change_a_weight_and_remove_a_member(desired: RuleSet, _backend: str) -> list[list[str]]:
    """The commands that do so, for the last service."""
    (key, server), member = list(desired.virtual_servers.items())[-1], list(desired.sets["KUBE-CLUSTER-IP"].members)[-1]
    real = next(iter(server.real_servers))
    ends = ["-t", f"{key.address}:{key.port}", "-r", f"{real.address}:{real.port}"]
    return [["ipvsadm", "-e", *ends, "-m", "-w", "7"], ["ipset", "del", "KUBE-CLUSTER-IP", member]]


TAMPERS = {
    "iptables": edit_a_rule,
    "ipvs": change_a_weight_and_remove_a_member,
    "nftables": empty_a_chain,
}


def raw_iptables(desired: RuleSet, backend: str) -> float:
    """The tables with the tool alone: for nft in the stages that make it fastest, else in one restore a family."""
    suffix = "" if backend == "auto" else f"-{backend}"
    total = 0.0
    for family, program in PROGRAMS.items():
        operations = plan_iptables.plan({}, desired.tables[family], NOTHING, family)
        parts = list(stages(operations)) if backend == "nft" else [operations]
        for part in parts:
            total += timed([f"{program}{suffix}-restore", "--noflush"], restore_input(part))
    return total


def raw_ipvs(desired: RuleSet, backend: str) -> float:
    """Everything of IPVS mode with the tools alone, in the order in which it can be written.

    For virtual servers, a plain writer over netlink takes the place of ``ipvsadm -R``, which takes many times as long.
    """
    total = timed(["ipset", "restore"], ipset.render(desired.sets.values())) + raw_iptables(desired, backend)
    total += write_virtual_servers(desired)
    addresses = desired.link.addresses if desired.link else ()
    lines = ["link add kube-ipvs0 type dummy", *(f"address add {a} dev kube-ipvs0" for a in sorted(addresses))]
    return total + timed(["ip", "-batch", "-"], "".join(f"{line}\n" for line in lines))


def write_virtual_servers(desired: RuleSet) -> float:
    """In a process of its own, as a tool is."""
    operations = plan_ipvs.plan({}, {}, desired.virtual_servers, lambda _key: False)
    start = time.monotonic()
    in_process(lambda: IPVS().apply(operations))
    return time.monotonic() - start


def raw_nftables(desired: RuleSet, backend: str) -> float:
    """The tables with nft alone."""
    return timed(["nft", "-f", "-"], nftables.render(desired.nftables))


def raw_save(mode: str, backend: str) -> float:
    """What the tools take to print what there is."""
    if mode == "nftables":
        return sum(timed(["nft", "-s", "list", "table", *name.split(" ")]) for name in TABLES)
    suffix = "" if backend == "auto" else f"-{backend}"
    return timed([f"iptables{suffix}-save"])


def raw_chain(desired: RuleSet, mode: str, backend: str) -> float:
    """One chain of a service, with the tool alone."""
    if mode == "nftables":
        chains = desired.nftables[TABLES[0]].chains
        name = next(name for name in chains if name.startswith("service-"))
        payload: Any = plan_nftables.ChainChange(TABLES[0], name, chains[name])
        return timed(["nft", "-f", "-"], script([Operation(CHANGE, "chain", name, "", payload)]))
    chains_of_nat = desired.tables["ipv4"]["nat"]
    name = next(name for name in chains_of_nat if name.startswith("KUBE-SVC-"))
    payload = plan_iptables.ChainContent("nat", name, chains_of_nat[name].rules)
    text = restore_input([Operation(CHANGE, "chain", name, "", payload)])
    return timed([f"iptables-{backend}-restore", "--noflush"], text)


def raw_restore(desired: RuleSet, mode: str, backend: str, netns: str) -> dict[str, float]:
    """Everything with the tools alone."""
    empty(mode, backend, netns)
    return of_tools(lambda: RAW[mode](desired, backend))


def median(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Of several measurements: a restore of the same legacy tables may take twice as long as another."""
    times: list[dict[str, Any]] = []
    while len(times) < TIMES and sum(found["seconds"] for found in times) < SECONDS:
        times.append(measure())
    return sorted(times, key=itemgetter("processor"))[(len(times) - 1) // 2]


RAW = {"ipvs": raw_ipvs, "iptables": raw_iptables, "nftables": raw_nftables}


def write_data(services: int, endpoints: int, path: Path, changed: Path, few: Path) -> None:
    """Service data; the same without one endpoint; the first tenth of it."""
    documents = regular_services(services, endpoints)
    few.write_text(canonical.dump(native.parse(documents[: services // 10])))
    path.write_text(canonical.dump(native.parse(documents)))
    documents[0]["endpoints"] = documents[0]["endpoints"][1:]
    changed.write_text(canonical.dump(native.parse(documents)))


def in_process(work: Callable[[], None]) -> None:
    """Does the work in a process of its own, so that its memory and its seconds are not this one's.

    Raises RuntimeError where it fails.
    """
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"a process of the benchmark ended with {process.exitcode}")


def forget(netns: str, folder: Path) -> None:
    """Takes away the node's files."""
    for left in Path(FOLDER).glob(f"{LOCK}-{netns}.*"):
        left.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def main() -> None:
    """Prints the figures."""
    mode, backend, services, endpoints, netns = sys.argv[1:]
    enter(netns)
    with tempfile.TemporaryDirectory() as folder:
        path, changed, few = (Path(folder, f"{name}.json") for name in ("services", "changed", "few"))
        in_process(lambda: write_data(int(services), int(endpoints), path, changed, few))
        files = Path(folder, "node")
        files.mkdir()
        bench = Bench(mode, backend, netns, str(files))
        figures: dict[str, Any] = {"bytes": path.stat().st_size}
        # The first tools of all load kernel modules and files.
        bench.converge(few)

        def first() -> dict[str, Any]:
            empty(mode, backend, netns)
            forget(netns, files)
            return bench.converge(path)

        figures["first converge"] = median(first)
        figures["second run"] = median(lambda: bench.converge(path))
        figures["one endpoint changed"] = bench.one_endpoint(path, changed)
        if mode != "ipvs":
            others_write(backend, 1)
            figures["second run after others"] = bench.converge(changed)
            others_write(backend, 2)
            figures["one endpoint changed after others"] = bench.converge(path)
        bench.converge(path)
        desired = bench.compile(path)
        tampers = TAMPERS[mode](desired, backend)
        for command in tampers:
            subprocess.run(command, check=True, capture_output=True)
        figures["tampers"] = len(tampers)
        figures["run after tampers"] = bench.converge(path)
        if mode != "ipvs":
            figures["raw chain"] = of_tools(lambda: raw_chain(desired, mode, backend))
        figures["raw save"] = of_tools(lambda: raw_save(mode, backend))
        figures["raw restore"] = median(lambda: raw_restore(desired, mode, backend, netns))
        empty(mode, backend, netns)
        forget(netns, files)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
