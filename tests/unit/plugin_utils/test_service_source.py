# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service data on the controller: what is read, what is refused, and how often a source is read.

web   default/web, 10.96.0.1:80 -> 10.244.1.5, native
api   shop/api, 10.96.0.2:80 -> 10.244.1.6, Kubernetes objects
"""

from __future__ import annotations

import builtins
import hashlib
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.plugin_utils import service_source

if TYPE_CHECKING:
    from collections.abc import Callable

WEB = {"name": "web", "cluster_ip": "10.96.0.1", "ports": [{"port": 80}], "endpoints": ["10.244.1.5"]}
DNS = {**WEB, "name": "dns", "cluster_ip": "10.96.0.3"}
SERVICE = {
    "kind": "Service",
    "metadata": {"name": "api", "namespace": "shop"},
    "spec": {"clusterIP": "10.96.0.2", "ports": [{"port": 80}]},
}
SLICE = {
    "kind": "EndpointSlice",
    "metadata": {"name": "api-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "api"}},
    "endpoints": [{"addresses": ["10.244.1.6"]}],
    "ports": [{"port": 80}],
}
OBJECTS = {"kind": "List", "items": [SERVICE, SLICE]}
REMEDY = "; write to another file, and rename it when it is complete"
EXPECTED = "expected a list of services, a mapping with the key 'services', or Kubernetes objects"
LONG_AGO = 1_600_000_000


class Controller:
    """A directory for sources and one for the cache; counts how often a file is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.folder.mkdir()
        self.cache = folder / "cache"
        self.reads: list[str] = []

    def write(self, name: str, content: object, age: float = 60) -> str:
        """A file that has not changed for ``age`` seconds; text as it is, anything else as JSON."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        os.utime(path, (time.time() - age, time.time() - age))
        return str(path)

    def read(self, path: str | Path, query: str | None = None) -> service_source.CanonicalFile:
        return service_source.from_path(str(path), query, str(self.cache))

    def names(self, path: str | Path, query: str | None = None) -> list[str]:
        return names(self.read(path, query))

    def refusal(self, path: str | Path, query: str | None = None) -> str:
        """Why the source is refused, in one line; paths without this test's folder."""
        with pytest.raises(InputError) as caught:
            self.read(path, query)
        assert "Traceback" not in str(caught.value)
        return str(caught.value).replace(f"{self.folder}/", "").replace(str(self.folder), ".")


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    made = Controller(tmp_path)
    monkeypatch.setattr(service_source, "_read", counting(service_source._read, made.reads))
    # A file of a test cannot have an old ctime.
    monkeypatch.setattr(service_source, "SETTLE_SECONDS", 0)
    return made


def counting(read: Callable[[str], object], reads: list[str]) -> Callable[[str], object]:
    def counted(path: str) -> object:
        reads.append(os.path.basename(path))
        return read(path)

    return counted


def names(found: service_source.CanonicalFile) -> list[str]:
    """The service ports of a canonical file, after a look at the file itself."""
    content = Path(found.path).read_bytes()
    assert hashlib.sha1(content).hexdigest() == found.checksum
    return [str(port) for port in canonical.load(content.decode()).service_ports]


# --- what is read


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", [WEB], ["default/web"]),
        ("a.json", {"services": [WEB, DNS]}, ["default/dns", "default/web"]),
        ("a.json", OBJECTS, ["shop/api"]),
        ("a.json", "\ufeff" + json.dumps([WEB]), ["default/web"]),
        ("a.yml", yaml.safe_dump([WEB]), ["default/web"]),
        ("a.yaml", "# by hand\n" + yaml.safe_dump({"services": [WEB]}), ["default/web"]),
        ("a.yml", yaml.safe_dump_all([SERVICE, None, SLICE]), ["shop/api"]),
        ("a.yml", yaml.safe_dump_all([OBJECTS, {"services": [WEB]}]), ["default/web", "shop/api"]),
        ("a.yml", f"---\n---\n{yaml.safe_dump([WEB])}\n---\n", ["default/web"]),
        ("a.yml", json.dumps([WEB]), ["default/web"]),
        ("a.yml", "{services: []}", []),
        ("services", yaml.safe_dump([WEB]), ["default/web"]),
    ],
)
def test_files(controller: Controller, name: str, content: object, expected: list[str]) -> None:
    assert controller.names(controller.write(name, content)) == expected


def test_the_endpoints_are_there_too(controller: Controller) -> None:
    found = controller.read(controller.write("a.yml", yaml.safe_dump_all([SLICE, SERVICE])))
    assert canonical.load(Path(found.path).read_text()) == source.parse([SERVICE, SLICE])


