# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Values that kernel settings had before the collection changed them: what they get back in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kernel import files
from ..kernel.command import KernelError
from ..state.node import parse_sysctls, render_sysctls

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


class SysctlOriginals:
    """A file on the node in the form of sysctl.d, and its ``values`` by name. Raises KernelError where it is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._text = files.read_text(path) or ""
        try:
            self.values = parse_sysctls(self._text)
        except ValueError as error:
            raise KernelError(
                f"{path}: {error}; remove the file, and its settings keep their present values"
            ) from error

    def note(self, live: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        """Keeps the values of settings that are about to change for the first time. Raises KernelError."""
        changing = {name: live[name] for name, value in wanted.items() if live.get(name, value) != value}
        self._write({**changing, **self.values})

    def forget(self, wanted: Container[str]) -> None:
        """Drops those that have got their values back. Raises KernelError."""
        self._write({name: value for name, value in self.values.items() if name in wanted})

    def _write(self, values: dict[str, str]) -> None:
        text = render_sysctls(values)
        if text != self._text:
            if text:
                files.write_text(self._path, text, mode=0o600)
            else:
                files.remove(self._path)
            self.values, self._text = values, text
