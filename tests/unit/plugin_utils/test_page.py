# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page as text: whole, by itself, and with data that nobody has to trust. tests/integration has it in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

from ansible_collections.kubenode.proxy.plugins.plugin_utils import page

from tests.fleets import SyntheticFleet

EVIL = "</script><script>alert(1)</script>\u2028<img src=x onerror=alert(1)>&amp;"


class Elements(HTMLParser):
    """Collects all elements, with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}, ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def named(self, name: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for tag, attributes, text in self.found if tag == name]


def data() -> dict[str, Any]:
    return SyntheticFleet(4, 5).data()


def test_the_data_is_in_the_page_as_it_was() -> None:
    expected = json.loads(json.dumps(data()))
    (text,) = [text for attributes, text in Elements(page.render(data())).named("script") if attributes.get("id")]
    assert json.loads(text) == expected


def test_names_end_no_element() -> None:
    harmless, evil = data(), data()
    for target in (evil["nodes"][0], evil["services"][0]):
        target["name"] = EVIL
    evil["started"] = evil["nodes"][1]["message"] = EVIL
    plain, found = Elements(page.render(harmless)), Elements(page.render(evil))
    assert [tag for tag, *_rest in found.found] == [tag for tag, *_rest in plain.found]
    (text,) = [text for attributes, text in found.named("script") if attributes.get("id")]
    assert json.loads(text)["nodes"][0]["name"] == EVIL


def test_the_policy_of_the_page_names_its_scripts_and_nothing_else() -> None:
    found = Elements(page.render(data()))
    (policy,) = [a["content"] or "" for a, _text in found.named("meta") if a.get("http-equiv")]
    scripts = [text for attributes, text in found.named("script") if not attributes.get("type")]
    expected = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"'sha256-([^']+)'", policy) == expected
    assert policy.startswith("default-src 'none'; ")


def test_the_page_refers_to_no_other_file() -> None:
    for _tag, attributes, _text in Elements(page.render(data())).found:
        assert not attributes.keys() & {"src", "srcset", "data"}
        assert (attributes.get("href") or "#").startswith("#")
