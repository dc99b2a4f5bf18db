# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab needs from the host: programs, processes, network namespaces."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Program -> the Debian package that brings it.
PACKAGES = {
    "ip": "iproute2",
    "linux.uml": "user-mode-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "nc": "netcat-openbsd",
    "busybox": "busybox-static",
    "modprobe": "kmod",
    "mkfs.ext4": "e2fsprogs",
    "systemd": "systemd",
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "gcc": "gcc libc6-dev",
}
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/lib/systemd"
ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C", "HOME": "/root"}


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and what to do."""


def require(programs: Iterable[str]) -> None:
    """Raise one error that names everything that is missing."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it creates network namespaces, bridges and tap devices")
    missing = [name for name in programs if shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[name] for name in missing}))
        raise LabError(
            f"not installed: {', '.join(missing)}\n  apt-get install --no-install-recommends {packages}\n"
            "(or scripts/install-apt, which installs everything that the tests need)"
        )
    if not os.path.exists("/dev/net/tun"):
        raise LabError("/dev/net/tun is missing: the lab needs tap devices")


def run(argv: Sequence[str], *, text: str | None = None, timeout: float = 30) -> str:
    """Run a program of the host; its standard output."""
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=timeout, check=False, env=ENVIRONMENT
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)}: no answer within {timeout:g} s") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def wait_until(condition: Callable[[], bool], *, timeout: float, interval: float = 0.02) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, _state_and_start(pid)[1])

    def alive(self) -> bool:
        state, started = _state_and_start(self.pid)
        return started == self.started and state not in ("", "Z", "X")

    def children(self) -> list[Process]:
        try:
            pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return []
        return [Process.of(int(pid)) for pid in pids]

    def kill(self) -> None:
        if self.alive():
            kill(self.pid)


def _state_and_start(pid: int) -> tuple[str, str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", ""
    # The second field, the name in parentheses, may hold spaces.
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], fields[19]


def namespace_exists(name: str) -> bool:
    return os.path.exists(f"/run/netns/{name}")


def processes_in_namespace(name: str) -> list[int]:
    try:
        wanted = os.stat(f"/run/netns/{name}")
    except OSError:
        return []
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            status = os.stat(f"/proc/{entry}/ns/net")
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
            found.append(int(entry))
    return found


def remove_namespace(name: str) -> None:
    """End every process inside, then delete the namespace; what was in it (bridge, taps) goes with it."""

    def emptied() -> bool:
        pids = processes_in_namespace(name)
        for pid in pids:
            kill(pid)
        return not pids

    if not namespace_exists(name):
        return
    if not wait_until(emptied, timeout=10):
        raise LabError(f"processes in the network namespace {name} do not end: {processes_in_namespace(name)}")
    if namespace_exists(name):
        run(["ip", "netns", "delete", name])
