# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Service data on the controller: read once per change of its source, whatever the number of hosts.

The cache holds canonical files under their SHA-1, so that none ever changes while it is being sent, and for each source
an entry that names the one it led to.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUFFIXES = (".json", ".yml", ".yaml")
# Larger than the data of any cluster that one kube-proxy could serve: most likely the wrong file.
MAX_BYTES = 512 * 1024 * 1024
# A change of what is written for the same source makes earlier entries worthless.
CACHE_FORMAT = f"canonical {canonical.FORMAT}"
# How long what nobody uses stays. Data that changes every minute must not fill the disk.
KEEP_SECONDS = 3600
# So soon after a change, a second one may leave size and times of a file as they are.
SETTLE_SECONDS = 2
# libyaml overflows the stack on deeper ones.
_is_deep = re.compile(r"(?:[\[{]\s*|[-?]\s+){1000}").search
REMEDY = "write to another file, and rename it when it is complete"


class CanonicalFile(NamedTuple):
    """The canonical file of a source, and its SHA-1."""

    path: str
    checksum: str


class _Seen(NamedTuple):
    """What changes whenever a file does. Its content is not part of it: hosts must not cost more with more services."""

    path: str
    size: int
    modified_ns: int
    changed_ns: int
    device: int
    inode: int


def from_path(path: str, query: str | None, cache: str) -> CanonicalFile:
    """Service data from a file or a directory of files. Raises InputError, also for what cannot be read."""
    with _input_errors(path):
        seen = [_look(file) for file in _files(path)]

        def parse() -> str:
            documents = {file.path: _read(file.path) for file in seen}
            if [_look(file.path) for file in seen] != seen:
                raise InputError([f"{path}: changed while it was read; {REMEDY}"])
            return _canonical_text(documents, query)

        return _cached(cache, [query, seen], max(max(file.modified_ns, file.changed_ns) for file in seen), parse)


def from_value(value: object, query: str | None, cache: str) -> CanonicalFile:
    """Service data given inline. Raises InputError."""
    with _input_errors("services"):
        try:
            # YAML has types that JSON does not, such as dates.
            text = json.dumps(value, default=str)
        except (TypeError, ValueError) as error:
            raise InputError([f"services: {error}"]) from error
        return _cached(cache, [query, text], 0, lambda: _canonical_text({"services": json.loads(text)}, query))


def _files(path: str) -> list[str]:
    path = os.path.abspath(path)
    if not os.path.isdir(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIXES) and not name.startswith("."))
    if not names:
        raise InputError([f"{path}: the directory has no file that ends in {', '.join(SUFFIXES)}"])
    return [os.path.join(path, name) for name in names]


def _look(path: str) -> _Seen:
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise InputError([f"{path}: is not a regular file"])
    if found.st_size > MAX_BYTES:
        raise InputError(
            [f"{path}: has {found.st_size} bytes, more than {MAX_BYTES}: split it into a directory of files"]
        )
    return _Seen(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev, found.st_ino)


def _read(path: str) -> object:
    with _input_errors(path):
        try:
            # Editors on Windows put a byte order mark first.
            with open(path, encoding="utf-8-sig") as file:
                text = file.read()
        except UnicodeDecodeError as error:
            raise InputError([f"{path}: is not UTF-8 text: {error}"]) from error
        if not text.strip():
            raise InputError([f"{path}: is empty"])
        return _parse_json(path, text) if path.endswith(".json") else _parse_yaml(path, text)


