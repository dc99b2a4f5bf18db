# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recorded nodes on a real kernel: what kube-proxy had programmed, loaded with the tools that it uses."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import NamedTuple

from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.accounting import AccountingObjects
from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import ADD, Operation
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.names import ACCOUNTING_OBJECTS, DEVICE

FAMILIES = {"ipv4": "iptables", "ipv6": "ip6tables"}
EMPTY_TABLES = "".join(f"*{table}\nCOMMIT\n" for table in ("filter", "nat", "mangle"))


class Recording(NamedTuple):
    """Files of a recording by name, see recordings/README.md, and the back end of iptables to load them with.

    ``timeouts`` are those of IPVS connections in seconds (tcp, tcpfin, udp), 0 to keep: no file holds them.
    """

    files: dict[str, str]
    backend: str
    timeouts: tuple[int, int, int] = (0, 0, 0)

    def restore(self, family: str) -> list[str]:
        """The command that restores tables of iptables."""
        kind = "" if self.backend == "auto" else f"-{self.backend}"
        return [f"{FAMILIES[family]}{kind}-restore", "-w", "30"]

    def load(self) -> None:
        """Makes the network namespace that this process is in a node as recorded, whatever it was before."""
        if self._has_rules:
            self._add_accounting_objects()
        for program, part in self._parts().items():
            # The sets come with the rules that name them.
            if program != "iptables" or "ipset.save" not in self.files:
                part()

    def load_again(self, program: str) -> None:
        """The same where only this program has made changes: ``iptables-restore``, ``ipset``, ``nft`` and so on."""
        parts = self._parts()
        parts[next(name for name in parts if program.replace("ip6", "ip").startswith(name))]()

    @property
    def _has_rules(self) -> bool:
        return "iptables.rules" in self.files

    def _parts(self) -> dict[str, Callable[[], None]]:
        """By the beginning of a program's name, what loads that with which it deals; in order."""
        parts: dict[str, Callable[[], None]] = {}
        if "ipset.save" in self.files:
            parts["ipset"] = self._load_sets
        if self._has_rules:
            parts["iptables"] = self._load_rules
        if "addresses" in self.files:
            parts["ipvsadm"] = self._load_servers
        if "ip.nft" in self.files:
            parts["nft"] = self._load_tables
        parts["sysctl"] = self._load_settings
        if "addresses" in self.files:
            parts["ip"] = self._load_link
        return parts

    def _load_sets(self) -> None:
        # The kernel keeps sets that rules name.
        for family in FAMILIES:
            run(self.restore(family), EMPTY_TABLES)
        run(["ipset", "destroy"])
        run(["ipset", "restore"], self.files["ipset.save"])
        self._load_rules()

    def _load_rules(self) -> None:
        for family, program in FAMILIES.items():
            run(self.restore(family), self.files[f"{program}.rules"])

    def _add_accounting_objects(self) -> None:
        # kube-proxy makes all of them before its rules, whether there is a rule for each or not.
        if any("-m nfacct" in text for text in self.files.values()):
            AccountingObjects().apply(Operation(ADD, "", name, "", name) for name in sorted(ACCOUNTING_OBJECTS))

    def _load_servers(self) -> None:
        run(["ipvsadm", "-C"])
        run(["ipvsadm", "-R"], self.files.get("ipvs.save", ""))
        run(["ipvsadm", "--set", *map(str, self.timeouts)])

    def _load_link(self) -> None:
        addresses = [line.split()[0] for line in self.files["addresses"].splitlines()[1:]]
        lines = [f"link add {DEVICE} type dummy", *(f"address add {address} dev {DEVICE}" for address in addresses)]
        subprocess.run(["ip", "link", "delete", DEVICE], check=False, capture_output=True)
        run(["ip", "-batch", "-"], "".join(f"{line}\n" for line in lines))

    def _load_tables(self) -> None:
        run(["nft", "-f", "-"], "flush ruleset\n" + self.files["ip.nft"] + self.files["ip6.nft"])

    def _load_settings(self) -> None:
        # Some are the host's, and not there in a namespace.
        run(["sysctl", "-e", "-q", *(line.replace(" = ", "=") for line in self.files["sysctl"].splitlines())])


class ToolError(Exception):
    """A tool refused what it was given."""


def run(argv: list[str], stdin: str = "") -> None:
    """Runs a tool. Raises ToolError."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{' '.join(argv)}: {done.stderr}{stdin[:2000]}")
