# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures playbooks: a node with many services, a controller with many nodes, the report of a large fleet.

usage: python -m tests.bench.fleet [NODES [FORKS]]

The many nodes are network namespaces of this machine, each with an sshd and directories of its own, in iptables mode.
Their work is done by the processors that also do the controller's: hence the processor seconds of ansible-playbook and
its connections beside the wall clock.

ctl           10.90.255.254/16 on the bridge br0: the controller
node-000 ...  10.90.0.1, 10.90.0.2, ...
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.kubenode.proxy.plugins.plugin_utils import drift

from tests.clusters import regular_services
from tests.lab import Lab
from tests.lab.host import wait_until
from tests.lab.netns import Network

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_NODES = 50
DEFAULT_FORKS = 10
ONE_NODE = (1000, 10)
MANY_NODES = (100, 10)
LARGE_FLEET = (500, 1000)
FEW_AND_MANY_SERVICES = (10, 10_000)
FEW_NODES = 10
# Seconds for one run of a playbook.
TIMEOUT = 1800
TASK = re.compile(r"^(\S+ \S+) .*\| (?:TASK|RUNNING HANDLER|PLAY|PLAY RECAP) \[?([^\]*]+?)[\] *]*$", re.MULTILINE)
SHOWN_TASKS = 5
OWN_DIRECTORIES = ("/root", "/run", "/var/lib", "/etc/sysctl.d", "/etc/modules-load.d")
SSHD = """\
Port 22
HostKey {folder}/host
AuthorizedKeysFile {folder}/id.pub
StrictModes no
UsePAM no
PidFile none
"""


class Run(NamedTuple):
    """A run of a playbook; ``processor`` are the seconds of the controller's processes, ``tasks`` seconds by name."""

    seconds: float
    processor: float
    report: Any
    tasks: dict[str, float]


class Controller:
    """Runs the playbooks for an inventory, with a prefix such as ``ip netns exec``."""

    def __init__(self, folder: Path, hosts: Mapping[str, Mapping[str, Any]], size: tuple[int, int], mode: str) -> None:
        self._folder = folder
        self._prefix: Sequence[str] = ()
        (folder / "services.json").write_text(json.dumps(regular_services(*size, node=next(iter(hosts)))))
        variables = {
            "kube_proxy_mode": mode,
            "kube_proxy_services_src": str(folder / "services.json"),
            "kube_proxy_cluster_cidrs": ["10.128.0.0/9"],
            # Limits that only the first network namespace has.
            "kube_proxy_conntrack_max_per_core": 0,
            "kube_proxy_conntrack_min": 0,
        }
        (folder / "inventory.json").write_text(json.dumps({"nodes": {"hosts": dict(hosts), "vars": variables}}))

    def within(self, *prefix: str) -> Controller:
        """Runs all commands with this prefix from now on."""
        self._prefix = prefix
        return self

    def play(self, name: str, forks: int = DEFAULT_FORKS) -> Run:
        """Runs a playbook of the collection; raises where it fails or, for drift, a node is not clean."""
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"),
            "ANSIBLE_HOME": str(self._folder / "ansible"),
            "ANSIBLE_LOG_PATH": str(self._folder / "log"),
        }
        command = ["ansible-playbook", "-i", "inventory.json", "-f", str(forks), f"kubenode.proxy.{name}"]
        (self._folder / "log").unlink(missing_ok=True)
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*self._prefix, *command],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
        path = self._folder / "drift-report.json"
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds = time.monotonic() - begin
        report = json.loads(path.read_text()) if path.exists() else None
        return Run(seconds, processor, report, tasks_of((self._folder / "log").read_text(), seconds))


