# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from hypothesis import settings

# Machines are noisy: how long an example takes says nothing.
settings.register_profile("noisy", deadline=None)
settings.load_profile("noisy")
