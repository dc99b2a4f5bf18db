# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run leaves for the next one: it saves reading, and hides nothing.

services     172.30.0.0/24, fd00:30::/112
endpoints    10.244.0.0/24, fd00:244::/112
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import known, target
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.known import LeftFile
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.node import NodeAccess
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.snapshots import Snapshots
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.subsystems import Flows
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import command, legacy_tables
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Result, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.namespace import identity
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.nftables import NftablesSocket
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServiceData, ServicePort

from tests.clusters import few_changes, random_cluster
from tests.needs import root_and
from tests.rule_set_call import call_rule_set, operations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEW_NETWORK_NAMESPACE = 0x40000000

pytestmark = [
    pytest.mark.usefixtures("fresh_namespace"),
    root_and("nft", "iptables-nft"),
]


def tool(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def other_namespace() -> None:
    assert ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE) == 0, os.strerror(ctypes.get_errno())


def services(count: int, family: str = "ipv4", endpoints: int = 2, protocol: str = "tcp") -> list[ServicePort]:
    ips, pods = ("172.30.0.", "10.244.0.") if family == "ipv4" else ("fd00:30::", "fd00:244::")
    return [
        ServicePort(
            *("ns", f"s{number}", "", protocol, family, f"{ips}{number + 1}", 80),
            endpoints=tuple(Endpoint(f"{pods}{2 * number + place + 1}", 8080) for place in range(endpoints)),
        )
        for number in range(count)
    ]


def less(ports: list[ServicePort]) -> list[ServicePort]:
    """The same without an endpoint of the first."""
    return [ports[0]._replace(endpoints=ports[0].endpoints[1:]), *ports[1:]]


class Done(NamedTuple):
    """What a run found to do in the kernel, and its processes, messages and seconds by phase."""

    found: list[str]
    cost: int
    result: dict[str, Any]


class Runs:
    """Runs of the module in one mode on one node."""

    def __init__(self, mode: str, folder: Path, backend: str = "nft", **configuration: Any) -> None:
        self.mode = mode
        self.folder = folder
        self.configuration = {"mode": mode, "conntrack_max_per_core": 0, "conntrack_min": 0, **configuration}
        self.backend = backend
        self.iptables = f"iptables-{backend}"
        self.path = folder / "left"
        self.maps = folder / "maps"

    def access(self) -> NodeAccess:
        access = NodeAccess(backend=self.backend, state_folder=str(self.folder))
        access.nftables = NftablesSocket(str(self.maps))
        access.left_file = LeftFile(str(self.path))
        return access

    def __call__(self, ports: list[ServicePort], check: bool = False, **given: Any) -> Done:
        incoming = self.folder / "incoming.json"
        incoming.write_text(canonical.dump(ServiceData.of(ports)))
        node = {"name": "node-a", "addresses": ["192.0.2.1", "2001:db8::1"]}
        result = self.call(check, node=node, configuration=self.configuration, incoming=str(incoming), **given)
        return Done(operations(result), result["figures"]["processes"] + result["figures"]["messages"], result)

    def call(self, check: bool, **given: Any) -> dict[str, Any]:
        result: dict[str, Any] = call_rule_set(self.access, check, **given)
        return result

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def rule_set(self) -> str:
        """The compiled one, as text."""
        return (self.folder / "rule_set").read_text()

    def edit_a_rule(self, service: str = "s1") -> None:
        """As somebody else would, one of a service."""
        if self.mode == "iptables":
            tool(self.iptables, "-t", "nat", "-R", chain_of(self, service), "1", "-j", "RETURN")
            return
        chains = tool("nft", "list", "chains", "ip").split("\n")
        name = next(line.split()[1] for line in chains if f"ns/{service}/" in line and "chain service-" in line)
        tool("nft", "-f", "-", stdin=f"flush chain ip kube-proxy {name}\nadd rule ip kube-proxy {name} drop\n")

    def ruleset(self) -> str:
        """What the kernel holds, whatever the order in which it was made."""
        if self.backend == "legacy":
            text = "".join(tool(f"{program}-legacy-save") for program in ("iptables", "ip6tables"))
        else:
            text = tool("nft", "-s", "list", "ruleset")
        return "\n".join(sorted(line for line in text.split("\n") if not line.startswith("#")))


