# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option backend."""

    DOCUMENTATION = r"""
options:
  backend:
    description:
      - Which back end of iptables to use.
      - V(auto) takes that of the command C(iptables). A node on which both back ends hold rules is refused.
    type: str
    choices: [auto, nft, legacy]
    default: auto
"""
