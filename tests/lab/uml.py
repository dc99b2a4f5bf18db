# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The processors on which User Mode Linux needs help; see whole_xstate.c."""

from __future__ import annotations

from pathlib import Path

from . import host

SOURCE = Path(__file__).parent / "whole_xstate.c"
LIBRARY = "whole_xstate.so"
PROCESSORS = Path("/proc/cpuinfo")


def prepare(lab: Path) -> None:
    """Put into the lab's directory what User Mode Linux needs on this machine's processor."""
    if " amx_tile" in PROCESSORS.read_text():
        host.require(["gcc"])
        host.run(["gcc", "-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o", str(lab / LIBRARY), str(SOURCE)])


def command(lab: Path) -> list[str]:
    """User Mode Linux, without options."""
    library = lab / LIBRARY
    return [*(["env", f"LD_PRELOAD={library}"] if library.exists() else []), "linux.uml"]