def _parse_json(path: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError([f"{path}: is not whole JSON: {error}; {REMEDY}"]) from error


def _parse_yaml(path: str, text: str) -> object:
    # Every JSON text is YAML, and its own parser is a hundred times faster.
    if text.lstrip()[0] in "{[":
        with contextlib.suppress(ValueError):
            return json.loads(text)
    if _is_deep(text):
        raise RecursionError
    try:
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    # ValueError: a date that is none.
    except (yaml.YAMLError, ValueError) as error:
        raise InputError([f"{path}: is not YAML: {_without_excerpt(error)}"]) from error
    return documents[0] if len(documents) == 1 else documents


def _without_excerpt(error: Exception) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    place = [f"line {mark.line + 1}, column {mark.column + 1}:"] if mark else []
    return " ".join([*place, *(part for part in (error.context, error.problem) if part)])


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that is given twice: YAML forbids it, and PyYAML would silently take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping as a dict."""
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    text = f"the key {key.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)


def _narrow(name: str, document: object, query: str | None) -> object:
    if not query:
        return document
    try:
        import jmespath
    except ImportError as error:
        raise InputError(["query: the Python library jmespath is not installed on the controller"]) from error
    try:
        found = jmespath.search(query, document)
    except jmespath.exceptions.JMESPathError as error:
        raise InputError([f"query: {' '.join(str(error).split()).rstrip(' ^')}"]) from error
    if found is None:
        raise InputError([f"{name}: the query {query!r} finds nothing in it"])
    return found


def _canonical_text(documents: dict[str, object], query: str | None) -> str:
    """Validates, whence problems name the file."""
    narrowed = {name: _narrow(name, document, query) for name, document in documents.items()}
    return canonical.dump(source.parse_files(narrowed))


def _cached(cache: str, key: list[Any], changed_ns: int, parse: Callable[[], str]) -> CanonicalFile:
    """The canonical file of the source that ``key`` identifies; ``changed_ns`` is when the source last changed."""
    name = hashlib.sha256(json.dumps([CACHE_FORMAT, *key]).encode()).hexdigest()[:32]
    os.makedirs(cache, mode=0o700, exist_ok=True)
    with _locked(os.path.join(cache, f"{name}.lock")):
        entry = os.path.join(cache, f"{name}.entry")
        found = _known(cache, entry, changed_ns)
        if found is None:
            _forget_old(cache)
            read_ns = time.time_ns()
            found = _keep(cache, parse())
            _replace(entry, f"{found.checksum} {read_ns}")
        return found


def _known(cache: str, entry: str, changed_ns: int) -> CanonicalFile | None:
    """What the entry names, unless the source may have changed since without a trace."""
    try:
        with open(entry, encoding="utf-8") as file:
            checksum, text = file.read().split()
        read_ns = int(text)
        found = CanonicalFile(os.path.join(cache, f"{checksum}.json"), checksum)
        for path in (entry, found.path):
            os.utime(path)
    except (FileNotFoundError, ValueError):
        return None
    return None if 0 <= read_ns - changed_ns < SETTLE_SECONDS * 1e9 else found


def _keep(cache: str, text: str) -> CanonicalFile:
    checksum = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    path = os.path.join(cache, f"{checksum}.json")
    _replace(path, text)
    return CanonicalFile(path, checksum)


def _replace(path: str, text: str) -> None:
    """Puts a whole file in place at once."""
    new = f"{path}.{os.getpid()}"
    try:
        with open(new, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Of all forks that need a source, one reads it and the others wait."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Another process may have forgotten the file while this one waited: then the lock keeps nobody out.
            if _is_same(handle, path):
                os.utime(handle)
                yield
                return
        finally:
            os.close(handle)


def _is_same(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _forget_old(cache: str) -> None:
    limit = time.time() - KEEP_SECONDS
    for name in os.listdir(cache):
        path = os.path.join(cache, name)
        with contextlib.suppress(OSError):
            if os.stat(path).st_mtime < limit:
                os.unlink(path)


@contextlib.contextmanager
def _input_errors(name: str) -> Iterator[None]:
    """Whatever reading may raise, as an InputError that names what was read."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError([f"{error.filename or name}: {error.strerror or error}"]) from error
    except RecursionError as error:
        raise InputError([f"{name}: is nested too deeply"]) from error
