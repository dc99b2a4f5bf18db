#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctls
short_description: Set kernel settings, now and at boot
version_added: 0.1.0
description:
  - Sets any number of sysctls in the running kernel, and keeps them in one drop-in file that the node reads at boot.
  - The file holds exactly O(settings). It is only replaced where what it says differs.
  - A setting that is no longer among those of the file gets back the value that it had before this module first
    changed it.
  - Files that a boot reads later may set the same to something else, and then win. This module leaves them alone, but
    warns of them, and returns them as RV(overridden).
  - Where a setting is missing from the kernel, nothing is written, and the error names the kernel module that has it.
extends_documentation_fragment:
  - kubenode.proxy.attributes
  - kubenode.proxy.lock
  - kubenode.proxy.remember
  - kubenode.proxy.netns
options:
  settings:
    description:
      - Values by name. A dot in the name of an interface is written as a slash, such as
        V(net.ipv4.conf.eth0/100.rp_filter).
      - Switches of forwarding are written first, as the kernel resets other settings with them.
      - Required where O(state=present).
    type: dict
  state:
    description:
      - V(absent) removes the drop-in file, and gives all its settings the values back that they had before.
    type: str
    choices: [present, absent]
    default: present
  ignore_missing:
    description:
      - Whether settings that the kernel does not have are passed over. They are in RV(missing), and in the drop-in file
        all the same.
    type: bool
    default: false
  persistent:
    description:
      - Whether the drop-in file is written. Has to be V(false) with O(netns), as the file is for the node itself.
      - V(false) leaves a file of an earlier run alone, and keeps no values to give back.
    type: bool
    default: true
  directory:
    description:
      - Directory of the drop-in file. It is made if it is missing.
    type: path
    default: /etc/sysctl.d
  file:
    description:
      - Name of the drop-in file. Among files that set the same, the last by name wins at boot.
    type: str
    default: 60-kubenode-proxy.conf
seealso:
  - module: kubenode.proxy.kernel_modules
  - module: ansible.posix.sysctl
    description: Single settings in any file.
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: The node forwards packets
  kubenode.proxy.sysctls:
    settings:
      net.ipv4.ip_forward: 1
      net.ipv4.conf.all.arp_ignore: 1

- name: Bridged packets pass iptables where the kernel can do it
  kubenode.proxy.sysctls:
    settings:
      net.bridge.bridge-nf-call-iptables: 1
    ignore_missing: true
    file: 61-bridges.conf

- name: What the drop-in file set is as it was before
  kubenode.proxy.sysctls:
    state: absent

- name: A network namespace forwards packets
  kubenode.proxy.sysctls:
    settings:
      net.ipv4.ip_forward: 1
    netns: lvs
    persistent: false
"""

RETURN = r"""
operations:
  description: What was changed (in check mode, what would be), with the reason; the first 1000.
  type: list
  elements: dict
  returned: success
  sample:
    - {verb: change, kind: sysctl, name: net.ipv4.ip_forward, reason: "is 0, not 1"}
counts:
  description: Number of operations by verb and kind.
  type: dict
  returned: success
  sample: {"change sysctl": 1}
figures:
  description: Processes started, netlink messages sent, and seconds by phase.
  type: dict
  returned: success
  sample: {"processes": 3, "messages": 0, "seconds": {"read": 0.02, "plan": 0.001, "apply": 0.01}}
missing:
  description: Settings that the kernel does not have.
  type: list
  elements: str
  returned: success
  sample: [net.bridge.bridge-nf-call-iptables]
drop_in:
  description: Path of the drop-in file, V(null) where there is to be none.
  type: str
  returned: success
  sample: /etc/sysctl.d/60-kubenode-proxy.conf
overridden:
  description:
    - Settings that a later file of sysctl.d gives another value at boot, with that value and the path of the file.
    - Patterns such as V(net.ipv4.conf.*.rp_filter) do not count, nor does C(/etc/sysctl.conf) where no link in sysctl.d
      points to it.
  type: list
  elements: dict
  returned: success
  sample:
    - {name: net.ipv4.ip_forward, value: "0", path: /etc/sysctl.d/99-hardening.conf}
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import module, remembered, sysctls


def main() -> None:
    module.run(remembered.remembering(sysctls.work, "sysctls"), **sysctls.OPTIONS)


if __name__ == "__main__":
    main()
