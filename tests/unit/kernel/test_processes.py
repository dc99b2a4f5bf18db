# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.processes import in_network_namespace


def test_a_process_is_found_by_its_name() -> None:
    with open("/proc/self/comm", encoding="utf-8") as file:
        assert os.getpid() in in_network_namespace(file.read().strip())
    assert in_network_namespace("no-such-process") == []
