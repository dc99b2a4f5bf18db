# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A node, its services and real packets: python -m tests.demo [MODE]

With --project it is not this checkout that is shown, but the collection as it is installed there.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import parse

from tests.lab import Lab, LabError
from tests.world import layout
from tests.world.expectation import MASQUERADED, OWN, count, problems, send
from tests.world.requests import ANSWERED, Answer
from tests.world.world import World, WorldError

from . import namespace_node, traffic
from .ansible import Ansible, AnsibleError, Project, Run
from .screen import Screen

MODES = ("ipvs", "iptables", "nftables")
INFO_MODULE = "kubenode.proxy.proxy_info"
# IPVS adds up its counters every other second.
COUNTERS_SECONDS = 10.0
LAST_LINES = 60


class Node(NamedTuple):
    """The node of the demonstration, from both sides, and the mode of its proxy."""

    world: World
    ansible: Ansible
    mode: str


class Options(NamedTuple):
    """What to show. python: the node's, by its path."""

    mode: str
    project: Project
    python: str


def start(screen: Screen, stack: ExitStack, options: Options) -> Node:
    return (start_namespace if options.mode == "nftables" else start_guest)(screen, stack, options)


def start_namespace(screen: Screen, stack: ExitStack, options: Options) -> Node:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubenode-demo-")))
    with screen.step("A node starts: a network namespace, with pods, a neighbour, and a client outside") as notes:
        world = stack.enter_context(World())
        notes.append(f"Linux {platform.release()}")
    inventory = folder / "inventory.yml"
    namespace_node.write_inventory(inventory, layout.NODE_NAME, ["kube_nodes"], options.python)
    wrapper = namespace_node.wrapper(world.node, folder / "node")
    ansible = Ansible(options.project, inventory, layout.NODE_NAME, folder / "ansible", options.mode, wrapper)
    return Node(world, ansible, options.mode)


def start_guest(screen: Screen, stack: ExitStack, options: Options) -> Node:
    lab = stack.enter_context(Lab("demo"))
    with screen.step("A node starts: a kernel of its own, reached over SSH") as notes:
        guest = lab.start(layout.NODE_NAME)
        notes.append(f"Linux {guest.run('uname -r').stdout.strip()}")
    with screen.step("It gets pods, a neighbour with pods, and a client outside"):
        world = stack.enter_context(World(guest, node_is_root=True))
    # In the lab's directory, which goes with the lab, even if this process is killed.
    inventory = lab.directory / "inventory.yml"
    variables = {"ansible_python_interpreter": options.python}
    lab.write_inventory(inventory, {"kube_nodes": [layout.NODE_NAME]}, variables)
    ansible = Ansible(options.project, inventory, layout.NODE_NAME, lab.directory / "ansible", options.mode)
    return Node(world, ansible, options.mode)


def play(screen: Screen, node: Node) -> Run:
    with screen.step(" ".join(["ansible-playbook -i examples/inventory", *node.ansible.command_end])) as notes:
        run = node.ansible.play()
        notes.append(f"changed={run.changed}")
    return run


def show_services(screen: Screen) -> None:
    screen.heading("Services", "examples/services.yml")
    screen.table(list(traffic.overview(traffic.services())))


def show_traffic(screen: Screen, world: World, mode: str) -> dict[str, int]:
    """How many connections each address got."""
    screen.heading("Requests", "who answers how often, and which client address the pods see")
    screen.line(f"  {screen.dim(traffic.WHO)}")
    rows, marks, found = [("FROM", "TO", "", "ANSWERS", "SEEN", "")], [" "], []
    sent: dict[str, int] = {}
    for row in traffic.ROWS:
        answers = send(world, row.request, row.expect, mode)
        wrong = list(problems(answers, row.request, row.expect, mode))
        found += [f"{row.source} to {row.service}: {problem}" for problem in wrong]
        marks.append(screen.bad("x") if wrong else screen.good("+"))
        target = traffic.end(row.address, row.port, row.protocol)
        rows.append((row.source, row.service, target, spread_text(answers), seen_text(row, answers), row.note(mode)))
        if row.expect.outcome == ANSWERED:
            sent[target] = sent.get(target, 0) + len(answers)
    screen.table(rows, marks)
    for problem in found:
        screen.problem(problem)
    return sent


def spread_text(answers: Sequence[Answer]) -> str:
    found = count(answers)
    if answers[0].outcome == ANSWERED:
        return "  ".join(f"{pod} x{number}" for pod, number in found.items())
    return ", ".join(found)


def seen_text(row: traffic.Row, answers: Sequence[Answer]) -> str:
    seen = {answer.seen for answer in answers if answer.seen}
    if not seen or not row.expect.seen:
        return ""
    return {OWN: "its own", MASQUERADED: "the node's"}[row.expect.seen] if len(seen) > 1 else seen.pop()


def show_chains(screen: Screen, ansible: Ansible) -> None:
    """What iptables mode has made of the services."""
    screen.heading("Chains", f"ansible -m {INFO_MODULE}")
    info = ansible.module(INFO_MODULE)
    tables: dict[tuple[str, str], list[int]] = {}
    for chain in info["chains"]:
        tables.setdefault((chain["family"], chain["table"]), []).append(chain["rule_count"])
    rows = [("FAMILY", "TABLE", "CHAINS", "RULES")]
    rows += [(*key, str(len(counts)), str(sum(counts))) for key, counts in sorted(tables.items())]
    screen.table(rows)
    screen.line(f"  {screen.dim(summary(info))}")
    if info["virtual_servers"] or not info["chains"]:
        screen.problem(f"{len(info['virtual_servers'])} virtual servers and {len(info['chains'])} chains")


