# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

NEW_NETWORK_NAMESPACE = 0x40000000

# Machines are noisy: how long an example takes says nothing.
settings.register_profile("noisy", deadline=None)
settings.load_profile("noisy")


@pytest.fixture
def fresh_namespace() -> Iterator[None]:
    """A network namespace of its own for the test's thread and what it starts."""
    library = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as outside:
        assert library.unshare(NEW_NETWORK_NAMESPACE) == 0, os.strerror(ctypes.get_errno())
        yield
        assert library.setns(outside.fileno(), NEW_NETWORK_NAMESPACE) == 0, os.strerror(ctypes.get_errno())
