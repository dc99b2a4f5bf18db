# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where attributes lie is learned from one message, and holds for no message that is laid out otherwise."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import attribute_reader
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.attribute_reader import AttributeReader
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.netlink import attribute, attributes
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER, OWNER = b"\1\1\0\0", 2
FORMATS = {1: "", 2: "H", 3: "I", 4: "i", 5: "I4x", 6: "16s"}
SIZES = {kind: struct.calcsize(f"={form}") for kind, form in FORMATS.items() if form}


def values(kind: int) -> st.SearchStrategy[bytes]:
    """Of the right size where there is one, and such that may look like an attribute's header."""
    words = st.lists(st.sampled_from([b"\6\0\2\0", b"\x08\0\3\0", b"\0" * 4, b"\xff" * 4]), max_size=5)
    size = SIZES.get(kind)
    return words.map(b"".join) if size is None else st.binary(min_size=size, max_size=size)


ATTRIBUTES = st.lists(st.integers(1, 8).flatmap(lambda kind: st.tuples(st.just(kind), values(kind))), max_size=8)


def message(*found: tuple[int, bytes], behind: bytes = b"") -> bytes:
    return HEADER + attribute(OWNER, b"".join(attribute(kind, value) for kind, value in found)) + behind


def told(body: bytes) -> tuple[Any, ...]:
    """By a reader that has learned nothing."""
    return AttributeReader(OWNER, FORMATS).read(body)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What was taken apart attribute by attribute, twice for each message."""
    taken: list[bytes] = []

    def spy(data: bytes, offset: int = 0) -> dict[int, bytes]:
        taken.append(data)
        return attributes(data, offset)

    monkeypatch.setattr(attribute_reader, "attributes", spy)
    yield taken


def test_values_by_their_formats() -> None:
    body = message((2, struct.pack("=H", 7)), (4, struct.pack("=i", -7)), (5, struct.pack("=II", 8, 9)), (1, b"rr\0"))
    assert told(body) == (b"rr\0", 7, None, -7, 8, None)


@given(ATTRIBUTES)
def test_what_was_learned_tells_the_same(found: list[tuple[int, bytes]]) -> None:
    reader = AttributeReader(OWNER, FORMATS)
    first = reader.read(message(*found))
    assert [reader.read(message(*found)) for _again in range(2)] == [first, first]


@given(st.lists(ATTRIBUTES, max_size=5), st.data())
def test_any_messages_are_read_as_they_are(found: list[list[tuple[int, bytes]]], data: st.DataObject) -> None:
    reader = AttributeReader(OWNER, FORMATS)
    for one in found:
        # The same attributes in another order: of the same length, and often of another layout.
        for body in (message(*one), message(*data.draw(st.permutations(one)))):
            assert reader.read(body) == told(body)


def test_messages_alike_are_not_taken_apart(apart: list[bytes]) -> None:
    reader = AttributeReader(OWNER, FORMATS)
    found = [reader.read(message((2, struct.pack("=H", port)), (7, b"\6\0\2\0"))) for port in range(9)]
    assert [one[1] for one in found] == list(range(9))
    assert len(apart) == 2


@pytest.mark.parametrize(
    "other",
    [
        message((7, b"four"), (3, b"\1\0\0\0")),
        message((2, b"\1\0"), (7, b"four")),
        message((7, b"12"), (2, b"\1\0")),
        message((2, b"\1\0"), behind=attribute(7, b"four")),
    ],
    ids=["other kind", "other order", "other length", "owner that ends before"],
)
def test_a_message_of_another_layout_is_taken_apart(other: bytes, apart: list[bytes]) -> None:
    learned = message((7, b"four"), (2, b"\2\0"))
    reader = AttributeReader(OWNER, FORMATS)
    reader.read(learned)
    apart.clear()
    found = reader.read(other)
    assert len(other) == len(learned)
    assert apart
    assert found == told(other)


def test_a_value_of_another_size_than_its_format_is_an_error_each_time() -> None:
    reader = AttributeReader(OWNER, FORMATS)
    for _again in range(2):
        with pytest.raises(struct.error):
            reader.read(message((2, b"four")))
