# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Throw-away nodes with a kernel of their own; see `launcher.Lab`."""

from __future__ import annotations

from .host import LabError
from .launcher import Lab
from .node import Node

__all__ = ["Lab", "LabError", "Node"]
