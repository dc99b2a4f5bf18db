# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option rule_set."""

    DOCUMENTATION = r"""
options:
  rule_set:
    description:
      - Path on the node of a rule set that M(kubenode.proxy.rule_set) compiled. What it says of this subsystem is what
        is converged.
    type: path
"""