def tasks_of(log: str, seconds: float) -> dict[str, float]:
    """Ansible's log of a run that took so long -> seconds by task, the longest first, and before the first of them."""
    started = [(datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f"), name) for at, name in TASK.findall(log)]
    found: dict[str, float] = {}
    for (begin, name), (end, _name) in itertools.pairwise(started):
        found[name] = found.get(name, 0.0) + (end - begin).total_seconds()
    found["start and end"] = seconds - sum(found.values())
    return dict(sorted(found.items(), key=lambda item: -item[1]))


@contextlib.contextmanager
def namespaces(folder: Path, count: int) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """So many nodes, as hosts of an inventory, and the namespace from which they are reached."""
    for key in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "sshd_config").write_text(SSHD.format(folder=folder))
    names = {f"node-{number:03}": f"10.90.{(number + 1) // 256}.{(number + 1) % 256}" for number in range(count)}
    mounts = "; ".join(f"mount -t tmpfs tmpfs {path}" for path in OWN_DIRECTORIES)
    start = f"set -e; {mounts}; mkdir /run/sshd; exec /usr/sbin/sshd -D -f {folder}/sshd_config"
    with Network() as network, contextlib.ExitStack() as stack:
        network.add("ctl", *names)
        for name, address in names.items():
            network.veth(("ctl", f"to-{name}", None), (name, "eth0", f"{address}/16"))
        network.bridge("ctl", "br0", *(f"to-{name}" for name in names), address="10.90.255.254/16")
        network.build()
        for name in names:
            command = ["ip", "netns", "exec", network.full_name(name), "sh", "-c", start]
            daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(daemon.wait)
            stack.callback(daemon.terminate)
        for address in names.values():
            wait_for_sshd(network, address)
        yield network.full_name("ctl"), {name: host(folder, address) for name, address in names.items()}


def wait_for_sshd(network: Network, address: str) -> None:
    """Returns as soon as the controller's namespace reaches it."""

    def answers() -> bool:
        return network.run("ctl", ["nc", "-z", address, "22"], check=False).returncode == 0

    if not wait_until(answers, timeout=30, interval=0.1):
        raise RuntimeError(f"no sshd answers at {address}")


def host(folder: Path, address: str) -> dict[str, Any]:
    """The variables of a node."""
    return {
        "ansible_host": address,
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(folder / "id"),
        "ansible_ssh_args": f"-F /dev/null -o ControlMaster=auto -o ControlPersist=60s -o ControlPath={folder}/%h",
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        "ansible_pipelining": True,
    }


def line(name: str, what: str, value: str) -> None:
    print(f"{name:<32} {what:<48} {value}", flush=True)


def measure_one_node(name: str, controller: Controller) -> None:
    """A node with many services: all that a run takes, and how much of it on the node."""
    controller.play("site")
    run = controller.play("drift")
    (node,) = run.report["nodes"].values()
    phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in node["figures"]["seconds"].items())
    line(name, "drift of one node, seconds", f"{run.seconds:.1f}")
    line(name, "of them comparing, by phase", f"{node['seconds']:.2f}: {phases}")
    line(name, "processor seconds of the controller", f"{run.processor:.1f}")


def measure_many_nodes(folder: Path, count: int, forks: int) -> None:
    """A controller with many nodes: how many it does in a minute."""
    name = f"{count} nodes {'x'.join(map(str, MANY_NODES))}"
    with namespaces(folder, count) as (outside, hosts):
        controller = Controller(folder, hosts, MANY_NODES, "iptables").within("ip", "netns", "exec", outside)
        controller.play("site", forks)
        run = controller.play("drift", forks)
    cpus = len(os.sched_getaffinity(0))
    each = run.processor / count
    line(name, f"drift with {forks} forks, seconds", f"{run.seconds:.1f}")
    line(name, f"nodes a minute, {cpus} processors for all", f"{count / run.seconds * 60:.0f}")
    line(name, "processor seconds of the controller a node", f"{each:.2f}")
    line(
        name,
        f"nodes a minute, {cpus} processors for it alone",
        f"{60 * cpus / each:.0f} (computed from the line above)",
    )


def measure_sizes(folder: Path) -> None:
    """What a run of site.yml that changes nothing takes, and how much of that comes with the number of services."""
    runs: dict[int, tuple[Run, int]] = {}
    with namespaces(folder, 1) as (outside, hosts):
        for services in FEW_AND_MANY_SERVICES:
            inventory = folder / f"services-{services}"
            inventory.mkdir()
            controller = Controller(inventory, hosts, (services, 10), "nftables").within("ip", "netns", "exec", outside)
            # A source that changed seconds before it was read is read once more.
            for _run in range(2):
                controller.play("site")
            before = sent(outside)
            runs[services] = controller.play("site"), sent(outside) - before
    few, many = FEW_AND_MANY_SERVICES
    (small, small_bytes), (large, large_bytes) = runs[few], runs[many]
    line(f"site.yml, {few}x10", "second run on one node, seconds", f"{small.seconds:.1f}")
    for name, seconds in list(small.tasks.items())[:SHOWN_TASKS]:
        line(f"site.yml, {few}x10", "of them", f"{seconds:.1f} {name.rpartition(' : ')[2]}")
    name = f"site.yml, {many}x10 / {few}x10"
    line(name, "bytes sent in a second run", f"{large_bytes / small_bytes:.2f}  ({large_bytes} / {small_bytes})")
    line(name, "processor seconds of the controller", shares(large.processor, small.processor))


