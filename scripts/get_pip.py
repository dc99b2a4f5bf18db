# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ansible-test would download as get-pip.py, for machines that reach nothing but a package registry.

It bootstraps pip with the wheel that comes with Python, which then fetches the version that ansible-test asks for.
"""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys

# Before ensurepip changes it: it switches the configuration of pip off.
environment = {name: value for name, value in os.environ.items() if name != "GET_PIP"}
ensurepip.bootstrap()
arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments], env=environment))
