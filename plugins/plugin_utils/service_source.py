# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Service data on the controller: read once per change of its source, whatever the number of hosts."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".json", ".yml", ".yaml")
# Larger than the data of any cluster that one kube-proxy could serve: most likely the wrong file.
MAX_BYTES = 512 * 1024 * 1024
# A change of what is written for the same source makes earlier files worthless.
CACHE_FORMAT = f"canonical {canonical.FORMAT}"
KEEP_SECONDS = 7 * 24 * 3600
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CanonicalFile(NamedTuple):
    """The canonical file of a source, and its SHA-1."""

    path: str
    checksum: str


def from_path(path: str, query: str | None, cache: str) -> CanonicalFile:
    """Service data from a file or a directory of files. Raises InputError, also for what cannot be read."""
    files = _files(path)
    key = json.dumps([CACHE_FORMAT, query, [_fingerprint(file) for file in files]])
    with _entry(cache, key) as entry:
        if not os.path.exists(entry):
            _write(entry, {file: _read(file) for file in files}, query)
        return _existing(entry)


def from_value(value: object, query: str | None, cache: str) -> CanonicalFile:
    """Service data given inline. Raises InputError."""
    try:
        text = json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InputError([f"services: {error}"]) from error
    with _entry(cache, json.dumps([CACHE_FORMAT, query, text])) as entry:
        if not os.path.exists(entry):
            _write(entry, {"services": json.loads(text)}, query)
        return _existing(entry)


def _files(path: str) -> list[str]:
    try:
        if not os.path.isdir(path):
            return [path]
        names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIXES) and not name.startswith("."))
    except OSError as error:
        raise InputError([f"{path}: {error.strerror}"]) from error
    if not names:
        raise InputError([f"{path}: the directory has no file that ends in {', '.join(SUFFIXES)}"])
    return [os.path.join(path, name) for name in names]


def _fingerprint(path: str) -> list[Any]:
    """What changes whenever the file does. Its content is not read: hosts must not cost more with more services."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError([f"{path}: {error.strerror}"]) from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError([f"{path}: is not a file"])
    if found.st_size > MAX_BYTES:
        raise InputError(
            [f"{path}: has {found.st_size} bytes, more than {MAX_BYTES}: split it into a directory of files"]
        )
    return [os.path.abspath(path), found.st_size, found.st_mtime_ns, found.st_ino]


def _read(path: str) -> object:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise InputError([f"{path}: is not UTF-8 text: {error}"]) from error
    except OSError as error:
        raise InputError([f"{path}: {error.strerror}"]) from error
    if not text.strip():
        raise InputError([f"{path}: is empty"])
    return _parse_json(path, text) if path.endswith(".json") else _parse_yaml(path, text)


def _parse_json(path: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(
            [f"{path}: is not whole JSON: {error}; write to another file and rename it when complete"]
        ) from error


def _parse_yaml(path: str, text: str) -> object:
    # Every JSON text is YAML, and its own parser is a hundred times faster.
    if text.lstrip()[0] in "{[":
        with contextlib.suppress(ValueError):
            return json.loads(text)
    try:
        documents = [document for document in yaml.load_all(text, Loader=Loader) if document is not None]
    except yaml.YAMLError as error:
        raise InputError([f"{path}: is not YAML: {' '.join(str(error).split())}"]) from error
    return documents[0] if len(documents) == 1 else documents


def _narrow(document: object, query: str | None) -> object:
    if not query:
        return document
    try:
        import jmespath
    except ImportError as error:
        raise InputError(["query: the Python library jmespath is not installed on the controller"]) from error
    try:
        found = jmespath.search(query, document)
    except jmespath.exceptions.JMESPathError as error:
        raise InputError([f"query: {' '.join(str(error).split())}"]) from error
    if found is None:
        raise InputError([f"query: {query!r} finds nothing"])
    return found


def _write(entry: str, documents: dict[str, object], query: str | None) -> None:
    """Validates once, and puts the canonical file and its checksum in place."""
    data = source.parse_files({name: _narrow(document, query) for name, document in documents.items()})
    text = canonical.dump(data)
    with open(f"{entry}.new", "w", encoding="utf-8") as file:
        file.write(text)
    with open(f"{entry}.sha1", "w", encoding="utf-8") as file:
        file.write(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
    os.replace(f"{entry}.new", entry)


def _existing(entry: str) -> CanonicalFile:
    os.utime(entry)
    with open(f"{entry}.sha1", encoding="utf-8") as file:
        return CanonicalFile(entry, file.read())


@contextlib.contextmanager
def _entry(cache: str, key: str) -> Iterator[str]:
    """The path of a cache entry, locked: of all forks that need it, one reads the source and the others wait."""
    os.makedirs(cache, mode=0o700, exist_ok=True)
    entry = os.path.join(cache, hashlib.sha256(key.encode()).hexdigest()[:32])
    with open(f"{entry}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(entry):
            _forget_old(cache)
        yield entry


def _forget_old(cache: str) -> None:
    limit = time.time() - KEEP_SECONDS
    for name in os.listdir(cache):
        path = os.path.join(cache, name)
        with contextlib.suppress(OSError):
            if os.stat(path).st_mtime < limit:
                os.unlink(path)
