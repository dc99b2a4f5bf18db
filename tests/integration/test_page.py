# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a fleet in Chromium, as a person has it: small and large, on a phone, in the dark, and with evil names.

The fleets are those of tests/fleets.py. PAGE_NODES and PAGE_SERVICES: size of the large one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubenode.proxy.plugins.plugin_utils import page as page_file
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.fleets import SyntheticFleet

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LARGE = (int(os.environ.get("PAGE_NODES", "500")), int(os.environ.get("PAGE_SERVICES", "1000")))
# A page of the size of LARGE is still one that can be sent around.
MAX_BYTES = 16_000_000
VIEWS = ("#/", "#/nodes", "#/nodes/0", "#/services", "#/services/0?node=0", "#/drift", "#/drift?object=0")
EVIL = "</script><script>window.evil=1</script><img src=x onerror=window.evil=1>"
# Colours of two elements -> how much they differ, as WCAG counts.
CONTRAST = """
([front, back]) => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const [a, b] = [light(getComputedStyle(document.querySelector(front)).color),
                  light(getComputedStyle(document.querySelector(back)).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
"""

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs chromium: see requirements/apt-chromium.txt")
# Opens a page with this data, and keeps what goes wrong in it.
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Root needs it.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    wrong: list[str] = []
    contexts = []

    def open_one(data: dict[str, Any], viewport: dict[str, int] | None = None, **options: Any) -> Page:
        (tmp_path / "report.html").write_text(page_file.render(data))
        context = browser.new_context(viewport=viewport or DESKTOP, offline=True, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("file:") else None)
        page.goto(f"file://{tmp_path}/report.html")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return SyntheticFleet(6, 12).data()


@pytest.fixture(scope="module")
def large() -> dict[str, Any]:
    return SyntheticFleet(*LARGE, readings=2).data()


def go(page: Page, view: str) -> None:
    page.evaluate("view => { location.hash = view }", view)
    page.wait_for_function("view => location.hash === view", arg=view)
    # Charts are drawn with the next picture.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def rows(page: Page, panel: str = "section") -> Any:
    return page.locator(f"{panel} table.rows tbody tr")


def test_the_overview_counts_nodes_and_leads_to_them(open_page: Open, small: dict[str, Any]) -> None:
    page = open_page(small)
    expect(page.get_by_role("heading", level=1)).to_have_text("4 of 6 nodes need a look")
    card = page.locator(".card", has_text="drifted")
    expect(card.locator("b")).to_have_text(str(small["totals"]["nodes"]["drifted"]))
    card.click()
    expect(rows(page)).to_have_count(small["totals"]["nodes"]["drifted"])
    page.get_by_role("link", name="node-000").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("node-000")
    expect(page.locator("main")).to_contain_text("net.ipv4.vs.conntrack")
    expect(page.locator("main")).to_contain_text("is 0, not 1")


def test_search_and_filters(open_page: Open, small: dict[str, Any]) -> None:
    page = open_page(small)
    go(page, "#/services")
    search = page.get_by_placeholder("Search services, addresses")
    search.fill("web-11")
    expect(rows(page)).to_have_count(1)
    search.fill("10.96.0.7:80")
    expect(rows(page)).to_contain_text("web-7")
    search.fill("no such service")
    expect(rows(page)).to_have_text("Nothing matches.")
    search.fill("")
    page.get_by_role("button", name="Differs", exact=True).click()
    lost = {place for *_object, services in small["objects"] for place in services}
    expect(rows(page)).to_have_count(len(lost))
    page.get_by_role("button", name="Service", exact=True).click()
    names = page.locator("table.rows tbody td:first-child a").all_inner_texts()
    assert [small["services"][place]["name"] for place in lost if small["services"][place]["name"] not in names] == []
    assert names == sorted(names, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])


def test_the_path_of_a_service_is_drawn(open_page: Open, small: dict[str, Any]) -> None:
    page = open_page(small)
    go(page, "#/services/0?node=0")
    drawing = page.locator("[aria-label='Path of default/web-0:http'] svg")
    for text in ("10.96.0.0:80", "node port", "tcp *:30000", "10.128.0.2:8080", "missing, weight 1"):
        expect(drawing.get_by_text(text, exact=True).first).to_be_visible()
    page.locator("select").select_option(label="node-003")
    expect(drawing.get_by_text("10.128.0.2:8080", exact=True)).to_be_visible()
    expect(drawing.get_by_text("missing, weight 1")).to_have_count(0)


