# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a guest kernel that cannot write to the host; a program of its own: seal.py [--image FILE] -- KERNEL ARGUMENTS..

It must be PID 1 of its own mount and PID namespaces. The root user of a guest can remount hostfs read-write whatever
the kernel's command line says, so the limit is here: every mount in this namespace becomes read-only, except a private
/dev/shm (the guest's memory) and the node's image. Then it tries to write, and starts nothing if that works anywhere.
The kernel runs without capabilities but the one to read every file: it can neither mount nor change what is sealed.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SHM = "/dev/shm"
CAPABILITIES = ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+dac_read_search")
RESTARTING = b"Restarting system"

_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_MS_NOSUID_NODEV = 2 | 4
_MS_BIND = 4096

_libc = ctypes.CDLL(None, use_errno=True)


class SealError(Exception):
    pass


class Mount(NamedTuple):
    point: str
    read_only: bool


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _check(result: int, what: str) -> None:
    if result != 0:
        raise SealError(f"{what}: {os.strerror(ctypes.get_errno())}")


def _set_attributes(path: str, *, read_only: bool, recursive: bool) -> None:
    attributes = _MountAttr(attr_set=_MOUNT_ATTR_RDONLY) if read_only else _MountAttr(attr_clr=_MOUNT_ATTR_RDONLY)
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR,
        ctypes.c_int(_AT_FDCWD),
        path.encode(),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, f"mount_setattr {path} (Linux 5.12 or newer is needed)")


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(result, f"mount {target}")


def mounts() -> Iterator[Mount]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split()
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), fields[4])
            yield Mount(point, "ro" in fields[5].split(","))


def can_write(path: str) -> bool:
    """Whether a file can be created in the directory, or the file be opened for writing; a device is neither."""
    probe = os.path.join(path, f".kubenode-seal-{os.getpid()}")
    try:
        if os.path.isdir(path):
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.unlink(probe)
        elif os.path.isfile(path):
            os.close(os.open(path, os.O_WRONLY))
        else:
            return False
    except OSError:
        return False
    return True


def verify(writable: Sequence[str] = ()) -> None:
    """Raise unless every mount refuses a write, but those named."""
    places = {mount.point for mount in mounts()} | {"/", "/tmp", "/root", os.path.dirname(os.path.abspath(__file__))}
    for place in sorted(places - set(writable)):
        if can_write(place):
            raise SealError(f"{place} is still writable")
    for place in writable:
        if not can_write(place):
            raise SealError(f"{place} should be writable and is not")


def seal(image: str | None) -> None:
    _set_attributes("/", read_only=True, recursive=True)
    loose = [mount.point for mount in mounts() if not mount.read_only]
    if loose:
        raise SealError(f"not read-only: {', '.join(loose)}")
    _mount("kubenode-lab", SHM, "tmpfs", _MS_NOSUID_NODEV, "mode=1777")
    if image:
        _mount(image, image, "", _MS_BIND, "")
        _set_attributes(image, read_only=False, recursive=False)
    verify([SHM, image] if image else [SHM])


def run_kernel(argv: Sequence[str]) -> bool:
    """One boot, console to standard output; whether the guest asked for another one."""
    last = b""
    with subprocess.Popen(
        ["setpriv", *CAPABILITIES, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "TERM": "linux"},
    ) as kernel:
        assert kernel.stdout is not None
        for line in kernel.stdout:
            os.write(1, line)
            last = line if line.strip() else last
    return RESTARTING in last


def main(arguments: Sequence[str]) -> int:
    split = arguments.index("--")
    image = arguments[1] if arguments[0] == "--image" else None
    try:
        seal(image)
    except SealError as error:
        print(f"KUBENODE-FAILED the host is not sealed off, so the node is not started: {error}", flush=True)
        return 1
    # The kernel's own restart keeps the tap device open and then cannot open it again: it runs with "noreboot".
    while run_kernel(arguments[split + 1 :]):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
