# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The canonical file: service data as it travels from the controller to a node.

JSON, one service port per line, fields with their default value left out. The same data always gives the same text.
The networks of ServiceCIDR objects, where there are any, are in the first line.
"""

from __future__ import annotations

import json
from typing import Any

from .errors import InputError
from .service import Endpoint, ServiceData, ServicePort

FORMAT = 1
_START, _END_OF_HEAD = f'{{"format":{FORMAT},', '"service_ports":[\n'
HEAD = _START + _END_OF_HEAD
TAIL = "\n]}\n"
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_DECODER = json.JSONDecoder()
_BETWEEN = ",\n"
_TUPLES = ("external_ips", "load_balancer_ips", "source_ranges", "scheduler_flags")
_SERVICE_PORT_DEFAULTS = tuple(ServicePort._field_defaults.get(name) for name in ServicePort._fields)
_ENDPOINT_DEFAULTS = tuple(Endpoint._field_defaults.get(name) for name in Endpoint._fields)


def dump(data: ServiceData) -> str:
    """Service data -> text of the canonical file."""
    lines = _BETWEEN.join([_ENCODER.encode(_service_port_fields(port)) for port in data.service_ports])
    cidrs = f'"service_cidrs":{_ENCODER.encode(data.service_cidrs)},' if data.service_cidrs else ""
    return _START + cidrs + _END_OF_HEAD + lines + TAIL


def head_of(text: str) -> str:
    """The first line of a file as :func:`dump` writes it, "" of any other."""
    head = text[: text.find("\n") + 1]
    return head if head.startswith(_START) and head.endswith(_END_OF_HEAD) and text.endswith(TAIL) else ""


def load(text: str) -> ServiceData:
    """Text of the canonical file -> service data. The content is trusted: it has been checked when it was written.

    Raises InputError where it is no canonical file, or one of another format.
    """
    try:
        found = _one_by_one(text)
        document = _document(text if found is None else head_of(text) + TAIL)
        if found is None:
            found = [_service_port(fields) for fields in document["service_ports"]]
        return ServiceData(tuple(found), service_cidrs=tuple(document.get("service_cidrs", ())))
    except InputError:
        raise
    except ValueError as error:
        raise InputError([f"not a canonical service data file: {error}"]) from error
    except (KeyError, TypeError) as error:
        raise InputError([f"damaged canonical service data file: {error}"]) from error


def _one_by_one(text: str) -> list[ServicePort] | None:
    """The service ports of a file as :func:`dump` writes it, None for any other.

    What JSON makes of one is free again for the next: new memory takes longer than the parsing.
    """
    at, tail = len(head_of(text)), len(text) - len(TAIL)
    if not at or text[at] != "{":
        return None
    found: list[ServicePort] = []
    while True:
        try:
            fields, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError:
            return None
        found.append(_service_port(fields))
        if end == tail:
            return found
        if not text.startswith(_BETWEEN, end):
            return None
        at = end + len(_BETWEEN)


def _document(text: str) -> dict[str, Any]:
    """The file as JSON has it. Raises ValueError."""
    document = json.loads(text)
    if not isinstance(document, dict) or "format" not in document:
        raise InputError(["not a canonical service data file: it has no format number"])
    if document["format"] != FORMAT:
        raise InputError([f"canonical service data of format {document['format']}, this collection reads {FORMAT}"])
    return document


def _service_port_fields(port: ServicePort) -> dict[str, object]:
    fields: dict[str, object] = {
        name: value
        for name, value, default in zip(ServicePort._fields, port, _SERVICE_PORT_DEFAULTS)
        if value != default
    }
    if port.endpoints:
        fields["endpoints"] = [_endpoint_fields(endpoint) for endpoint in port.endpoints]
    return fields


def _endpoint_fields(endpoint: Endpoint) -> dict[str, object]:
    return {
        name: value for name, value, default in zip(Endpoint._fields, endpoint, _ENDPOINT_DEFAULTS) if value != default
    }


def _service_port(fields: dict[str, Any]) -> ServicePort:
    for name in _TUPLES:
        if name in fields:
            fields[name] = tuple(fields[name])
    if "endpoints" in fields:
        fields["endpoints"] = tuple([_endpoint(endpoint) for endpoint in fields["endpoints"]])
    return ServicePort(**fields)


def _endpoint(fields: dict[str, Any]) -> Endpoint:
    for name in ("zones", "nodes"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return Endpoint(**fields)
