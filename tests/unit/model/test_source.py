# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service data in whichever form it comes."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import kubernetes, native, source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError

NATIVE = {"name": "web", "cluster_ip": "10.96.0.1", "ports": [{"port": 80}], "endpoints": ["10.244.1.5"]}
SERVICE = {"kind": "Service", "metadata": {"name": "api"}, "spec": {"clusterIP": "10.96.0.2", "ports": [{"port": 80}]}}
SLICE = {
    "kind": "EndpointSlice",
    "metadata": {"labels": {"kubernetes.io/service-name": "api"}, "name": "api-1"},
    "endpoints": [{"addresses": ["10.244.1.6"]}],
    "ports": [{"port": 80}],
}
OBJECTS = {"kind": "List", "items": [SERVICE, SLICE]}


@pytest.mark.parametrize("document", [[NATIVE], {"services": [NATIVE]}, [{"services": [NATIVE]}], [[NATIVE]]])
def test_native(document: object) -> None:
    assert source.parse(document) == native.parse([NATIVE])


@pytest.mark.parametrize("document", [OBJECTS, [OBJECTS], [SERVICE, SLICE], [SLICE, None, [SERVICE]]])
def test_kubernetes(document: object) -> None:
    assert source.parse(document) == kubernetes.parse(OBJECTS)


@pytest.mark.parametrize("document", [[SLICE, {"services": [NATIVE]}, SERVICE], [[NATIVE], OBJECTS]])
def test_both_together(document: object) -> None:
    assert [str(port) for port in source.parse(document).service_ports] == ["default/api", "default/web"]
    assert all(len(port.endpoints) == 1 for port in source.parse(document).service_ports)


@pytest.mark.parametrize("document", [[], {"services": []}, {"kind": "List", "items": []}])
def test_no_services_at_all_is_possible(document: object) -> None:
    assert source.parse(document).service_ports == ()


EXPECTED = "expected a list of services, a mapping with the key 'services', or Kubernetes objects, not"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (None, f"{EXPECTED} null"),
        ("web", f"{EXPECTED} 'web'"),
        (7, f"{EXPECTED} 7"),
        ({}, f"{EXPECTED} a mapping with no keys"),
        ({"node": {}, "config": {}, "objects": []}, f"{EXPECTED} a mapping with 'config', 'node', 'objects'"),
        ([SERVICE, {"nam": "x"}], f"objects[1]: {EXPECTED} a mapping with 'nam'"),
        ({"services": [], "service": 1}, "service: unknown key (did you mean 'services'?)"),
        ([{"nam": "x", "ports": []}], "services[0].nam: unknown key (did you mean 'name'?)"),
        ([SERVICE, {"services": [7]}], "objects[1].services[0]: must be a mapping, not 7"),
    ],
)
def test_anything_else_is_refused(document: object, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        source.parse(document)
    assert caught.value.problems[0] == problem


def test_endpoints_are_no_endpoint_slices() -> None:
    web = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}}
    endpoints = {"kind": "Endpoints", "metadata": {"name": "web"}, "subsets": []}
    with pytest.raises(InputError) as caught:
        source.parse({"kind": "List", "items": [web, endpoints, endpoints]})
    assert caught.value.problems == [
        "items[1].kind: is not what kube-proxy reads: give EndpointSlices (endpointslices) instead"
    ]
    source.parse({"kind": "List", "items": [web, endpoints, {"kind": "EndpointSlice", "metadata": {"name": "web-1"}}]})


def test_files_are_one_whole_and_problems_name_the_file() -> None:
    data = source.parse_files(
        {"services.json": {"kind": "List", "items": [SERVICE]}, "slices.json": SLICE, "mine.yml": [NATIVE]}
    )
    assert [len(port.endpoints) for port in data.service_ports] == [1, 1]
    with pytest.raises(InputError) as caught:
        source.parse_files(
            {"a.yml": [{**NATIVE, "nme": 1}], "b.yml": {"services": [NATIVE]}, "c.yml": {"kind": "Service"}}
        )
    assert caught.value.problems == [
        "a.yml[0].nme: unknown key (did you mean 'name'?)",
        "c.yml.metadata.name: is required",
        "b.yml.services[0]: service default/web is already at a.yml[0]",
    ]
