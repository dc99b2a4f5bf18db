# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the table of compatibility is wrong, and when it only speaks of other recordings or another machine."""

from __future__ import annotations

import pytest

from tests.conformance.table import GUIDE, HEAD, contradicts, render, rows_of


def row(cases: str, mode: str = "ipvs", kernel: str = "Linux 6.1") -> tuple[str, ...]:
    return (mode, "1.36", "legacy", cases, kernel, "ipset 7.17")


@pytest.mark.parametrize(
    ("committed", "found", "wrong"),
    [
        ([row("101 of 101")], [row("101 of 101")], False),
        ([row("101 of 101")], [row("100 of 101")], True),
        ([row("100 of 101")], [row("101 of 101")], True),
        ([row("101 of 101")], [row("120 of 120")], False),
        ([row("101 of 101")], [row("101 of 101", kernel="Linux 6.12")], False),
        ([row("101 of 101")], [row("101 of 101", mode="iptables")], True),
        ([row("101 of 101")], [row("101 of 101"), row("101 of 101", mode="nftables")], True),
    ],
)
def test_what_contradicts_the_table(
    committed: list[tuple[str, ...]], found: list[tuple[str, ...]], wrong: bool
) -> None:
    assert contradicts(committed, found) == wrong


def test_the_table_of_the_guide_is_read_as_it_is_written() -> None:
    rows = rows_of(GUIDE.read_text())
    assert render(rows) in GUIDE.read_text()
    assert {len(line) for line in rows} == {len(HEAD)}
