# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets in the text form of ipset save.

members  10.9.0.0/24, fd00:9::/64
"""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipset import (
    PIECE_MEMBERS,
    IPSet,
    parse,
    parse_options,
    pieces,
    render,
)
from hypothesis import given
from hypothesis import strategies as st

SAVED = """\
create A hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x54670515
add A 10.9.0.2,tcp:80
add A 10.9.0.1,udp:53 timeout 0 comment "two words"
create B bitmap:port range 0-65535 counters
add B 80 packets 0 bytes 0
create L list:set size 8
add L A
"""
ALL = (
    IPSet(
        "A",
        "hash:ip,port",
        (
            ("family", "inet"),
            ("hashsize", "1024"),
            ("maxelem", "65536"),
            ("bucketsize", "12"),
            ("initval", "0x54670515"),
        ),
        {"10.9.0.2,tcp:80": "", "10.9.0.1,udp:53": 'timeout 0 comment "two words"'},
    ),
    IPSet("B", "bitmap:port", (("range", "0-65535"), ("counters", "")), {"80": "packets 0 bytes 0"}),
    IPSet("L", "list:set", (("size", "8"),), {"A": ""}),
)


def test_saved_text_becomes_sets() -> None:
    assert parse(SAVED) == {one.name: one for one in ALL}


def test_sets_become_text_with_members_sorted_and_all_sets_first() -> None:
    assert (
        render(ALL)
        == """\
create A hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x54670515
create B bitmap:port range 0-65535 counters
create L list:set size 8
add A 10.9.0.1,udp:53 timeout 0 comment "two words"
add A 10.9.0.2,tcp:80
add B 80 packets 0 bytes 0
add L A
"""
    )
    assert render([]) == ""


def test_a_large_set_becomes_text_in_pieces() -> None:
    members = [f"10.9.{number // 256}.{number % 256}" for number in range(2 * PIECE_MEMBERS + 1)]
    whole = IPSet("A", "hash:ip", (("family", "inet"),), dict.fromkeys(members, ""))
    found = list(pieces([whole]))
    assert "".join(found) == "create A hash:ip family inet\n" + "".join(
        f"add A {member}\n" for member in sorted(members)
    )
    assert max(piece.count("\n") for piece in found) == PIECE_MEMBERS


def test_only_wanted_sets_are_returned() -> None:
    assert list(parse(SAVED, lambda name: name != "A")) == ["B", "L"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("create A", "not a line of ipset save: 'create A'"),
        ("flush A now", "not a line of ipset save: 'flush A now'"),
        ("add A 10.9.0.1", "a member of a set that was not created: 'add A 10.9.0.1'"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        ("", ()),
        ("size 8", (("size", "8"),)),
        ("family inet counters comment", (("family", "inet"), ("counters", ""), ("comment", ""))),
        ("timeout", (("timeout", ""),)),
    ],
)
def test_create_options(words: str, pairs: tuple[tuple[str, str], ...]) -> None:
    assert parse_options(words.split()) == pairs


def test_a_definition_is_what_only_a_new_set_can_change() -> None:
    grown = parse("create A hash:ip maxelem 9 hashsize 4096 family inet initval 0x1")["A"]
    asked = parse("create B hash:ip family inet hashsize 1024 maxelem 9\nadd B 10.9.0.1")["B"]
    assert grown.definition == asked.definition == ("hash:ip", (("family", "inet"), ("maxelem", "9")))


@pytest.mark.parametrize(
    ("options", "family"), [("family inet6", "inet6"), ("family inet", "inet"), ("size 8", "inet")]
)
def test_family(options: str, family: str) -> None:
    assert IPSet("A", "hash:ip", parse_options(options.split()), {}).family == family


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,30}", fullmatch=True)
MEMBERS = st.dictionaries(
    st.builds("10.9.0.{}".format, st.integers(0, 255)),
    st.sampled_from(["", "nomatch", 'comment "a  b"', "timeout 5", 'packets 1 bytes 2 comment "#add A"']),
    max_size=5,
)
OPTIONS = st.sampled_from(["family inet hashsize 1024 maxelem 65536", "family inet6 counters", "forceadd timeout 5"])


@given(st.lists(st.tuples(NAMES, OPTIONS, MEMBERS), unique_by=lambda found: found[0]))
def test_sets_are_read_as_they_were_written(found: list[tuple[str, str, dict[str, str]]]) -> None:
    sets = {name: IPSet(name, "hash:ip", parse_options(options.split()), members) for name, options, members in found}
    assert parse(render(sets.values())) == sets
