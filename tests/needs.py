# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of real kernels need."""

from __future__ import annotations

import os
import shutil

import pytest


def root_and(*programs: str) -> pytest.MarkDecorator:
    """Skips a test where it does not run as root, or one of the programs is missing."""
    missing = os.geteuid() != 0 or not all(map(shutil.which, programs))
    return pytest.mark.skipif(missing, reason=f"needs {', '.join(['root', *programs])}")
