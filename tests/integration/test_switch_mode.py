# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of a node whose move to another mode is not proved: a network namespace, iptables and nftables mode.

node-a     has services, of which none answers
node-gone  does not answer
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest
import yaml

from tests.integration.namespace_controller import NamespaceController
from tests.needs import root_and

pytestmark = [pytest.mark.lab, root_and()]

INVENTORY = """\
kube_nodes:
  vars:
    kube_proxy_services_src: "{{ inventory_dir }}/services.yml"
"""
SERVICES = """\
- name: web
  cluster_ip: 10.96.0.10
  ports: [{port: 80, target_port: 8080, name: a}, {port: 81, target_port: 8081, name: b}]
  endpoints: [10.244.1.5]
"""
# The second task would fail for another reason.
UNREACHED = """\
- name: The clients' side is asked
  ansible.builtin.command: "true"
  delegate_to: node-gone
  register: asked

- name: It says so
  ansible.builtin.assert:
    that: asked.rc == 0
"""
UNREACHED_LAST = """\
- name: Files are included
  ansible.builtin.include_tasks: inner.yml
"""
INNER = """\
- name: The clients' side is asked
  ansible.builtin.command: "true"
  delegate_to: node-gone
"""
DISPROOF = """\
- name: The cash desk works
  ansible.builtin.fail:
    msg: the cash desk is dark
"""
# From here on the node itself is not reached.
CUT = """\
- name: The way to the node is gone
  ansible.builtin.set_fact:
    ansible_connection: ssh
    ansible_host: 127.0.0.1
    ansible_port: 1

- name: The node does something
  ansible.builtin.command: "true"
"""
# Somebody removes what the move has written, as soon as it is there.
DISTURBANCE = """\
- name: Somebody else is at work
  ansible.builtin.shell: until nft delete table ip kube-proxy; do :; done
  async: 60
  poll: 0
"""
SNAPSHOTS = "/var/lib/kubenode-proxy/snapshots"
GONE = {"others": {"hosts": {"node-gone": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "root"}}}}
SITE = "ansible-playbook -i inventory.yml --limit kube_nodes kubenode.proxy.site"
SWITCH = "ansible-playbook -i inventory.yml --limit kube_nodes kubenode.proxy.switch_mode"


@pytest.fixture
def controller(
    ansible_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NamespaceController]:
    with NamespaceController(tmp_path_factory.mktemp("switch"), ansible_env) as controller:
        controller.inventory(INVENTORY)
        document = yaml.safe_load((controller.folder / "inventory.yml").read_text())
        controller.write("inventory.yml", yaml.safe_dump({**document, **GONE}))
        controller.write("services.yml", SERVICES)
        controller.run(SITE)
        yield controller


def rules(controller: NamespaceController) -> str:
    text = controller.look("iptables-save") + controller.look("nft", "list", "tables")
    return re.sub(r"( \[.*|^#.*)", "", text, flags=re.MULTILINE)


def switch(controller: NamespaceController, mode: str, *options: str, status: int = 0) -> str:
    return controller.run(f"{SWITCH} -e kube_proxy_mode={mode} {' '.join(options)}", status)


def proving(controller: NamespaceController, text: str) -> str:
    controller.write("prove.yml", text)
    return f"-e kube_proxy_prove_switch={controller.folder}/prove.yml"


@pytest.mark.parametrize("proof", [UNREACHED, UNREACHED_LAST], ids=["another failure follows", "the last task"])
def test_a_proof_that_does_not_reach_its_host_takes_the_node_back(controller: NamespaceController, proof: str) -> None:
    controller.write("inner.yml", INNER)
    before = rules(controller)
    printed = switch(controller, "nftables", proving(controller, proof), status=2)
    end = "node-a is not proved in nftables mode (it was brought back to what it was): The clients' side is asked: "
    assert end in printed
    assert "node-a  failed       node-a is not proved in nftables mode (it was brought back" in printed
    assert rules(controller) == before


def test_a_node_that_is_not_reached_any_more_is_said_to_be_left(controller: NamespaceController) -> None:
    before = rules(controller)
    printed = switch(controller, "nftables", proving(controller, CUT), status=2)
    assert "node-a  failed       node-a is left in nftables mode, unproven (the way back: " in printed
    (way_back, reason) = re.findall(r"--limit node-a -e (\S+)\): (.*?):", printed)[0]
    assert reason == "The node does something"
    controller.run(f"{SITE.replace('site', 'rollback')} -e {way_back}")
    assert rules(controller) == before


def test_a_node_whose_way_back_fails_is_said_to_be_left(controller: NamespaceController) -> None:
    lost = f"- name: It is lost\n  ansible.builtin.command: rm -r {SNAPSHOTS}\n"
    printed = switch(controller, "nftables", proving(controller, lost + DISPROOF), status=2)
    assert "there is no snapshot in" in printed
    assert re.search(r"^node-a +failed +node-a is left in nftables mode, unproven \(.*the cash desk", printed, re.M)


