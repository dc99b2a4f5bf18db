# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs, disks, locks and permissions that fail while a node is brought to another cluster.

Runs where the kernel is: reads a job a line from standard input, as JSON, and writes a result a line to standard
output. A job: {case, failure (a function here), backend, modules, clusters: [{services (canonical), node,
configuration}, ..]}; a result: {case, failures: [{what, problems}]} or {case, error}.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import command, iptables

from tests.conformance.worker import Job, Result, on_fresh_node, serve
from tests.reliability.kill_worker import Steps
from tests.reliability.modules import ModuleError
from tests.reliability.scene import FOLDER, Scene, call

PROGRAMS = ("ip", "ipset", "ipvsadm", "modprobe", "nft")
VARIANTS = ("", "-save", "-restore", "-nft", "-nft-save", "-nft-restore", "-legacy", "-legacy-save", "-legacy-restore")
CLONE_NEWNS, MS_PRIVATE_ALL, MS_REMOUNT, MS_RDONLY = 0x00020000, 1 << 18 | 1 << 14, 32, 1
PR_CAPBSET_DROP, NET_ADMIN = 24, 12
PAGE = 4096
DISK = 256 * PAGE
Hook = Callable[[], object]
LIBC = ctypes.CDLL(None, use_errno=True)


class Crossing:
    """A node at the first cluster of a job, and on the way to the second."""

    def __init__(self, scene: Scene, job: Job) -> None:
        self.scene = scene
        self.mode: str = job["clusters"][0]["configuration"]["mode"]
        self.problems: list[str] = []
        self._clusters: list[dict[str, Any]] = job["clusters"]
        scene.prepare()
        self._own = [self._reach(1), self._reach(0)][::-1]
        self._foreign = scene.foreign()
        self.aim(1)

    def _reach(self, number: int) -> list[str]:
        self.aim(number)
        self.scene.converge()
        return self.scene.own()

    def aim(self, cluster: int) -> None:
        """Has the next runs go to a cluster."""
        self.scene.cluster = self._clusters[cluster]

    def fails(self, message: str, before: Hook, **more: Any) -> None:
        """A run fails with a message that matches, and changes nothing."""
        self._fail(message, before, more)
        self.problems += self.unchanged()

    def unchanged(self) -> list[str]:
        """How the node differs from what it was in the beginning."""
        return self.scene.problems(self._own[0], self._foreign)

    def fails_half_way(self, message: str, before: Hook) -> None:
        """A run fails with a message that matches; what it did stays, and nothing foreign is lost."""
        self._fail(message, before, {})
        if self.scene.foreign() != self._foreign:
            self.problems.append("a run that failed changed what is foreign")

    def _fail(self, message: str, before: Hook, more: dict[str, Any]) -> None:
        try:
            self.problems.append(f"did not fail: {self.scene.converge(before, **more)}")
        except ModuleError as error:
            if not re.search(message, str(error)):
                self.problems.append(f"not {message!r}: {error}")

    def works(self, before: Hook = lambda: None, cluster: int = 1) -> None:
        """A run brings the node to a cluster, and a second one has nothing to do."""
        self.aim(cluster)
        self.scene.converge(before)
        self.is_at(cluster)

    def is_at(self, cluster: int) -> None:
        self.problems += self.scene.problems(self._own[cluster], self._foreign)
        second = self.scene.converge()
        if second["changed"]:
            self.problems.append(f"the second run changed: {second['operations']}")


