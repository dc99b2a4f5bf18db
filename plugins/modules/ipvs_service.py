#!/usr/bin/python

# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_service
short_description: Manage IPVS virtual servers and their real servers
version_added: 0.1.0
description:
  - Brings any number of IPVS virtual servers, with their real servers, to exactly what is asked for, with one read and
    few writes.
  - Speaks to the kernel itself. Neither C(ipvsadm) nor keepalived is needed, and nothing is restarted.
  - All arguments are checked, and all changes planned, before the first write. A virtual server changes in place,
    without losing connections.
  - Virtual servers that a task does not name are left alone, unless O(only_owner=true).
extends_documentation_fragment:
  - kubenode.proxy.attributes
  - kubenode.proxy.lock
  - kubenode.proxy.netns
  - kubenode.proxy.compiled
options:
  protocol: &protocol
    description:
      - Protocol of the virtual server. Without effect on a firewall mark.
    type: str
    choices: [tcp, udp, sctp]
    default: tcp
  address: &address
    description:
      - Address of the virtual server.
    type: str
  port: &port
    description:
      - Port of the virtual server. Required with O(address).
      - V(0) stands for all ports, and needs O(persistence_timeout).
    type: int
  fwmark: &fwmark
    description:
      - Firewall mark of the packets that the virtual server takes. Instead of O(address) and O(port).
    type: int
  family: &family
    description:
      - Address family of a firewall mark.
    type: str
    choices: [ipv4, ipv6]
    default: ipv4
  scheduler: &scheduler
    description:
      - Scheduler, such as V(rr), V(wrr), V(lc), V(wlc), V(sh) or V(mh). Its kernel module C(ip_vs_NAME) is loaded on
        demand.
    type: str
    default: rr
  scheduler_flags: &scheduler_flags
    description:
      - Flags of the scheduler. Those that start with V(sh-) and V(mh-) go with the scheduler of that name.
    type: list
    elements: str
    choices: [flag-1, flag-2, flag-3, sh-fallback, sh-port, mh-fallback, mh-port]
    default: []
  one_packet: &one_packet
    description:
      - Whether each packet is scheduled by itself. For UDP and firewall marks.
    type: bool
    default: false
  persistence_timeout: &persistence_timeout
    description:
      - For how many seconds a client stays with its real server. V(0) is for a virtual server that is not persistent.
    type: int
    default: 0
  persistence_netmask: &persistence_netmask
    description:
      - Prefix length by which clients count as one. By default each address is a client of its own.
    type: int
  persistence_engine: &persistence_engine
    description:
      - What tells clients apart instead of their address, such as V(sip).
    type: str
  real_servers: &real_servers
    description:
      - The real servers.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description:
          - Address of the real server. With V(masquerade) and V(route) its family is that of the virtual server.
        type: str
        required: true
      port:
        description:
          - Port of the real server, by default that of the virtual server. With V(route) and V(tunnel) the kernel does
            not change it.
        type: int
      weight:
        description:
          - Share of new connections, C(0) to C(65535). V(0) takes no new connections and keeps those that are there.
        type: int
        default: 1
      forwarding:
        description:
          - V(masquerade) translates addresses, V(route) sends the packet on as it is, V(tunnel) wraps it into another.
        type: str
        choices: [masquerade, route, tunnel]
        default: masquerade
      upper_threshold:
        description:
          - Number of connections from which on the real server gets no new ones, V(0) for no limit.
        type: int
        default: 0
      lower_threshold:
        description:
          - Number of connections below which an overloaded real server gets new ones again. V(0) leaves that to the
            kernel.
        type: int
        default: 0
      tunnel:
        description:
          - How V(tunnel) wraps packets.
        type: dict
        suboptions:
          type:
            description: Kind of the tunnel. Kernels before 5.2 know V(ipip) only.
            type: str
            choices: [ipip, gue, gre]
            default: ipip
          port:
            description: UDP port on which the real server takes packets of the kind V(gue).
            type: int
          checksum:
            description: Checksums in the outer packet. V(remcsum) is for V(gue).
            type: str
            choices: [nocsum, csum, remcsum]
            default: nocsum
  state: &state
    description:
      - Whether the virtual server is there. One that goes takes its real servers with it at once, and is not drained.
    type: str
    choices: [present, absent]
    default: present
  services:
    description:
      - Any number of virtual servers, each with the options above. Instead of O(address) or O(fwmark).
    type: list
    elements: dict
    suboptions:
      protocol: *protocol
      address: *address
      port: *port
      fwmark: *fwmark
      family: *family
      scheduler: *scheduler
      scheduler_flags: *scheduler_flags
      one_packet: *one_packet
      persistence_timeout: *persistence_timeout
      persistence_netmask: *persistence_netmask
      persistence_engine: *persistence_engine
      real_servers: *real_servers
      state: *state
  real_servers_policy:
    description:
      - V(exact) removes real servers that are not in O(real_servers).
      - V(merge) leaves them.
    type: str
    choices: [exact, merge]
    default: exact
  drain:
    description:
      - Protocols of which a real server that is to go, and has connections, gets the weight 0 first and is removed by a
        later run, once its connections have ended. Until then it is in RV(draining).
      - A firewall mark counts as V(tcp).
    type: list
    elements: str
    choices: [tcp, udp, sctp]
    default: [tcp]
  only_owner:
    description:
      - Whether all virtual servers that the task does not name are removed. With O(rule_set), firewall marks are left
        alone.
      - An empty list of O(services) then removes all.
      - By default, O(rule_set) removes those that earlier runs of a rule set made, and nothing else does.
    type: bool
    default: false
  reset_counters:
    description:
      - Whether the counters of the virtual servers of the task, and of their real servers, are set to zero. Where it
        names none, those of all that rule sets made on the node.
      - This is an action. It counts as a change only where a counter is not zero. The kernel adds up its counters every
        two seconds, so that packets from just before the task may be counted after it.
    type: bool
    default: false