@pytest.fixture(params=[("iptables", "nft"), ("iptables", "legacy"), ("nftables", "nft")], ids="-".join)
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Runs:
    mode, backend = request.param
    return Runs(mode, tmp_path, backend)


def reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a run that parses all service data fails: it would look at all."""
    monkeypatch.setattr(target, "whole", lambda *_arguments: pytest.fail("all was looked at"))


def test_a_second_run_looks_at_nothing_and_finds_the_same(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs(services(6)).found
    runs.forget()
    without = runs(services(6))
    reads_nothing(monkeypatch)
    second = runs(services(6))
    assert (second.found, without.found) == ([], [])
    assert second.cost < without.cost
    assert not second.result["changed"]
    assert second.result["service_ports"] == 6


def test_rules_of_others_that_are_no_text_are_put_right_and_come_back(tmp_path: Path) -> None:
    runs = Runs("iptables", tmp_path)
    runs(services(2))
    command_line = [b"iptables-nft", b"-A", b"KUBE-FORWARD", b"-m", b"comment", b"--comment", b"a\xffb", b"-j", b"DROP"]
    subprocess.run(command_line, check=True)
    assert runs(services(2)).found == ["change chain"]
    assert runs(services(2)).found == []
    assert runs.call(False, state="restored", snapshot=None)["changed"]
    saved = subprocess.run(["iptables-nft-save"], check=True, capture_output=True).stdout
    assert saved.count(b'--comment "a\xffb" -j DROP') == 1


def test_one_endpoint_changes_its_objects_and_files_and_nothing_else(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs(services(6))
    with monkeypatch.context() as patched:
        reads_nothing(patched)
        checked = runs(less(services(6)), check=True)
        changed = runs(less(services(6)))
        again = runs(less(services(6)))
    assert changed.found == checked.found
    assert again.found == []
    assert len(changed.found) == (2 if runs.mode == "iptables" else 1)
    kernel, compiled = runs.ruleset(), runs.rule_set()
    runs.forget()
    assert runs(less(services(6))).result["changed"] is False, "a run that looks at all finds the same"
    assert (runs.ruleset(), runs.rule_set()) == (kernel, compiled)
    other = Runs(runs.mode, tmp_path / "other", runs.backend)
    other.folder.mkdir()
    other_namespace()
    other(less(services(6)))
    assert other.rule_set() == compiled, "as a node has it that knew nothing"
    assert other.ruleset() == kernel


def test_services_come_and_go(runs: Runs) -> None:
    for count in (3, 5, 2, 2, 0, 1):
        runs(services(count))
        compiled, kernel = runs.rule_set(), runs.ruleset()
        runs.forget()
        assert not runs(services(count)).result["changed"]
        assert (runs.rule_set(), runs.ruleset()) == (compiled, kernel)


@pytest.mark.parametrize("seed", range(12))
def test_few_changes_of_any_cluster_leave_what_a_fresh_node_has(runs: Runs, seed: int) -> None:
    """The clusters are those of tests/clusters.py."""
    source = random.Random(seed)
    cluster = random_cluster(source, 12, runs.mode)
    runs.configuration = cluster.configuration
    runs(list(cluster.data().service_ports))
    changed = list(native.parse(few_changes(source, cluster.services, runs.mode)).service_ports)
    runs(changed)
    compiled = runs.rule_set()
    assert not runs(changed).result["changed"]
    runs.forget()
    assert not runs(changed).result["changed"], "a run that looks at all finds the same"
    assert runs.rule_set() == compiled


def test_foreign_rules_stay_while_services_change(runs: Runs) -> None:
    runs(services(3))
    chain = [runs.iptables, "-t", "nat"]
    for command_line in ("-N FOREIGN", "-A FOREIGN -j RETURN", "-A PREROUTING -j FOREIGN", "-A POSTROUTING -j RETURN"):
        tool(*chain, *command_line.split())
    before = tool(*chain, "-S", "FOREIGN"), tool(*chain, "-S", "POSTROUTING")
    for ports in (services(3), less(services(3)), services(4), services(3)):
        runs(ports)
        assert (tool(*chain, "-S", "FOREIGN"), tool(*chain, "-S", "POSTROUTING")) == before
        assert "-A PREROUTING -j FOREIGN" in tool(*chain, "-S", "PREROUTING")


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_a_chain_that_a_foreign_rule_leads_to_is_emptied_and_stays(backend: str, tmp_path: Path) -> None:
    runs = Runs("iptables", tmp_path, backend)
    runs(services(3))
    listed = tool(runs.iptables, "-t", "nat", "-S").split("\n")
    name = next(line.split()[1] for line in listed if line.startswith("-N KUBE-SEP-") and endpoint_of(listed, line))
    tool(runs.iptables, "-t", "nat", "-A", "OUTPUT", "-d", "192.0.2.7", "-j", name)
    runs(services(3))
    runs(less(services(3)))
    assert tool(runs.iptables, "-t", "nat", "-S", name) == f"-N {name}\n"
    assert runs(less(services(3))).found == []
    runs(services(3))
    assert "DNAT" in tool(runs.iptables, "-t", "nat", "-S", name)
    runs(less(services(3)))
    assert tool(runs.iptables, "-t", "nat", "-S", name) == f"-N {name}\n", (
        "it is emptied each time that its endpoint goes"
    )


def test_another_time_to_remember_clients_takes_new_sets(runs: Runs) -> None:
    for seconds in (100, 200, 100):
        ports = [services(3)[0]._replace(affinity_timeout=seconds), *services(3)[1:]]
        assert runs(ports).found
        runs.forget()
        assert runs(ports).found == []


def test_what_others_wrote_into_tables_that_are_not_of_the_mode_is_known_in_the_next(tmp_path: Path) -> None:
    runs = Runs("nftables", tmp_path, "legacy")
    runs(services(3))
    tool("iptables-legacy", "-A", "FORWARD", "-j", "DROP")
    runs(less(services(3)))
    iptables = Runs("iptables", tmp_path, "legacy")
    iptables(services(3))
    forward = tool("iptables-legacy", "-S", "FORWARD").split("\n")
    assert forward.index("-A FORWARD -j DROP") > max(i for i, rule in enumerate(forward) if "KUBE-" in rule)


def test_service_data_that_others_wrote_in_another_layout_is_replaced(runs: Runs) -> None:
    runs(services(3))
    path = runs.folder / "services.json"
    for indent in (None, 1):
        path.write_text(json.dumps(json.loads(path.read_text()), indent=indent))
        text = path.read_text()
        configuration = {"node": {"name": "node-a", "addresses": ["192.0.2.1", "2001:db8::1"]}}
        for _time in range(2):
            assert not runs.call(False, **configuration, configuration=runs.configuration)["changed"]
        assert path.read_text() == text, "without new data it is the node's"
        assert runs(less(services(3))).found
        assert path.read_text() == canonical.dump(ServiceData.of(less(services(3))))
        runs(services(3))


def endpoint_of(listed: list[str], declared: str) -> bool:
    """Whether this chain is that of the endpoint that :func:`less` leaves out."""
    name = declared.split()[1]
    return any(line.startswith(f"-A {name} ") and line.endswith("--to-destination 10.244.0.1:8080") for line in listed)


def test_an_edited_rule_is_found_and_set_right(runs: Runs) -> None:
    runs(services(6))
    runs(services(6))
    before = runs.ruleset()
    runs.edit_a_rule()
    assert runs.ruleset() != before
    assert runs(services(6), check=True).found == ["change chain"]
    assert runs(services(6)).found == ["change chain"]
    assert runs(services(6)).found == []


def test_an_edited_rule_is_found_while_a_service_changes(runs: Runs) -> None:
    runs(services(6))
    runs.edit_a_rule()
    assert runs(services(7)).found.count("change chain") >= 1
    runs.forget()
    assert runs(services(7)).found == []


def test_a_rule_that_others_edit_during_a_run_is_set_right_in_it(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run knows of a part holds no more; it looks at all, and tells of both."""
    runs(services(6))
    take = Snapshots.take

    def edited(snapshots: Snapshots, before: str) -> str | None:
        name = take(snapshots, before)
        monkeypatch.setattr(Snapshots, "take", take)
        runs.edit_a_rule()
        return name

    monkeypatch.setattr(Snapshots, "take", edited)
    assert runs(less(services(6))).found.count("change chain") == 2
    runs.forget()
    assert runs(less(services(6))).found == []


