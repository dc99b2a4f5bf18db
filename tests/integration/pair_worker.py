# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converges pairs of clusters on a node that also holds foreign objects, and says what is not as it should be.

Runs where the kernel is, with nothing but Python: reads a job a line from standard input, as JSON, and writes a result
a line to standard output. A job: {case, backend, clusters: [{services (canonical), node, configuration}, ..]}; a
result: {case, problems} or {case, error}.

foreign  192.0.2.0/24, 2001:db8:2::/48, 198.18.0.77 (on a dummy link); kubelet's chains
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import tempfile
from typing import Any

from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.namespace import enter

from tests.conformance.worker import NAMESPACE, PREFIX, Job, Result, converge, on_fresh_node, serve

BUILT_IN = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
KUBELET_CHAINS = {"KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT", "KUBE-FIREWALL"}
# {network} and {host} are of the family at hand.
RULES = """\
*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:FOREIGN-MARK - [0:0]
[21:2100] -A PREROUTING -s {host} -j FOREIGN-MARK
[22:2200] -A FOREIGN-MARK -j MARK --set-xmark 0x1/0x1
COMMIT
*nat
:KUBE-KUBELET-CANARY - [0:0]
:FOREIGN-NAT - [0:0]
[1:10] -A PREROUTING -d {host} -m comment --comment "looks like -j KUBE-SERVICES" -j FOREIGN-NAT
[2:20] -A POSTROUTING -s {network} -j MASQUERADE
[3:30] -A FOREIGN-NAT -p tcp -m tcp --dport 80 -j RETURN
[4:40] -A FOREIGN-NAT -m set --match-set FOREIGN-SET{number} src -j RETURN
COMMIT
*filter
:FORWARD DROP [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:FOREIGN-FW - [0:0]
[5:50] -A INPUT -s {host} -j ACCEPT
[6:60] -A INPUT -j KUBE-FIREWALL
[7:70] -A INPUT -j FOREIGN-FW
[8:80] -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
[9:90] -A FORWARD -m comment --comment "kubernetes forwarding rules" -j FOREIGN-FW
[10:100] -A OUTPUT -j KUBE-FIREWALL
[11:110] -A FOREIGN-FW -s {network} -j DROP
[12:120] -A FOREIGN-FW -m set --match-set KUBE-FOREIGN{number} dst -j ACCEPT
{guard}COMMIT
"""
GUARD = (
    '[13:130] -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet '
    'connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n'
)
# Once our jumps stand at the head, another program puts its rules before them.
LATE_RULES = """\
*nat
[31:3100] -I PREROUTING 1 -s {host} -j ACCEPT
COMMIT
*filter
[32:3200] -I INPUT 1 -s {host} -j RETURN
[33:3300] -I FORWARD 1 -d {host} -j DROP
COMMIT
"""
FAMILIES = (
    ("iptables", {"network": "192.0.2.0/24", "host": "192.0.2.1/32", "number": "4", "guard": GUARD}),
    ("ip6tables", {"network": "2001:db8:2::/48", "host": "2001:db8:2::1/128", "number": "6", "guard": ""}),
)
SETS = """\
create FOREIGN-SET4 hash:ip family inet hashsize 64 maxelem 100 timeout 0 comment
add FOREIGN-SET4 192.0.2.5 comment "of another"
create FOREIGN-SET6 hash:net family inet6 hashsize 64 maxelem 100 counters
add FOREIGN-SET6 2001:db8:2::/64 packets 5 bytes 500
create KUBE-FOREIGN4 hash:ip,port family inet
add KUBE-FOREIGN4 192.0.2.6,udp:53
create KUBE-FOREIGN6 hash:ip family inet6
create FOREIGN-LIST list:set size 8
add FOREIGN-LIST FOREIGN-SET4
"""
SERVERS = """\
-A -t 192.0.2.10:80 -s wlc -p 300
-a -t 192.0.2.10:80 -r 192.0.2.11:8080 -g -w 3
-A -u [2001:db8:2::10]:53 -s rr
-a -u [2001:db8:2::10]:53 -r [2001:db8:2::11]:53 -m -w 1
-A -f 7 -s rr
-a -f 7 -r 192.0.2.12:0 -g -w 1
"""
LINK = """\
link add foreign0 type {kind}
address add 198.18.0.77/24 dev foreign0
address add 198.18.0.78/32 dev eth1
link set foreign0 up
"""


