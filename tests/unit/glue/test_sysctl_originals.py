# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue import own_file
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.sysctl_originals import SysctlOriginals
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sysctls_before")


def change(path: str, user: str, live: dict[str, str], wanted: dict[str, str]) -> dict[str, str]:
    """A run of a user; the values that it restores."""
    originals = SysctlOriginals(path, user)
    restored = originals.to_restore(wanted)
    own_file.converge_all(originals.noted(live, wanted), check=False)
    own_file.converge_all(originals.settled(wanted), check=False)
    return restored


def test_a_setting_gets_back_what_it_was_before_its_first_change(path: str) -> None:
    assert change(path, "a", {"x": "0", "y": "5"}, {"x": "1", "y": "5"}) == {}
    assert change(path, "a", {"x": "7", "y": "5"}, {"x": "1", "y": "5"}) == {}
    assert change(path, "a", {"x": "1", "y": "5"}, {}) == {"x": "0"}
    assert not Path(path).exists()


def test_it_stays_as_long_as_anybody_wants_it(path: str) -> None:
    change(path, "a", {"x": "0"}, {"x": "1"})
    change(path, "b", {"x": "1"}, {"x": "1"})
    assert change(path, "a", {"x": "1"}, {}) == {}
    assert change(path, "b", {"x": "1"}, {}) == {"x": "0"}


def test_a_run_that_is_killed_wants_what_it_has_begun_to_write(path: str) -> None:
    change(path, "a", {"x": "0"}, {"x": "1"})
    begun = SysctlOriginals(path, "b").noted({"x": "1", "y": "2"}, {"x": "1", "y": "3"})
    own_file.converge_all(begun, check=False)
    assert change(path, "a", {"x": "1"}, {}) == {}
    assert change(path, "b", {"x": "1", "y": "3"}, {}) == {"x": "0", "y": "2"}


def test_a_setting_that_the_kernel_does_not_have_has_no_value_to_keep(path: str) -> None:
    change(path, "a", {}, {"x": "1"})
    assert change(path, "a", {"x": "1"}, {}) == {}


def test_another_file_is_refused(path: str) -> None:
    Path(path).write_text("x = 1\n")
    with pytest.raises(KernelError, match="sysctls_before cannot be read; without it"):
        SysctlOriginals(path, "a")
