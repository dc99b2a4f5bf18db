# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The process on the machine that has the namespaces. Reads requests, one JSON object a line, and answers in kind.

It builds the world when it starts and takes it down when its input ends, however that comes about. With --stay it
builds one that stays as long as the machine runs, and with --join it serves that. Needs the standard library; to
converge, the collection.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import Any

from tests.lab.netns import Network

from . import build, layout, requests, servers

CLONE_NEWNET = 0x40000000


class Agent:
    """One method a verb: `do_VERB(**arguments)`."""

    def __init__(self, network: Network, *, node_is_root: bool, state_folder: str) -> None:
        self._network = network
        self._node_is_root = node_is_root
        self._state_folder = state_folder
        self._flows: dict[int, requests.Flow] = {}

    @contextlib.contextmanager
    def inside(self, namespace: str) -> Iterator[None]:
        """Sockets that are made in the block, and processes that are started, are of the namespace."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            set_namespace(f"/run/netns/{self._network.full_name(namespace)}")
            yield
        finally:
            set_namespace(f"/proc/self/fd/{home}")
            os.close(home)

    def do_request(self, namespace: str, count: int, **flow: Any) -> list[requests.Answer]:
        with self.inside(namespace):
            return requests.request(count, **flow)

    def do_open(self, namespace: str, **flow: Any) -> int:
        with self.inside(namespace):
            opened = requests.Flow(**flow)
        number = len(self._flows)
        self._flows[number] = opened
        return number

    def do_ask(self, flow: int) -> requests.Answer:
        return self._flows[flow].ask()

    def do_close(self, flow: int) -> None:
        self._flows[flow].close()

    def do_run(self, namespace: str, argv: list[str]) -> dict[str, Any]:
        with self.inside(namespace):
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
            )
        return {"returncode": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    def do_converge(self, **arguments: Any) -> dict[str, Any]:
        from . import converge

        # In a process of its own: it enters the node's namespace for good.
        netns = None if self._node_is_root else self._network.full_name(layout.NODE)
        return converge.in_child(netns=netns, state_folder=self._state_folder, **arguments)


def set_namespace(path: str) -> None:
    # The guest's Python is older than os.setns.
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{path}: {os.strerror(number)}")
    finally:
        os.close(descriptor)


def answer(agent: Agent, line: str) -> str:
    message = json.loads(line)
    try:
        return json.dumps({"result": getattr(agent, f"do_{message.pop('do')}")(**message)})
    except Exception:
        return json.dumps({"error": traceback.format_exc()})


@contextlib.contextmanager
def world(agent: Agent, network: Network, *, node_is_root: bool) -> Iterator[None]:
    """The world, for the time of the block."""
    with network:
        try:
            build.build(network, node_is_root=node_is_root)
            servers.start(layout.PODS, agent.inside)
            yield
        finally:
            if node_is_root:
                subprocess.run(["ip", "netns", "delete", network.full_name(layout.NODE)], check=False)


def serve(options: argparse.Namespace, state_folder: str) -> None:
    network = Network(prefix=options.prefix)
    agent = Agent(network, node_is_root=options.root, state_folder=state_folder)
    if options.stay:
        build.build(network, node_is_root=options.root)
        servers.start(layout.PODS, agent.inside, stay=True)
        return
    around = contextlib.nullcontext() if options.join else world(agent, network, node_is_root=options.root)
    with around:
        print(json.dumps({"result": "ready"}), flush=True)
        for line in sys.stdin:
            print(answer(agent, line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prefix", default="", help="before the names of all namespaces")
    parser.add_argument("--root", action="store_true", help="the node is the namespace of this process")
    life = parser.add_mutually_exclusive_group()
    life.add_argument("--stay", action="store_true", help="build a world that stays, and end")
    life.add_argument("--join", action="store_true", help="serve a world that stays")
    options = parser.parse_args()
    # The other side closes the input when it ends; a signal to both would come in the way of taking the world down.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="kubenode-world-") as state_folder:
        serve(options, state_folder)


if __name__ == "__main__":
    main()
