# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Sphinx builds the site of "make docs": the guides as they are, and what antsibull-docs makes of plugins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "kubenode.proxy"
copyright = "kubenode.proxy contributors"
html_title = "kubenode.proxy"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 3

html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
pygments_style = "ansible"
pygments_dark_style = "monokai"
highlight_language = "text"
# What antsibull-docs writes relies on it.
default_role = "any"
nitpicky = True

# What the pages name of Ansible's own documentation: to fetch its inventory would take a network.
ANSIBLE = "https://docs.ansible.com/ansible/latest/"
OUTSIDE = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "callback_plugins": "plugins/callback.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
MODULE = re.compile(r"ansible_collections\.(\w+)\.(\w+)\.(\w+_module)")


def outside(_app: Sphinx, _env: BuildEnvironment, node: pending_xref, text: nodes.Node) -> nodes.reference | None:
    """The link for what is documented by Ansible; None leaves the rest to Sphinx, which warns."""
    target = node["reftarget"]
    if module := MODULE.fullmatch(target):
        page: str | None = "collections/" + "/".join(module.groups()) + ".html"
    elif node["reftype"] == "envvar":
        page = f"reference_appendices/config.html#envvar-{target}" if target.startswith("ANSIBLE_") else None
    else:
        page = OUTSIDE.get(target)
    return nodes.reference("", "", text, internal=False, refuri=ANSIBLE + page) if page else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", outside)
