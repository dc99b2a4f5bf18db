#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rule_set
short_description: Compile the kube-proxy rule set of a node, and converge the node to it
version_added: 0.1.0
description:
  - Turns service data into everything that kube-proxy would program on a node. IP sets, iptables chains, IPVS virtual
    servers, the addresses of C(kube-ipvs0), sysctls and IPVS timeouts; flows of UDP services that lead to endpoints
    which are gone are ended.
  - Service data is read and validated on the controller, once for all hosts, and travels to a node as one file, only
    when the node does not have it yet. That of a file never passes through templating.
  - The rule set is compiled on the node, as it depends on the node's addresses, zone and kernel, into a text file that
    people can read.
  - Everything is read, validated and planned before the first write. Only one transaction of nftables, or one table of
    iptables, that is all there is to write is its own test, as it changes all or nothing. Objects that are not
    kube-proxy's are never touched.
  - What another mode left, or kube-proxy itself, is removed after the new rules are in place.
  - Kernel settings that are no longer wanted get back the value that they had before the module first changed them.
extends_documentation_fragment:
  - kubenode.proxy.attributes
  - kubenode.proxy.lock
  - kubenode.proxy.netns
  - kubenode.proxy.backend
  - kubenode.proxy.remember
options:
  services:
    description:
      - Service data inline, for small cases. A list of services in the native form, or Kubernetes objects.
      - Templating makes large data slow; use O(src) for it.
    type: raw
  src:
    description:
      - File with service data on the controller, JSON or YAML, or a directory of such files.
      - A relative path is looked for as M(ansible.builtin.copy) does, beside the playbook.
      - Either the native form, or Service and EndpointSlice objects as C(kubectl get services,endpointslices -A -o
        json) prints them.
      - Without O(services) and O(src), the data that an earlier run left on the node is used.
    type: path
  query:
    description:
      - JMESPath expression that narrows the data of each file, such as V(items[?metadata.namespace=='shop']).
    type: str
  node:
    description:
      - The node, either as a Kubernetes Node object or with the keys C(name), C(addresses), C(pod_cidrs) and C(zone).
      - C(name) is what endpoints name as their node.
      - Required for O(state=validated), O(state=compiled) and O(state=converged).
    type: dict
  configuration:
    description:
      - Proxy configuration by the names of the role's variables without their prefix, such as C(mode), C(version),
        C(cluster_cidrs) or C(scheduler). See the role P(kubenode.proxy.kube_proxy#role).
      - Wins over O(kube_proxy_configuration).
    type: dict
    default: {}
  kube_proxy_configuration:
    description:
      - A C(KubeProxyConfiguration) document. Fields that do not concern rules are ignored.
    type: dict
  state:
    description:
      - V(validated) only looks at the input, on the controller, without a connection to the node. With it first, a play
        finds out what is wrong before it writes anything to a node.
      - V(compiled) only writes the rule set's file.
      - V(converged) also brings the kernel to it.
      - V(absent) removes what this module or kube-proxy put into the kernel, in any mode, and the files on the node.
        Snapshots stay.
      - V(restored) brings kernel and files back to what they were before an earlier run. See O(snapshot).
    type: str
    choices: [validated, compiled, converged, absent, restored]
    default: converged
  path:
    description:
      - Where the compiled rule set goes on the node. By default C(/var/lib/kubenode-proxy/rule_set), or
        C(netns/NAME/rule_set) below that folder where O(netns) is given.
    type: path
  only_owner:
    description:
      - Whether every virtual server of the node belongs to the collection. Those that are not desired are then
        removed, except for firewall marks and addresses inside C(exclude_cidrs) of O(configuration).
      - By default only those are removed that earlier runs made, or that are named by sets of kube-proxy's.
    type: bool
    default: false
  take_over:
    description:
      - Whether to go on where kube-proxy runs, in the same network namespace. It would undo what it does not know of.
      - Without it such a node is only looked at, in check mode.
    type: bool
    default: false
  drain:
    description:
      - Protocols of which a real server that is to go, and has connections, gets the weight 0 first and is removed by
        a later run, once its connections have ended. kube-proxy does so for TCP.
    type: list
    elements: str
    choices: [tcp, udp, sctp]
    default: [tcp]
  snapshots:
    description:
      - How many snapshots the node keeps. Each is what the node held before a run changed it, in
        C(/var/lib/kubenode-proxy/snapshots). V(0) keeps none.
    type: int
    default: 3
  snapshot:
    description:
      - Name of the snapshot for O(state=restored). The newest by default.
    type: str
  checksum:
    description:
      - SHA-1 of the service data that the node should have. Set by the action plugin.
    type: str
  incoming:
    description:
      - File on the node with new service data. Set by the action plugin.
    type: path
seealso:
  - module: kubenode.proxy.ipset_set
  - module: kubenode.proxy.ipvs_service
  - module: kubenode.proxy.kube_chain
  - module: kubenode.proxy.dummy_addresses
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: The node serves what the file says
  kubenode.proxy.rule_set:
    src: files/services.yml
    node:
      name: "{{ inventory_hostname }}"
      addresses: ["{{ ansible_host }}"]
    configuration:
      mode: ipvs
      cluster_cidrs: [10.244.0.0/16]

- name: Nothing of kube-proxy is left
  kubenode.proxy.rule_set:
    state: absent

- name: The node is what it was before the last run that changed it
  kubenode.proxy.rule_set:
    state: restored

- name: One service by hand
  kubenode.proxy.rule_set:
    services:
      - name: web
        cluster_ip: 10.96.0.10
        ports:
          - port: 80
            target_port: 8080
        endpoints: [10.244.1.5, 10.244.2.7]
    node:
      name: node-a

- name: Only the services of one namespace, with the configuration that kube-proxy used
  kubenode.proxy.rule_set:
    src: cluster.json
    query: items[?metadata.namespace=='shop']
    node: "{{ node_object }}"
    kube_proxy_configuration: "{{ lookup('ansible.builtin.file', 'kube-proxy.yml') | from_yaml }}"
"""

RETURN = r"""
operations:
  description: What was changed (in check mode, what would be), with the reason; the first 1000.
  type: list
  elements: dict
  returned: success
  sample:
    - {verb: add, kind: real server, name: "tcp 10.96.0.10:80 -> 10.244.1.5:8080", reason: missing}
counts:
  description: Number of operations by verb and kind.
  type: dict
  returned: success
  sample: {"add member": 3, "add virtual server": 1}
figures:
  description: Processes started, netlink messages sent, and seconds by phase.
  type: dict
  returned: success
  sample: {"processes": 6, "messages": 4, "seconds": {"read": 0.2, "plan": 0.01}}
snapshots:
  description:
    - Names of the snapshots that the node has, the oldest first. A name is the time in UTC, or where the clock was set
      back, what follows the newest name.
  type: list
  elements: str
  returned: success
  sample: [20261121T121500.123456Z]
snapshot:
  description: Name of the snapshot that this run took, null where it took none.
  type: str
  returned: success
  sample: 20261121T121500.123456Z
restored:
  description: Name of the snapshot that was restored.
  type: str
  returned: when O(state=restored)
  sample: 20261121T121500.123456Z
rule_set:
  description: Path of the compiled rule set on the node, null where there is none any more.
  type: str
  returned: unless O(state=restored)
  sample: /var/lib/kubenode-proxy/rule_set
service_ports:
  description: Number of service ports in the service data.
  type: int
  returned: when O(state=compiled) or O(state=converged)
  sample: 42
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import module, remembered, rule_set_module


def main() -> None:
    module.run(remembered.remembering(rule_set_module.work, "rule_set"), **rule_set_module.OPTIONS)


if __name__ == "__main__":
    main()
