# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of legacy tables: others wait for it, what runs in it does not."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError, Runner
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.xtables_lock import held

from tests.locks import is_free

# Takes the lock that it is told of, as iptables does.
LOCKS = ["flock", "--nonblock", "--exclusive"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "lock"))
    return tmp_path / "lock"


def wait_until_free(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not is_free(path):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_others_find_it_held_for_the_length_of_the_block(path: Path) -> None:
    with held(1):
        assert not is_free(path)
    assert is_free(path)


def test_who_waits_in_vain_says_so_and_leaves_it_free(path: Path) -> None:
    with held(1):
        with pytest.raises(KernelError, match=r"^another program held the xtables lock for 0\.1 s"), held(0.1):
            pass
        assert not is_free(path)
    # Who has given up may get it late, for a moment.
    wait_until_free(path)


def test_what_runs_inside_takes_a_lock_of_its_own(path: Path) -> None:
    runner = Runner()
    command = ["sh", "-c", f'{" ".join(LOCKS)} "$XTABLES_LOCKFILE" true']
    with held(1):
        runner.run(command)
        assert runner.run([*LOCKS, str(path), "true"], check=False).returncode == 1
    assert runner.run(["sh", "-c", 'printf %s "$XTABLES_LOCKFILE"']).stdout == str(path)


def test_it_is_waited_for_in_the_queue_of_others(path: Path) -> None:
    """They hand it to each other, so that who asks now and then never finds it free."""
    loop = ["sh", "-c", f"while true; do flock {path} sleep 0.1; done"]
    others = [subprocess.Popen(loop, start_new_session=True) for _other in range(4)]
    try:
        time.sleep(0.3)
        for _time in range(3):
            with held(60):
                assert not is_free(path)
    finally:
        for other in others:
            os.killpg(other.pid, signal.SIGKILL)
            other.wait()


def test_it_is_held_until_what_was_started_inside_has_ended(path: Path) -> None:
    with held(1):
        Runner().run(["sh", "-c", "sleep 1 >/dev/null 2>&1 &"])
    assert not is_free(path)
    wait_until_free(path)


def test_it_is_free_after_an_error(path: Path) -> None:
    descriptors = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError, match="false exited with 1"), held(1):
        Runner().run(["false"])
    assert is_free(path)
    assert os.listdir("/proc/self/fd") == descriptors


def test_a_kernel_that_locks_no_file_is_not_taken_for_another_program(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", mock.Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    with pytest.raises(KernelError, match=f"^cannot take the lock {path}: No locks available"), held(1):
        pass


def test_a_lock_that_cannot_be_opened_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(KernelError, match=f"^cannot take the lock {path}: Is a directory"), held(1):
        pass
