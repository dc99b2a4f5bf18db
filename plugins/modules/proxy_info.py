#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_info
short_description: Show what of a service proxy is live on a node
version_added: 0.1.0
description:
  - Shows the IPVS virtual servers with their connections and traffic, IP sets, kube-proxy's chains and its tables of
    nftables, the addresses of the dummy link, and versions of the tools, whoever made them.
  - On request, shows the services of the node's service data, each with its path from the addresses to the endpoints,
    and what it has carried.
  - What a node does not have gives an empty value and a note, not a failure.
extends_documentation_fragment:
  - kubenode.proxy.attributes.info
  - kubenode.proxy.netns
  - kubenode.proxy.backend
options:
  gather:
    description:
      - What to look at. Each costs a process or two, virtual servers a few messages each.
      - V(services) and V(traffic) take a node to which M(kubenode.proxy.rule_set) has brought a rule set.
    type: list
    elements: str
    choices: [virtual_servers, sets, chains, nftables, addresses, versions, services, traffic]
    default: [virtual_servers, sets, chains, nftables, addresses, versions]
  members:
    description:
      - Whether the members of sets are listed, and not only counted.
    type: bool
    default: false
  rules:
    description:
      - Whether the rules of chains are listed, and not only counted.
    type: bool
    default: false
  link:
    description:
      - Name of the dummy link.
    type: str
    default: kube-ipvs0
notes:
  - Reading the kernel's network configuration needs C(CAP_NET_ADMIN).
seealso:
  - module: kubenode.proxy.preflight_info
  - module: kubenode.proxy.ipvs_service
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: Look at the node
  kubenode.proxy.proxy_info:
  register: live

- name: Every virtual server has a real server
  ansible.builtin.assert:
    that: live.virtual_servers | selectattr('real_servers', 'equalto', []) | length == 0

- name: Look at sets and their members only
  kubenode.proxy.proxy_info:
    gather: [sets]
    members: true

- name: See which way the traffic of each service goes
  kubenode.proxy.proxy_info:
    gather: [services, traffic]
"""

RETURN = r"""
virtual_servers:
  description: The IPVS virtual servers.
  type: list
  elements: dict
  returned: when V(virtual_servers) is in O(gather)
  contains:
    name:
      description:
        - Protocol, address and port, or firewall mark, as operations of M(kubenode.proxy.ipvs_service) name it.
      type: str
      sample: tcp 10.96.0.10:80
    family:
      description: Address family, V(ipv4) or V(ipv6).
      type: str
    protocol:
      description: Protocol; not there for a firewall mark.
      type: str
    address:
      description: Address; not there for a firewall mark.
      type: str
    port:
      description: Port; not there for a firewall mark.
      type: int
    fwmark:
      description: Firewall mark; only there for one.
      type: int
    scheduler:
      description: Scheduler.
      type: str
    scheduler_flags:
      description: Flags of the scheduler.
      type: list
      elements: str
    one_packet:
      description: Whether each packet is scheduled by itself.
      type: bool
    persistence_timeout:
      description: For how many seconds clients stay with a real server, V(0) for not at all.
      type: int
    persistence_netmask:
      description: Prefix length by which clients count as one, V(null) for single addresses.
      type: int
    persistence_engine:
      description: What tells clients apart instead of their address.
      type: str
    recorded:
      description: Whether a rule set of this collection made it.
      type: bool
    traffic:
      description:
        - Connections, packets and bytes so far, and rates per second. The kernel refreshes rates every two seconds.
      type: dict
      sample: &traffic
        connections: 12
        incoming_packets: 140
        outgoing_packets: 120
        incoming_bytes: 9012
        outgoing_bytes: 81200
        connection_rate: 1
        incoming_packet_rate: 9
        outgoing_packet_rate: 8
        incoming_byte_rate: 512
        outgoing_byte_rate: 4096
    real_servers:
      description: The real servers, in the order in which they were added.
      type: list
      elements: dict
      sample:
        - address: 10.244.1.5
          port: 8080
          forwarding: masquerade
          weight: 1
          upper_threshold: 0
          lower_threshold: 0
          tunnel: null
          active_connections: 2
          inactive_connections: 0
          persistent_connections: 0
          traffic: *traffic
