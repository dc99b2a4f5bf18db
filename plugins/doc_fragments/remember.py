# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option remember."""

    DOCUMENTATION = r"""
options:
  remember:
    description:
      - Whether the node keeps the arguments of this call, once it has succeeded, so that its own program can repeat it
        without a controller. The role P(kubenode.proxy.drift_timer#role) installs that program.
      - They lie under C(/var/lib/kubenode-proxy/runs). V(false) leaves what an earlier call left alone.
      - A call that takes away what the module made is never repeated; it makes the node forget, whatever this option
        says.
      - Not for network namespaces, which do not outlive a boot.
    type: bool
    default: false
"""
