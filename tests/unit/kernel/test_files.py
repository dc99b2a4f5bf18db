# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that the collection keeps on a node: whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import files
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.state.large_text import PIECE, Made, size


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "er" / "file")
    files.write_text(path, "text ü\n")
    assert files.read_text(path) == "text ü\n"


def test_a_missing_file_has_no_text(tmp_path: Path) -> None:
    assert files.read_text(str(tmp_path / "none")) is None


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=rf"^cannot read {tmp_path}: .*Is a directory"):
        files.read_text(str(tmp_path))


@pytest.mark.parametrize("user, advice", [(1000, ": run as root (become: true)"), (0, "")])
def test_what_another_user_than_root_cannot_read_says_how(
    user: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = PermissionError(errno.EACCES, "Permission denied", "/kept")
    monkeypatch.setattr(files, "open", mock.Mock(side_effect=refused), raising=False)
    monkeypatch.setattr(os, "listdir", mock.Mock(side_effect=refused))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    for read in (files.read_text, files.listed):
        with pytest.raises(KernelError) as failure:
            read("/kept")
        assert str(failure.value) == f"cannot read /kept: Permission denied{advice}"


def test_whether_a_file_says_a_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.says(str(path), "") is None
    path.write_text("text ü\n", encoding="utf-8")
    assert files.says(str(path), "text ü\n") is True
    assert files.says(str(path), "text ö\n") is False
    assert files.says(str(path), "text\n") is False
    for last, same in (("ü\n", True), ("ö\n", False), ("\n", False)):
        assert files.says(str(path), Made(lambda last=last: ["text ", last])) is same  # type: ignore[misc]


def test_a_file_of_another_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("ab", encoding="ascii")
    with mock.patch.object(files, "read_text", side_effect=AssertionError("was read")):
        assert files.says(str(path), "a") is False
    with pytest.raises(KernelError, match=r"cannot read .*Is a directory"):
        files.says(str(tmp_path), "a")


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_text_is_written_whole_or_in_pieces(length: int, tmp_path: Path) -> None:
    text = ("ü" + "a\n" * length)[:length]
    path = tmp_path / "file"
    for whole_or_in_pieces in (text, iter([text[:1], text[1:]]), iter(text)):
        files.write_text(str(path), whole_or_in_pieces)
        assert path.read_bytes() == text.encode()
    checksum = hashlib.sha1(text.encode()).hexdigest()
    assert files.read_text(str(path), checksum) == text
    assert files.read_text(str(path), hashlib.sha1(b"another").hexdigest()) is None


@pytest.mark.parametrize(("options", "mode"), [({}, 0o644), ({"mode": 0o600}, 0o600)])
def test_the_mode_does_not_depend_on_the_umask_or_the_old_file(
    tmp_path: Path, options: dict[str, int], mode: int
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o777)
    old_mask = os.umask(0o077)
    try:
        files.write_text(str(path), "new", **options)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_readers_see_the_old_file_or_the_new(tmp_path: Path) -> None:
    """A reader that has the old file open still reads all of it: the new one is another file."""
    path = tmp_path / "file"
    files.write_text(str(path), "old")
    with path.open() as reader:
        files.write_text(str(path), "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("failing", ["fsync", "fchmod", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    files.write_text(str(path), "old")

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(KernelError, match=rf"^cannot write {path}: No space left on device$"):
        files.write_text(str(path), "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    (tmp_path / f".file{files.UNFINISHED}").write_text("half")
    (tmp_path / f".file.abcd1234{files.UNFINISHED}").write_text("half")
    others = [f".other.abcd1234{files.UNFINISHED}", f".mine{files.UNFINISHED}", ".mine", ".file.swp"]
    for name in others:
        (tmp_path / name).write_text("whole")
    (tmp_path / f".file.folder{files.UNFINISHED}").mkdir()
    with (tmp_path / f".file.written{files.UNFINISHED}").open("w") as written_now:
        fcntl.flock(written_now, fcntl.LOCK_EX)
        files.write_text(str(tmp_path / "file"), "text")
        kept = [*others, "file", f".file.folder{files.UNFINISHED}", f".file.written{files.UNFINISHED}"]
        assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(kept)
    files.write_text(str(tmp_path / "file"), "text")
    assert not (tmp_path / f".file.written{files.UNFINISHED}").exists()


def test_a_file_that_another_writer_took_for_left_behind_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = tempfile.mkstemp, list[str]()

    def taken_at_first(suffix: str, prefix: str, folder: str) -> tuple[int, str]:
        handle, path = real(suffix, prefix, folder)
        if not made:
            os.unlink(path)
        made.append(path)
        return handle, path

    monkeypatch.setattr(tempfile, "mkstemp", taken_at_first)
    files.write_text(str(tmp_path / "file"), "text")
    assert len(made) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_nobody_who_may_read_a_folder_keeps_others_from_writing_there(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as executor:
        executor.submit(files.write_text, str(tmp_path / "file"), "text").result(timeout=20)
    os.close(handle)
    assert files.read_text(str(tmp_path / "file")) == "text"


@pytest.mark.parametrize("path", ["file", "deep/er/file", "./file"])
def test_a_path_may_begin_in_the_working_directory(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with files.reserved({path: "text"}):
        files.write_text(path, "text")
    files.link(path, "other/file")
    assert (tmp_path / path).read_text() == (tmp_path / "other" / "file").read_text() == "text"


def test_writers_of_a_file_do_not_get_in_each_other_s_way(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    texts = [f"{number}\n" * 1000 for number in range(40)]
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda text: files.write_text(path, text), texts))
    assert files.read_text(path) in texts
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_space_of_files_is_held_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    with files.reserved({str(path): "x" * 100_000, str(tmp_path / "gone"): None}):
        assert not list(tmp_path.iterdir())
        shown = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        held = [link.stat() for link in shown if str(tmp_path) in os.path.realpath(link)]
        assert sorted(status.st_size for status in held) == [0, 100_000]
        assert sum(status.st_blocks * 512 for status in held) >= 100_000
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EROFS, "it is on a read-only file system: mount that read-write"),
    ],
)
def test_space_that_is_not_there_is_an_error_before_the_block(
    tmp_path: Path, number: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "file"
    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(KernelError, match=rf"^cannot write {path}: {reason}$"), files.reserved({str(path): "text"}):
        pytest.fail("the block ran")


def test_a_file_system_that_promises_no_space_tells_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    ran = False
    with files.reserved({str(tmp_path / "file"): "text"}):
        ran = True
    assert ran


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelError, match=r"^cannot write .*/file/deeper/file: "):
        files.write_text(str(tmp_path / "file" / "deeper" / "file"), "text")


def test_what_is_removed_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    files.remove(str(path))
    files.remove(str(path))
    assert not path.exists()
    with pytest.raises(KernelError, match=rf"^cannot remove {tmp_path}: "):
        files.remove(str(tmp_path))


@pytest.mark.parametrize("text", ["one\r\ntwo\r\n", "one\rtwo\r", "one\ntwo\n"])
def test_lines_end_with_a_line_feed_whoever_wrote_them(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    assert files.read_text(str(path)) == "one\ntwo\n"


def test_bytes_that_are_not_utf_8_stay_as_they_are(tmp_path: Path) -> None:
    path, copy = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(b"\xff\xfe \xc3\xbc")
    text = files.read_text(str(path))
    assert text is not None
    files.write_text(str(copy), text)
    assert copy.read_bytes() == path.read_bytes()
    assert files.says(str(path), text) is True
    assert size(text) == 5


def test_a_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.fingerprint(str(path)) == []
    path.write_text("one")
    before = files.fingerprint(str(path))
    assert files.fingerprint(str(path)) == before
    path.write_text("two")
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    assert files.fingerprint(str(path)) != before