def measure_fleets(folder: Path, count: int, forks: int) -> None:
    """What a node more takes, in a run of site.yml that changes nothing."""
    runs: dict[int, Run] = {}
    with namespaces(folder, count) as (outside, hosts):
        for nodes in (FEW_NODES, count):
            inventory = folder / f"nodes-{nodes}"
            inventory.mkdir()
            chosen = dict(list(hosts.items())[:nodes])
            controller = Controller(inventory, chosen, (10, 10), "iptables").within("ip", "netns", "exec", outside)
            controller.play("site", forks)
            runs[nodes] = controller.play("site", forks)
    few, many = runs[FEW_NODES], runs[count]
    name = f"site.yml, {count} nodes / {FEW_NODES}"
    line(name, f"seconds a node, {forks} forks", shares(many.seconds / count, few.seconds / FEW_NODES))
    line(name, "processor seconds of the controller a node", shares(many.processor / count, few.processor / FEW_NODES))


def sent(namespace: str) -> int:
    """Bytes that left the controller's network namespace so far."""
    command = ["ip", "netns", "exec", namespace, "cat", "/sys/class/net/br0/statistics/tx_bytes"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def shares(value: float, base: float) -> str:
    return f"{value / base:.2f}  ({value:.2f} / {base:.2f})"


def measure_report(nodes: int, objects: int) -> None:
    """The report of a fleet of which every node has drifted in as many objects as a result lists."""
    name = f"{nodes} nodes, {objects} objects each"
    operations = [
        {"verb": "add", "kind": "member", "name": f"KUBE-CLUSTER-IP 10.96.0.{number},tcp:80", "reason": "missing"}
        for number in range(objects)
    ]
    text = json.dumps({"changed": True, "operations": operations, "counts": {"add member": objects}})
    begin = time.monotonic()
    found: dict[str, drift.NodeDrift] = {}
    for number in range(nodes):
        found[f"node-{number}"] = drift.NodeDrift()
        for action in drift.COMPARING:
            result = json.loads(text) if action == drift.COMPARING[-1] else {"changed": False}
            found[f"node-{number}"].add(drift.TaskOutcome(action, "", {}, True, result))
    report = drift.fleet_report(found, "", "")
    written = drift.render(report)
    lines = list(drift.summary(report))
    line(name, "collect, write and print, seconds", f"{time.monotonic() - begin:.1f}")
    line(name, "megabytes of the report, lines printed", f"{len(written) / 2**20:.0f}, {len(lines)}")
    line(name, "peak memory, MB", str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A short path: those of control sockets may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="kn-") as folder:
        yield Path(folder)


def main() -> int:
    """Prints all figures."""
    count, forks = [*map(int, sys.argv[1:]), *(DEFAULT_NODES, DEFAULT_FORKS)[len(sys.argv) - 1 :]]
    size = "x".join(map(str, ONE_NODE))
    measure_report(*LARGE_FLEET)
    with Lab("bench-drift") as lab, directory() as folder:
        node = lab.start("node-000", memory="2G")
        measure_one_node(f"ipvs {size}", Controller(folder, {"node-000": node.inventory_vars()}, ONE_NODE, "ipvs"))
    for mode in ("iptables", "nftables"):
        with directory() as folder, namespaces(folder, 1) as (outside, hosts):
            controller = Controller(folder, hosts, ONE_NODE, mode).within("ip", "netns", "exec", outside)
            measure_one_node(f"{mode} {size}", controller)
    with directory() as folder:
        measure_sizes(folder)
    with directory() as folder:
        measure_fleets(folder, count, forks)
    with directory() as folder:
        measure_many_nodes(folder, count, forks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