class Node:
    """The namespace that this process is in, seen through the tools."""

    def __init__(self, backend: str) -> None:
        self.suffix = "" if backend == "auto" else f"-{backend}"
        self.has_ipvs = os.path.exists("/proc/net/ip_vs")

    def place_foreign(self) -> None:
        _run("ipset", "restore", stdin=SETS)
        for program, words in FAMILIES:
            _run(f"{program}{self.suffix}-restore", "--noflush", "--counters", stdin=RULES.format(**words))
        if self.has_ipvs:
            _run("ipvsadm", "-R", stdin=SERVERS)
        # The kernel without IPVS has no dummy links either.
        _run("ip", "-batch", "-", stdin=LINK.format(kind="dummy" if self.has_ipvs else "bridge"))

    def place_late_rules(self) -> None:
        for program, words in FAMILIES:
            _run(f"{program}{self.suffix}-restore", "--noflush", "--counters", stdin=LATE_RULES.format(**words))

    def foreign(self) -> list[str]:
        """Everything that is not ours, with counters and all that the kernel draws at random."""
        lines = [line for program, _words in FAMILIES for line in self._rules(program, own=False)]
        lines += [line for line in _run("ipset", "save").splitlines() if _is_foreign_set(line.split()[1])]
        lines += [line for line in self._servers() if _is_foreign_server(line)]
        return lines + [line for link in _links() if not _is_own_link(link) for line in _link_lines(link)]

    def own(self) -> list[str]:
        """Everything else; without counters, and in an order that does not depend on when it was made."""
        lines = [line for program, _words in FAMILIES for line in self._rules(program, own=True)]
        saved = re.sub(r" (bucketsize \d+|initval 0x[0-9a-f]+)", "", _run("ipset", "save")).splitlines()
        lines += sorted(line for line in saved if not _is_foreign_set(line.split()[1]))
        lines += sorted(line for line in self._servers() if not _is_foreign_server(line))
        return lines + [line for link in filter(_is_own_link, _links()) for line in _link_lines(link)]

    def _servers(self) -> list[str]:
        return _run("ipvsadm", "-Sn").splitlines() if self.has_ipvs else []

    def _rules(self, program: str, own: bool) -> list[str]:
        """Chains and rules of ours with our jumps, or all others."""
        lines = []
        for line in _run(f"{program}{self.suffix}-save", "-c").splitlines():
            if line.startswith("#"):
                continue
            # iptables-legacy resets the counters of policies with every change of a table.
            line = re.sub(r"^(:\S+ \S+) \[\d+:\d+\]$", r"\1", line)
            # The kernel itself sends packets when a link or an address appears.
            line = re.sub(r"^\[\d+:\d+\](?= -A OUTPUT )", "[0:0]", line)
            if line.startswith(("*", "COMMIT")) or _is_own_rule(line) == own:
                lines.append(re.sub(r"^\[\d+:\d+\] ", "", line) if own else line)
        return lines


def _is_own_rule(line: str) -> bool:
    """Of a line that declares a chain or holds a rule: of a built-in chain, our jumps are ours."""
    found = re.match(r":(\S+)|\[\d+:\d+\] -A (\S+)(?:.*? -j (\S+)$)?", line)
    assert found, line
    declared, chain, target = found.groups()
    name = target if chain in BUILT_IN else declared or chain
    return bool(name) and name.startswith("KUBE-") and name not in KUBELET_CHAINS


def _is_foreign_set(name: str) -> bool:
    return "FOREIGN" in name


def _is_foreign_server(line: str) -> bool:
    return bool(re.match(r"-[aA] (-f |-[tu] (192\.0\.2\.|\[2001:db8:2:))", line))


def _is_own_link(link: dict[str, Any]) -> bool:
    return bool(link["ifname"] == "kube-ipvs0")


def _links() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_run("ip", "-json", "-details", "address"))
    return found


def _link_lines(link: dict[str, Any]) -> list[str]:
    """A link and its addresses, but for the link-local ones, which the kernel gives it after a while."""
    addresses = [a for a in link["addr_info"] if a["scope"] != "link"]
    kind, mtu = link.get("linkinfo", {}).get("info_kind"), link["mtu"]
    return [f"link {link['ifname']} {kind} mtu {mtu}", *sorted(f"{a['local']}/{a['prefixlen']}" for a in addresses)]


def _run(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr}{stdin or ''}")
    return done.stdout


def differences(title: str, before: list[str], after: list[str]) -> list[str]:
    """How two dumps differ, one line each."""
    lines = difflib.unified_diff(before, after, "before", "after", lineterm="", n=0)
    return [f"{title}: {line}" for line in lines if not line.startswith(("---", "+++", "@@"))]


def converge_in_turn(job: Job) -> Result:
    """All clusters of the job one after the other, the last one twice."""
    enter(PREFIX + NAMESPACE)
    node = Node(job["backend"])
    node.place_foreign()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, cluster in enumerate(job["clusters"]):
            before = node.foreign()
            converge(cluster, job["backend"], folder)
            problems += differences(f"foreign objects after cluster {number}", before, node.foreign())
            if number == 0:
                node.place_late_rules()
        for operation in converge(job["clusters"][-1], job["backend"], folder):
            problems.append("second run: {verb} {kind} {name}: {reason}".format(**operation))
    return {"case": job["case"], "own": node.own(), "problems": problems}


def converge_last(job: Job) -> Result:
    """The last cluster of the job alone."""
    enter(PREFIX + NAMESPACE)
    node = Node(job["backend"])
    node.place_foreign()
    with tempfile.TemporaryDirectory() as folder:
        converge(job["clusters"][-1], job["backend"], folder)
    return {"case": job["case"], "own": node.own()}


def handle(job: Job) -> Result:
    """Whether the last cluster of the job is the same after the others as on a fresh node."""
    result, fresh = on_fresh_node(converge_in_turn, job), on_fresh_node(converge_last, job)
    if "error" in result or "error" in fresh:
        return result if "error" in result else fresh
    problems = result["problems"] + differences("not as when converged fresh", fresh["own"], result["own"])
    return {"case": job["case"], "problems": problems}


if __name__ == "__main__":
    serve(handle)