def test_a_directory_is_one_source(controller: Controller) -> None:
    controller.write("data/service.json", SERVICE)
    controller.write("data/slice.yml", yaml.safe_dump(SLICE))
    controller.write("data/web.yaml", yaml.safe_dump([WEB]))
    controller.write("data/notes.txt", "not data")
    controller.write("data/.web.yaml.swp", b"\0\1")
    assert controller.names(controller.folder / "data") == ["default/web", "shop/api"]
    assert controller.reads == ["service.json", "slice.yml", "web.yaml"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (None, ["default/web", "shop/api"]),
        ("", ["default/web", "shop/api"]),
        ("items[?metadata.namespace=='shop']", ["shop/api"]),
        ("items[?kind!='EndpointSlice' && kind!='Service'][].services[]", ["default/web"]),
        ("items[?metadata.namespace=='none']", []),
    ],
)
def test_a_query_narrows_a_file(controller: Controller, query: str | None, expected: list[str]) -> None:
    documents = [SERVICE, SLICE, {"services": [WEB]}]
    content = {"items": documents} if query else documents
    assert controller.names(controller.write("a.json", content), query) == expected


def test_inline_values(tmp_path: Path) -> None:
    assert names(service_source.from_value([WEB], None, str(tmp_path))) == ["default/web"]
    assert names(service_source.from_value(OBJECTS, "items", str(tmp_path))) == ["shop/api"]


def test_inline_values_of_types_that_only_yaml_has(tmp_path: Path) -> None:
    service: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SERVICE))
    service["metadata"]["creationTimestamp"] = yaml.safe_load("2026-01-01T00:00:00Z")
    assert names(service_source.from_value([service], None, str(tmp_path))) == ["shop/api"]


# --- what is refused


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", "", "a.json: is empty"),
        ("a.yml", " \n", "a.yml: is empty"),
        (
            "a.json",
            json.dumps(OBJECTS)[:100],
            f"a.json: is not whole JSON: Unterminated string starting at: line 1 column 98 (char 97){REMEDY}",
        ),
        (
            "a.json",
            json.dumps(SERVICE) + json.dumps(SLICE),
            f"a.json: is not whole JSON: Extra data: line 1 column 131 (char 130){REMEDY}",
        ),
        (
            "a.yml",
            json.dumps(SERVICE)[:-1],
            "a.yml: is not YAML: line 2, column 1: while parsing a flow mapping did not find expected ',' or '}'",
        ),
        (
            "a.yml",
            "- name: web\n  ports: [80\n",
            "a.yml: is not YAML: line 3, column 1: while parsing a flow sequence did not find expected ',' or ']'",
        ),
        (
            "a.yml",
            "- name: web\n  ports: []\n  ports: []\n",
            "a.yml: is not YAML: line 3, column 3: the key 'ports' is given twice",
        ),
        ("a.yml", "- zone: 2026-13-01\n", "a.yml: is not YAML: month must be in 1..12"),
        (
            "a.yml",
            "- name: !secret x\n",
            "a.yml: is not YAML: line 1, column 9: could not determine a constructor for the tag '!secret'",
        ),
        ("a.json", "[" * 100_000, "a.json: is nested too deeply"),
        ("a.yml", "[" * 100_000, "a.yml: is nested too deeply"),
        ("a.yml", "- " * 100_000, "a.yml: is nested too deeply"),
        (
            "a.json",
            b"\x7fELF\x02\x01\x01\xff\x00",
            "a.json: is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 7: invalid start byte",
        ),
        (
            "a.json",
            b"[\x00]",
            f"a.json: is not whole JSON: Expecting value: line 1 column 2 (char 1){REMEDY}",
        ),
        (
            "a.yml",
            b"a: \x00\x01",
            "a.yml: is not YAML: unacceptable character #x0000: control characters are not allowed",
        ),
        (
            "a.yml",
            "just text",
            f"a.yml: {EXPECTED}, not 'just text'",
        ),
        (
            "a.json",
            [{**WEB, "clusterip": "10.96.0.1"}],
            "a.json[0].clusterip: unknown key (did you mean 'cluster_ip'?)",
        ),
        ("a.json", {"services": [{**WEB, "ports": [{}]}]}, "a.json.services[0].ports[0].port: is required"),
    ],
)
def test_refused_content(controller: Controller, name: str, content: object, expected: str) -> None:
    path = controller.write(name, content)
    assert controller.refusal(path).startswith(expected)
    assert controller.refusal(path) == controller.refusal(path)
    assert not list(controller.cache.glob("*.json"))


def test_no_such_file(controller: Controller) -> None:
    assert controller.refusal(controller.folder / "a.json") == "a.json: No such file or directory"


