# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One node of a lab: a guest kernel on a tap device of the lab's bridge."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import host, stock, uml
from .host import LabError, Process

CHECKOUT = Path(__file__).resolve().parents[2]
NETWORK = "10.77.0"
NETWORK6 = "fd77:"
# Node n has the address .10+n; the bridge has .1.
FIRST_ADDRESS = 10
MAX_NODES = 200
STOCK_KERNEL = CHECKOUT / ".cache/stock-kernel"

READY = "KUBENODE-READY"
FAILED = "KUBENODE-FAILED"


@dataclasses.dataclass(frozen=True)
class NodeConfig:
    """What a node is started with; kept in the lab's directory so that another process finds it."""

    name: str
    index: int
    systemd: bool = False
    stock_kernel: bool = False
    memory: str = "256M"
    image: str = ""
    modprobe: Sequence[str] = ()
    extra_interfaces: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum():
            raise LabError(f"the name of a node has letters, digits and dashes: {self.name!r}")

    @property
    def address(self) -> str:
        return f"{NETWORK}.{FIRST_ADDRESS + self.index}"

    @property
    def address6(self) -> str:
        return f"{NETWORK6}:{FIRST_ADDRESS + self.index}"

    def taps(self) -> list[str]:
        return [f"tap{self.index}-{number}" for number in range(1 + len(self.extra_interfaces))]

    def mac(self, interface: int) -> str:
        # Fixed: the neighbours of a restarted node know the old one for 20 seconds.
        return f"02:4b:4e:00:{interface:02x}:{FIRST_ADDRESS + self.index:02x}"

    def guest_settings(self, lab: Path) -> str:
        """The settings as the guest's scripts source them."""
        shared = [path for path in (CHECKOUT, lab) if Path("/tmp") in path.parents]
        interfaces = [f"{self.address}/24,{self.address6}/64", *self.extra_interfaces]
        values = {
            "LAB": str(lab),
            "NODE_NAME": self.name,
            "NODE_ADDRESS": self.address,
            # Where Debian's stock kernel is, empty for User Mode Linux.
            "NODE_KERNEL": str(STOCK_KERNEL) if self.stock_kernel else "",
            "NODE_MODE": "systemd" if self.systemd else "mini",
            "NODE_IMAGE": self.image,
            "NODE_MODULES": " ".join(self.modprobe),
            "NODE_INTERFACES": " ".join(addresses or "-" for addresses in interfaces),
            "NODE_SHARED": "".join(f"{path}:" for path in shared),
        }
        return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())

    def command(self, namespace: str, lab: Path) -> list[str]:
        """The process that is the node. It ends with all its children when it is killed."""
        return [
            *("ip", "netns", "exec", namespace),
            *("unshare", "--uts", "--ipc", "--mount", "--propagation", "private", "--pid", "--mount-proc"),
            *("--fork", "--kill-child=KILL"),
            *(sys.executable, "-IB", str(lab / "seal.py")),
            *(["--image", self.image] if self.image else []),
            "--",
            *(self._stock_kernel(lab) if self.stock_kernel else self._user_mode_linux(lab)),
        ]

    def _stock_kernel(self, lab: Path) -> list[str]:
        devices = [(tap, self.mac(number)) for number, tap in enumerate(self.taps())]
        return stock.command(STOCK_KERNEL, lab, self.memory, devices, f"kubenode.node={lab}/{self.name}.settings")

    def _user_mode_linux(self, lab: Path) -> list[str]:
        devices = [
            # gro=1: without it large packets are lost.
            f"vec{number}:transport=tap,ifname={tap},depth=64,gro=1,mac={self.mac(number)}"
            for number, tap in enumerate(self.taps())
        ]
        return [
            *uml.command(lab),
            *(f"mem={self.memory}", f"umid={self.name}", "uml_dir=/dev/shm/uml"),
            *devices,
            *([f"ubd0={self.image}"] if self.image else []),
            *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={lab}/guest/init"),
            *("con=null", "con0=null,fd:1", "con1=null", "selinux=0", "quiet", "loglevel=3", "panic=-1", "noreboot"),
            f"kubenode.node={lab}/{self.name}.settings",
        ]


