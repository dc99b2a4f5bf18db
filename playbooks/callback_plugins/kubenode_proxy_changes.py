# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the callback kubenode.proxy.changes with the playbooks: what lies here is enabled where they run."""

from __future__ import annotations

from ansible_collections.kubenode.proxy.plugins.callback import changes


class CallbackModule(changes.CallbackModule):
    """The callback, without a setting that has to name it."""

    CALLBACK_NEEDS_ENABLED = False
