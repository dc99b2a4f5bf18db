#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe_info
short_description: Tell which services answer on a node
version_added: 0.1.0
description:
  - Opens a TCP connection from the node to the cluster IP of each service of the service data that lies on the node,
    and hangs up. So the rules, the virtual servers and the way to the endpoints are seen to work.
  - Services without an endpoint that serves, and those of other protocols, are passed over.
  - Compare what answers before and after a change; an endpoint that is down is silent both times.
extends_documentation_fragment:
  - kubenode.proxy.attributes.info
  - kubenode.proxy.netns
options:
  limit:
    description:
      - How many service ports to try at most, in the order of the service data.
    type: int
    default: 1000
  timeout:
    description:
      - How many seconds to wait for an answer. 256 connections are tried at a time.
    type: float
    default: 2
seealso:
  - module: kubenode.proxy.proxy_info
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: Look who answers
  kubenode.proxy.probe_info:
  register: probe

- name: All services answer
  ansible.builtin.assert:
    that: not probe.silent
    fail_msg: "{{ probe.silent | map(attribute='name') | join(', ') }}"
"""

RETURN = r"""
service_data:
  description: Whether there is service data on the node. Without it nothing is tried.
  type: bool
  returned: success
  sample: true
answering:
  description: Service ports that answered, with cluster IP and port.
  type: list
  elements: str
  returned: success
  sample: ["shop/web:http 10.96.0.10:80"]
silent:
  description: Service ports that did not, and why.
  type: list
  elements: dict
  returned: success
  sample:
    - {name: "shop/api 10.96.0.11:443", reason: Connection refused}
left_out:
  description: Number of service ports above O(limit).
  type: int
  returned: success
  sample: 0
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import module, probe_info


def main() -> None:
    module.run(probe_info.work, **probe_info.OPTIONS)


if __name__ == "__main__":
    main()
