# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files a run that looks at all service ports brings up to date."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import target
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.converge import Outcome
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.known import Inputs, Left
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.service_data import NodeServiceData
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, native
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.state import rule_set
from ansible_collections.kubenode.proxy.plugins.module_utils.state.node import LocalAddress
from ansible_collections.kubenode.proxy.plugins.module_utils.state.rule_set import RuleSet

from tests.clusters import FACTS, regular_services

UDP = {"name": "dns", "namespace": "load", "cluster_ips": ["10.96.7.7"], "endpoints": [{"address": "10.128.7.7"}]}
UDP["ports"] = [{"protocol": "udp", "port": 53, "target_port": 53, "node_port": 30053}]
DATA = canonical.dump(native.parse([*regular_services(3, 2), UDP]))
OTHER_DATA = canonical.dump(native.parse([*regular_services(3, 3), UDP]))
NOTHING_DONE = Outcome([], RuleSet.empty(), RuleSet.empty(), {})
MODES = ("ipvs", "iptables", "nftables")


def inputs_of(mode: str) -> Inputs:
    configuration = ProxyConfiguration(mode=mode, node_port_addresses=("0.0.0.0/0",))
    return Inputs(Node("node-a", ("192.0.2.1",)), configuration, FACTS)


def no_warning(text: str) -> None:
    raise AssertionError(text)


class Files:
    """The files of a node after a run."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.rule_set = str(folder / "rule_set")
        self.services = str(folder / "services.json")
        self.inputs = inputs_of(mode)
        data = NodeServiceData(DATA, self.services, incoming=True)
        found = target.whole(data, self.inputs, None, self.rule_set, no_warning)
        for path, text in found.texts.items():
            Path(path).write_text("".join(text or ""), encoding="utf-8")
        self.left = found.left(None, self.rule_set, NOTHING_DONE)

    def data(self, text: str = DATA) -> NodeServiceData:
        return NodeServiceData(text, self.services, incoming=text != DATA)

    def to_write(self, left: Left | None, text: str = DATA, inputs: Inputs | None = None) -> set[str]:
        """Names of files, of which the rule set is what is made from scratch."""
        inputs = inputs or self.inputs
        found = target.whole(self.data(text), inputs, left, self.rule_set, no_warning)
        assert found.desired == inputs.render(canonical.load(text))
        made = found.texts.get(self.rule_set)
        assert made is None or "".join(made) == rule_set.render(found.desired)
        return {os.path.basename(path) for path in found.texts}


@pytest.mark.parametrize("mode", MODES)
def test_files_that_say_what_they_should_are_not_made_again(mode: str, tmp_path: Path) -> None:
    files = Files(tmp_path, mode)
    assert files.to_write(files.left) == set()
    assert files.to_write(None) == {"rule_set"}


@pytest.mark.parametrize("mode", MODES)
def test_other_service_data_makes_other_files(mode: str, tmp_path: Path) -> None:
    files = Files(tmp_path, mode)
    assert files.to_write(files.left, OTHER_DATA) == {"rule_set", "services.json"}


@pytest.mark.parametrize("mode", MODES)
def test_a_rule_set_that_was_touched_is_made_again(mode: str, tmp_path: Path) -> None:
    files = Files(tmp_path, mode)
    with open(files.rule_set, "a", encoding="utf-8") as file:
        file.write("\n")
    assert files.to_write(files.left) == {"rule_set"}
    os.unlink(files.rule_set)
    assert files.to_write(files.left) == {"rule_set"}


@pytest.mark.parametrize("mode", MODES)
def test_another_configuration_makes_another_rule_set(mode: str, tmp_path: Path) -> None:
    files = Files(tmp_path, mode)
    configuration = files.inputs.configuration._replace(masquerade_all=True)
    assert files.to_write(files.left, inputs=files.inputs._replace(configuration=configuration)) == {"rule_set"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("interface", "made"), [("kube-ipvs0", set()), ("eth1", {"rule_set"})])
def test_an_address_more_for_node_ports_makes_another_rule_set(
    interface: str, made: set[str], mode: str, tmp_path: Path
) -> None:
    files = Files(tmp_path, mode)
    more = LocalAddress(interface, "192.0.2.77", 32)
    facts = FACTS._replace(addresses=(*FACTS.addresses, more))
    assert files.to_write(files.left, inputs=files.inputs._replace(facts=facts)) == made


@pytest.mark.parametrize("mode", MODES)
def test_a_rule_set_that_was_written_during_a_run_is_made_again(mode: str, tmp_path: Path) -> None:
    files = Files(tmp_path, mode)
    found = target.whole(files.data(), files.inputs, files.left, files.rule_set, no_warning)
    os.link(files.rule_set, tmp_path / "snapshot")
    left = found.left(files.left, files.rule_set, NOTHING_DONE)
    assert files.to_write(left) == set(), "a snapshot changes nothing"
    Path(files.rule_set).write_text("edited meanwhile", encoding="utf-8")
    left = found.left(left, files.rule_set, NOTHING_DONE)
    assert files.to_write(left) == {"rule_set"}


def test_in_ipvs_mode_all_service_ports_are_looked_at(tmp_path: Path) -> None:
    """The kernel does not tell whether virtual servers are what they were."""
    files = Files(tmp_path, "ipvs")
    left = files.left._replace(states={"chains ipv4 of filter, nat": "digest"})
    assert target.part(files.data(), files.inputs, left, files.rule_set, 7) is None


def test_the_few_chains_of_ipvs_mode_are_known_without_the_text_of_the_rule_set(tmp_path: Path) -> None:
    files = Files(tmp_path, "ipvs")
    tables = files.inputs.render(canonical.load(DATA)).tables
    known = target.whole(files.data(), files.inputs, files.left._replace(rest=tables), files.rule_set, no_warning).known
    os.unlink(files.rule_set)
    content = known.content()
    assert content is not None
    assert content.tables == tables


@pytest.mark.parametrize(
    ("name", "nodes", "warned"),
    [
        ("node-a.example.com", ["node-b", "node-a"], ["node-a"]),
        ("node-a", ["node-a.example.com", "node-b", ""], ["node-a.example.com"]),
        ("node-a", ["node-a", "node-a.example.com"], []),
        ("node-c", ["node-a", "node-b"], []),
        ("192.168.1.12", ["192.168.1.11"], []),
        ("node-a.site-1", ["node-a.site-2"], []),
        ("node-a", ["", ""], []),
    ],
)
def test_a_node_that_endpoints_know_by_another_name_is_pointed_out(
    name: str, nodes: list[str], warned: list[str], tmp_path: Path
) -> None:
    (service,) = regular_services(1, len(nodes))
    for endpoint, node in zip(service["endpoints"], nodes, strict=True):
        endpoint["node"] = node
    data = NodeServiceData(canonical.dump(native.parse([service])), str(tmp_path / "services.json"), incoming=True)
    inputs = inputs_of("nftables")._replace(node=Node(name, ("192.0.2.1",)))
    said: list[str] = []
    target.whole(data, inputs, None, str(tmp_path / "rule_set"), said.append)
    assert [text.partition(":")[0] for text in said] == [
        f"no endpoint is on {name}, but some are on {other}" for other in warned
    ]
