# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The module probe_info."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..kernel import probe
from ..model.errors import InputError
from ..state.ipvs import endpoint
from . import service_data
from .compiled import read_settings
from .module import NETNS
from .node import access
from .rule_set import default_path

if TYPE_CHECKING:
    from ..model.service import ServicePort
    from .module import Call

ARGUMENT_SPEC: dict[str, Any] = {
    "limit": {"type": "int", "default": 1000},
    "timeout": {"type": "float", "default": 2},
    **NETNS,
}
OPTIONS: dict[str, Any] = {"argument_spec": ARGUMENT_SPEC}


def work(module: Call) -> dict[str, Any]:
    """Connects to the services of the node's service data."""
    limit, timeout = module.params["limit"], module.params["timeout"]
    if limit < 1 or timeout <= 0:
        raise InputError([f"limit, timeout: {limit} and {timeout:g} have to be above 0"])
    here = access(module)
    data = service_data.counting_in(here.folder, read_settings(default_path(here)))
    candidates = [port for port in data.service_ports if _can_answer(port)] if data else []
    probed = candidates[:limit]
    answers = probe.connect([(port.cluster_ip, port.port) for port in probed], timeout)
    reasons = {_name(port): answers[port.cluster_ip, port.port] for port in probed}
    return {
        "changed": False,
        "service_data": data is not None,
        "answering": [name for name, reason in reasons.items() if not reason],
        "silent": [{"name": name, "reason": reason} for name, reason in reasons.items() if reason],
        "left_out": len(candidates) - len(probed),
    }


def _can_answer(port: ServicePort) -> bool:
    """Whether the service data promises an answer: TCP, and an endpoint that serves."""
    return port.protocol == "tcp" and any(endpoint.serving for endpoint in port.endpoints)


def _name(port: ServicePort) -> str:
    return f"{port} {endpoint(port.cluster_ip, port.port)}"
