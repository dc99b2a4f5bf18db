# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which real servers of an IPVS virtual server get a new connection, and how often."""

from __future__ import annotations

from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import RealServer, RealServerKey, VirtualServer

from .rule import UnknownFormError

EVEN = {"rr", "lc"}
BY_WEIGHT = {"wrr", "wlc", "sh", "mh", "sed"}


def shares(server: VirtualServer, seen: str = "") -> dict[RealServerKey, float]:
    """Real server -> its share of connections over many clients. Empty where none can take one.

    ``seen`` is the real server that a persistent client has a template for. Raises UnknownFormError.
    """
    unknown = [real for real in server.real_servers.values() if real != RealServer(weight=real.weight)]
    if unknown or server.netmask or server.persistence_engine or "one-packet" in server.flags:
        raise UnknownFormError(f"virtual server {server}")
    weights = {key: real.weight for key, real in server.real_servers.items() if real.weight > 0}
    if server.timeout:
        weights = {key: weight for key, weight in weights.items() if str(key) == seen} or weights
    if server.scheduler in EVEN:
        weights = dict.fromkeys(weights, 1)
    elif server.scheduler not in BY_WEIGHT:
        raise UnknownFormError(f"scheduler {server.scheduler}")
    return {key: weight / sum(weights.values()) for key, weight in weights.items()}
