# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nodes for people and for Molecule: python -m tests.lab up NAME --nodes 2, ssh NAME NODE, down NAME, status."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .host import SEARCH_PATH, LabError, Process
from .launcher import Lab, destroy, directory_of, existing, keep


def node_names(text: str) -> list[str]:
    names = [f"n{number}" for number in range(1, int(text) + 1)] if text.isdigit() else text.split(",")
    if not all(names) or not names:
        raise argparse.ArgumentTypeError(f"not a number of nodes, nor names: {text!r}")
    return names


def up(options: argparse.Namespace) -> int:
    names = options.nodes
    owner = Process.of(options.owner) if options.owner else None
    if owner and not owner.alive():
        raise LabError(f"there is no process {options.owner} that could own the lab")
    begin = time.monotonic()
    with Lab(options.name, unique=False) as lab:
        lab.start_all(names, systemd=options.systemd, memory=options.memory, modprobe=options.modprobe)
        if options.inventory:
            lab.write_inventory(options.inventory, dict.fromkeys(options.group, names))
        lab.detach(owner)
    for node in lab.nodes.values():
        print(f"{node.name}\t{node.address}\t{node.address6}")
    print(f"up after {time.monotonic() - begin:.1f} s; python -m tests.lab ssh {lab.name} {names[0]}")
    return 0


def ssh(options: argparse.Namespace) -> int:
    lab = Lab.attach(options.name)
    if options.node not in lab.nodes:
        raise LabError(f"the lab {lab.name} has no node {options.node}, it has {', '.join(lab.nodes) or 'none'}")
    node = lab.nodes[options.node]
    environment = {**os.environ, "PATH": SEARCH_PATH}
    os.execvpe("ssh", ["ssh", *node.ssh_args, f"root@{node.address}", *options.command], environment)


def down(options: argparse.Namespace) -> int:
    directory = directory_of(options.name)
    if not directory.is_dir():
        print(f"no lab {options.name}")
    destroy(directory)
    return 0


def status(_options: argparse.Namespace) -> int:
    for name, state in existing():
        note = " (its owner is gone: python -m tests.lab down)" if state.abandoned() else ""
        print(f"{name}\t{state.namespace}{note}")
        for node in Lab.attach(name).nodes.values():
            kind = "systemd" if node.config.systemd else "mini"
            print(f"  {node.name}\t{node.address}\t{kind}\t{'up' if node.alive() else 'dead'}")
    return 0


def keep_lab(options: argparse.Namespace) -> int:
    keep(directory_of(options.name), Process(options.pid, options.started))
    return 0


def parser() -> argparse.ArgumentParser:
    main_parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = main_parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(action=action)
        return sub

    sub = command("up", up, "Start a lab that stays until it is taken down.")
    sub.add_argument("name")
    sub.add_argument(
        "--nodes", type=node_names, default="1", help="how many (n1, n2, ..), or names with commas (default: 1)"
    )
    sub.add_argument("--systemd", action="store_true", help="systemd in the nodes, not sshd alone")
    sub.add_argument("--memory", default="256M", help="of each node (default: 256M)")
    sub.add_argument("--modprobe", action="append", default=[], metavar="MODULE", help="load a kernel module")
    sub.add_argument("--inventory", type=Path, metavar="FILE", help="write an Ansible inventory")
    sub.add_argument("--owner", type=int, metavar="PID", help="take the lab down when this process ends, too")
    sub.add_argument("--group", action="append", default=[], help="a group for all nodes (default: nodes)")
    sub = command("ssh", ssh, "Run a command, or a shell, in a node.")
    sub.add_argument("name")
    sub.add_argument("node")
    sub.add_argument("command", nargs=argparse.REMAINDER)
    sub = command("down", down, "Take a lab down.")
    sub.add_argument("name")
    command("status", status, "List the labs of this machine and their nodes.")
    sub = command("keep", keep_lab, "For the launcher: take a lab down when a process ends.")
    sub.add_argument("name")
    sub.add_argument("pid", type=int)
    sub.add_argument("started")
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        status_code: int = options.action(options)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status_code


if __name__ == "__main__":
    sys.exit(main())