def test_a_clock_that_is_set_back_does_not_take_the_way_back_away(controller: NamespaceController) -> None:
    before = rules(controller)
    controller.run(
        f"cd {SNAPSHOTS} && for year in 2097 2098 2099; do cp -r 20[2-8]* ${{year}}0101T000000.000000Z; done"
    )
    controller.run(f"rm -r {SNAPSHOTS}/20[2-8]*")
    printed = switch(controller, "nftables", proving(controller, DISPROOF), status=2)
    assert (
        "node-a is not proved in nftables mode (it was brought back to what it was): the cash desk is dark" in printed
    )
    assert rules(controller) == before
    assert controller.run(f"ls {SNAPSHOTS}").split()[-1] == "20990101T000000.000001Z"
    since = f"{SITE.replace('site', 'rollback')} -e kube_proxy_rollback_since=20261121T120000Z"
    assert "its clock was set back" in " ".join(controller.run(since, status=2).split())
    assert rules(controller) == before


def test_rules_that_are_no_text_are_shown_and_come_back(controller: NamespaceController) -> None:
    controller.run("iptables -A KUBE-FORWARD -m comment --comment $(printf 'a\\377b') -j DROP")
    count = "iptables-save | od -An -c | grep -c 377"
    assert controller.run(count) == "1\n"
    printed = switch(controller, "nftables", "--diff", proving(controller, DISPROOF), status=2)
    assert "(it was brought back to what it was): the cash desk is dark" in printed
    assert "a\\xffb" in printed
    assert controller.run(count) == "1\n"


def test_a_move_that_fails_half_way_is_undone_without_a_result_that_tells_how(controller: NamespaceController) -> None:
    before = rules(controller)
    controller.write("before.yml", DISTURBANCE)
    hook = f"-e kube_proxy_before_switch={controller.folder}/before.yml"
    printed = switch(controller, "nftables", hook, status=2)
    assert re.search(r"nftables mode \(it was brought back to what it was\): \d+ of \d+ changes did not last", printed)
    assert rules(controller) == before


def test_a_node_that_was_in_the_mode_before_stays_there(controller: NamespaceController) -> None:
    before = rules(controller)
    printed = switch(controller, "iptables", proving(controller, DISPROOF), status=2)
    assert "node-a is not proved in iptables mode (its rules are what they were): the cash desk is dark" in printed
    assert rules(controller) == before


def test_what_became_of_a_node_is_told_also_where_traffic_is_not_led_back_to_another(
    controller: NamespaceController,
) -> None:
    document = yaml.safe_load((controller.folder / "inventory.yml").read_text())
    nodes = document["kube_nodes"]["hosts"]
    # Two names of one node, which has to be the same to both.
    nodes["node-a"] = nodes["node-b"] = {**(nodes["node-a"] or {}), "kube_proxy_node_name": "node-a"}
    controller.write("inventory.yml", yaml.safe_dump(document))
    proof = proving(controller, f"{DISPROOF}  when: inventory_hostname == 'node-b'\n")
    controller.write("after.yml", DISPROOF.replace("the cash desk", "the balancer"))
    after = f"-e kube_proxy_serial=2 -e kube_proxy_after_switch={controller.folder}/after.yml"
    printed = switch(controller, "iptables", proof, after, status=2)
    end = "node-b is not proved in iptables mode (its rules are what they were): the cash desk is dark"
    assert re.search(r"^node-a +failed +the balancer is dark", printed, re.M)
    assert re.search(rf"^node-b +failed +{re.escape(end)}", printed, re.M)


@pytest.mark.parametrize("proof, status", [(None, 2), ("- name: [", 4)], ids=["missing", "no YAML"])
def test_a_proof_that_cannot_be_read_is_found_before_the_move(
    controller: NamespaceController, proof: str | None, status: int
) -> None:
    before = rules(controller)
    option = proving(controller, proof) if proof else "-e kube_proxy_prove_switch=/nowhere.yml"
    switch(controller, "nftables", option, status=status)
    assert rules(controller) == before


def test_what_a_proof_does_not_cover_is_told(controller: NamespaceController) -> None:
    printed = switch(controller, "nftables", "-e kube_proxy_probe_limit=1")
    assert "1 service ports are asked, 1 are left out of the proof: set kube_proxy_probe_limit" in printed
    assert "None of 1 service ports answers on node-a before the move, so asking them again will prove" in printed


def test_nodes_that_a_fleet_s_move_does_not_visit_are_named(controller: NamespaceController) -> None:
    migrate = SWITCH.replace("switch_mode", "migrate").replace("kube_nodes ", "all ")
    modes = "-e kube_proxy_mode=nftables -e kube_proxy_mode_before=iptables"
    printed = controller.run(f"{migrate} {modes}", status=4)
    assert "node 1 of 2" not in printed
    assert 'not visited in "Nodes move to another mode": node-a, node-gone\n' in printed
