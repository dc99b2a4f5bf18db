# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The service data that lies on a node."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ..kernel import files
from ..kernel.command import KernelError
from ..model import canonical
from ..model.service import ServiceData
from ..rules.modes import counting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state.large_text import Text

# The options of the module, and the variables of the role.
REMEDY = "give services or src (kube_proxy_services or kube_proxy_services_src)"


class NodeServiceData(NamedTuple):
    """Service data as text, and the path of its file; ``incoming``: the file may say something else."""

    text: str
    path: str
    incoming: bool

    def before(self) -> str | None:
        """What the file says, None for no file. Raises KernelError."""
        return files.read_text(self.path) if self.incoming else self.text

    def texts(self) -> dict[str, Text | None]:
        """The text by the path, where the file may say something else."""
        return {self.path: self.text} if self.incoming else {}

    def parse(self) -> ServiceData:
        """Raises InputError."""
        return canonical.load(self.text)

    def service_ports(self) -> int:
        """The number of service ports: each has a line."""
        return self.text.count("\n{")


def path_in(folder: str) -> str:
    """Where service data lies in a node's folder."""
    return os.path.join(folder, "services.json")


def counting_in(folder: str, settings: Mapping[str, str]) -> ServiceData | None:
    """Of the service data in a node's folder, what counts where its rule set has these settings; None for no data.

    Raises KernelError, InputError.
    """
    found = _read(path_in(folder), None)
    return counting(found.parse(), settings) if found else None


def load(folder: str, checksum: str | None, incoming: str | None) -> NodeServiceData | None:
    """The service data to compile; None where the node does not have that of ``checksum`` (SHA-1 of the file).

    ``incoming`` is a new file to take over. Raises InputError, KernelError.
    """
    path = path_in(folder)
    found = _read(path, checksum, incoming)
    if found is None:
        if checksum and incoming:
            raise KernelError(f"{incoming} did not arrive whole: its checksum is not {checksum}")
        if not checksum:
            raise KernelError(f"there is no service data at {path}: {REMEDY}")
    return found


def _read(path: str, checksum: str | None, incoming: str | None = None) -> NodeServiceData | None:
    text = files.read_text(incoming or path, checksum)
    return None if text is None else NodeServiceData(text, path, bool(incoming))
