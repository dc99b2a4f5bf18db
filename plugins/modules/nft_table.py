#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nft_table
short_description: Manage a whole table of nftables
version_added: 0.1.0
description:
  - Brings one table to exactly what is asked for, in one transaction that holds only what differs.
  - The content is loaded into a network namespace of its own first, and compared in the form in which nft lists it from
    there. So it may be written in any form that nft takes, and what nft refuses is found before anything changes.
  - Elements of sets to which packets add (the flag V(dynamic)) are left alone, as are counters.
extends_documentation_fragment:
  - kubenode.proxy.attributes
  - kubenode.proxy.lock
  - kubenode.proxy.netns
  - kubenode.proxy.compiled
options:
  name:
    description:
      - Name of the table.
    type: str
  family:
    description:
      - Family of the table.
    type: str
    choices: [ip, ip6, inet, arp, bridge]
    default: inet
  content:
    description:
      - What stands between the braces of the table in the syntax of C(nft -f), such as sets, maps and chains.
      - Interfaces are matched by name (V(iifname), V(oifname)), not by index.
    type: str
    default: ""
  state:
    description:
      - Whether the table is there.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: kubenode.proxy.rule_set
  - module: kubenode.proxy.kube_chain
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: Node ports are open to the office only
  kubenode.proxy.nft_table:
    name: office
    content: |
      set networks {
        type ipv4_addr
        flags interval
        elements = { 198.51.100.0/24, 203.0.113.7 }
      }
      chain prerouting {
        type filter hook prerouting priority -150;
        tcp dport 30000-32767 ip saddr != @networks drop
      }

- name: The tables of the compiled rule set are there
  kubenode.proxy.nft_table:
    rule_set: /var/lib/kubenode-proxy/rule_set
"""

RETURN = r"""
operations:
  description: What was changed (in check mode, what would be), with the reason; the first 1000.
  type: list
  elements: dict
  returned: success
  sample:
    - {verb: add, kind: element, name: "inet office networks 203.0.113.7", reason: is missing}
counts:
  description: Number of operations by verb and kind.
  type: dict
  returned: success
  sample: {"add element": 1}
figures:
  description: Processes started, netlink messages sent, and seconds by phase.
  type: dict
  returned: success
  sample: {"processes": 5, "messages": 5, "seconds": {"read": 0.02, "plan": 0.001, "apply": 0.01}}
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import module, nft_table


def main() -> None:
    module.run(nft_table.work, **nft_table.OPTIONS)


if __name__ == "__main__":
    main()
