# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The canonical file gives back exactly what was written, always in the same words."""

from __future__ import annotations

import sys
import time

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import Endpoint, ServiceData, ServicePort
from hypothesis import given
from hypothesis import strategies as st

words = st.text(max_size=6)
numbers = st.integers(0, 65535)
tuples = st.lists(words, max_size=3).map(tuple)
endpoint_values = st.builds(
    Endpoint, words, numbers, words, *[st.booleans()] * 3, tuples, tuples, numbers, st.booleans()
)
service_ports = st.builds(
    ServicePort,
    *(words, words, words, words, words, words, numbers, numbers, tuples, tuples, tuples, numbers),
    *(st.booleans(), st.booleans(), numbers, words, words, tuples, st.booleans()),
    st.lists(endpoint_values, max_size=3).map(tuple),
)


@given(st.lists(service_ports, max_size=4).map(ServiceData.of), tuples)
def test_round_trip(data: ServiceData, service_cidrs: tuple[str, ...]) -> None:
    data = data._replace(service_cidrs=service_cidrs)
    text = canonical.dump(data)
    loaded = canonical.load(text)
    assert loaded == data
    assert canonical.dump(loaded) == text
    assert {type(value) for port in loaded.service_ports for value in port} <= {str, int, bool, tuple}


def test_one_service_port_per_line_without_defaults() -> None:
    web = ServicePort("default", "web", "", "tcp", "ipv4", "10.96.0.1", 80)
    api = web._replace(
        name="api", endpoints=(Endpoint("10.244.1.5", 8080, "node-a"), Endpoint("10.244.1.6", 80, weight=0))
    )
    assert canonical.dump(ServiceData.of([web, api])) == (
        '{"format":1,"service_ports":[\n'
        '{"namespace":"default","name":"api","port_name":"","protocol":"tcp","family":"ipv4","cluster_ip":"10.96.0.1",'
        '"port":80,"endpoints":[{"ip":"10.244.1.5","port":8080,"node":"node-a"},'
        '{"ip":"10.244.1.6","port":80,"weight":0}]},\n'
        '{"namespace":"default","name":"web","port_name":"","protocol":"tcp","family":"ipv4","cluster_ip":"10.96.0.1",'
        '"port":80}\n'
        "]}\n"
    )


WEB = (
    '{"namespace":"default","name":"web","port_name":"","protocol":"tcp","family":"ipv4","cluster_ip":"10.96.0.1",'
    '"port":80}'
)
PLACE = f"line 2 column {len(WEB) + 1} (char {len(canonical.HEAD) + len(WEB)})"
NO_JSON = "not a canonical service data file: Expecting ',' "


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a canonical service data file: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "not a canonical service data file: it has no format number"),
        ("{}", "not a canonical service data file: it has no format number"),
        ('{"format": 2}', "canonical service data of format 2, this collection reads 1"),
        (
            canonical.HEAD + '{"',
            "not a canonical service data file: Unterminated string starting at: line 2 column 2 (char 31)",
        ),
        (canonical.HEAD + WEB, f"{NO_JSON}delimiter: {PLACE}"),
        (canonical.HEAD + WEB + WEB + canonical.TAIL, f"{NO_JSON}delimiter: {PLACE}"),
        ('{"format": 1}', "damaged canonical service data file: 'service_ports'"),
        ('{"format": 1, "service_ports": 7}', "damaged canonical service data file: 'int' object is not iterable"),
    ],
)
def test_what_is_no_canonical_file(text: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        canonical.load(text)
    assert caught.value.problems == [problem]


def test_a_file_in_another_layout_is_read_too() -> None:
    port = ServicePort("default", "web", "", "tcp", "ipv4", "10.96.0.1", 80)
    expected = ServiceData((port, port))
    assert canonical.load(canonical.HEAD + f"{WEB} , \n\n {WEB}" + " ] }") == expected
    assert canonical.load(f'{{"service_ports": [{WEB}, {WEB}], "format": 1}}') == expected
    for between in (",", ", \n", ",\n\n"):
        assert canonical.load(canonical.HEAD + WEB + between + WEB + canonical.TAIL) == expected
    assert canonical.load(canonical.HEAD + WEB + '],"of":"somebody"}') == ServiceData((port,))
    assert canonical.load(canonical.HEAD + canonical.TAIL) == ServiceData(())


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python reads numbers of any length")
@pytest.mark.parametrize("tail", [canonical.TAIL, "]}"])
def test_a_number_without_end_is_an_error_of_the_file(tail: str) -> None:
    text = canonical.HEAD + WEB.replace("80}", "8" * 5000 + "}") + tail
    with pytest.raises(InputError, match=r"^not a canonical service data file: Exceeds the limit"):
        canonical.load(text)


def test_ten_thousand_services_load_fast() -> None:
    endpoints = tuple(Endpoint(f"10.244.1.{i}", 8080, "node-a") for i in range(10))
    data = ServiceData(
        tuple(
            ServicePort("default", f"web-{i}", "", "tcp", "ipv4", "10.96.0.1", 80, endpoints=endpoints)
            for i in range(10000)
        )
    )
    text = canonical.dump(data)
    start = time.process_time()
    canonical.load(text)
    # Takes 0.4 s; the bound only catches a change of order.
    assert time.process_time() - start < 4
