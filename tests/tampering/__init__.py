# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recorded nodes to load on real kernels, and single changes of them, each to be found."""

from __future__ import annotations

import random
from collections.abc import Iterator

from . import chains, servers, sets, tables
from .recording import Recording
from .tamper import Tamper


def tampers(recording: Recording, source: random.Random) -> Iterator[Tamper]:
    """Tampers of every kind that the recording has an object for; the source chooses the objects."""
    yield from servers.of_settings(recording, source)
    if "iptables.rules" in recording.files:
        yield from chains.tampers(recording, source)
    if "addresses" in recording.files:
        yield from sets.tampers(recording, source)
        yield from servers.of_addresses(recording, source)
        yield from servers.of_servers(recording, source)
    if "ip.nft" in recording.files:
        yield from tables.tampers(recording, source)
