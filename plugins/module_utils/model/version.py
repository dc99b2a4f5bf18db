# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What differs between the kube-proxy versions whose rules the collection writes. The one place that knows."""

from __future__ import annotations

from typing import NamedTuple


class Version(NamedTuple):
    """One kube-proxy version (data-plane 3.1).

    ``topology_needs_annotation``: zone hints count only on services with the topology annotation (until 1.30).
    ``node_hints``: hints.forNodes count (from 1.33, on by default from 1.34).
    ``local_duplicate_wins``: of endpoints with one ip:port the last on this node counts (until 1.35), else the last
    one not terminating; where there is none, the first of all.
    ``conntrack_cap``: the most entries of connection tracking that the number of processors may ask for (from 1.36),
    None for no limit.
    ``primary_node_ports``: the node port addresses may be ``primary`` (from 1.31).
    ``zero_cidr_is_any``: a source range 0.0.0.0/0 or ::/0 means no source ranges (from 1.34).
    ``accounting``: iptables mode counts some packets through nfacct objects, where the kernel has them (from 1.31).
    ``labels_apart``: Services are left out by the label service-proxy-name, EndpointSlices by the label headless (from
    1.36), until then both by each of the two.
    ``nftables``: the collection writes this version's tables of nftables mode.
    """

    topology_needs_annotation: bool
    node_hints: bool
    local_duplicate_wins: bool
    conntrack_cap: int | None
    primary_node_ports: bool
    zero_cidr_is_any: bool
    accounting: bool
    labels_apart: bool
    nftables: bool


VERSIONS = {
    "1.30": Version(
        topology_needs_annotation=True,
        node_hints=False,
        local_duplicate_wins=True,
        conntrack_cap=None,
        primary_node_ports=False,
        zero_cidr_is_any=False,
        accounting=False,
        labels_apart=False,
        nftables=False,
    ),
    "1.36": Version(
        topology_needs_annotation=False,
        node_hints=True,
        local_duplicate_wins=False,
        conntrack_cap=1048576,
        primary_node_ports=True,
        zero_cidr_is_any=True,
        accounting=True,
        labels_apart=True,
        nftables=True,
    ),
}
DEFAULT_VERSION = "1.36"