class Node:
    """A running node. Commands reach it over SSH; give them data with `run(..., input=...)`.

    What a guest sees of the host: its root directory is an overlay over the host's, so the checkout has the same path
    inside, and what a guest writes stays in the guest. /tmp is the node's own; of the host's, only the checkout and the
    lab's directory are there, if that is where they are. Do not count on changes that the host makes after the boot:

    - a new file is seen, unless someone in the guest looked for that name before (the overlay remembers its absence);
    - a file that was read keeps its old length and content, also when the host puts another one in its place.

    `forget_host_files()` makes both visible, but for files that are open in the guest.
    """

    def __init__(self, config: NodeConfig, lab: Path, namespace: str, process: Process) -> None:
        self.config = config
        self.name = config.name
        self.address = config.address
        self.address6 = config.address6
        self._lab = lab
        self._namespace = namespace
        self._process = process
        self._console_seen = 0
        self._proxy = f"ip netns exec {namespace} nc %h %p"

    @classmethod
    def launch(cls, config: NodeConfig, lab: Path, namespace: str) -> tuple[Node, subprocess.Popen[bytes]]:
        """Start the guest without waiting for it."""
        for tap in config.taps():
            host.run(["ip", "-n", namespace, "tuntap", "add", "dev", tap, "mode", "tap"])
            host.run(["ip", "-n", namespace, "link", "set", tap, "master", "br0", "up"])
        (lab / f"{config.name}.settings").write_text(config.guest_settings(lab))
        with (lab / f"{config.name}.console").open("wb") as console:
            guest = subprocess.Popen(
                config.command(namespace, lab),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=host.ENVIRONMENT,
            )
        node = cls(config, lab, namespace, Process.of(guest.pid))
        (lab / f"{config.name}.node").write_text(json.dumps(node._state()))
        return node, guest

    def _state(self) -> dict[str, Any]:
        return {"config": dataclasses.asdict(self.config), "process": dataclasses.asdict(self._process)}

    @classmethod
    def load(cls, state: Mapping[str, Any], lab: Path, namespace: str) -> Node:
        return cls(NodeConfig(**state["config"]), lab, namespace, Process(**state["process"]))

    @property
    def ssh_args(self) -> list[str]:
        """Options of ssh, before the destination `root@ADDRESS`."""
        return [
            *("-F", "/dev/null", "-i", str(self._lab / "id"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={self._lab}/known_hosts", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", "-o", f"ProxyCommand={self._proxy}"),
            *self._sharing(),
        ]

    def _sharing(self) -> list[str]:
        return ["-o", "ControlMaster=auto", "-o", "ControlPersist=60s", "-o", f"ControlPath={self._lab}/ssh-%h"]

    def inventory_vars(self) -> dict[str, str]:
        sharing = " ".join(self._sharing())
        return {
            "ansible_host": self.address,
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self._lab / "id"),
            # Instead of Ansible's default, which compresses.
            "ansible_ssh_args": f"-F /dev/null {sharing}",
            "ansible_ssh_common_args": (
                f'-o ProxyCommand="{self._proxy}" -o IdentitiesOnly=yes '
                f"-o UserKnownHostsFile={self._lab}/known_hosts -o StrictHostKeyChecking=yes"
            ),
            "ansible_pipelining": "true",
        }

    def run(
        self,
        command: str | Sequence[str],
        *,
        input: str | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node as root; a string goes to the shell there."""
        words = command if isinstance(command, str) else shlex.join(command)
        argv = ["ssh", *self.ssh_args, f"root@{self.address}", "--", words]
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL if input is None else None,
                input=input,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env=host.ENVIRONMENT,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name}: {words}: not done within {timeout:g} s\n{self.console_tail()}") from error
        if done.returncode == 255 and not self.alive():
            raise LabError(f"{self.name} is not running\n{self.console_tail()}")
        if check and done.returncode != 0:
            raise LabError(
                f"{self.name}: {words}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done

    def forget_host_files(self) -> None:
        """Make the guest look at the host's files again."""
        self.run("echo 3 >/proc/sys/vm/drop_caches")

    def alive(self) -> bool:
        return self._process.alive()

    def console(self) -> str:
        return (self._lab / f"{self.name}.console").read_text(errors="replace")

    def console_tail(self, lines: int = 20) -> str:
        # What a panic prints after its first line says nothing about the guest's scripts.
        before, panic, after = self.console()[-20000:].partition("Kernel panic")
        text = before + panic + after.partition("\n")[0]
        return f"the console of {self.name} ends with:\n  " + "\n  ".join(text.splitlines()[-lines:])

    def wait_until_ready(self, timeout: float = 90) -> None:
        """Wait until sshd answers; raise with the end of the console if the node fails or takes longer."""

        def settled() -> bool:
            return any(word in self.console()[self._console_seen :] for word in (READY, FAILED)) or not self.alive()

        in_time = host.wait_until(settled, timeout=timeout, interval=0.05)
        new = self.console()[self._console_seen :]
        self._console_seen += len(new)
        if READY not in new or FAILED in new:
            reason = "did not come up" if in_time else f"is not ready after {timeout:g} s"
            raise LabError(f"{self.name} {reason}; {self.console_tail()}")
        # The first packets to a node that takes the place of another may be lost.
        if not host.wait_until(self._answers, timeout=10, interval=0.2):
            raise LabError(f"{self.name} is up, and sshd does not answer; {self.console_tail()}")

    def _answers(self) -> bool:
        return self.run("true", check=False).returncode == 0

    def _disconnect(self) -> None:
        subprocess.run(
            ["ssh", *self.ssh_args, "-O", "exit", f"root@{self.address}"],
            capture_output=True,
            timeout=10,
            check=False,
            env=host.ENVIRONMENT,
        )

    def reboot(self, *, timeout: float = 90) -> float:
        """Restart the guest and wait for it; the seconds that took. Without an image it comes back as new."""
        begin = time.monotonic()
        self._console_seen = len(self.console())
        command = "systemctl reboot" if self.config.systemd else "busybox reboot -f"
        # Later, in the background: a connection that the reboot cuts off would not end by itself.
        self.run(f"sync; (sleep 0.2; {command}) </dev/null >/dev/null 2>&1 &")
        self._disconnect()
        self.wait_until_ready(timeout)
        return time.monotonic() - begin

    def stop(self) -> None:
        """End the guest; what was written to an image stays."""
        if self.alive() and self.config.image:
            self.run("sync", check=False, timeout=20)
        self._disconnect()
        inside = self._process.children()
        self._process.kill()
        if not host.wait_until(lambda: not any(one.alive() for one in (self._process, *inside)), timeout=10):
            raise LabError(f"{self.name}: process {self._process.pid} does not end")
        # A tap that is used again can still be held by the old process.
        for tap in self.config.taps():
            host.run(["ip", "-n", self._namespace, "link", "delete", tap])
        (self._lab / f"{self.name}.node").unlink(missing_ok=True)


def new_image(path: Path, size_mib: int = 1024) -> None:
    """A sparse, empty ext4 file system for `Lab.start(image=...)`."""
    host.require(["mkfs.ext4"])
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as blank:
        blank.truncate(size_mib * 2**20)
    host.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", blank.name])
    Path(blank.name).rename(path)
