# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a few changed service ports make of a rule set is what the rule sets of all service ports differ in.

The clusters are those of tests/clusters.py.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.rule_set import ownership_of
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.changed_part import changed_part
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import iptables as plan_iptables
from ansible_collections.kubenode.proxy.plugins.module_utils.plan import nftables as plan_nftables
from ansible_collections.kubenode.proxy.plugins.module_utils.rules import iptables
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.difference import render_difference
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from ansible_collections.kubenode.proxy.plugins.module_utils.state import rule_set
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress

from tests.clusters import FACTS, FAMILIES, Cluster, Document, few_changes, random_cluster, regular_services

if TYPE_CHECKING:
    from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import ServiceData
    from ansible_collections.kubenode.proxy.plugins.module_utils.plan.operation import Operation
    from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

PAIRS = 150
OWNERSHIP = ownership_of((), only_owner=False, exclude_cidrs=())
MODES = ("iptables", "nftables")


class Pair(NamedTuple):
    """Services as they were and as they are, on one node."""

    before: Cluster
    after: list[Document]

    def rendered(self) -> tuple[RuleSet, RuleSet]:
        """The whole rule sets."""
        return self._render(self.before.data()), self._render(native.parse(self.after))

    def difference(self) -> tuple[RuleSet, RuleSet] | None:
        """What the changed service ports alone make of it."""
        before = self.before.data()
        part = changed_part(canonical.dump(before), canonical.dump(native.parse(self.after)))
        assert part is not None
        was, wanted = canonical.load(part.before), canonical.load(part.after)
        counts = was.endpoint_counts()
        left_out = {family: count - counts[family] for family, count in before.endpoint_counts().items()}
        node, configuration = self.before.parsed_node(), self.before.parsed_configuration()
        return render_difference(
            was._replace(left_out=left_out), wanted._replace(left_out=left_out), node, configuration, FACTS
        )

    def _render(self, data: ServiceData) -> RuleSet:
        return render(data, self.before.parsed_node(), self.before.parsed_configuration(), FACTS)


def pair(seed: int, mode: str) -> Pair:
    source = random.Random(f"{mode} {seed}")
    before = random_cluster(source, 12, mode)
    return Pair(before, few_changes(source, before.services, mode))


def operations(before: RuleSet, after: RuleSet) -> list[Operation]:
    found = plan_nftables.plan(before.nftables, after.nftables, OWNERSHIP.tables)
    for family in FAMILIES:
        found += plan_iptables.plan(before.tables[family], after.tables[family], OWNERSHIP, family)
    return sorted(found, key=lambda one: (one.verb, one.kind, one.name))


def replaces_sets(before: RuleSet, after: RuleSet) -> bool:
    """Whether clients are remembered for another time, which takes new sets, and all that names them anew."""
    found = plan_nftables.plan(before.nftables, after.nftables, OWNERSHIP.tables)
    return any(one.verb == "change" and one.kind in ("set", "map") for one in found)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("large", [False, True])
def test_the_changed_service_ports_tell_all(mode: str, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "LARGE_CLUSTER_ENDPOINTS", 3 if large else 1000)
    changes, parts = 0, 0
    for seed in range(PAIRS):
        found = pair(seed, mode)
        before, after = found.rendered()
        difference = found.difference()
        if difference is None:
            assert mode == "iptables" or replaces_sets(before, after), "all else belongs to one service port"
            continue
        parts += 1
        changes += len(operations(*difference))
        assert operations(*difference) == operations(before, after), f"seed {seed}"
        text = "".join(rule_set.changed_pieces(rule_set.render(before), *difference))
        assert text == rule_set.render(after), f"seed {seed}"
    assert min(parts, changes) > PAIRS / 10


