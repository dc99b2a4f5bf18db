# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Values that kernel settings had before the collection changed them: what they get back in the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..kernel import files
from ..kernel.command import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class SysctlOriginals:
    """A file on the node with the values of all settings that were changed, and with who wants which of them.

    ``user`` is who asks: rule sets, or a drop-in file. A setting gets its value back when nobody wants it any more: a
    node that is prepared for another mode still holds the rule set of the old one. Raises KernelError.
    """

    def __init__(self, path: str, user: str) -> None:
        self._path = path
        self._user = user
        try:
            found = json.loads(files.read_text(path) or "{}")
            self._values: dict[str, str] = dict(found.get("before", {}))
            self._wanted: dict[str, list[str]] = {name: list(names) for name, names in found.get("wanted", {}).items()}
        except (ValueError, AttributeError, TypeError) as error:
            raise KernelError(f"{path} cannot be read; without it, settings keep their present values") from error

    def to_restore(self, wanted: Iterable[str]) -> dict[str, str]:
        """Values by name of the settings that nobody wants any more once this user wants ``wanted``."""
        everybody_s = set(wanted).union(*(names for user, names in self._wanted.items() if user != self._user))
        return {name: value for name, value in self._values.items() if name not in everybody_s}

    def noted(self, live: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
        """The file, text by path, with the values of settings that are about to change for the first time."""
        for name, value in wanted.items():
            if live.get(name, value) != value:
                self._values.setdefault(name, live[name])
        self._wanted[self._user] = sorted({*wanted, *self._wanted.get(self._user, ())})
        return self._file(self._values, self._wanted)

    def settled(self, wanted: Iterable[str]) -> dict[str, str | None]:
        """The file, None where it holds nothing, with what this user wants, and without values that were restored."""
        wanted = sorted(wanted)
        restored = self.to_restore(wanted)
        values = {name: value for name, value in self._values.items() if name not in restored}
        return self._file(values, {**self._wanted, self._user: wanted})

    def _file(self, values: Mapping[str, str], wanted: Mapping[str, list[str]]) -> dict[str, str | None]:
        wanted = {user: names for user, names in wanted.items() if names}
        content = {"before": values, "wanted": wanted}
        return {self._path: json.dumps(content, indent=2, sort_keys=True) + "\n" if wanted else None}