def test_a_file_that_cannot_be_read(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    path = controller.write("a.json", [WEB])
    opened = builtins.open

    def forbidden(file: Any, *arguments: Any, **options: Any) -> Any:
        if file == path:
            raise PermissionError(13, "Permission denied", path)
        return opened(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", forbidden)
    assert controller.refusal(path) == "a.json: Permission denied"


def test_an_error_in_the_middle_of_reading() -> None:
    with pytest.raises(InputError, match=r"^/proc/self/mem: Input/output error$"):
        service_source._read("/proc/self/mem")


def test_a_loop_of_links(controller: Controller) -> None:
    (controller.folder / "a.json").symlink_to("a.json")
    assert controller.refusal(controller.folder / "a.json") == "a.json: Too many levels of symbolic links"


def test_a_fifo_is_not_waited_for(controller: Controller) -> None:
    os.mkfifo(controller.folder / "a.json")
    assert controller.refusal(controller.folder / "a.json") == "a.json: is not a regular file"
    assert controller.refusal(controller.folder) == "a.json: is not a regular file"


def test_a_directory_without_data(controller: Controller) -> None:
    controller.write("notes.txt", "not data")
    assert controller.refusal(controller.folder) == ".: the directory has no file that ends in .json, .yml, .yaml"


def test_a_directory_named_as_a_file(controller: Controller) -> None:
    (controller.folder / "b.json").mkdir()
    assert controller.refusal(controller.folder) == "b.json: is not a regular file"


def test_a_huge_file_is_not_read(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_source, "MAX_BYTES", 10)
    path = controller.write("a.json", [WEB])
    size = os.path.getsize(path)
    assert controller.refusal(path) == f"a.json: has {size} bytes, more than 10: split it into a directory of files"
    assert controller.reads == []


def test_one_service_in_two_files(controller: Controller) -> None:
    controller.write("a.json", [WEB])
    controller.write("b.yml", yaml.safe_dump([WEB]))
    assert controller.refusal(controller.folder) == ("b.yml[0]: service default/web is already at a.json[0]")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("items[", 'query: Invalid jmespath expression: Incomplete expression: "items["'),
        (
            "items[?]",
            'query: invalid token: Parse error at column 7, token "]" (RBRACKET), for expression: "items[?]"',
        ),
        ("nope(@)", "query: Unknown function: nope()"),
        ("length(kind, kind)", "query: Expected 1 argument for function length(), received 2"),
        (
            "abs(kind)",
            "query: In function abs(), invalid type for value: List, expected one of: ['number'], received: \"string\"",
        ),
        ("itmes", "a.json: the query 'itmes' finds nothing in it"),
        (
            "kind",
            f"a.json: {EXPECTED}, not 'List'",
        ),
    ],
)
def test_refused_queries(controller: Controller, query: str, expected: str) -> None:
    assert controller.refusal(controller.write("a.json", OBJECTS), query) == expected


