# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Files that the collection keeps on a node."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from ..state.large_text import PIECE, SURROGATES, encoded, is_text, pieces, size
from .command import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..state.large_text import Text

# How the name of a file ends that is being written.
UNFINISHED = ".kubenode-proxy"


def read_text(path: str, checksum: str | None = None) -> str | None:
    """The text of a file, None where there is none, or not that of an SHA-1 checksum.

    Raises KernelError where it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            if checksum and _sha1(file) != checksum:
                return None
            file.seek(0)
            # At once: in text mode Python decodes large files piece by piece, which takes several times as long.
            text = file.read().decode("utf-8", SURROGATES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"cannot read {path}: {_reason(error)}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def says(path: str, text: Text) -> bool | None:
    """Whether a file has this text, None where there is no file. Raises KernelError where it cannot be read.

    Of another size it need not be read.
    """
    # Of anything else than a file the reading tells what is wrong with it.
    with contextlib.suppress(OSError):
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size != size(text):
            return False
    found = read_text(path)
    return None if found is None else is_text(found, text)


def fingerprint(path: str) -> list[str]:
    """What changes whenever a file does: the kernel sets the last of it, and nobody else can. [] for no file."""
    try:
        found = os.stat(path)
    except OSError:
        return []
    return [path, str(found.st_ino), str(found.st_size), str(found.st_mtime_ns), str(found.st_ctime_ns)]


def write_text(path: str, text: str | Iterable[str], mode: int = 0o644) -> None:
    """Puts a whole file in place at once: a reader sees the old text or the new, also after a crash.

    ``text`` may come in pieces. Raises KernelError, and leaves the old file as it was.
    """
    folder = _folder(path)
    try:
        os.makedirs(folder, exist_ok=True)
        _remove_unfinished(folder, os.path.basename(path))
        _write_and_rename(path, pieces(text) if isinstance(text, str) else text, mode)
    except OSError as error:
        raise KernelError(f"cannot write {path}: {_reason(error)}") from error


@contextlib.contextmanager
def reserved(texts: Mapping[str, Text | None]) -> Iterator[None]:
    """Holds the disk space of files that are to be written after a ``with`` block: texts by path, None for no file.

    Raises KernelError before the block where one could not be written: no space, read-only, or not permitted.
    """
    with contextlib.ExitStack() as held:
        for path, text in texts.items():
            try:
                # Without a name, so that its space comes back however this process ends.
                file = held.enter_context(tempfile.TemporaryFile(dir=_existing_folder(path)))
                _occupy(file.fileno(), size(text or ""))
            except OSError as error:
                raise KernelError(f"cannot write {path}: {_reason(error)}") from error
        yield


def put(path: str, text: Text | None, mode: int = 0o644) -> None:
    """Writes a file, or removes it where there is to be none. Raises KernelError."""
    if text is None:
        remove(path)
    else:
        write_text(path, text, mode)


def remove(path: str) -> None:
    """Removes a file that may not exist. Raises KernelError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise KernelError(f"cannot remove {path}: {error.strerror or error}") from error


def listed(folder: str) -> list[str]:
    """Names of what is in a folder, sorted; [] where there is no folder. Raises KernelError."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KernelError(f"cannot read {folder}: {_reason(error)}") from error


def link(path: str, second_path: str) -> None:
    """Gives a file that may not exist a second path. Raises KernelError."""
    try:
        os.makedirs(_folder(second_path), exist_ok=True)
        os.link(path, second_path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise KernelError(f"cannot link {path} to {second_path}: {error.strerror or error}") from error


def remove_folder(path: str) -> None:
    """Removes a folder that may not exist, with all that is in it. Raises KernelError."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise KernelError(f"cannot remove {path}: {error.strerror or error}") from error


def _folder(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))


def _existing_folder(path: str) -> str:
    folder = _folder(path)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return folder


def _occupy(handle: int, count: int) -> None:
    try:
        if count:
            os.posix_fallocate(handle, 0, count)
    except OSError as error:
        # A file system that cannot promise space tells when it is written to.
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def _sha1(file: BinaryIO) -> str:
    found = hashlib.sha1()
    while piece := file.read(PIECE):
        found.update(piece)
    return found.hexdigest()


def _gathered(text: Iterable[str]) -> Iterator[bytes]:
    """Pieces of some size: to hand over a small one may take longer than to make it."""
    held: list[str] = []
    characters = 0
    for piece in text:
        held.append(piece)
        characters += len(piece)
        if characters >= PIECE:
            yield encoded("".join(held))
            held, characters = [], 0
    yield encoded("".join(held))


def _reason(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "it is on a read-only file system: mount that read-write"
    if error.errno == errno.EACCES and os.geteuid() != 0:
        return f"{error.strerror}: run as root (become: true)"
    return error.strerror or str(error)


def _remove_unfinished(folder: str, name: str) -> None:
    """Removes what writers of a file that were killed left half-written."""
    for left in os.listdir(folder):
        if left.startswith(f".{name}.") and left.endswith(UNFINISHED):
            path = os.path.join(folder, left)
            # What somebody else put there is not ours, and must not keep a run from writing.
            with contextlib.suppress(OSError), open(path, "rb+") as file:
                # A writer holds it as long as it is alive.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)


def _write_and_rename(path: str, text: Iterable[str], mode: int) -> None:
    handle, temporary = _new_file(*os.path.split(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(_gathered(text))
            file.flush()
            os.fsync(handle)
            os.fchmod(handle, mode)
            os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _new_file(folder: str, name: str) -> tuple[int, str]:
    """Descriptor and path of a file that only its owner can open, and so lock: a folder anybody could who reads it."""
    while True:
        handle, path = tempfile.mkstemp(UNFINISHED, f".{name}.", folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Another writer may have taken it for left behind before it was locked.
        if os.fstat(handle).st_nlink:
            return handle, path
        os.close(handle)
