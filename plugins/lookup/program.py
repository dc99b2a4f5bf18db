# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The path of the node's own program on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: program
author:
  - kubenode.proxy contributors (@kubenode)
version_added: 0.1.0
short_description: The program with which a node checks itself
description:
  - Builds the program that repeats, on a node and without Ansible, what the node remembers; returns its path on the
    controller.
  - It is one file that needs nothing but Python. The role P(kubenode.proxy.drift_timer#role) installs it.
options:
  _terms:
    description:
      - Paths of Python on the node, 3.8 or newer. One program is built for each.
    required: true
"""

EXAMPLES = r"""
- name: The program is on the node
  ansible.builtin.copy:
    src: "{{ lookup('kubenode.proxy.program', '/usr/bin/python3') }}"
    dest: /usr/local/sbin/kubenode-proxy
    mode: "0755"
"""

RETURN = r"""
_raw:
  description: Paths of the programs on the controller.
  type: list
  elements: path
"""

import os
from typing import Any

from ansible import constants
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.kubenode.proxy.plugins.plugin_utils import program


class LookupModule(LookupBase):
    """See the documentation."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """One path a term."""
        cache = os.path.join(constants.config.get_config_value("ANSIBLE_HOME"), "kubenode.proxy")
        try:
            return [program.path_in(cache, term) for term in terms]
        except OSError as error:
            raise AnsibleLookupError(f"cannot build the program in {cache}: {error}") from error
