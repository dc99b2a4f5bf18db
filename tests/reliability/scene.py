# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that is brought to a rule set, with all that is foreign on it; for a process inside its network namespace."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.namespace import enter
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import parse as parse_rule_set

from tests.conformance.worker import NAMESPACE, PREFIX, Job
from tests.integration.pair_worker import Node, differences
from tests.locks import is_free
from tests.reliability.modules import Result, Started, run, start

NAME = PREFIX + NAMESPACE
FOLDER = Path("/var/lib/kubenode-proxy/netns") / NAME
LOCK = Path(f"/run/kubenode-proxy-{NAME}.lock")
FILES = ("services.json", "rule_set", "virtual_servers")
DROP_INS = ("kubenode-proxy.conf", "60-kubenode-proxy.conf")
SETTINGS = {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.send_redirects": 0}
OWN_TABLES = ("ip kube-proxy", "ip6 kube-proxy")
FOREIGN_TABLES = """\
table inet foreign {
    counter seen { packets 5 bytes 50 }
    set them { type ipv4_addr; elements = { 192.0.2.5, 192.0.2.6 } }
    chain input {
        type filter hook input priority 10;
        ip saddr 192.0.2.1 counter packets 3 bytes 30 accept
        ip saddr @them counter name "seen" drop
    }
}
table ip foreign {
    chain kube-proxy { ip daddr 192.0.2.1 counter packets 7 bytes 70; }
    chain output { type nat hook output priority -101; ip daddr 192.0.2.2 jump kube-proxy; }
}
"""
Operations = list[dict[str, str]]


class Scene:
    """The node of a job: {cluster: {services (canonical), node, configuration}, backend, modules}."""

    def __init__(self, job: Job, scratch: Path) -> None:
        enter(NAME)
        self.backend: str = job["backend"]
        self.cluster: dict[str, Any] = job["cluster"]
        self.modules: list[str] = job["modules"]
        self.scratch = scratch
        self.drop_ins = scratch / "etc"
        # Those of the rule set are known once there is one.
        self.sysctls = {name: str(value) for name, value in SETTINGS.items()}
        self.node = Node(self.backend)
        # The kernel of the guests knows no tables but those of bridges.
        self.has_nft = _loads("add table ip tried; delete table ip tried")

    def prepare(self) -> None:
        """Places what is foreign, and brings the node to the cluster."""
        self.node.place_foreign()
        if self.has_nft:
            call("nft", "-f", "-", stdin=FOREIGN_TABLES)
        self.heal()
        self.sysctls.update(self.compiled().sysctls)

    def compiled(self) -> RuleSet:
        """What the last run compiled."""
        return parse_rule_set((FOLDER / "rule_set").read_text())

    def arguments(self, **more: Any) -> dict[str, Any]:
        """Arguments of the module rule_set, but for the service data."""
        chosen = {name: self.cluster[name] for name in ("node", "configuration")}
        return {**chosen, "netns": NAME, "backend": self.backend, **more}

    def start(self, before: Callable[[], object] = lambda: None, **more: Any) -> Started:
        """Starts the module rule_set with the service data at hand."""
        incoming = self.scratch / "incoming"
        incoming.write_text(self.cluster["services"])
        return start("rule_set", self.arguments(incoming=str(incoming), **self._checksum(), **more), before)

    def converge(self, before: Callable[[], object] = lambda: None, **more: Any) -> Result:
        """What the action of the module rule_set does: the data is sent when the node does not have it."""
        found = run("rule_set", self.arguments(**self._checksum(), **more), before)
        return self.start(before, **more).result() if found.get("service_data_missing") else found

    def heal(self) -> tuple[bool, Operations]:
        """What the roles do: modules, settings, rule set; whether anything changed, and the operations."""
        return _summary(self.load_modules(), self.set_sysctls(), self.converge())

    def converge_only(self) -> tuple[bool, Operations]:
        """The rule set alone, with the same result."""
        return _summary(self.converge())

    def load_modules(self, before: Callable[[], object] = lambda: None) -> Result:
        return run("kernel_modules", {"modules": self.modules, "directory": str(self.drop_ins)}, before)

    def set_sysctls(self, before: Callable[[], object] = lambda: None) -> Result:
        return run("sysctls", {"settings": SETTINGS, "directory": str(self.drop_ins)}, before)

    def foreign(self) -> list[str]:
        """Everything that is not ours, counters and handles included."""
        return self.node.foreign() + [line for table in self._tables() for line in self._foreign_table(table)]

    def own(self) -> list[str]:
        """Everything that is ours, on disk too."""
        tables = [line for name in self._tables() if name in OWN_TABLES for line in _own_table(name)]
        # The first look at a table makes it; that it is there and empty says nothing.
        rules = re.sub(r"^\*\S+\nCOMMIT\n", "", "".join(f"{line}\n" for line in self.node.own()), flags=re.MULTILINE)
        return rules.splitlines() + tables + self._settings() + self._files()

    def problems(self, own: list[str], foreign: list[str]) -> list[str]:
        """How the node differs from what it should be, and what a run left lying about."""
        found = differences("ours", own, self.own()) + differences("foreign", foreign, self.foreign())
        found += [f"left over: {path}" for path in (*FOLDER.rglob(".*"), *self.drop_ins.rglob(".*"))]
        return found if lock_is_free() else [*found, f"{LOCK} is held"]

    def close(self) -> None:
        """Deletes what lies outside the namespace; what settings were before is noted there too."""
        run("sysctls", {"state": "absent", "directory": str(self.drop_ins)})
        shutil.rmtree(FOLDER, ignore_errors=True)
        LOCK.unlink(missing_ok=True)

    def _checksum(self) -> dict[str, str]:
        return {"checksum": hashlib.sha1(self.cluster["services"].encode()).hexdigest()}

    def _tables(self) -> list[str]:
        """Tables of nftables but for those of iptables-nft."""
        if not self.has_nft:
            return []
        names = [line.removeprefix("table ") for line in call("nft", "list", "tables").splitlines()]
        return [name for name in sorted(names) if not re.fullmatch(r"ip6? (filter|nat|mangle|raw|security)", name)]

    def _foreign_table(self, name: str) -> list[str]:
        return [] if name in OWN_TABLES else call("nft", "-a", "list", "table", *name.split()).splitlines()

    def _settings(self) -> list[str]:
        # This machine's kernel has no such file: nothing can be loaded.
        modules = Path("/proc/modules")
        loaded = {line.split()[0] for line in modules.read_text().splitlines()} if modules.exists() else set()
        lines = [f"module {name}" for name in self.modules if name in loaded]
        lines += [f"{name} = {sysctl_file(name).read_text().strip()}" for name in sorted(self.sysctls)]
        return lines + (call("ipvsadm", "-L", "--timeout").splitlines() if self.node.has_ipvs else [])

    def _files(self) -> list[str]:
        paths = [*(FOLDER / name for name in FILES), *(self.drop_ins / name for name in DROP_INS)]
        return [f"{path.name}: {line}" for path in paths if path.exists() for line in path.read_text().splitlines()]


def _summary(*results: Result) -> tuple[bool, Operations]:
    return any(found["changed"] for found in results), [o for found in results for o in found["operations"]]


def _loads(text: str) -> bool:
    return subprocess.run(["nft", text], capture_output=True, check=False).returncode == 0


def lock_is_free() -> bool:
    """Whether nobody holds the lock of a run."""
    return not LOCK.exists() or is_free(LOCK)


def sysctl_file(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def call(*argv: str, stdin: str | None = None) -> str:
    """What a program prints. Raises RuntimeError."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr}{stdin or ''}")
    return done.stdout


def _own_table(name: str) -> Iterator[str]:
    """A table without the order in which its objects were made, and without handles; rules keep theirs."""
    lines: dict[str, list[str]] = {}
    for item in json.loads(call("nft", "-j", "-s", "list", "table", *name.split()))["nftables"]:
        ((kind, found),) = item.items()
        found.pop("handle", None)
        if isinstance(found.get("elem"), list):
            found["elem"].sort(key=json.dumps)
        key = f"{kind} {found.get('chain') or found.get('name')}"
        lines.setdefault(key, []).append(json.dumps(found, sort_keys=True))
    for key in sorted(lines):
        yield from (f"{name} {line}" for line in lines[key])
