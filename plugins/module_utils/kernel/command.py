# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The one seam through which commands run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

# /sbin is not on the PATH of every login.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/local/sbin"])
# Package that ships a tool, for the error when it is missing.
PACKAGES = {
    "ip": "iproute2",
    "iptables": "iptables",
    "ip6tables": "iptables",
    "ipset": "ipset",
    "modprobe": "kmod",
    "nft": "nftables",
}
# Descriptors that programs inherit. Those of locks are such: what a killed run has started may still be writing, so the
# next run has to wait for it.
inherited: set[int] = set()
# What programs find in their environment beside that of this process. Their output is read, so its language is fixed.
environment: dict[str, str] = {"LC_ALL": "C", "LANGUAGE": "C"}


class KernelError(Exception):
    """The node's kernel or a tool refused; the text says what, and what to do."""


class UnchangedError(KernelError):
    """The kernel refused all of a transaction, and holds what it held before."""


class CommandError(KernelError):
    """A command exited with an error."""

    def __init__(self, argv: Sequence[str], returncode: int, stderr: str, stdin: str | None = None) -> None:
        self.argv = list(argv)
        self.returncode = returncode
        self.stderr = stderr.strip()
        self.stdin = stdin
        super().__init__(f"{' '.join(argv)} exited with {returncode}: {self.stderr or 'no message'}")


class Result(NamedTuple):
    """What a command printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


class Runner:
    """Runs commands, and counts them: the number of processes is a figure that results report and tests assert."""

    def __init__(self) -> None:
        self.processes = 0
        self._paths: dict[str, str] = {}

    def find(self, program: str) -> str | None:
        """Absolute path of a program, None where it is not installed."""
        if program not in self._paths:
            self._paths[program] = shutil.which(program, path=SEARCH_PATH) or ""
        return self._paths[program] or None

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        """Runs a command without a shell. Raises CommandError if ``check``, KernelError where the program is
        missing."""
        path = self.find(argv[0])
        if path is None:
            package = PACKAGES.get(argv[0].split("-")[0], argv[0])
            raise KernelError(
                f"{argv[0]} is not installed: install the package {package} (role kubenode.proxy.node_prepare does)"
            )
        self.processes += 1
        # AnsibleModule.run_command is for modules; this room runs without Ansible too.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            [path, *argv[1:]],
            input=stdin,
            capture_output=True,
            env={**os.environ, **environment},
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            pass_fds=tuple(inherited),
        )
        if check and done.returncode != 0:
            raise CommandError(argv, done.returncode, done.stderr, stdin)
        return Result(done.returncode, done.stdout, done.stderr)
