# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run at a time. The other run is a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import lock
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.lock import exclusive

HOLDER = """\
import sys
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import command, lock
lock.FOLDER = sys.argv[1]
with lock.exclusive("run", 0):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lock, "FOLDER", str(tmp_path))
    monkeypatch.setattr(lock, "PAUSE", 0.01)
    return tmp_path


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another run, which holds the lock until its input ends."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_waits_no_longer_than_it_was_told(holder: subprocess.Popen[str], folder: Path) -> None:
    begin = time.monotonic()
    message = rf"^another run \(process {holder.pid}\) holds {folder}/run\.lock for over 0\.2 s: try again$"
    with pytest.raises(KernelError, match=message), exclusive("run", 0.2):
        pass
    assert time.monotonic() - begin >= 0.2


def test_a_second_run_goes_on_when_the_first_has_ended(holder: subprocess.Popen[str]) -> None:
    assert holder.stdin
    holder.stdin.close()
    with exclusive("run", 30):
        pass


def test_a_killed_run_holds_nothing(holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=30)
    with exclusive("run", 0):
        pass


def test_other_locks_are_free(holder: subprocess.Popen[str]) -> None:
    assert holder.poll() is None
    with exclusive("run-in-another-namespace", 0):
        pass


def test_a_lock_names_its_holder_and_is_free_after_an_error(folder: Path) -> None:
    for _round in range(2):
        with pytest.raises(ZeroDivisionError), exclusive("run", 0):
            assert (folder / "run.lock").read_text() == f"{os.getpid()}\n"
            raise ZeroDivisionError


def test_the_holder_passes_and_holds_on(folder: Path) -> None:
    with exclusive("run", 0):
        with exclusive("run", 0):
            pass
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(
            [sys.executable, "-c", HOLDER, str(folder)], capture_output=True, text=True, env=environment, check=False
        )
        assert f"another run (process {os.getpid()}) holds" in done.stderr
    with exclusive("run", 0):
        assert (folder / "run.lock").read_text() == f"{os.getpid()}\n"


def test_children_do_not_inherit_the_lock(folder: Path) -> None:
    """A tool that a run has started and that outlives it would hold the lock on."""
    with exclusive("run", 0):
        with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
            held = {os.path.realpath(f"/proc/{child.pid}/fd/{name}") for name in os.listdir(f"/proc/{child.pid}/fd")}
            child.kill()
        assert str((folder / "run.lock").resolve()) not in held


def test_what_a_killed_run_has_started_holds_the_lock(folder: Path) -> None:
    """It may still be writing."""
    program = HOLDER.replace("sys.stdin.read()", "command.Runner().run(['sleep', '30'])")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, env=environment) as run:
        assert run.stdout
        assert run.stdout.readline() == b"held\n"
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        while not children.read_text():
            time.sleep(0.01)
        child = int(children.read_text())
        run.kill()
    try:
        with pytest.raises(KernelError, match=r"^another run "), exclusive("run", 0.2):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
    with exclusive("run", 30):
        pass


def test_a_folder_that_is_not_there_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "FOLDER", str(folder / "none"))
    with (
        pytest.raises(KernelError, match=r"^cannot open the lock .*/none/run\.lock: No such file or directory$"),
        exclusive("run", 0),
    ):
        pass
