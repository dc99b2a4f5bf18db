# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures converging on real kernels, and prints one line a figure, as ratios within one run.

usage: python -m tests.bench [SERVICESxENDPOINTS ...]
"""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab import Lab
from tests.lab.netns import Network, run_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.netns import Runner

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ["env", "PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={ROOT}/.cache/collections:{ROOT}", "/usr/bin/python3", "-m"]
DEFAULT_SIZES = ("100x10", "500x10", "1000x10", "5000x10", "10000x10")
MODES = (("ipvs", "auto"), ("iptables", "nft"), ("iptables", "legacy"), ("nftables", "auto"))
MODULES = ("ip_vs", "ip_vs_rr", "nf_conntrack", "nf_conntrack_netlink", "dummy", "ip_set", "xt_set")
PHASES = ("read", "plan", "verify", "apply")
# Seconds for one mode at one size.
TIMEOUT = 1500


@contextlib.contextmanager
def kernels() -> Iterator[dict[str, Runner]]:
    """A guest for IPVS mode, this machine's own kernel for the others."""
    with Lab("bench") as lab:
        guest = lab.start("bench", memory="2G", modprobe=MODULES)
        yield {"ipvs": guest.run, "iptables": run_here, "nftables": run_here}


def measure(run: Runner, mode: str, backend: str, size: str) -> dict[str, Any]:
    """The figures of one mode at one size, in a fresh network namespace."""
    services, endpoints = size.split("x")
    with Network(run) as network:
        network.add("node")
        network.build()
        arguments = [mode, backend, services, endpoints, network.full_name("node")]
        done = run([*PYTHON, "tests.bench.worker", *arguments], timeout=TIMEOUT)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def show(name: str, figures: dict[str, Any], half: dict[str, Any] | None) -> None:
    """Prints the figures of one mode at one size."""
    first, second, changed = (figures[key] for key in ("first converge", "second run", "one endpoint changed"))
    raw = figures["raw restore"]

    def line(what: str, value: str) -> None:
        print(f"{name:<32} {what:<48} {value}", flush=True)

    line("first converge / raw tools", _ratio(first, raw))
    if half:
        line("first converge / at half the size", _ratio(first, half["first converge"]))
    line("second run / first converge", _ratio(second, first))
    line("one endpoint changed / second run", _ratio(changed, second))
    if "raw chain" in figures:
        # Both then read the tables, which are small in IPVS mode.
        all_read, all_read_changed = (figures[f"{run} after others"] for run in ("second run", "one endpoint changed"))
        line("second run after others wrote / first converge", _ratio(all_read, first))
        line("one endpoint changed / second run, after others", _ratio(all_read_changed, all_read))
        line("one endpoint changed / one chain with the tool", _ratio(changed, figures["raw chain"]))
    line(
        f"second run / {'nft list' if name.startswith('nftables') else 'iptables-save'}",
        _ratio(second, figures["raw save"]),
    )
    line("objects written, one endpoint changed", str(changed["operations"]))
    found = figures["run after tampers"]["operations"]
    line("objects tampered with, found and set right", f"{figures['tampers']}, {found}")
    line("peak memory of a run, MB", str(max(found["megabytes"] for found in (first, second, changed))))
    for what, found in (("first converge", first), ("second run", second)):
        phases = ", ".join(f"{key} {found[key]:.2f}" for key in PHASES if key in found)
        line(f"{what}, seconds by phase", f"{found['seconds']:.2f}: {phases}")
        line(f"{what}, processes and netlink messages", f"{found['processes']}, {found['messages']}")


def _ratio(value: dict[str, Any], base: dict[str, Any]) -> str:
    """Of processor seconds, which other programs on the machine hardly change; in brackets, and those of the clock."""
    ratio = value["processor"] / base["processor"]
    clock = f"{value['seconds']:.2f} / {base['seconds']:.2f}"
    return f"{ratio:.2f}  ({value['processor']:.2f} / {base['processor']:.2f}; by the clock {clock})"


def versions(runners: dict[str, Runner]) -> None:
    """Prints what was measured with."""
    print(f"python {platform.python_version()}, {len(MODES)} modes")
    for name, run in runners.items():
        text = run(["sh", "-c", "uname -r; iptables -V; nft -v; ipset version; ipvsadm --version"], check=False).stdout
        print(f"{name}: {'; '.join(line.strip() for line in text.splitlines() if line)}")


def main() -> int:
    """Prints all figures."""
    sizes = sys.argv[1:] or DEFAULT_SIZES
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    with kernels() as runners:
        versions(runners)
        for size in sizes:
            services = int(size.split("x")[0])
            for mode, backend in MODES:
                name = f"{mode} {backend if mode == 'iptables' else ''} {size}".replace("  ", " ")
                try:
                    figures = measure(runners[mode], mode, backend, size)
                except subprocess.TimeoutExpired:
                    print(f"{name:<32} not done within {TIMEOUT} s")
                    continue
                found[mode, backend, services] = figures
                show(name, figures, found.get((mode, backend, services // 2)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
