# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lab: a network namespace with a bridge and the nodes on it.

Everything that a lab has is in its directory under `base_directory()` and in its network namespace, so that any process
can take it down, whatever happened to the one that made it.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from . import host, inventory, stock, uml
from .host import LabError, Process
from .node import CHECKOUT, MAX_NODES, NETWORK, NETWORK6, STOCK_KERNEL, Node, NodeConfig, new_image

STATE = "lab.json"
MAX_NAME = 32
PROGRAMS = ("ip", "linux.uml", "unshare", "setpriv", "ssh", "ssh-keygen", "sshd", "nc", "busybox", "modprobe")
BRIDGE = f"""\
link set lo up
link add br0 type bridge mcast_snooping 0
address add {NETWORK}.1/24 dev br0
address add {NETWORK6}:1/64 dev br0 nodad
link set br0 up
"""


def base_directory() -> Path:
    """Where the labs of this machine are; short, because the path of a socket is limited to 108 characters."""
    base = Path(tempfile.gettempdir()).resolve() / "kubenode-lab"
    base.mkdir(mode=0o700, exist_ok=True)
    status = base.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise LabError(f"{base} is not a directory of this user")
    if any(character in str(base) for character in " \t:,'\"\\$"):
        raise LabError(f"set TMPDIR to a path without spaces and punctuation: {base}")
    return base


def directory_of(name: str) -> Path:
    if not name.replace("-", "").isalnum() or len(name) > MAX_NAME:
        raise LabError(f"the name of a lab has letters, digits and dashes, at most {MAX_NAME}: {name!r}")
    return base_directory() / name


class State(NamedTuple):
    """What is needed to take a lab down, and whether that is due."""

    namespace: str
    owner: Process | None

    def save(self, directory: Path) -> None:
        owner = [self.owner.pid, self.owner.started] if self.owner else None
        text = json.dumps({"namespace": self.namespace, "owner": owner})
        # Other processes read it at any time.
        draft = directory / f"{STATE}.new"
        draft.write_text(text)
        draft.rename(directory / STATE)

    @classmethod
    def load(cls, directory: Path) -> State | None:
        try:
            state = json.loads((directory / STATE).read_text())
        except FileNotFoundError:
            return None
        return cls(state["namespace"], Process(*state["owner"]) if state["owner"] else None)

    def abandoned(self) -> bool:
        return self.owner is not None and not self.owner.alive()


def destroy(directory: Path) -> None:
    """Take a lab down, complete or not. Safe to repeat."""
    state = State.load(directory)
    if state:
        host.remove_namespace(state.namespace)
    shutil.rmtree(directory, ignore_errors=True)


def keep(directory: Path, owner: Process) -> None:
    """Wait for the owner's end, however it comes, then take its lab down."""
    try:
        owner_end = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        owner_end = None
    if owner_end is not None and owner.alive():
        select.select([owner_end], [], [])
    destroy(directory)


def existing() -> Iterator[tuple[str, State]]:
    """The names of the labs of this machine."""
    for path in sorted(base_directory().glob(f"*/{STATE}")):
        state = State.load(path.parent)
        if state:
            yield path.parent.name, state


def remove_abandoned() -> None:
    """Take down the labs whose owner and whose keeper were both killed."""
    for name, state in existing():
        if state.abandoned():
            destroy(directory_of(name))


