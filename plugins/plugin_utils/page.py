# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The page of a fleet: one HTML file that needs no other, nor a network.

What it shows comes from nodes, and is not to be trusted. So the data stands in the page as JSON, the scripts put it in
as text only, and a policy in the page keeps a browser from running any other script, and from loading anything.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).with_name("page_files")
TEMPLATE = "page.html.j2"
STYLE = "page.css"
# In the order in which they run; each uses what those before it define.
SCRIPTS = ("echarts.min.js", "fleet.js", "elements.js", "charts.js", "views.js", "main.js")


def render(data: Mapping[str, Any]) -> str:
    """The page that shows the data of :mod:`.fleet`."""
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True)
    # Its filter tojson writes no character that could end the element which the data stands in.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    scripts = [(FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return environment.get_template(TEMPLATE).render(
        data=data,
        style=(FOLDER / STYLE).read_text(encoding="utf-8"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
    )


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
