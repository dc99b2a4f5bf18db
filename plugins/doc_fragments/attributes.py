# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How modules of this collection behave in check mode and diff mode."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change without writing anything.
    support: full
  diff_mode:
    description: Shows the state before and after in canonical text.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
requirements:
  - Linux with iproute2
notes:
  - The module needs the privileges to change the kernel's network configuration (C(CAP_NET_ADMIN)).
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change without writing anything.
    support: full
    details:
      - This module changes nothing.
  diff_mode:
    description: Shows the state before and after in canonical text.
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    description: A second run changes nothing.
    support: full
"""