def moved(ports: list[ServicePort]) -> list[ServicePort]:
    """The same with another address for an endpoint of the first: the tables keep their size."""
    first, *others = ports[0].endpoints
    return [ports[0]._replace(endpoints=(first._replace(ip="10.244.0.99"), *others)), *ports[1:]]


def test_an_endpoint_that_moves_changes_its_chains_alone(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(services(6))
    if runs.backend != "legacy":
        # What becomes of legacy tables that keep their number of entries only a look at all of them tells.
        reads_nothing(monkeypatch)
    assert len(runs(moved(services(6))).found) == (3 if runs.mode == "iptables" else 1)
    assert runs(moved(services(6))).found == []
    monkeypatch.undo()
    runs.forget()
    assert runs(moved(services(6))).found == []


@pytest.mark.parametrize("what", ["a flushed chain", "the whole table as it was"])
@pytest.mark.parametrize("change", [less, moved])
def test_a_write_without_the_lock_right_after_a_runs_own_is_found(
    what: str, change: Callable[[list[ServicePort]], list[ServicePort]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs may have no part in the lock of xtables, such as those of pods that do not mount it."""
    runs = Runs("iptables", tmp_path, "legacy")
    runs(services(6))
    saved = tool("iptables-legacy-save", "-t", "nat")
    others = next(line.split()[0][1:] for line in saved.split("\n") if line.startswith(":KUBE-SVC-"))
    run = Runner.run

    def meddled(runner: Runner, argv: list[str], stdin: str | None = None, check: bool = True) -> Result:
        done = run(runner, argv, stdin, check)
        if argv[0] == "iptables-legacy-restore" and "--test" not in argv:
            monkeypatch.setattr(Runner, "run", run)
            flush = f"*nat\n-F {others}\nCOMMIT\n"
            meddler = {**os.environ, "XTABLES_LOCKFILE": str(tmp_path / "lock")}
            argv, text = ["iptables-legacy-restore"], saved
            if what == "a flushed chain":
                argv, text = [*argv, "--noflush"], flush
            subprocess.run(argv, input=text, check=True, text=True, env=meddler)
        return done

    monkeypatch.setattr(Runner, "run", meddled)
    # It sets it right, or says that it did not last.
    with contextlib.suppress(KernelError):
        assert "change chain" in runs(change(services(6))).found
    runs(change(services(6)))
    runs.forget()
    assert runs(change(services(6))).found == []


@pytest.mark.parametrize("name", ["rule_set", "services.json"])
def test_an_edited_file_of_the_node_is_written_again(runs: Runs, name: str) -> None:
    runs(services(3))
    path = runs.folder / name
    text = path.read_text()
    path.write_text(text.replace("172.30.0.1", "172.30.0.9", 1))
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, 0))
    assert runs(services(3)).result["changed"]
    assert path.read_text() == text
    path.unlink()
    assert runs(services(3)).result["changed"]
    assert path.read_text() == text


def test_another_program_looks_at_all(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(services(3))
    monkeypatch.setattr(known, "program", lambda: "another")
    monkeypatch.setattr(target, "changed_part", lambda *_texts: pytest.fail("a part was looked at"))
    assert runs(services(3)).found == []


def test_another_configuration_changes_what_depends_on_it(runs: Runs) -> None:
    runs(services(3))
    runs.configuration["masquerade_bit"] = 15
    assert "change chain" in runs(services(3)).found
    runs.forget()
    assert runs(services(3)).found == []


def test_sysctls_and_flows_are_looked_at_every_time(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.configuration["conntrack_tcp_be_liberal"] = True
    udp = services(3, protocol="udp")
    runs(udp)
    path = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"
    with open(path, "w", encoding="ascii") as setting:
        setting.write("0")
    reads_nothing(monkeypatch)
    with mock.patch.object(Flows, "plan", return_value=[]) as plan:
        assert runs(udp).found == ["change sysctl"]
    (desired,) = plan.call_args.args
    assert desired.udp_endpoints.keys() == {(port.cluster_ip, 80) for port in udp}


def test_a_run_that_shows_differences_looks_at_all(runs: Runs) -> None:
    runs(services(3))
    shown = runs(less(services(3)), check=True, diff=True).result["diff"]
    assert shown["before"] != shown["after"]
    assert shown["before"].count("172.30.0.") >= 3


def test_a_snapshot_of_a_part_holds_all(runs: Runs) -> None:
    runs(services(4))
    before = runs.ruleset()
    runs(less(services(4)))
    assert runs.ruleset() != before
    runs.call(False, state="restored", configuration=runs.configuration)
    assert runs.ruleset() == before
    assert runs(services(4)).found == []


def test_a_write_that_the_kernel_refuses_pushes_out_no_snapshot(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(services(4))
    kept = runs(services(3), snapshots=1).result["snapshots"]
    take = Snapshots.take

    def disturbed(snapshots: Snapshots, before: str) -> None:
        take(snapshots, before)
        hinder(runs)

    with monkeypatch.context() as patched:
        patched.setattr(Snapshots, "take", disturbed)
        for _attempt in range(3):
            with pytest.raises(KernelError, match=r"nothing (has changed in nftables|was written)"):
                runs(services(2), snapshots=1)
            hinder_no_more(runs)
    assert len(kept) == 1
    assert Snapshots(str(runs.access().folder)).names() == kept
    assert runs(services(2)).found
    assert runs(services(2)).found == []


def chain_of(runs: Runs, service: str) -> str:
    rules = tool(runs.iptables, "-t", "nat", "-S").split("\n")
    return next(rule.split()[1] for rule in rules if rule.startswith("-A KUBE-SVC-") and f"ns/{service} " in rule)


def hinder(runs: Runs) -> None:
    """As somebody else would, makes the kernel refuse to remove a service."""
    if runs.mode == "nftables":
        tool("nft", "delete", "table", "ip", "kube-proxy")
    else:
        restore = f"*nat\n:others - [0:0]\n-A others -j {chain_of(runs, 's2')}\nCOMMIT\n"
        tool(f"{runs.iptables}-restore", "--noflush", stdin=restore)


def hinder_no_more(runs: Runs) -> None:
    if runs.mode == "nftables":
        tool("nft", "add", "table", "ip", "kube-proxy")
    else:
        tool(f"{runs.iptables}-restore", "--noflush", stdin="*nat\n-F others\n-X others\nCOMMIT\n")


def state_of(key: str) -> str | None:
    """The digest of what a run of the legacy back end looks at."""
    return legacy_tables.state(legacy_tables.look(key.split()[1], ("filter", "nat", "mangle")))


def test_what_was_left_in_another_namespace_does_not_count(runs: Runs, tmp_path: Path) -> None:
    runs(services(2))
    other_namespace()
    other = Runs(runs.mode, tmp_path / "other", runs.backend)
    other.folder.mkdir()
    other(services(2))
    runs.edit_a_rule()
    content = json.loads(runs.path.read_text())
    states = content["content"]["states"]
    assert states
    now = NftablesSocket().generation()
    content["content"]["states"] = {
        key: state_of(key) if isinstance(state, str) else now for key, state in states.items()
    }
    runs.path.write_text(json.dumps(content))
    assert runs(services(2), check=True).found == ["change chain"]
    content["namespace"] = identity()
    runs.path.write_text(json.dumps(content))
    assert runs(services(2), check=True).found == [], "as this file says, and the one before it did not count"


def test_a_check_run_writes_nothing(runs: Runs) -> None:
    runs(services(2))
    before = runs.path.stat().st_mtime_ns
    tool("nft", "add table inet foreign")
    assert runs(services(2), check=True).found == []
    assert runs.path.stat().st_mtime_ns == before
    runs(services(2))
    assert runs.path.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    "content", ["", "{ not JSON", "[]", "null", "3", "[" * 100_000, '{"namespace": "other"}', '{"content": 1}']
)
def test_a_file_that_tells_nothing_is_written_anew(runs: Runs, content: str) -> None:
    runs(services(2))
    runs.path.write_text(content)
    assert runs(services(2)).found == []
    assert json.loads(runs.path.read_text())["content"]["states"]


@pytest.mark.parametrize("name", known.Left._fields)
@pytest.mark.parametrize("value", [None, [], {"x": "y"}, 1])
def test_content_of_another_form_hides_nothing(runs: Runs, name: str, value: object) -> None:
    runs(services(2))
    content = json.loads(runs.path.read_text())
    content["content"][name] = value
    runs.path.write_text(json.dumps(content))
    assert runs(services(2), check=True).found == []
    runs.edit_a_rule()
    assert runs(services(2)).found == ["change chain"]
    assert runs(services(2)).found == []


def test_of_each_family_its_own_back_end_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may have iptables with one back end and ip6tables with the other."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, kind in (("iptables", "nft"), ("ip6tables", "legacy")):
        for suffix in ("", "-save", "-restore"):
            (programs / f"{name}{suffix}").symlink_to(shutil.which(f"{name}-{kind}{suffix}") or "")
    monkeypatch.setattr(command, "SEARCH_PATH", f"{programs}:{command.SEARCH_PATH}")
    runs = Runs("iptables", tmp_path, backend="auto")
    both = [*services(2), *services(2, "ipv6")]
    runs(both)
    assert runs(both).found == []
    tool("ip6tables-legacy", "-t", "nat", "-F", "KUBE-MARK-MASQ")
    assert runs(both, check=True).found == ["change chain"]
    assert runs(both).found == ["change chain"]


def test_a_table_that_cannot_be_shown_counts_only_where_it_may(tmp_path: Path) -> None:
    tool("nft", "add table ip mangle; add chain ip mangle x; add rule ip mangle x meta mark set numgen inc mod 2")
    Runs("nftables", tmp_path)(services(2))
    with pytest.raises(KernelError, match="cannot show the table mangle"):
        Runs("iptables", tmp_path, canary_chains=True)(services(2))


def test_only_transactions_that_were_made_count_as_own() -> None:
    socket = NftablesSocket()
    before = socket.generation()
    assert before is not None
    with socket.writing(3):
        tool("nft", "add table inet own")
    assert socket.generation() == before
    with socket.writing(1):
        tool("nft", "add table inet own")
    tool("nft", "add table inet foreign")
    assert socket.generation() == before + 1


def test_a_file_that_cannot_be_written_fails_no_run(runs: Runs) -> None:
    runs.path.mkdir()
    assert runs(services(2)).found
    assert runs(services(2)).found == []


def test_a_run_that_removes_all_removes_the_file(runs: Runs) -> None:
    runs(services(2))
    assert runs.path.exists()
    for check in (True, False):
        runs.call(check, state="absent")
        assert runs.path.exists() == check


def test_what_is_known_of_maps_outlasts_a_run_that_read_none(tmp_path: Path) -> None:
    runs = Runs("nftables", tmp_path)
    runs(services(6))
    before = json.loads(runs.maps.read_text())["content"]
    runs(services(5))
    assert json.loads(runs.maps.read_text())["content"] == before


@pytest.mark.parametrize("suffix", ["nft", "legacy"])
@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_chains_of_kube_proxy_go_whenever_they_come_in_nftables_mode(suffix: str, program: str, tmp_path: Path) -> None:
    """Where the kernel has no table of iptables, iptables is not run: it has to be once there is one."""
    run, ports = Runs("nftables", tmp_path, backend=suffix), services(3)
    assert run(ports).found
    assert run(ports).result["figures"]["processes"] == 0
    chains = "*nat\n:KUBE-SERVICES - [0:0]\n:KEPT - [0:0]\n-A OUTPUT -j KUBE-SERVICES\nCOMMIT\n"
    tool(f"{program}-{suffix}-restore", "--noflush", stdin=chains)
    gone = ["remove jump", "remove chain"]
    assert run(ports, check=True).found == gone
    assert sorted(run(less(ports), check=True).found) == sorted([*gone, "change chain"])
    assert run(ports).found == gone
    assert run(ports).found == []
    assert [line for line in tool(f"{program}-{suffix}-save").split("\n") if line.startswith((":K", "-A"))] == [
        ":KEPT - [0:0]"
    ]


@pytest.mark.parametrize(("mode", "backend"), [("nftables", "nft"), ("iptables", "legacy")])
def test_rules_come_back_on_a_full_disk(
    mode: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a boot, when the files are there, and what was left in /run is not."""
    run, ports = Runs(mode, tmp_path, backend), services(3)
    run(ports)
    files = {name: (tmp_path / name).stat().st_ino for name in ("rule_set", "services.json", "sysctls_before")}
    before = run.ruleset()
    other_namespace()
    run.forget()

    def no_space(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", no_space)
    assert run(ports, snapshots=0).found
    assert run.ruleset() == before
    with pytest.raises(KernelError, match="No space left on device"):
        run(less(ports), snapshots=0)
    assert run.ruleset() == before
    assert {name: (tmp_path / name).stat().st_ino for name in files} == files