class Lab:
    """Nodes for the time of a `with` block; whatever ends the process, nothing of them stays.

    with Lab("demo") as lab:
        first, second = lab.start_all(["n1", "n2"], modprobe=["ip_vs"])
        print(first.run("lsmod").stdout)

    After `detach()` the lab stays until `python -m tests.lab down NAME`, or until the process that it was left to ends.
    unique: a random part is added to the name, so that labs of one name run side by side.
    """

    def __init__(self, name: str, *, unique: bool = True) -> None:
        unique_name = f"{name}-{secrets.token_hex(3)}"
        self.name = unique_name if unique else name
        self.namespace = f"kn-{unique_name}"
        self.directory = directory_of(self.name)
        self.nodes: dict[str, Node] = {}
        self._detached = False
        self._keeper: subprocess.Popen[bytes] | None = None
        self._guests: list[subprocess.Popen[bytes]] = []

    @classmethod
    def attach(cls, name: str) -> Lab:
        """A lab that another process started."""
        directory = directory_of(name)
        state = State.load(directory)
        if not state:
            raise LabError(f"no lab {name}; python -m tests.lab status lists them")
        lab = cls(name, unique=False)
        lab.namespace = state.namespace
        for path in sorted(directory.glob("*.node"), key=lambda path: path.stat().st_mtime_ns):
            node = Node.load(json.loads(path.read_text()), directory, lab.namespace)
            lab.nodes[node.name] = node
        return lab

    def __enter__(self) -> Lab:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._detached:
            self.close()

    def open(self) -> None:
        host.require(PROGRAMS)
        remove_abandoned()
        try:
            self.directory.mkdir(mode=0o700)
        except FileExistsError as error:
            raise LabError(f"the lab {self.name} is already up: python -m tests.lab down {self.name}") from error
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        # Before there is anything to take down.
        owner = Process.of(os.getpid())
        State(self.namespace, owner).save(self.directory)
        self._keeper = self._start_keeper(owner)
        # Copies, so that a node restarts with what it started with, and the guest's paths have no special characters.
        shutil.copytree(Path(__file__).parent / "guest", self.directory / "guest")
        shutil.copy(Path(__file__).parent / "seal.py", self.directory)
        uml.prepare(self.directory)
        for key in ("id", "host"):
            path = str(self.directory / key)
            host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab-{key}", "-f", path])
        (self.directory / "known_hosts").write_text(f"* {(self.directory / 'host.pub').read_text()}")
        host.run(["ip", "netns", "add", self.namespace])
        host.run(["ip", "-n", self.namespace, "-batch", "-"], text=BRIDGE)

    def _start_keeper(self, owner: Process) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.lab", "keep", self.name, str(owner.pid), owner.started],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def detach(self, owner: Process | None = None) -> None:
        """Let the lab outlive this process. owner: another process, whose end is then the lab's."""
        State(self.namespace, owner).save(self.directory)
        self._detached = True
        keeper = self._start_keeper(owner) if owner else None
        self._stop_keeper()
        self._keeper = keeper

    def _stop_keeper(self) -> None:
        if self._keeper:
            self._keeper.kill()
            self._keeper.wait()
            self._keeper = None

    def start(
        self,
        name: str,
        *,
        systemd: bool = False,
        stock_kernel: bool = False,
        memory: str = "",
        image: Path | None = None,
        modprobe: Sequence[str] = (),
        extra_interfaces: Sequence[str] = (),
        wait: bool = True,
    ) -> Node:
        """Start a node: about 3 seconds with sshd alone, 6 with systemd, 8 with a stock kernel.

        stock_kernel: Debian's own under QEMU, not User Mode Linux. It has nf_tables too, and no image.
        memory: of the node, 256M by default, 512M with a stock kernel.
        image: a file (made if it is missing) that keeps what the node writes, over reboots and a new start.
        modprobe: kernel modules to load before sshd starts.
        extra_interfaces: eth1 and so on, on the same bridge; each "ADDRESS/PREFIX,.." or "" for none.
        """
        if name in self.nodes:
            raise LabError(f"the lab {self.name} has a node {name} already")
        if systemd:
            host.require(["systemd"])
        if stock_kernel:
            host.require(stock.PROGRAMS)
            if image:
                raise LabError("a node with a stock kernel has no image")
            if not (self.directory / stock.INITRAMFS).exists():
                stock.make_initramfs(STOCK_KERNEL, self.directory)
        if image and not image.exists():
            new_image(image)
        config = NodeConfig(
            name=name,
            index=self._free_index(),
            systemd=systemd,
            stock_kernel=stock_kernel,
            memory=memory or ("512M" if stock_kernel else "256M"),
            image=str(image.resolve()) if image else "",
            modprobe=tuple(modprobe),
            extra_interfaces=tuple(extra_interfaces),
        )
        node, guest = Node.launch(config, self.directory, self.namespace)
        self.nodes[name] = node
        self._guests.append(guest)
        if wait:
            node.wait_until_ready()
        return node

    def start_all(self, names: Sequence[str], **options: Any) -> list[Node]:
        """Start several nodes of the same kind at once; the options are those of `start`."""
        nodes = [self.start(name, **{**options, "wait": False}) for name in names]
        for node in nodes:
            node.wait_until_ready()
        return nodes

    def stop(self, name: str) -> None:
        self.nodes.pop(name).stop()
        self._reap()

    def _free_index(self) -> int:
        taken = {node.config.index for node in self.nodes.values()}
        for index in range(1, MAX_NODES + 1):
            if index not in taken:
                return index
        raise LabError(f"a lab has at most {MAX_NODES} nodes")

    def _reap(self) -> None:
        self._guests = [guest for guest in self._guests if guest.poll() is None]

    def write_inventory(
        self,
        path: Path,
        groups: Mapping[str, Sequence[str]] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Write a YAML inventory of all nodes; groups: the names of the nodes of each, none: a group "nodes"."""
        hosts = {name: node.inventory_vars() for name, node in self.nodes.items()}
        path.write_text(inventory.render(hosts, groups or {"nodes": list(hosts)}, variables or {}))

    def close(self) -> None:
        try:
            destroy(self.directory)
        finally:
            for guest in self._guests:
                guest.wait(timeout=10)
            self._guests = []
            self.nodes = {}
        self._stop_keeper()
