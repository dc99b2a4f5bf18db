# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots a node keeps, whatever becomes of the run that takes one."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import snapshots as snapshots_module
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.snapshots import Snapshots
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, UnchangedError


class Clock(datetime):
    """A clock that stands still."""

    stands_at = datetime(2026, 11, 21, tzinfo=UTC)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return cls.stands_at


def run(folder: Path, keep: int, takes: bool = True, error: Exception | None = None) -> list[str]:
    """The names after a run."""
    snapshots = Snapshots(str(folder), keep)
    with contextlib.suppress(KernelError, RuntimeError), snapshots.around() as take:
        if takes:
            take(["the state"])
        if error:
            raise error
    return snapshots.names()


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_are_kept(keep: int, tmp_path: Path) -> None:
    names = [run(tmp_path, keep) for _number in range(keep + 1)]
    assert [len(found) for found in names] == [*range(1, keep + 1), keep]
    assert names[-1][:-1] == names[-2][1:]
    assert names[-1][-1] > names[-2][-1]


@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("year", [1970, 2026])
def test_a_clock_that_is_set_back_makes_no_older_name(
    keep: int, year: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots_module, "datetime", Clock)
    before = [run(tmp_path, keep) for _number in range(keep)][-1]
    monkeypatch.setattr(Clock, "stands_at", Clock.stands_at.replace(year=year))
    after = run(tmp_path, keep)
    assert [name for name in after if name not in before] == [f"20261121T000000.{keep:06}Z"]
    assert after[-1] > before[-1]


def test_a_run_keeps_its_own_whatever_else_lies_there(tmp_path: Path) -> None:
    (tmp_path / "snapshots/mine").mkdir(parents=True)
    (tmp_path / "snapshots/mine/state").write_text("a copy of somebody's")
    snapshots = Snapshots(str(tmp_path), 1)
    with snapshots.around() as take:
        take(["the state"])
    assert snapshots.taken in snapshots.names()


@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("takes", [True, False])
def test_a_run_that_changed_nothing_leaves_them_as_they_were(keep: int, takes: bool, tmp_path: Path) -> None:
    before = [run(tmp_path, keep) for _number in range(keep)][-1]
    assert run(tmp_path, keep, takes, UnchangedError("refused")) == before
    assert len(before) == keep


@pytest.mark.parametrize("error", [KernelError("half-way"), RuntimeError("look again")])
def test_a_run_that_fails_half_way_keeps_its_own(error: Exception, tmp_path: Path) -> None:
    before = [run(tmp_path, 2) for _number in range(2)][-1]
    after = run(tmp_path, 2, error=error)
    assert after[0] == before[1]
    assert len(after) == 2
    assert run(tmp_path, 2, takes=False, error=error) == after


def test_a_run_knows_the_one_that_it_took(tmp_path: Path) -> None:
    snapshots = Snapshots(str(tmp_path), 2)
    with snapshots.around():
        pass
    assert snapshots.taken is None
    with snapshots.around() as take:
        take(["the state"])
    assert [snapshots.taken] == snapshots.names()
    refused = Snapshots(str(tmp_path), 2)
    with contextlib.suppress(UnchangedError), refused.around() as take:
        take(["the state"])
        raise UnchangedError("refused")
    assert refused.taken is None


def test_none_are_kept_of_runs_that_change_something(tmp_path: Path) -> None:
    before = run(tmp_path, 2)
    assert run(tmp_path, 0, takes=False) == before
    assert run(tmp_path, 0) == []


def test_what_cannot_be_removed_does_not_hide_the_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> None:
        raise KernelError("read-only")

    monkeypatch.setattr(f"{Snapshots.__module__}.files.remove_folder", refuse)
    with pytest.raises(UnchangedError, match=r"^refused$"), Snapshots(str(tmp_path), 1).around() as take:
        take(["the state"])
        raise UnchangedError("refused")
