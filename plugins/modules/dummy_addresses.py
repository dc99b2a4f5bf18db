#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dummy_addresses
short_description: Manage a dummy link and its addresses
version_added: 0.1.0
description:
  - Brings the addresses of a dummy link, such as C(kube-ipvs0), to exactly what is asked for. The link is made if it is
    missing.
  - The addresses make the node take packets to virtual servers as its own, which is when IPVS sees them.
  - The link is never set up, as kube-proxy leaves it down too. Its addresses answer all the same, because the kernel's
    local routes to them do not depend on the link's state. A link that is up would announce them, and would add routes
    that nothing needs.
  - Link-local addresses, which the kernel itself puts on a link, are left alone.
extends_documentation_fragment:
  - kubenode.proxy.attributes
  - kubenode.proxy.lock
  - kubenode.proxy.netns
  - kubenode.proxy.compiled
options:
  link:
    description:
      - Name of the link. A link of this name that is no dummy is refused.
      - With O(rule_set) that of the rule set is used. A rule set of a mode without a link removes this one.
    type: str
    default: kube-ipvs0
  addresses:
    description:
      - Addresses with or without prefix length. Without, the address stands for itself, as with V(/32) or V(/128).
      - Required where O(state=present), unless O(rule_set) is given.
    type: list
    elements: str
  policy:
    description:
      - V(exact) removes addresses that are not in O(addresses).
      - V(merge) leaves them.
    type: str
    choices: [exact, merge]
    default: exact
  state:
    description:
      - Whether the link is there. V(absent) removes it with all its addresses.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: kubenode.proxy.ipvs_service
  - module: kubenode.proxy.rule_set
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: The addresses of the virtual servers are the node's
  kubenode.proxy.dummy_addresses:
    addresses:
      - 10.96.0.10
      - 2001:db8::10

- name: One more address is there
  kubenode.proxy.dummy_addresses:
    addresses: [10.96.0.11]
    policy: merge

- name: The addresses of the compiled rule set are there
  kubenode.proxy.dummy_addresses:
    rule_set: /var/lib/kubenode-proxy/rule_set

- name: The link is gone
  kubenode.proxy.dummy_addresses:
    state: absent
"""

RETURN = r"""
operations:
  description: What was changed (in check mode, what would be), with the reason; the first 1000.
  type: list
  elements: dict
  returned: success
  sample:
    - {verb: add, kind: address, name: "kube-ipvs0 10.96.0.10/32", reason: missing}
counts:
  description: Number of operations by verb and kind.
  type: dict
  returned: success
  sample: {"add address": 1}
figures:
  description: Processes started, netlink messages sent, and seconds by phase.
  type: dict
  returned: success
  sample: {"processes": 3, "messages": 0, "seconds": {"read": 0.02, "plan": 0.001, "apply": 0.01}}
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import dummy_addresses, module


def main() -> None:
    module.run(dummy_addresses.work, **dummy_addresses.OPTIONS)


if __name__ == "__main__":
    main()
