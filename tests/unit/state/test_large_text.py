# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Large text: its pieces, what is found in it by halving, and the text of tables with changes at a few places."""

from __future__ import annotations

import bisect
from typing import TypeVar

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.state import iptables, nftables, rule_set
from ansible_collections.kubenode.proxy.plugins.module_utils.state.large_text import (
    PIECE,
    Made,
    first,
    is_text,
    pieces,
    size,
)
from hypothesis import given
from hypothesis import strategies as st

Content = TypeVar("Content")
BEFORE, BEHIND = "before\n*nat\n\n", "\n[next]\ntable ip t {\n}\n"
NAMES = st.text("ab-/", min_size=1, max_size=3)


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_the_pieces_of_a_text_make_it(length: int) -> None:
    text = ("ü" + "a\n" * length)[:length]
    assert "".join(pieces(text)) == text
    assert "".join(pieces(text, 1, length - 1)) == text[1 : length - 1]
    assert all(len(piece) <= PIECE for piece in pieces(text))


@given(st.lists(st.text("aü\n", max_size=3)), st.text("aü\n", max_size=6))
def test_text_is_made_whenever_it_is_gone_through(parts: list[str], other: str) -> None:
    whole, made = "".join(parts), Made(lambda: parts)
    assert ["".join(made), "".join(made)] == [whole, whole]
    assert size(made) == size(whole) == len(whole.encode())
    for found in (whole, other, whole + other, whole[:-1]):
        assert is_text(found, made) == is_text(found, whole) == (found == whole)


@given(st.lists(st.integers(0, 30)), st.integers(0, 31), st.sampled_from(["\n", "\n\n"]), st.booleans())
def test_the_first_record_that_holds_is_found(numbers: list[int], least: int, separator: str, ended: bool) -> None:
    records = [f"{number}\n more" if separator == "\n\n" else str(number) for number in sorted(numbers)]
    part = separator.join(records) + (separator if ended and records else "")
    text = f"99\n\n{part}\n0"
    found = first(text, 4, 4 + len(part), separator, lambda line: int(line) >= least)
    place = bisect.bisect_left(sorted(numbers), least)
    expected = sum(len(record) + len(separator) for record in records[:place])
    assert found == 4 + min(expected, len(part))


def differing(before: dict[str, Content], after: dict[str, Content]) -> tuple[dict[str, Content], dict[str, Content]]:
    """Of two sides what they do not share."""
    names = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    return tuple({name: side[name] for name in names if name in side} for side in (before, after))  # type: ignore[return-value]


RULES = st.lists(st.sampled_from(["-j KUBE-SVC-A", "-m comment --comment x -j RETURN", ""]), max_size=3).map(tuple)
CHAINS = st.dictionaries(NAMES, RULES.map(lambda rules: iptables.Chain(None, rules)))
BUILT_IN = st.dictionaries(st.sampled_from(["A", "INPUT"]), RULES.map(lambda rules: iptables.Chain("ACCEPT", rules)))


@given(BUILT_IN, CHAINS, CHAINS)
def test_chains_of_iptables_are_put_in_their_places(
    built_in: dict[str, iptables.Chain], before: dict[str, iptables.Chain], after: dict[str, iptables.Chain]
) -> None:
    other = {"filter": {"a": iptables.Chain(None, ("-j DROP",))}, "raw": built_in}
    text = iptables.render({**other, "nat": {**built_in, **before}})
    was, wanted = differing(before, after)
    found = iptables.changed_pieces(
        BEFORE + text + BEHIND, len(BEFORE), len(BEFORE + text), {"nat": was}, {"nat": wanted}
    )
    assert "".join(found) == iptables.render({**other, "nat": {**built_in, **after}})


OF_NFT = st.builds(
    nftables.Chain,
    st.sampled_from(["", "", "type nat hook output priority -100; policy accept;"]),
    st.sampled_from(["", "no type x hook y"]),
    st.lists(st.sampled_from(["drop", "jump b", 'ip saddr 10.0.0.1 drop comment "set a {"']), max_size=3).map(tuple),
)
ELEMENTS = st.dictionaries(st.sampled_from(["10.0.0.1", "10.0.0.10", "10.0.0.2"]), st.just(nftables.Element("goto a")))
SETS = st.builds(nftables.Set, st.just("map"), st.just((("type", "ipv4_addr : verdict"),)), ELEMENTS)


@given(
    *(st.dictionaries(NAMES, SETS, max_size=4) for _side in "ab"),
    *(st.dictionaries(NAMES, OF_NFT, max_size=5) for _side in "ab"),
    st.sampled_from([{}, {"counter c": ("packets 0 bytes 0",)}]),
    st.sampled_from([(), (("comment", '"c"'),)]),
)
def test_objects_of_nftables_are_put_in_their_places(
    sets: dict[str, nftables.Set],
    other_sets: dict[str, nftables.Set],
    chains: dict[str, nftables.Chain],
    other_chains: dict[str, nftables.Chain],
    others: dict[str, tuple[str, ...]],
    options: nftables.Options,
) -> None:
    table = nftables.Table(options, {}, {}, others)
    # What a chain hooks into, a change of a table leaves alone.
    other_chains = {
        name: chain._replace(hook=chains[name].hook) if name in chains else chain
        for name, chain in other_chains.items()
    }
    was_sets, wanted_sets = differing(sets, other_sets)
    was_chains, wanted_chains = differing(chains, other_chains)
    neighbour = {"ip6 t": table._replace(chains=chains), "arp t": nftables.Table.empty()}
    text = nftables.render({"ip t": table._replace(sets=sets, chains=chains), **neighbour})
    found = nftables.changed_pieces(
        BEFORE + text + BEHIND,
        len(BEFORE),
        len(BEFORE + text),
        {"ip t": nftables.Table((), was_sets, was_chains, {})},
        {"ip t": nftables.Table((), wanted_sets, wanted_chains, {})},
    )
    expected = {"ip t": table._replace(sets=other_sets, chains=other_chains), **neighbour}
    assert "".join(found) == nftables.render(expected)


@pytest.mark.parametrize("name", ["nat", "ip t"])
def test_another_text_is_no_place_for_a_table(name: str) -> None:
    text = rule_set.render(rule_set.RuleSet.empty())
    chains = {"KUBE-SVC-A": iptables.Chain(None, ())}
    after = {
        "nat": rule_set.RuleSet.empty()._replace(tables={"ipv4": {"nat": chains}, "ipv6": {}}),
        "ip t": rule_set.RuleSet.empty()._replace(
            nftables={"ip t": nftables.Table.empty()._replace(chains={"a": nftables.Chain("", "", ())})}
        ),
    }[name]
    before = rule_set.RuleSet.empty()._replace(nftables={"ip t": nftables.Table.empty()})
    for damaged in (text, "", "another file\n"):
        with pytest.raises(ValueError):
            list(rule_set.changed_pieces(damaged, before, after))
