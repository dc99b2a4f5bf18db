# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of nft -s list table, read and written."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.state import rule_set
from ansible_collections.kubenode.proxy.plugins.module_utils.state.nftables import (
    Chain,
    Element,
    Set,
    Table,
    Tables,
    parse,
    render,
)
from hypothesis import given
from hypothesis import strategies as st

RECORDINGS = Path(__file__).parents[3].parent / "shared" / "recordings"
DUMPS = sorted(RECORDINGS.glob("*/v*/nftables/*.nft"))

LISTED = """\
# Warning: table ip nat is managed by iptables-nft, do not touch!
table inet mixed {
    flags dormant
    comment "a table"
    counter hits {
        packets 3 bytes 180
    }

    set plain {
        type inet_service
    }

    set seen {
        type ipv4_addr
        size 65535
        flags dynamic,timeout
        timeout 1h30m
        elements = { 10.0.0.1 timeout 5m expires 4m3s, 10.0.0.2 expires 1s }
    }

    map verdicts {
        type ipv4_addr . inet_proto . inet_service : verdict
        comment "of services"
        elements = { 10.96.0.1 . tcp . 443 comment "a, b : c {" : goto reject-chain,
                10.96.0.2 . udp . 53 : drop }
    }

    map interfaces {
        type ifname : ifname
        elements = { "a, b : c" : "eth1",
                "eth0" comment "x : y" : "eth2",
                "eth1" : "eth0" }
    }

    set names {
        type ifname
        elements = { "eth0",
                "eth1" comment "x" }
    }

    chain input {
        comment "with a hook"
        type filter hook input priority filter; policy accept;
        ip saddr { 10.0.0.1, 10.0.0.2 } drop comment "}"
    }

    chain empty {
    }
}
""".replace("    ", "\t")
MIXED = Table(
    options=(("flags", "dormant"), ("comment", '"a table"')),
    sets={
        "plain": Set("set", (("type", "inet_service"),), {}),
        "seen": Set(
            "set",
            (("type", "ipv4_addr"), ("size", "65535"), ("flags", "dynamic,timeout"), ("timeout", "1h30m")),
            {"10.0.0.1 timeout 5m": Element(), "10.0.0.2": Element()},
        ),
        "verdicts": Set(
            "map",
            (("type", "ipv4_addr . inet_proto . inet_service : verdict"), ("comment", '"of services"')),
            {
                "10.96.0.1 . tcp . 443": Element("goto reject-chain", "a, b : c {"),
                "10.96.0.2 . udp . 53": Element("drop"),
            },
        ),
        "interfaces": Set(
            "map",
            (("type", "ifname : ifname"),),
            {
                '"a, b : c"': Element('"eth1"'),
                '"eth0"': Element('"eth2"', "x : y"),
                '"eth1"': Element('"eth0"'),
            },
        ),
        "names": Set("set", (("type", "ifname"),), {'"eth0"': Element(), '"eth1"': Element("", "x")}),
    },
    chains={
        "input": Chain(
            "type filter hook input priority filter; policy accept;",
            "with a hook",
            ('ip saddr { 10.0.0.1, 10.0.0.2 } drop comment "}"',),
        ),
        "empty": Chain("", "", ()),
    },
    others={"counter hits": ("packets 3 bytes 180",)},
)

words = st.text("abcdef0123456789-/.", min_size=1, max_size=8)
comments = st.text("abc :,{}/\u2028", max_size=8).map(str.strip)
rules = st.lists(words, min_size=1, max_size=4).map(lambda found: " ".join(["ip", *found]))
elements = st.dictionaries(words, st.builds(Element, st.sampled_from(["", "drop", "goto a/b"]), comments), max_size=4)
sets = st.builds(
    Set,
    st.sampled_from(["set", "map"]),
    st.lists(st.tuples(st.sampled_from(["type", "flags", "timeout"]), words), max_size=3).map(tuple),
    elements,
)
hooks = st.sampled_from(["", "type nat hook output priority -100; policy accept;"])
chains = st.builds(Chain, hooks, comments, st.lists(rules, max_size=3).map(tuple))
tables = st.builds(
    Table,
    st.sampled_from([(), (("comment", '"x"'),)]),
    st.dictionaries(words, sets, max_size=3),
    st.dictionaries(words, chains, max_size=3),
    st.just({}),
)
found = st.dictionaries(st.sampled_from(["ip kube-proxy", "ip6 kube-proxy", "inet t"]), tables, max_size=2)


def test_what_nft_lists_is_read_and_statistics_are_no_part_of_it() -> None:
    assert parse(LISTED) == {"inet mixed": MIXED}


def test_a_set_tells_what_it_is() -> None:
    seen, verdicts = MIXED.sets["seen"], MIXED.sets["verdicts"]
    assert (seen.type, seen.flags, seen.timeout, seen.dynamic) == (
        "ipv4_addr", frozenset({"dynamic", "timeout"}), "1h30m", True,
    )  # fmt: skip
    assert (verdicts.comment, verdicts.dynamic) == ("of services", False)


@given(found)
def test_what_is_rendered_is_read_back(tables: Tables) -> None:
    assert parse(render(tables)) == tables


@given(found)
def test_a_rule_set_holds_tables(tables: Tables) -> None:
    whole = rule_set.RuleSet.empty()._replace(nftables=tables)
    assert rule_set.parse(rule_set.render(whole)) == whole


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: str(path.relative_to(RECORDINGS)))
def test_every_recording_is_read_back(path: Path) -> None:
    listed = path.read_text()
    tables = parse(listed)
    assert parse(render(tables)) == tables
    # Nothing is lost: the same words, in some order.
    assert sorted(render(tables).replace(",", " ").split()) == sorted(listed.replace(",", " ").split())


@pytest.mark.parametrize("text", ["Error: no\n", "table ip t {\n", "table ip t {\n\tchain a {\n\t\tdrop\n"])
def test_what_nft_does_not_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nft list"):
        parse(text)
