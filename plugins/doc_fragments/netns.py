# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option netns."""

    DOCUMENTATION = r"""
options:
  netns:
    description:
      - Name of a network namespace of the node to work in, as C(ip netns) lists it.
    type: str
"""
