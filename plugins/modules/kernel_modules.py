#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_modules
short_description: Load kernel modules, now and at boot
version_added: 0.1.0
description:
  - Loads any number of modules of the Linux kernel, and lists them in one drop-in file from which the node loads them
    at boot.
  - What is built into the kernel counts as loaded. Names that are aliases are known by what they stand for.
  - For a module that got another name between releases of the kernel, alternatives can be given; the first that the
    kernel has is taken.
  - On a node without a list of the kernel's modules (C(/lib/modules)), as in a container, a module counts as loaded
    where the kernel shows signs of it.
extends_documentation_fragment:
  - kubenode.proxy.attributes
  - kubenode.proxy.lock
  - kubenode.proxy.remember
options:
  modules:
    description:
      - Kernel modules, each a name or a mapping.
      - A mapping has C(name), or C(any_of) with a list of names, and may have C(required), which is V(true) if unset.
      - A required module that the kernel does not have is an error, and then nothing is loaded. Others are returned in
        RV(missing).
      - Required where O(state=present).
    type: list
    elements: raw
    default: []
  state:
    description:
      - V(present) loads the modules.
      - V(absent) only removes the drop-in file. It does not unload anything, as other programs may use the modules, and
        as they take their connections and rules with them. Without the file, they are gone after the next boot.
    type: str
    choices: [present, absent]
    default: present
  persistent:
    description:
      - Whether the drop-in file is written. V(false) leaves a file of an earlier run alone.
    type: bool
    default: true
  directory:
    description:
      - Directory of the drop-in file. It is made if it is missing.
    type: path
    default: /etc/modules-load.d
  file:
    description:
      - Name of the drop-in file.
    type: str
    default: kubenode-proxy.conf
seealso:
  - module: kubenode.proxy.preflight_info
  - module: kubenode.proxy.sysctls
  - module: community.general.modprobe
    description: Single modules, with parameters.
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: What IPVS mode needs is loaded
  kubenode.proxy.kernel_modules:
    modules:
      - ip_vs
      - ip_vs_rr
      - any_of: [nf_conntrack_ipv4, nf_conntrack]
      - name: br_netfilter
        required: false

- name: The modules are not loaded at boot any more
  kubenode.proxy.kernel_modules:
    state: absent
"""

RETURN = r"""
operations:
  description: What was changed (in check mode, what would be), with the reason; the first 1000.
  type: list
  elements: dict
  returned: success
  sample:
    - {verb: add, kind: kernel module, name: ip_vs, reason: not loaded}
counts:
  description: Number of operations by verb and kind.
  type: dict
  returned: success
  sample: {"add kernel module": 1}
figures:
  description: Processes started, netlink messages sent, and seconds by phase.
  type: dict
  returned: success
  sample: {"processes": 3, "messages": 0, "seconds": {"read": 0.02, "plan": 0.001, "apply": 0.01}}
kernel:
  description: Release of the running kernel.
  type: str
  returned: success
  sample: 6.1.0-32-amd64
modules:
  description: The modules that were chosen, all of them loaded or built in (in check mode, to be).
  type: list
  elements: str
  returned: success
  sample: [ip_vs, ip_vs_rr, nf_conntrack]
missing:
  description: Optional modules that the kernel does not have, alternatives joined by C(or).
  type: list
  elements: str
  returned: success
  sample: [br_netfilter]
drop_in:
  description: Path of the drop-in file, V(null) where it is left alone.
  type: str
  returned: success
  sample: /etc/modules-load.d/kubenode-proxy.conf
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import kernel_modules, module, remembered


def main() -> None:
    module.run(remembered.remembering(kernel_modules.work, "kernel_modules"), **kernel_modules.OPTIONS)


if __name__ == "__main__":
    main()
