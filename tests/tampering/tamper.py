# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a tamper is, and all kinds of them for a recorded node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from .recording import run

T = TypeVar("T")
# (kind, name) of an object, as an operation names it.
Object = tuple[str, str]
NOTHING: frozenset[Object] = frozenset()


class Tamper(NamedTuple):
    """A change of one object by one run of a raw tool, and the objects that an audit must then name, and no other.

    These are several only where the kernel changes more than one by itself, or refuses to change one alone.
    """

    what: str
    argv: Sequence[str]
    stdin: str = ""
    finds: frozenset[Object] = NOTHING

    def apply(self) -> None:
        """Makes the change in the network namespace that this process is in. Raises ToolError."""
        run(list(self.argv), self.stdin)


def only(kind: str, name: str) -> frozenset[Object]:
    """What to find of a tamper with a single object."""
    return frozenset({(kind, name)})