def tools(folder: Path, missing: str = "", **scripts: str) -> Hook:
    """Has the run find the node's programs but for those of a name; some are scripts (``_`` in their names is ``-``).

    In a script, ``$REAL`` is the program that it stands for.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = [*PROGRAMS, *(f"{family}{variant}" for family in ("iptables", "ip6tables") for variant in VARIANTS)]
    texts = {name.replace("_", "-"): text for name, text in scripts.items()}
    for name in names:
        real = shutil.which(name)
        if not real or (missing and name.startswith(missing)):
            continue
        if name in texts:
            (folder / name).write_text(f"#!/bin/sh\nREAL={real}\n{texts[name]}\n")
            (folder / name).chmod(0o755)
        else:
            (folder / name).symlink_to(real)
    return lambda: setattr(command, "SEARCH_PATH", str(folder))


def restores(crossing: Crossing) -> list[str]:
    """The programs that write in the mode of the crossing."""
    chains = [f"{family}-{crossing.scene.backend}-restore" for family in ("iptables", "ip6tables")]
    return {"nftables": ["nft"], "iptables": chains, "ipvs": ["ipset", *chains]}[crossing.mode]


def missing_programs(crossing: Crossing) -> None:
    """Those that the mode needs; without the others it works."""
    needed = {"nftables": {"nft"}, "iptables": {"iptables"}, "ipvs": {"ipset", "iptables"}}[crossing.mode]
    for name in sorted(needed):
        hook = tools(crossing.scene.scratch / "bin", missing=name)
        crossing.fails(rf"^{name}\S* is not installed: install the package \w+ \(role \S+node_prepare does\)$", hook)
    for name in sorted({"ipset", "iptables", "ip6tables", "ipvsadm", "nft"} - needed):
        if name != "ip6tables" or crossing.mode == "nftables":
            crossing.works(tools(crossing.scene.scratch / "bin", missing=name))
            crossing.works(cluster=0)
    crossing.works()


def old_programs(crossing: Crossing) -> None:
    folder, backend = crossing.scene.scratch / "bin", crossing.scene.backend
    if crossing.mode == "nftables":
        call("nft", "delete table ip kube-proxy; delete table ip6 kube-proxy")
        answer = 'test "$1" = --version && echo "nftables v0.9.8 (E.D.S.)" || exec $REAL "$@"'
        message = "^nft 0.9.8 is too old for nftables mode: it takes 1.0.1 or newer$"
        crossing.fails_half_way(message, tools(folder, nft=answer))
    else:
        call(f"iptables-{backend}", "-t", "nat", "-F", "KUBE-POSTROUTING")
        answer = 'test "$1" = --version && echo "iptables v1.6.1" || exec $REAL "$@"'
        message = r"^iptables-\w+ 1.6.1 is too old for --random-fully, .*: it takes 1.6.2 or newer$"
        crossing.fails_half_way(message, tools(folder, **{f"iptables_{backend}": answer}))
    if crossing.mode == "ipvs":
        # The rule that names it is gone, above.
        call("ipset", "destroy", "KUBE-LOOP-BACK")
        answer = 'test "$1" = version && echo "ipset v5.9, protocol version: 5" || exec $REAL "$@"'
        message = "^ipset is too old, it takes version 6.0 or newer: ipset v5.9, protocol version: 5$"
        crossing.fails_half_way(message, tools(folder, ipset=answer))
    crossing.works()


def failing_programs(crossing: Crossing) -> None:
    """A call of a program that writes fails: the first ones look or test only, others come after some have written."""
    calls = crossing.scene.scratch / "calls"
    target = 1
    for name in restores(crossing):
        for number in range(1, 4):
            calls.write_text("")
            script = f'echo >>{calls}; test $(wc -l <{calls}) = {number} && echo broken >&2 && exit 3\nexec $REAL "$@"'
            hook = tools(crossing.scene.scratch / "bin", **{name.replace("-", "_"): script})
            crossing.aim(target)
            try:
                crossing.scene.converge(hook)
            except ModuleError as error:
                crossing.problems += [] if "broken" in str(error) else [str(error)]
            crossing.works(cluster=target)
            target = 1 - target


def half_written(crossing: Crossing) -> None:
    """A program that writes half of its input, and dies."""
    target = 1
    for name in restores(crossing):
        script = (
            'case "$0 $*" in *--test*|*--check*) exec $REAL "$@" ;; *restore*|*-f*) ;; *) exec $REAL "$@" ;; esac\n'
            "cat >$0.input\n"
            'head -n $(($(wc -l <$0.input) / 2)) $0.input | $REAL "$@"\n'
            "kill -KILL $$"
        )
        hook = tools(crossing.scene.scratch / "bin", **{name.replace("-", "_"): script})
        crossing.aim(target)
        crossing.fails_half_way("exited with -9|exit status -9|refused its input|unexpected end of file", hook)
        crossing.works(cluster=target)
        target = 1 - target


def full_disk(crossing: Crossing) -> None:
    """Where the node keeps its files: whatever room there is, a run has enough of it, or changes nothing."""
    message = re.compile(f"cannot (write {FOLDER}/|link ).*: No space left on device")
    with _mounted(FOLDER, keep=True):
        for snapshots in (3, 0):
            crossing.aim(1)
            room = 0
            while not _has_room(crossing, room, snapshots, message):
                room += 2 * PAGE
            if not room:
                crossing.problems.append("did not fail on a full disk")
            crossing.is_at(1)
            crossing.works(cluster=0)


def _has_room(crossing: Crossing, room: int, snapshots: int, message: re.Pattern[str]) -> bool:
    """Whether a run succeeds with so many bytes left; if not, everything is as it was."""
    filler = FOLDER / "filler"
    with filler.open("wb", buffering=0) as file:
        status = os.statvfs(FOLDER)
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - room)
    try:
        crossing.scene.converge(snapshots=snapshots)
    except ModuleError as error:
        if not message.fullmatch(str(error)):
            crossing.problems.append(str(error))
        crossing.problems += crossing.unchanged()
        return False
    finally:
        filler.unlink()
    return True


def read_only_disk(crossing: Crossing) -> None:
    with _mounted(FOLDER, keep=True):
        _mount(FOLDER, MS_REMOUNT | MS_RDONLY)
        crossing.fails(
            f"^cannot write {FOLDER}/.*: it is on a read-only file system: mount that read-write$", lambda: None
        )
        _mount(FOLDER, MS_REMOUNT)
        crossing.works()


def read_only_etc(crossing: Crossing) -> None:
    """The drop-in files are gone, and settings are other; as long as the files cannot be written, settings stay."""
    scene = crossing.scene
    setting = Path("/proc/sys/net/ipv4/conf/all/send_redirects")
    with _mounted(scene.drop_ins, keep=False):
        _mount(scene.drop_ins, MS_REMOUNT | MS_RDONLY)
        setting.write_text("1")
        for work in (scene.load_modules, scene.set_sysctls):
            try:
                crossing.problems.append(f"did not fail: {work()}")
            except ModuleError as error:
                if not re.search(f"^cannot write {scene.drop_ins}/\\S+: it is on a read-only file system", str(error)):
                    crossing.problems.append(str(error))
        if setting.read_text().strip() != "1":
            crossing.problems.append("a setting was changed before its file was known to be writable")
        _mount(scene.drop_ins, MS_REMOUNT)
        crossing.aim(0)
        scene.heal()
        crossing.is_at(0)
    setting.write_text("0")


def no_capability(crossing: Crossing) -> None:
    def drop() -> None:
        assert LIBC.prctl(PR_CAPBSET_DROP, NET_ADMIN, 0, 0, 0) == 0
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        data = (ctypes.c_uint32 * 6)()
        assert LIBC.capget(header, data) == 0
        for index in range(3):
            data[index] &= ~(1 << NET_ADMIN)
        assert LIBC.capset(header, data) == 0

    for check in (False, True):
        message = r"^the capability CAP_NET_ADMIN is missing: run as root \(become: true\)"
        crossing.fails(message, drop, _ansible_check_mode=check)
    crossing.works()


def held_xtables_lock(crossing: Crossing) -> None:
    """By another program: the run waits, and then says so. The nft back end has no such lock."""
    lock = crossing.scene.scratch / "xtables.lock"
    os.environ["XTABLES_LOCKFILE"] = str(lock)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if crossing.scene.backend == "legacy":
            message = "^another program held the xtables lock for 1 s"
            crossing.fails(message, lambda: setattr(iptables, "LOCK_SECONDS", 1))
            run = crossing.scene.start()
            time.sleep(1)
            fcntl.flock(file, fcntl.LOCK_UN)
            run.result()
        else:
            crossing.scene.converge()
    crossing.is_at(1)


def two_runs(crossing: Crossing) -> None:
    """Of two at once, one waits; where the first takes longer than the second was told to wait, that is refused."""
    scene = crossing.scene
    for run in [scene.start(), scene.start()]:
        run.result()
    crossing.is_at(1)
    crossing.works(cluster=0)
    crossing.aim(1)
    steps = Steps()
    first = scene.start(steps.watch(12, signal.SIGSTOP))
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        crossing.problems.append(f"did not fail: {scene.converge(lock_timeout=0.5)}")
    except ModuleError as error:
        if not re.search(rf"^another run \(process {first.pid}\) holds \S+ for over 0.5 s: try again$", str(error)):
            crossing.problems.append(str(error))
    os.kill(first.pid, signal.SIGCONT)
    first.result()
    crossing.is_at(1)


def orphan(crossing: Crossing) -> None:
    """A program that is still at work when its run is killed: the next run waits for it."""
    started = crossing.scene.scratch / "started"
    name = restores(crossing)[-1]
    script = (
        'case "$*" in *--test*|*--check*|*list*|*--version*) exec $REAL "$@" ;; esac\n'
        f'cat >$0.input; touch {started}; sleep 2; exec $REAL "$@" <$0.input'
    )
    run = crossing.scene.start(tools(crossing.scene.scratch / "bin", **{name.replace("-", "_"): script}))
    while not started.exists():
        time.sleep(0.05)
    run.kill()
    run.wait()
    crossing.works(cluster=0)
    time.sleep(2)
    crossing.is_at(0)


FAILURES: dict[str, Callable[[Crossing], None]] = {
    function.__name__: function
    for function in (
        missing_programs,
        old_programs,
        failing_programs,
        half_written,
        full_disk,
        read_only_disk,
        read_only_etc,
        no_capability,
        held_xtables_lock,
        two_runs,
        orphan,
    )
}


@contextlib.contextmanager
def _mounted(folder: Path, keep: bool) -> Iterator[None]:
    """A small file system on a folder, which only this process and its children see."""
    if LIBC.unshare(CLONE_NEWNS) != 0 or LIBC.mount(None, b"/", None, MS_PRIVATE_ALL, None) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a mount namespace")
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        _mount(folder, 0)
        if keep:
            shutil.copytree(copy, folder, dirs_exist_ok=True)
        try:
            yield
        finally:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            LIBC.umount2(os.fsencode(folder), 2)


def _mount(folder: Path, flags: int) -> None:
    options = f"size={DISK}".encode()
    if LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {folder}: {errno.errorcode.get(number)}")


def fail_and_heal(job: Job) -> Result:
    """One failure, and what follows."""
    with tempfile.TemporaryDirectory() as scratch:
        scene = Scene({**job, "cluster": job["clusters"][0]}, Path(scratch))
        try:
            crossing = Crossing(scene, job)
            FAILURES[job["failure"]](crossing)
        finally:
            scene.close()
    return {"case": job["case"], "failures": [{"what": job["failure"], "problems": crossing.problems}]}


if __name__ == "__main__":
    serve(lambda job: on_fresh_node(fail_and_heal, job))
