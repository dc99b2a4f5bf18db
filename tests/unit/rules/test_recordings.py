# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rendered rule set of every recording equals what the real kube-proxy programmed; no kernel takes part."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import ownership_of
from ansible_collections.kubenode.proxy.plugins.module_utils.model import kubernetes
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import (
    parse_configuration,
    parse_kube_proxy_configuration,
    parse_node,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import ipset as plan_ipset
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import iptables as plan_iptables
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import ipvs as plan_ipvs
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import nftables as plan_nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.facts import NodeFacts
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from ansible_collections.kubenode.proxy.plugins.module_utils.state import ipset, iptables, ipvs, nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests import clusters

SHARED = Path(__file__).parents[3].parent / "shared"
RECORDINGS = SHARED / "recordings"


class Recording(NamedTuple):
    """What one version of kube-proxy programmed for one case in one mode."""

    case: str
    version: str
    mode: str

    @property
    def folder(self) -> Path:
        return RECORDINGS / self.case / f"v{self.version}" / self.mode

    def text(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


CASES = sorted(
    Recording(path.parents[2].name, path.parents[1].name[1:], path.parent.name)
    for mode in ("ipvs", "iptables", "nftables")
    for path in RECORDINGS.glob(f"*/v*/{mode}/sysctl")
)

# The kernel of the recordings has nfacct.
FACTS = clusters.FACTS._replace(accounting=True)
# recordings/README.md: kube-proxy was told to leave these alone.
CONNTRACK_LEFT_ALONE = {
    "conntrack_max_per_core": 0,
    "conntrack_min": 0,
    "conntrack_tcp_established_timeout": 0,
    "conntrack_tcp_close_wait_timeout": 0,
}


def judge() -> Any:
    """The project's judge of what counts as equal."""
    spec = importlib.util.spec_from_file_location("compare_dumps", SHARED / "tools" / "compare_dumps.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rendered(recording: Recording, facts: NodeFacts = FACTS, canary_chains: bool = True) -> RuleSet:
    document = yaml.safe_load((RECORDINGS / recording.case / "input.yaml").read_text())
    variables = parse_kube_proxy_configuration(document.get("config") or {}, recording.mode)
    chosen = {"mode": recording.mode, "version": recording.version, "canary_chains": canary_chains}
    configuration = parse_configuration({**variables, **CONNTRACK_LEFT_ALONE, **chosen})
    return render(kubernetes.parse(document["objects"]), parse_node(document["node"]), configuration, facts)


@pytest.mark.skipif(not CASES, reason="no recordings beside this checkout")
@pytest.mark.parametrize("recording", CASES, ids="-".join)
def test_rule_set_equals_recording(recording: Recording, tmp_path: Path) -> None:
    rule_set = rendered(recording)
    files = {
        "iptables.rules": iptables.render(rule_set.tables["ipv4"]),
        "ip6tables.rules": iptables.render(rule_set.tables["ipv6"]),
        "ipset.save": in_order_of_ipset(ipset.render(rule_set.sets.values())),
        **{f"{name.split()[0]}.nft": nftables.render({name: table}) for name, table in rule_set.nftables.items()},
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert judge().compare(str(recording.folder), str(tmp_path), only={*files, "ip.nft", "ip6.nft"}) == []
    assert rule_set.virtual_servers == ipvs.parse(recording.text("ipvs.save"))
    wanted = {line.split()[0] for line in recording.text("addresses").splitlines()[1:]}
    assert (rule_set.link.addresses if rule_set.link else set()) == wanted
    live = dict(line.split(" = ") for line in recording.text("sysctl").splitlines())
    assert {name: live[name] for name in rule_set.sysctls} == rule_set.sysctls
    assert rule_set.sysctls.get("net.ipv4.conf.all.route_localnet", "0") == live["net.ipv4.conf.all.route_localnet"]


@pytest.mark.skipif(not CASES, reason="no recordings beside this checkout")
@pytest.mark.parametrize("recording", CASES, ids="-".join)
def test_a_node_as_recorded_needs_nothing(recording: Recording) -> None:
    """Whatever order kube-proxy has written its rules in, and with its canary chains, which nobody asked for."""
    wanted = rendered(recording, canary_chains=False)
    own = ownership_of((), only_owner=False, exclude_cidrs=())
    for family, name in (("ipv4", "iptables.rules"), ("ipv6", "ip6tables.rules")):
        tables = iptables.parse(recording.text(name))
        assert plan_iptables.plan(tables, wanted.tables[family], own, family) == []
    assert plan_ipset.plan(ipset.parse(recording.text("ipset.save")), wanted.sets, own.sets) == []
    servers = ipvs.parse(recording.text("ipvs.save"))
    assert plan_ipvs.plan(servers, {}, wanted.virtual_servers, own.virtual_servers) == []
    tables_of_nft = nftables.parse(recording.text("ip.nft") + recording.text("ip6.nft"))
    assert plan_nftables.plan(tables_of_nft, wanted.nftables, own.tables) == []


@pytest.mark.skipif(not CASES, reason="no recordings beside this checkout")
@pytest.mark.parametrize("recording", [r for r in CASES if r[1:] == ("1.36", "iptables")], ids=lambda r: r.case)
def test_a_kernel_without_nfacct_gets_the_rules_without_counters(recording: Recording) -> None:
    counted, plain = rendered(recording), rendered(recording, FACTS._replace(accounting=False))
    assert counted.accounting_objects
    assert not plain.accounting_objects
    for family, tables in counted.tables.items():
        for table, chains in tables.items():
            for name, chain in chains.items():
                assert plain.tables[family][table][name].rules == without_counters(chain.rules)


def without_counters(rules: tuple[str, ...]) -> tuple[str, ...]:
    """A rule that only counts goes, one that counts on its way stays without the counter."""
    kept = (rule for rule in rules if "localhost_nps_accepted_pkts" not in rule)
    return tuple(rule.replace("-m nfacct --nfacct-name  ct_state_invalid_dropped_pkts ", "") for rule in kept)


def in_order_of_ipset(text: str) -> str:
    """The recordings have the members of all sets sorted as lines."""
    lines = text.splitlines()
    creates = sorted(line for line in lines if line.startswith("create"))
    return "".join(f"{line}\n" for line in creates + sorted(set(lines) - set(creates)))
