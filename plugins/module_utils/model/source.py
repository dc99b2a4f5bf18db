# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Service data in whichever form it comes: native, Kubernetes objects, or documents of both."""

from __future__ import annotations

from collections.abc import Mapping

from . import kubernetes, native
from .draft import Draft
from .errors import Problems
from .fields import Fields, describe
from .service import ServiceData

_EXPECTED = "expected a list of services, a mapping with the key 'services', or Kubernetes objects"


def parse(document: object) -> ServiceData:
    """One document, or a list of documents -> service data. Raises InputError."""
    return parse_files({"": document})


def parse_files(files: Mapping[str, object]) -> ServiceData:
    """File name -> its document; together they are the service data. Problems name the file. Raises InputError."""
    draft = Draft()
    objects: list[tuple[str, Fields]] = []
    for name, document in files.items():
        objects += _read(document, name, draft)
    kubernetes.read(objects, draft)
    return draft.finish()


def _read(document: object, path: str, draft: Draft) -> list[tuple[str, Fields]]:
    """Adds native services to the draft and returns the Kubernetes objects, which only make sense all together."""
    if isinstance(document, (list, tuple)):
        if _is_native_list(document):
            native.read(document, path or "services", draft)
            return []
        objects: list[tuple[str, Fields]] = []
        for index, item in enumerate(document):
            objects += _read(item, f"{path or 'objects'}[{index}]", draft) if item is not None else []
        return objects
    if isinstance(document, dict) and "kind" in document:
        return list(kubernetes.objects_in(document, path, draft.problems))
    if isinstance(document, dict) and "services" in document:
        fields = Fields(document, path, draft.problems)
        fields.only(("services",))
        native.read(document["services"], fields.at("services"), draft)
        return []
    _refuse(document, path, draft.problems)
    return []


def _is_native_list(document: list[object] | tuple[object, ...]) -> bool:
    return all(isinstance(item, dict) and "kind" not in item and "services" not in item for item in document)


def _refuse(document: object, path: str, problems: Problems) -> None:
    found = describe(document)
    if isinstance(document, dict):
        found = f"a mapping with {', '.join(sorted(map(repr, document))) or 'no keys'}"
    problems.add(path, f"{_EXPECTED}, not {found}")