def test_a_query_without_jmespath(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    path = controller.write("a.json", [WEB])
    assert controller.refusal(path, "[]") == "query: the Python library jmespath is not installed on the controller"
    assert controller.names(path) == ["default/web"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{**WEB, "cluster_ip": "10.96.0.300"}], "services[0].cluster_ip: '10.96.0.300' is not an IP address"),
        ({"services": [{**WEB, "port": 80}]}, "services.services[0].port: unknown key (did you mean 'ports'?)"),
        ("", f"services: {EXPECTED}, not ''"),
        ([{("a", "b"): 1}], "services: keys must be str, int, float, bool or None, not tuple"),
    ],
)
def test_refused_inline_values(tmp_path: Path, value: object, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        service_source.from_value(value, None, str(tmp_path))
    assert str(caught.value) == expected


def test_a_cache_that_cannot_be_written(controller: Controller) -> None:
    controller.cache.write_text("in the way")
    path = controller.write("a.json", [WEB])
    with pytest.raises(InputError, match=rf"^{controller.cache}: File exists$"):
        controller.read(path)


# --- how often a source is read


def test_the_second_call_does_not_read_the_source(controller: Controller) -> None:
    path = controller.write("a.json", [WEB])
    first = controller.read(path)
    assert controller.read(path) == first
    assert controller.reads == ["a.json"]


def test_a_change_is_seen(controller: Controller) -> None:
    path = controller.write("a.json", [WEB])
    assert controller.names(path) == ["default/web"]
    controller.write("a.json", [WEB, DNS])
    assert controller.names(path) == ["default/dns", "default/web"]


def test_a_change_of_the_same_size_and_time_is_seen(controller: Controller) -> None:
    """The time of modification can be set, the time of change cannot."""
    path = controller.write("a.json", [WEB])
    os.utime(path, (LONG_AGO, LONG_AGO))
    controller.read(path)
    time.sleep(0.05)
    controller.write("a.json", [{**WEB, "name": "dns"}])
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert controller.names(path) == ["default/dns"]


def test_a_change_that_leaves_no_trace_is_seen(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes within one tick of the file system's clock: the first read does not count for long."""
    monkeypatch.setattr(service_source, "SETTLE_SECONDS", 2)
    path = controller.write("a.json", [WEB])
    controller.read(path)
    controller.read(path)
    assert controller.reads == ["a.json", "a.json"]
    times = os.stat(path).st_ctime
    monkeypatch.setattr(time, "time_ns", lambda: int((times + 3) * 1e9))
    controller.read(path)
    controller.read(path)
    assert controller.reads == ["a.json", "a.json", "a.json"]


def test_a_new_or_lost_file_in_a_directory_is_seen(controller: Controller) -> None:
    controller.write("a.json", [WEB])
    assert controller.names(controller.folder) == ["default/web"]
    added = controller.write("b.json", [DNS])
    assert controller.names(controller.folder) == ["default/dns", "default/web"]
    os.unlink(added)
    assert controller.names(controller.folder) == ["default/web"]


def test_another_query_is_another_source(controller: Controller) -> None:
    path = controller.write("a.json", [WEB, DNS])
    assert controller.names(path, "[?name=='web']") == ["default/web"]
    assert controller.names(path, "[?name=='dns']") == ["default/dns"]


def test_a_file_that_changes_while_it_is_read(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    path = controller.write("a.json", [WEB])
    read = service_source._read

    def read_while_written(name: str) -> object:
        found = read(name)
        controller.write("a.json", [WEB, DNS])
        return found

    monkeypatch.setattr(service_source, "_read", read_while_written)
    expected = f"a.json: changed while it was read{REMEDY}"
    assert controller.refusal(path) == expected


def test_a_refused_source_is_read_again_when_mended(controller: Controller) -> None:
    path = controller.write("a.json", "[")
    controller.refusal(path)
    controller.write("a.json", [WEB])
    assert controller.names(path) == ["default/web"]


def test_a_file_never_changes_under_its_checksum(controller: Controller) -> None:
    path = controller.write("a.json", [WEB])
    first = controller.read(path)
    controller.write("a.json", [DNS])
    second = controller.read(path)
    assert (names(first), names(second)) == (["default/web"], ["default/dns"])


@pytest.mark.parametrize("damage", ["", "no checksum", "0" * 40 + " 1"])
def test_a_damaged_entry_is_made_anew(controller: Controller, damage: str) -> None:
    path = controller.write("a.json", [WEB])
    controller.read(path)
    (entry,) = controller.cache.glob("*.entry")
    entry.write_text(damage)
    assert controller.names(path) == ["default/web"]


def read_in_a_fork(path: str, cache: str, start: Any, reads: Any) -> None:
    original = service_source._read

    def slow(name: str) -> object:
        with reads.get_lock():
            reads.value += 1
        time.sleep(0.3)
        return original(name)

    service_source._read = slow  # type: ignore[assignment]
    start.wait()
    assert names(service_source.from_path(path, None, cache)) == ["default/web"]


def test_of_all_forks_one_reads_and_the_others_wait(controller: Controller) -> None:
    path = controller.write("a.json", [WEB])
    context = multiprocessing.get_context("fork")
    start, reads = context.Barrier(4), context.Value("i", 0)
    forks = [
        context.Process(target=read_in_a_fork, args=(path, str(controller.cache), start, reads)) for _fork in range(4)
    ]
    for fork in forks:
        fork.start()
    for fork in forks:
        fork.join(timeout=20)
    assert [fork.exitcode for fork in forks] == [0, 0, 0, 0]
    assert reads.value == 1


def test_what_nobody_uses_is_forgotten(controller: Controller) -> None:
    old, used = (controller.read(controller.write(name, [{**WEB, "name": name[0]}])) for name in ("a.json", "b.json"))
    for path in controller.cache.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    assert controller.read(controller.folder / "b.json") == used
    controller.read(controller.write("c.json", [DNS]))
    left = {path.name for path in controller.cache.iterdir()}
    assert os.path.basename(old.path) not in left
    assert os.path.basename(used.path) in left
    assert sorted(name.rpartition(".")[2] for name in left) == ["entry", "entry", "json", "json", "lock", "lock"]


def test_a_lock_that_was_forgotten_meanwhile_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    path.unlink()
    assert not service_source._is_same(handle, str(path))
    with service_source._locked(str(path)):
        assert not service_source._is_same(handle, str(path))
    os.close(handle)


def test_only_the_owner_can_look_into_the_cache(controller: Controller) -> None:
    controller.read(controller.write("a.json", [WEB]))
    assert controller.cache.stat().st_mode & 0o777 == 0o700
