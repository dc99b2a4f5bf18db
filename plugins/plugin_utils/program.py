# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Builds the node's own program: one file with the collection's library, which any Python from 3.8 on runs.

The same sources give the same bytes on every controller, so that nodes get a new program only when there is one.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

from ansible_collections.kubenode.proxy.plugins.module_utils.glue import program

PACKAGE = "kubenode_proxy"
# Isolated: neither the environment nor the working directory brings other modules in.
START = "#!{} -I\n"
MAIN = f"""\
import sys

from {PACKAGE}.glue.program import main

sys.exit(main())
"""


def path_in(cache: str, interpreter: str) -> str:
    """The program's path, which its content names; builds it where it is not there yet.

    ``interpreter`` is the path of Python on the node. Raises OSError.
    """
    sources = _sources()
    text = "\0".join([interpreter, *(part for source in sources.items() for part in source)])
    path = os.path.join(cache, f"program-{hashlib.sha256(text.encode()).hexdigest()[:32]}")
    try:
        # The cache forgets what nobody uses.
        os.utime(path)
    except FileNotFoundError:
        os.makedirs(cache, mode=0o700, exist_ok=True)
        new = f"{path}.{os.getpid()}"
        Path(new).write_bytes(START.format(interpreter).encode() + _archive(sources))
        os.replace(new, path)
    return path


def _sources() -> dict[str, str]:
    """Text of all files by their names in the archive."""
    library = Path(program.__file__).parents[1]
    found = {
        f"{PACKAGE}/{path.relative_to(library).as_posix()}": path.read_text(encoding="utf-8")
        for path in library.rglob("*.py")
    }
    return {"__main__.py": MAIN, f"{PACKAGE}/__init__.py": "", **dict(sorted(found.items()))}


def _archive(sources: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    # Not compressed: libraries differ in how they do it.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sources.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()