@pytest.mark.parametrize("mode", MODES)
def test_one_endpoint_less_changes_as_many_objects_in_any_cluster(mode: str) -> None:
    configuration = {"mode": mode, "cluster_cidrs": ["10.0.0.0/8"]}
    found = []
    for services in (10, 300):
        before = regular_services(services, 5)
        after = [{**before[0], "endpoints": before[0]["endpoints"][1:]}, *before[1:]]
        difference = Pair(Cluster(before, {"name": "node-a"}, configuration), after).difference()
        assert difference is not None
        found.append([(one.verb, one.kind) for one in operations(*difference)])
        assert sum(len(table.chains) for side in difference for table in side.nftables.values()) <= 2
        assert sum(len(chains) for side in difference for chains in side.tables["ipv4"].values()) <= 7
        assert sum(len(table.sets) for side in difference for table in side.nftables.values()) <= 2
    assert found[0] == found[1]


def test_comments_that_come_or_go_everywhere_are_no_matter_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = {"mode": "iptables", "cluster_cidrs": ["10.0.0.0/8"]}
    before = regular_services(3, 5)
    after = [{**before[0], "endpoints": before[0]["endpoints"][1:]}, *before[1:]]
    found = Pair(Cluster(before, {"name": "node-a"}, configuration), after)
    assert found.difference() is not None
    monkeypatch.setattr(iptables, "LARGE_CLUSTER_ENDPOINTS", 14)
    assert found.difference() is None


@pytest.mark.parametrize("mode", MODES)
def test_what_service_ports_add_to_tables_does_not_depend_on_addresses_of_the_node(mode: str) -> None:
    """What is known of the tables of a node outlives the interfaces of its pods."""
    more = FACTS._replace(addresses=(*FACTS.addresses, LocalAddress("eth7", "10.244.1.1", 24)))
    for seed in range(PAIRS):
        found = random_cluster(random.Random(seed), 12, mode)
        node, configuration = found.parsed_node(), found.parsed_configuration()
        nothing = native.parse([])
        if render(nothing, node, configuration, FACTS) == render(nothing, node, configuration, more):
            one, other = (render(found.data(), node, configuration, facts) for facts in (FACTS, more))
            assert (one.tables, one.nftables) == (other.tables, other.nftables)


def test_nothing_changed_leaves_the_service_ports_of_udp() -> None:
    services = random_cluster(random.Random(7), 12, "nftables").services
    text = canonical.dump(native.parse(services))
    part = changed_part(text, text)
    assert part is not None
    assert part.before == part.after
    found = canonical.load(part.after).service_ports
    assert found == tuple(port for port in native.parse(services).service_ports if port.protocol == "udp")
    assert found


def test_service_ports_that_share_an_address_go_along() -> None:
    services = regular_services(4, 3)
    services[2]["endpoints"].append(services[0]["endpoints"][0])
    before = canonical.dump(native.parse(services))
    part = changed_part(before, canonical.dump(native.parse(services[1:])))
    assert part is not None
    assert [port.name for port in canonical.load(part.before).service_ports] == ["web-0", "web-2"]
    assert [port.name for port in canonical.load(part.after).service_ports] == ["web-2"]


def test_networks_of_services_go_along_and_others_are_no_part() -> None:
    services, cidrs = regular_services(2, 1), ("10.96.0.0/16", "fd00:96::/108")
    before, after, other = (
        canonical.dump(native.parse(services[first:])._replace(service_cidrs=found))
        for first, found in ((0, cidrs), (1, cidrs), (1, cidrs[:1]))
    )
    part = changed_part(before, after)
    assert part is not None
    assert [canonical.load(text).service_cidrs for text in part] == [cidrs, cidrs]
    assert changed_part(before, other) is None


@pytest.mark.parametrize("indent", [None, 1])
def test_a_file_that_others_wrote_is_no_part(indent: int | None) -> None:
    text = canonical.dump(native.parse(regular_services(3, 1)))
    other = json.dumps(json.loads(text), indent=indent)
    damaged = text.replace("ip", "pi")
    for pair_of_texts in ((other, other), (other, text), (text, other), ("", text), (damaged, text), (text[:-1], text)):
        assert changed_part(*pair_of_texts) is None


def test_very_many_changes_are_no_part() -> None:
    services = regular_services(300, 1)
    before = canonical.dump(native.parse(services))
    assert changed_part(before, canonical.dump(native.parse(services[:100]))) is None
    crowd = canonical.dump(native.parse(regular_services(1, 600)))
    assert changed_part(crowd, canonical.dump(native.parse([]))) is None
