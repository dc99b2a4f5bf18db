# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Networks of plain network namespaces, on this machine or inside a guest of the lab.

    with Network() as network:                     # on this kernel
    with Network(node.run, prefix="") as network:  # in a guest, over SSH
        network.add("client", "node")
        network.veth(("client", "eth0", "10.1.0.2/24"), ("node", "eth0", "10.1.0.1/24"))
        network.route("client", "default", via="10.1.0.1")
        network.run("client", ["nc", "-z", "10.1.0.1", "80"])

The methods that build queue their commands, and `run` (or `build`) sends the whole queue at once: one process here, one
SSH call for a guest. Only the standard library is needed, so the file also works as a module inside a guest.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    # Namespace, interface, "ADDRESS/PREFIX" or nothing.
    End = tuple[str, str, str | None]

DELETE = """\
for name; do
    # What a run of the collection keeps about a namespace
    rm -rf "/run/kubenode-proxy-$name.lock" "/run/kubenode-proxy-$name.nftables" \
        "/run/kubenode-proxy-$name.tables" "/var/lib/kubenode-proxy/netns/$name"
    [ -e "/run/netns/$name" ] || continue
    ip netns pids "$name" | xargs -r kill -KILL
    ip netns delete "$name"
done
"""


class Runner(Protocol):
    """Runs a command where the namespaces are; `Node.run` is one."""

    def __call__(
        self, command: Sequence[str], *, input: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]: ...


class CommandError(Exception):
    """A command failed; the text has its command line and what it printed."""


def run_here(
    command: Sequence[str], *, input: str | None = None, check: bool = True, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """The runner for this machine's own kernel."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL if input is None else None,
        input=input,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if check and done.returncode != 0:
        raise CommandError(f"{shlex.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Network:
    """Namespaces that are deleted, with all that runs in them, at the end of the `with` block.

    prefix: put before every name, so that tests can run side by side; by default a random one.
    """

    def __init__(self, runner: Runner = run_here, *, prefix: str | None = None) -> None:
        self._runner = runner
        self._prefix = f"kn-{secrets.token_hex(3)}-" if prefix is None else prefix
        self._names: list[str] = []
        self._queue: list[str] = []

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def full_name(self, namespace: str) -> str:
        """As `ip netns list` prints it."""
        return self._prefix + namespace

    def add(self, *namespaces: str) -> None:
        """Create namespaces, each with its loopback interface up."""
        for namespace in namespaces:
            self._names.append(namespace)
            self.command("ip", "netns", "add", self.full_name(namespace))
            self.ip(namespace, "link", "set", "dev", "lo", "up")

    def delete(self, *namespaces: str) -> None:
        """Delete namespaces at once, with everything in them; those that are not there are no error."""
        names = [self.full_name(namespace) for namespace in namespaces]
        self._runner(["sh", "-c", DELETE, "sh", *names])
        self._names = [name for name in self._names if name not in namespaces]

    def command(self, *argv: str) -> None:
        """Queue a command for the machine on which the namespaces are."""
        self._queue.append(shlex.join(argv))

    def ip(self, namespace: str, *argv: str) -> None:
        """Queue an `ip` command for a namespace."""
        self.command("ip", "-n", self.full_name(namespace), *argv)

    def veth(self, first: End, second: End) -> None:
        """Connect two namespaces."""
        # From within the first: the kernel refuses a name that the namespace of the caller has as well.
        peer = ("peer", "name", second[1], "netns", self.full_name(second[0]))
        self.ip(first[0], "link", "add", "name", first[1], "type", "veth", *peer)
        for namespace, interface, address in (first, second):
            if address:
                self.address(namespace, interface, address)
            self.ip(namespace, "link", "set", "dev", interface, "up")

    def bridge(self, namespace: str, name: str, *ports: str, address: str | None = None) -> None:
        """Create a bridge over interfaces of the namespace."""
        self.ip(namespace, "link", "add", name, "type", "bridge", "mcast_snooping", "0")
        for port in ports:
            self.ip(namespace, "link", "set", "dev", port, "master", name)
        if address:
            self.address(namespace, name, address)
        self.ip(namespace, "link", "set", "dev", name, "up")

    def address(self, namespace: str, interface: str, address: str) -> None:
        # Without nodad an IPv6 address cannot be used for the first second or two.
        no_detection = ["nodad"] if ":" in address else []
        self.ip(namespace, "address", "add", address, "dev", interface, *no_detection)

    def route(self, namespace: str, destination: str, *, via: str | None = None, device: str | None = None) -> None:
        family = ["-6"] if ":" in destination + (via or "") else []
        hop = [*(["via", via] if via else []), *(["dev", device] if device else [])]
        self.command("ip", "-n", self.full_name(namespace), *family, "route", "add", destination, *hop)

    def sysctl(self, namespace: str, **values: str | int) -> None:
        """Set by path below /proc/sys/net, with "__" for "/": sysctl("node", ipv4__ip_forward=1)."""
        for name, value in values.items():
            path = f"/proc/sys/net/{name.replace('__', '/')}"
            write = f"echo {shlex.quote(str(value))} >{shlex.quote(path)}"
            self.command("ip", "netns", "exec", self.full_name(namespace), "sh", "-c", write)

    def build(self) -> None:
        """Run what is queued; the first command that fails ends it."""
        if self._queue:
            script = [f"{line} || {{ echo failed: {shlex.quote(line)} >&2; exit 1; }}\n" for line in self._queue]
            self._queue = []
            self._runner(["sh", "-s"], input="".join(script))

    def run(
        self,
        namespace: str,
        command: Sequence[str],
        *,
        input: str | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a namespace."""
        self.build()
        argv = ["ip", "netns", "exec", self.full_name(namespace), *command]
        return self._runner(argv, input=input, check=check, timeout=timeout)

    def close(self) -> None:
        self._queue = []
        if self._names:
            self.delete(*self._names)