def test_rates_are_plotted_or_said_to_be_unknown(open_page: Open, small: dict[str, Any]) -> None:
    page = open_page(small)
    expect(page.locator("[aria-label='Connections per second, all nodes'] svg")).to_be_visible()
    page = open_page(SyntheticFleet(2, 3, readings=1).data())
    expect(page.locator("main")).to_contain_text("No rates: the counters were read less than twice")


def test_a_cell_of_the_matrix_leads_to_what_differs(open_page: Open, small: dict[str, Any]) -> None:
    page = open_page(small)
    go(page, "#/drift")
    expect(page.locator(".matrix tbody tr")).to_have_count(len(small["services"]) + 1)
    page.locator(".matrix tbody tr", has_text="default/web-0:http").locator("a.cell").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("default/web-0:http")
    expect(page.locator("main")).to_contain_text("tcp *:30000 -> 10.128.0.2:8080")


@pytest.mark.parametrize("fleet", [(0, 0), (1, 0), (2, 1)], ids=["no node", "no service", "two nodes"])
def test_little_is_no_error(fleet: tuple[int, int], open_page: Open) -> None:
    page = open_page(SyntheticFleet(*fleet).data())
    for view in VIEWS:
        go(page, view)
        expect(page.get_by_role("heading", level=1)).not_to_be_empty()


def test_hundreds_of_nodes_with_thousands_of_services(open_page: Open, large: dict[str, Any], tmp_path: Path) -> None:
    page = open_page(large)
    assert (tmp_path / "report.html").stat().st_size < MAX_BYTES
    go(page, "#/nodes")
    page.get_by_placeholder("Search nodes").fill("node-007")
    expect(rows(page)).to_have_count(1)
    go(page, "#/services")
    page.get_by_placeholder("Search services, addresses").fill(f"web-{LARGE[1] - 1}")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("link", name=f"web-{LARGE[1] - 1}").click()
    expect(page.locator("[aria-label^='Path of'] svg")).to_be_visible()
    for view in VIEWS:
        go(page, view)
        assert page.evaluate("document.querySelectorAll('*').length") < 6000, view


def test_a_phone_scrolls_one_way_only(open_page: Open, small: dict[str, Any], large: dict[str, Any]) -> None:
    for data in (small, large):
        page = open_page(data, PHONE, has_touch=True, is_mobile=True)
        for view in VIEWS:
            go(page, view)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, view


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(scheme: str, open_page: Open, small: dict[str, Any]) -> None:
    page = open_page(small, color_scheme=scheme)
    for front in ("h1", ".facts", ".status.is-drifted", ".status.is-failed", ".status.is-unreachable", "td a"):
        assert page.evaluate(CONTRAST, [front, ".panel"]) >= 4.5, front


def test_the_theme_can_be_chosen(open_page: Open, small: dict[str, Any]) -> None:
    page = open_page(small, color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    button = page.locator("#theme")
    expect(button).to_have_text("Auto")
    button.click()
    assert page.evaluate(background) == light
    button.click()
    expect(button).to_have_text("Dark")
    assert page.evaluate(background) != light
    page.reload()
    expect(button).to_have_text("Dark")


def test_names_are_text_wherever_they_are_shown(open_page: Open) -> None:
    data = SyntheticFleet(6, 3).data()
    data["texts"] = [f"{EVIL}{text}" if "10.128" in text else text for text in data["texts"]]
    for service in data["services"]:
        service["name"] = EVIL + service["name"]
    for node in data["nodes"]:
        node["name"] = EVIL + node["name"]
        node["message"] = EVIL
    data["objects"] = [[verb, EVIL, EVIL, EVIL, services] for verb, _kind, _name, _reason, services in data["objects"]]
    page = open_page(data)
    for view in VIEWS:
        go(page, view)
        expect(page.locator("main")).to_contain_text("</script><script>window.evil=1</script>")
        page.mouse.move(400, 300)
    assert page.evaluate("window.evil") is None