seealso:
  - module: kubenode.proxy.rule_set
  - module: kubenode.proxy.proxy_info
  - module: kubenode.proxy.dummy_addresses
  - module: kubenode.proxy.kernel_modules
author:
  - kubenode.proxy contributors (@kubenode)
"""

EXAMPLES = r"""
- name: A virtual server has two real servers
  kubenode.proxy.ipvs_service:
    address: 10.96.0.10
    port: 80
    scheduler: wrr
    real_servers:
      - address: 10.244.1.5
        port: 8080
        weight: 3
      - address: 10.244.2.7
        port: 8080

- name: Clients stay with their real server for an hour
  kubenode.proxy.ipvs_service:
    address: 2001:db8::10
    port: 443
    scheduler: mh
    scheduler_flags: [mh-port]
    persistence_timeout: 3600
    persistence_netmask: 64
    real_servers:
      - address: 2001:db8:1::5

- name: These are all virtual servers of the node
  kubenode.proxy.ipvs_service:
    services:
      - protocol: udp
        address: 10.96.0.53
        port: 53
        one_packet: true
        real_servers:
          - address: 10.244.1.6
      - fwmark: 7
        scheduler: lc
        real_servers:
          - address: 192.0.2.21
            forwarding: route
          - address: 192.0.2.22
            forwarding: tunnel
            tunnel:
              type: gue
              port: 6080
    only_owner: true

- name: The virtual servers of the compiled rule set are there
  kubenode.proxy.ipvs_service:
    rule_set: /var/lib/kubenode-proxy/rule_set

- name: Counters start from zero
  kubenode.proxy.ipvs_service:
    reset_counters: true
"""

RETURN = r"""
operations:
  description: What was changed (in check mode, what would be), with the reason; the first 1000.
  type: list
  elements: dict
  returned: success
  sample:
    - {verb: change, kind: real server, name: "tcp 10.96.0.10:80 -> 10.244.1.5:8080", reason: "weight is 1, not 3"}
counts:
  description: Number of operations by verb and kind.
  type: dict
  returned: success
  sample: {"change real server": 1}
figures:
  description: Processes started, netlink messages sent, and seconds by phase.
  type: dict
  returned: success
  sample: {"processes": 3, "messages": 0, "seconds": {"read": 0.02, "plan": 0.001, "apply": 0.01}}
draining:
  description:
    - Real servers that are to go and wait, with the weight 0, for their connections to end. A later run removes them.
  type: list
  elements: dict
  returned: success
  contains:
    virtual_server:
      description: The virtual server.
      type: str
    real_server:
      description: The real server.
      type: str
    connections:
      description: Active and inactive connections.
      type: int
  sample:
    - {virtual_server: "tcp 10.96.0.10:80", real_server: "10.244.1.5:8080", connections: 3}
"""

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import ipvs_service, module


def main() -> None:
    module.run(ipvs_service.work, **ipvs_service.OPTIONS)


if __name__ == "__main__":
    main()