sets:
  description: The IP sets. C(own) tells whether the name is one of kube-proxy's.
  type: list
  elements: dict
  returned: when V(sets) is in O(gather)
  sample:
    - {name: KUBE-CLUSTER-IP, type: "hash:ip,port", family: inet, own: true, member_count: 12}
chains:
  description: The chains of iptables that are kube-proxy's by their names.
  type: list
  elements: dict
  returned: when V(chains) is in O(gather)
  sample:
    - {family: ipv4, table: nat, name: KUBE-SERVICES, rule_count: 6}
nftables:
  description: The tables of nftables that are kube-proxy's by their names.
  type: list
  elements: dict
  returned: when V(nftables) is in O(gather)
  sample:
    - name: ip kube-proxy
      chain_count: 24
      rule_count: 31
      sets: [{name: service-ips, kind: map, element_count: 12}]
addresses:
  description: Addresses of the dummy link.
  type: list
  elements: str
  returned: when V(addresses) is in O(gather)
  sample: [10.96.0.10/32]
versions:
  description:
    - Versions of the tools and of IPVS in the kernel, V(null) for what is not there, and the back end of C(iptables).
  type: dict
  returned: when V(versions) is in O(gather)
  sample: {iptables: 1.8.9, iptables_backend: nft, ipset: "7.17", nft: 1.0.6, ipvs: 1.2.1}
services:
  description: The service ports of the node's service data, in the order of family, namespace, name and port.
  type: list
  elements: dict
  returned: when V(services) is in O(gather)
  contains:
    name:
      description: Namespace, name and name of the port.
      type: str
      sample: "default/web:http"
    protocol:
      description: Protocol.
      type: str
    family:
      description: Address family, V(ipv4) or V(ipv6).
      type: str
    addresses:
      description: Where clients find it. A node port has the address V(*:30080), whatever the node's addresses are.
      type: list
      elements: dict
      sample: [{kind: cluster IP, address: "10.96.0.10:80"}]
    path:
      description:
        - The steps from the addresses to the endpoints, through virtual servers or chains, as the last run brought them
          to the node and as the kernel has them.
        - The C(status) of a step is V(live), V(missing), V(extra), or V(changed) where the C(label) differs. The label
          is a share, a weight, a scheduler, or empty.
        - A path may also end at V(refused) or V(dropped).
      type: list
      elements: dict
      sample:
        - {from: "10.96.0.10:80", to: KUBE-SVC-ERIFXISQEP7F7OF4, label: "", status: live}
traffic:
  description:
    - What service ports have carried since their objects came into being. The figures start from 0 again when a run, or
      anything else, makes these anew.
    - In iptables mode only connections are counted, in nftables mode nothing is.
  type: dict
  returned: when V(traffic) is in O(gather)
  contains:
    uptime:
      description: Seconds from the start of the node to the reading.
      type: float
    services:
      description: Figures by service port. C(active_connections) is the number at present.
      type: list
      elements: dict
      sample:
        - name: "default/web:http"
          protocol: tcp
          family: ipv4
          connections: 12
          incoming_bytes: 9012
          outgoing_bytes: 81200
          active_connections: 2
kernel:
  description: Release of the running kernel.
  type: str
  returned: success
  sample: 6.1.0-32-amd64
snapshots:
  description: Names of the node's snapshots, the oldest first.
  type: list
  elements: str
  returned: success
  sample: [20261121T121500.123456Z]
mode:
  description: Mode that the last run brought the node to, V(null) where there was none.
  type: str
  returned: success
  sample: ipvs
kube_proxy_running:
  description: Whether a process called C(kube-proxy) runs on the node. One that is part of another program is not seen.
  type: bool
  returned: success
  sample: false
notes:
  description: What could not be looked at, and why.
  type: list
  elements: str
  returned: success
  sample: ["addresses: there is no link kube-ipvs0"]
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import module, proxy_info


def main() -> None:
    module.run(proxy_info.work, **proxy_info.OPTIONS)


if __name__ == "__main__":
    main()
