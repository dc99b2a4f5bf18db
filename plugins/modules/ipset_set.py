#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipset_set
short_description: Manage whole IP sets of the Linux kernel
version_added: 0.1.0
description:
  - Creates IP sets and brings their members to exactly what is asked for, with one read and one write for any number
    of sets.
  - Entries are compared in the form in which the kernel lists them, so that V(10.0.0.1/32) and V(10.0.0.1) are the
    same member.
  - A set whose type or create options change is filled under another name and put in place at once.
extends_documentation_fragment:
  - kubenode.proxy.attributes
  - kubenode.proxy.lock
  - kubenode.proxy.netns
  - kubenode.proxy.compiled
options:
  name:
    description:
      - Name of the set, at most 31 characters.
    type: str
  type:
    description:
      - Type of the set. Required where O(state=present).
    type: str
    choices: &types
      - bitmap:ip
      - bitmap:ip,mac
      - bitmap:port
      - hash:ip
      - hash:ip,mac
      - hash:ip,mark
      - hash:ip,port
      - hash:ip,port,ip
      - hash:ip,port,net
      - hash:mac
      - hash:net
      - hash:net,iface
      - hash:net,net
      - hash:net,port
      - hash:net,port,net
      - list:set
  members:
    description:
      - Entries, each as C(ipset add) takes it, options such as V(nomatch) included. Ranges are expanded.
    type: list
    elements: str
    default: []
  members_policy:
    description:
      - V(exact) removes members that are not in O(members).
      - V(merge) leaves them.
    type: str
    choices: [exact, merge]
    default: exact
  state:
    description:
      - Whether the set is there.
    type: str
    choices: [present, absent]
    default: present
  family:
    description:
      - Address family of a hash.
    type: str
    choices: [inet, inet6]
    default: inet
  hashsize:
    description:
      - Initial size of the hash, V(1024) if unset. The kernel grows it, so a difference is no change.
    type: int
  maxelem:
    description:
      - Largest number of members of a hash, V(65536) if unset.
    type: int
  netmask:
    description:
      - Prefix length to which addresses are cut before they are stored.
    type: int
  range:
    description:
      - Range of a bitmap, such as V(0-65535) or V(10.0.0.0/24).
    type: str
  size:
    description:
      - Size of a list of sets, V(8) if unset.
    type: int
  markmask:
    description:
      - Mask of the marks of a set of the type V(hash:ip,mark).
    type: str
  timeout:
    description:
      - Default timeout of members in seconds. Times that are running never count as a difference.
    type: int
  counters:
    description:
      - Whether members count packets and bytes.
    type: bool
    default: false
  comment:
    description:
      - Whether members may have comments.
    type: bool
    default: false
  skbinfo:
    description:
      - Whether members may have skbinfo.
    type: bool
    default: false
  forceadd:
    description:
      - Whether a full set drops a random member for a new one.
    type: bool
    default: false
  sets:
    description:
      - Any number of sets, each with the options above. Instead of O(name).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the set.
        type: str
        required: true
      type:
        description: Type of the set.
        type: str
        choices: *types
      members:
        description: Entries of the set.
        type: list
        elements: str
        default: []
      state:
        description: Whether the set is there.
        type: str
        choices: [present, absent]
        default: present
      family:
        description: Address family of a hash.
        type: str
        choices: [inet, inet6]
        default: inet
      hashsize:
        description: Initial size of the hash.
        type: int
      maxelem:
        description: Largest number of members of a hash.
        type: int
      netmask:
        description: Prefix length to which addresses are cut.
        type: int
      range:
        description: Range of a bitmap.
        type: str
      size:
        description: Size of a list of sets.
        type: int
      markmask:
        description: Mask of marks.
        type: str
      timeout:
        description: Default timeout of members in seconds.
        type: int
      counters:
        description: Whether members count packets and bytes.
        type: bool
        default: false
      comment:
        description: Whether members may have comments.
        type: bool
        default: false
      skbinfo:
        description: Whether members may have skbinfo.
        type: bool
        default: false
      forceadd:
        description: Whether a full set drops a random member for a new one.
        type: bool
        default: false
seealso:
  - module: kubenode.proxy.rule_set
  - module: kubenode.proxy.kube_chain
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: Office networks are a set
  kubenode.proxy.ipset_set:
    name: office
    type: hash:net
    members:
      - 198.51.100.0/24
      - 203.0.113.7

- name: Two sets are there, one is not
  kubenode.proxy.ipset_set:
    sets:
      - name: web
        type: hash:ip,port
        members: ["10.96.0.10,tcp:80", "10.96.0.10,tcp:443"]
      - name: blocked6
        type: hash:net
        family: inet6
        members: ["2001:db8::/32"]
      - name: old
        state: absent

- name: The sets of the compiled rule set are there
  kubenode.proxy.ipset_set:
    rule_set: /var/lib/kubenode-proxy/rule_set
"""

RETURN = r"""
operations:
  description: What was changed (in check mode, what would be), with the reason; the first 1000.
  type: list
  elements: dict
  returned: success
  sample:
    - {verb: add, kind: member, name: "office 203.0.113.7", reason: missing}
counts:
  description: Number of operations by verb and kind.
  type: dict
  returned: success
  sample: {"add member": 1}
figures:
  description: Processes started, netlink messages sent, and seconds by phase.
  type: dict
  returned: success
  sample: {"processes": 3, "messages": 0, "seconds": {"read": 0.02, "plan": 0.001, "apply": 0.01}}
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import ipset_set, module


def main() -> None:
    module.run(ipset_set.work, **ipset_set.OPTIONS)


if __name__ == "__main__":
    main()
