# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The world as a test or the demonstration has it in hand."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from tests.lab import Node
from tests.lab.node import CHECKOUT

from . import layout
from .requests import Answer

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GUEST_PYTHON = "/usr/bin/python3"


class WorldError(Exception):
    """The world could not be built, or did not do what was asked; the text says why."""


class Flow:
    """A TCP connection, or a UDP flow from one port, that stays open."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number

    def ask(self) -> Answer:
        return Answer(*self._world.call("ask", flow=self._number))

    def close(self) -> None:
        self._world.call("close", flow=self._number)


class World:
    """Everything in the plan of `layout`, for the time of a `with` block.

    World()                       on this machine's kernel; the node is a namespace
    World(guest)                  in a guest of the lab; the node is a namespace there
    World(guest, node_is_root=True)   the node is the guest itself, as SSH reaches it; nothing of it is configured

    join: the world is there already, built with `python -m tests.world.agent --stay`, and is there afterwards.
    """

    def __init__(self, guest: Node | None = None, *, node_is_root: bool = False, join: bool = False) -> None:
        self._guest = guest
        self._options = [*(["--root"] if node_is_root else []), *(["--join"] if join else [])]
        self._prefix = f"kn-{secrets.token_hex(3)}-" if guest is None else ""
        if self._prefix:
            self._options += ["--prefix", self._prefix]
        self._agent: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 # closed in __exit__

    @property
    def node(self) -> str:
        """Network namespace of the node, as `ip netns` knows it."""
        return self._prefix + layout.NODE

    def __enter__(self) -> World:
        self._agent = subprocess.Popen(
            self._command(),
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # What a terminal sends on Ctrl-C is for this process, which then closes the agent's input.
            start_new_session=True,
        )
        try:
            self._reply()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _command(self) -> list[str]:
        environment = [
            f"PATH={SEARCH_PATH}",
            f"PYTHONPATH={CHECKOUT}:{CHECKOUT}/.cache/collections",
            "PYTHONDONTWRITEBYTECODE=1",
        ]
        python = GUEST_PYTHON if self._guest else sys.executable
        command = ["env", *environment, python, "-m", "tests.world.agent", *self._options]
        if self._guest is None:
            return command
        # A connection of its own: the agent's end is then the connection's.
        ssh = ["ssh", *self._guest.ssh_args, "-o", "ControlPath=none", f"root@{self._guest.address}"]
        return [*ssh, "--", shlex.join(command)]

    def close(self) -> None:
        if self._agent:
            assert self._agent.stdin
            with contextlib.suppress(BrokenPipeError):
                self._agent.stdin.close()
            try:
                self._agent.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._agent.kill()
                self._agent.wait()
            self._agent = None
        self._errors.close()

    def call(self, verb: str, **arguments: Any) -> Any:
        """Let the agent do something; see `agent.Agent`."""
        if not self._agent:
            raise WorldError("the world is not up")
        assert self._agent.stdin
        try:
            self._agent.stdin.write(json.dumps({"do": verb, **arguments}) + "\n")
            self._agent.stdin.flush()
        except BrokenPipeError:
            pass  # what it printed tells why
        return self._reply()

    def _reply(self) -> Any:
        assert self._agent and self._agent.stdout
        line = self._agent.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise WorldError(f"the agent ended:\n{self._errors.read()[-4000:]}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorldError(reply["error"])
        return reply["result"]

    def request(
        self,
        source: str,
        address: str,
        port: int,
        *,
        protocol: str = "tcp",
        count: int = 1,
        timeout: float = 3,
    ) -> list[Answer]:
        """Requests of a host of the plan, one after the other."""
        answers = self.call("request", count=count, **self._flow(source, address, port, protocol, timeout))
        return [Answer(*answer) for answer in answers]

    @contextlib.contextmanager
    def flow(
        self, source: str, address: str, port: int, *, protocol: str = "tcp", timeout: float = 3
    ) -> Iterator[Flow]:
        flow = Flow(self, self.call("open", **self._flow(source, address, port, protocol, timeout)))
        try:
            yield flow
        finally:
            flow.close()

    def _flow(self, source: str, address: str, port: int, protocol: str, timeout: float) -> dict[str, Any]:
        host = layout.HOSTS[source]
        return {
            "namespace": host.namespace,
            "source": host.address("ipv6" if ":" in address else "ipv4"),
            "address": address,
            "port": port,
            "protocol": protocol,
            "timeout": timeout,
        }

    def run(self, namespace: str, *argv: str) -> str:
        """Run a command in a namespace; its standard output."""
        done = self.call("run", namespace=namespace, argv=argv)
        if done["returncode"] != 0:
            raise WorldError(f"{shlex.join(argv)}: exit status {done['returncode']}\n{done['stdout']}{done['stderr']}")
        return str(done["stdout"])

    def converge(
        self,
        services: Sequence[dict[str, Any]],
        *,
        zone: str = "",
        check: bool = False,
        **configuration: Any,
    ) -> dict[str, Any]:
        """Bring the node to these services with the collection's code; what that did."""
        node = {
            "name": layout.NODE_NAME,
            "addresses": [address.partition("/")[0] for address in layout.NODE_ADDRESSES["nodes"]],
            "pod_cidrs": layout.NODE_POD_CIDRS,
            "zone": zone,
        }
        result: dict[str, Any] = self.call(
            "converge",
            services=services,
            node=node,
            configuration={"cluster_cidrs": layout.CLUSTER_CIDRS, **configuration},
            check=check,
        )
        return result