def show_tables(screen: Screen, world: World) -> None:
    """What nftables mode has made of the services."""
    screen.heading("Tables", "nft list tables")
    rows = [("TABLE", "CHAINS", "SETS AND MAPS", "ELEMENTS")]
    for name, table in parse(world.run(layout.NODE, "nft", "list", "ruleset")).items():
        elements = sum(len(found.elements) for found in table.sets.values())
        rows.append((name, str(len(table.chains)), str(len(table.sets)), str(elements)))
    screen.table(rows)
    if len(rows) != 3:
        screen.problem(f"{len(rows) - 1} tables instead of 2")


def show_counters(screen: Screen, ansible: Ansible, wanted: dict[str, int]) -> None:
    screen.heading("Connections", f"ansible -m {INFO_MODULE}")
    deadline = time.monotonic() + COUNTERS_SECONDS
    info = ansible.module(INFO_MODULE)
    while connections(info).items() != wanted.items() and time.monotonic() < deadline:
        info = ansible.module(INFO_MODULE)
    rows = [("VIRTUAL SERVER", "SCHEDULER", "CONNECTIONS", "OF THESE")]
    for server in info["virtual_servers"]:
        if number := server["traffic"]["connections"]:
            rows.append((end_of(server), server["scheduler"], str(number), real_servers_text(server)))
    screen.table(rows)
    screen.line(f"  {screen.dim(summary(info))}")
    counted = connections(info)
    for key in sorted({*wanted, *counted}):
        if counted.get(key, 0) != wanted.get(key, 0):
            screen.problem(f"{key} has {counted.get(key, 0)} connections, it got {wanted.get(key, 0)}")


def connections(info: dict[str, Any]) -> dict[str, int]:
    """By virtual server; of those that had any."""
    found = {end_of(server): int(server["traffic"]["connections"]) for server in info["virtual_servers"]}
    return {name: number for name, number in found.items() if number}


def end_of(server: dict[str, Any]) -> str:
    return traffic.end(server["address"], server["port"], server["protocol"])


def real_servers_text(server: dict[str, Any]) -> str:
    return "  ".join(
        f"{traffic.POD_NAMES[real_server['address']]} {real_server['traffic']['connections']}"
        for real_server in server["real_servers"]
    )


def summary(info: dict[str, Any]) -> str:
    versions = info["versions"]
    tools = [f"IPVS {versions['ipvs']}"] if versions["ipvs"] else []
    tools += [f"ipset {versions['ipset']}", f"iptables {versions['iptables']} ({versions['iptables_backend']})"]
    objects = ("virtual_servers", "sets", "chains", "addresses")
    return "; ".join([", ".join(f"{len(info[name])} {name.replace('_', ' ')}" for name in objects), ", ".join(tools)])


def demonstrate(screen: Screen, options: Options) -> None:
    mode = options.mode
    with ExitStack() as stack:
        screen.heading("One node", f"examples/inventory, {mode} mode")
        node = start(screen, stack, options)
        first = play(screen, node)
        if first.changed == 0:
            screen.problem("the first run changed nothing")
        show_services(screen)
        sent = show_traffic(screen, node.world, mode)
        if mode == "ipvs":
            show_counters(screen, node.ansible, sent)
        elif mode == "iptables":
            show_chains(screen, node.ansible)
        else:
            show_tables(screen, node.world)
        screen.heading("Once more", "nothing is left to do")
        second = play(screen, node)
        if second.changed:
            screen.problem(f"the second run changed {second.changed} tasks")


def interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("mode", nargs="?", default=MODES[0], choices=MODES)
    parser.add_argument("--project", type=Path, help="a directory with the installed collection and examples/ in it")
    parser.add_argument("--programs", type=Path, help="the directory of Ansible's programs for that project")
    parser.add_argument("--python", default="/usr/bin/python3", help="path of the node's Python")
    given = parser.parse_args(arguments)
    if bool(given.project) != bool(given.programs):
        parser.error("--project and --programs go together")
    project = Project.installed(given.project, given.programs) if given.project else Project.checkout()
    return Options(given.mode, project, given.python)


def main() -> int:
    signal.signal(signal.SIGTERM, interrupt)
    options = parse_options()
    screen = Screen()
    begin = time.monotonic()
    try:
        demonstrate(screen, options)
    except KeyboardInterrupt:
        screen.line("\ninterrupted; the node and its networks are gone")
        return 130
    except (LabError, WorldError, AnsibleError) as error:
        screen.line("\n".join(str(error).splitlines()[-LAST_LINES:]))
        return 1
    seconds = time.monotonic() - begin
    screen.line()
    if screen.problems:
        screen.line(screen.bad(f"Not as expected: {screen.problems}") + f", after {seconds:.0f} s")
        return 1
    screen.line(screen.good("All as expected") + f", after {seconds:.0f} s. The node is gone, nothing of it is left.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
