#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Tell what a node lacks for the kube-proxy rule set
version_added: 0.1.0
description:
  - Looks for the commands and the kernel modules that the collection needs on a node, in one task.
  - Says whether IPVS mode is possible on the node's kernel.
extends_documentation_fragment:
  - kubenode.proxy.attributes.info
options:
  needed:
    description:
      - Commands to look for. Those of IPVS mode by default.
    type: list
    elements: str
    choices: [ip, iptables, ipset, ipvsadm, modprobe, nft]
    default: [ip, iptables, ipset, ipvsadm, modprobe]
  netns:
    description:
      - Name of the network namespace of the node in which to look for kube-proxy. All else is the node's.
    type: str
seealso:
  - module: kubenode.proxy.kernel_modules
  - module: kubenode.proxy.proxy_info
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: Look at the node
  kubenode.proxy.preflight_info:
  register: preflight

- name: The node can run IPVS mode
  ansible.builtin.assert:
    that: preflight.ipvs_possible
    fail_msg: "Kernel {{ preflight.kernel }} lacks {{ preflight.missing_kernel_modules | join(', ') }}"
"""

RETURN = r"""
kernel:
  description: Release of the running kernel.
  type: str
  returned: success
  sample: 6.1.0-32-amd64
kernel_version:
  description: Major and minor version of the kernel.
  type: list
  elements: int
  returned: success
  sample: [6, 1]
package_manager:
  description: Command of the node's package manager, V(null) for one that the collection does not know.
  type: str
  returned: success
  sample: apt-get
missing:
  description: Commands that the node lacks.
  type: list
  elements: str
  returned: success
  sample: [ipset]
missing_packages:
  description: Packages that would bring them.
  type: list
  elements: str
  returned: success
  sample: [ipset]
missing_kernel_modules:
  description: Kernel modules of IPVS mode that the kernel neither has built in nor can load.
  type: list
  elements: str
  returned: success
  sample: []
ipvs_possible:
  description: Whether the kernel can run IPVS mode.
  type: bool
  returned: success
  sample: true
ipv6:
  description: Whether the kernel has IPv6.
  type: bool
  returned: success
  sample: true
network_manager:
  description: Whether NetworkManager is configured on the node.
  type: bool
  returned: success
  sample: false
check_mode:
  description: Whether the task ran in check mode, so that those that go with it change nothing.
  type: bool
  returned: success
  sample: false
kube_proxy_running:
  description: Whether a process called C(kube-proxy) runs on the node. One that is part of another program is not seen.
  type: bool
  returned: success
  sample: false
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import module, preflight_info


def main() -> None:
    module.run(preflight_info.work, **preflight_info.OPTIONS)


if __name__ == "__main__":
    main()
