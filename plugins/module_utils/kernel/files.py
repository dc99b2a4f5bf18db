# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Files that the collection keeps on a node."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

from .command import KernelError


def read_text(path: str) -> str | None:
    """The text of a file, None where there is none. Raises KernelError where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise KernelError(f"cannot read {path}: {error}") from error


def write_text(path: str, text: str, mode: int = 0o644) -> None:
    """Puts a whole file in place at once: a reader sees the old text or the new, also after a crash.

    Raises KernelError, and leaves the old file as it was.
    """
    folder = os.path.dirname(path)
    temporary = ""
    try:
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise KernelError(f"cannot write {path}: {error.strerror or error}") from error


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
        raise KernelError(f"cannot read {folder}: {error.strerror or error}") from error


def link(path: str, second_path: str) -> None:
    """Gives a file that may not exist a second path. Raises KernelError."""
    try:
        os.makedirs(os.path.dirname(second_path), exist_ok=True)
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
