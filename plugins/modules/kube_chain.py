#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_chain
short_description: Manage whole iptables chains and the jumps to them
version_added: 0.1.0
description:
  - Brings user-defined chains of iptables and ip6tables to exactly the rules that are asked for, in order, with one
    restore per address family for any number of chains. The kernel takes all rules of a table at once, or none.
  - Rules are compared in the form in which C(iptables-save) prints them, so that the order and the spelling of options
    are no change.
  - In a built-in chain only jumps to the chains of the task are touched. They are put at the head if they are missing,
    and stay where they are otherwise. Rules of other programs keep their places, and their policies and counters stay.
  - Chains that a task does not name are left alone.
extends_documentation_fragment:
  - kubenode.proxy.attributes
  - kubenode.proxy.lock
  - kubenode.proxy.netns
  - kubenode.proxy.backend
  - kubenode.proxy.compiled
options:
  name:
    description:
      - Name of the chain, at most 28 characters.
      - Neither a built-in chain nor one of kubelet's (V(KUBE-KUBELET-CANARY), V(KUBE-IPTABLES-HINT), V(KUBE-FIREWALL)).
    type: str
  table: &table
    description:
      - Table of the chain.
    type: str
    choices: [filter, mangle, nat, raw]
    default: nat
  family: &family
    description:
      - Address family of the chain. V(both) is for each family that the node has.
    type: str
    choices: [ipv4, ipv6, both]
    default: both
  rules: &rules
    description:
      - Rules as C(iptables-save) prints them, without C(-A) and the name of the chain.
    type: list
    elements: str
    default: []
  jumps: &jumps
    description:
      - Jumps to the chain from built-in chains, all that there are to be. Left alone if unset.
    type: list
    elements: dict
    suboptions:
      chain:
        description: The built-in chain.
        type: str
        required: true
      rule:
        description: What the rule matches, without its target. Empty for every packet.
        type: str
        default: ""
  state: &state
    description:
      - Whether the chain is there. One that goes takes the jumps from built-in chains with it.
      - A chain to which other chains still jump is emptied and stays.
    type: str
    choices: [present, absent]
    default: present
  chains:
    description:
      - Any number of chains, each with the options above. Instead of O(name).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the chain.
        type: str
        required: true
      table: *table
      family: *family
      rules: *rules
      jumps: *jumps
      state: *state
seealso:
  - module: kubenode.proxy.rule_set
  - module: kubenode.proxy.ipset_set
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: Traffic from the office is masqueraded
  kubenode.proxy.kube_chain:
    name: OFFICE
    family: ipv4
    rules:
      - -m set --match-set office src -j MASQUERADE
    jumps:
      - chain: POSTROUTING
        rule: -m comment --comment "office networks"

- name: A chain of the filter table is there in both families, another is not
  kubenode.proxy.kube_chain:
    chains:
      - name: NODE-GUARD
        table: filter
        rules:
          - -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
          - -p tcp --dport 10250 -j DROP
        jumps:
          - chain: INPUT
      - name: OLD-GUARD
        table: filter
        state: absent

- name: The chains of the compiled rule set are there
  kubenode.proxy.kube_chain:
    rule_set: /var/lib/kubenode-proxy/rule_set
"""

RETURN = r"""
operations:
  description: What was changed (in check mode, what would be), with the reason; the first 1000.
  type: list
  elements: dict
  returned: success
  sample:
    - {verb: change, kind: chain, name: "ipv4 nat OFFICE", reason: "rule 1 of 2 is: -j RETURN"}
counts:
  description: Number of operations by verb and kind.
  type: dict
  returned: success
  sample: {"change chain": 1}
figures:
  description: Processes started, netlink messages sent, and seconds by phase.
  type: dict
  returned: success
  sample: {"processes": 3, "messages": 0, "seconds": {"read": 0.02, "plan": 0.001, "apply": 0.01}}
backend:
  description: Back end of iptables that was used, V(nft) or V(legacy).
  type: str
  returned: success
  sample: nft
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import kube_chain, module


def main() -> None:
    module.run(kube_chain.work, **kube_chain.OPTIONS)


if __name__ == "__main__":
    main()
