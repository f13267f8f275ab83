"""The site that `make docs` built: whole, searched, read and reached without a network."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from docs.making import gallery
from tests.explorer.browser import absent, browsing, violations, watched
from tests.explorer.browser import window as another_window

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build/site"
SAMPLE = [
    *("index", "which-tool", "gallery", "faq", "glossary", "families", "explorer", "changelog"),
    *(
        "how-to/bring-your-model",
        "how-to/study",
        "reference/index",
        "reference/activation_patching",
    ),
    *("reference/Patchscope", "reference/resid_mid", "reference/SiteError", "course/index"),
]


@pytest.fixture(scope="session")
def site() -> Path:
    """The site, if it is that of these pages and this package."""
    made = SITE / "made.json"
    if not made.is_file() or json.loads(made.read_text())["of"] != gallery.site_fingerprint():
        absent("the site is not there, or of other pages: make docs")
    return SITE


@pytest.fixture(scope="module")
def window(site: Path) -> Iterator[Any]:
    with browsing(offline=True) as context:
        yield context


def test_links_and_pictures_lead_somewhere(site):
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 150
    anchors = {
        path: set(re.findall(r'(?:id|name)="([^"]+)"', text)) for path, text in pages.items()
    }
    for path, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"]*)"', text):
            to, _, anchor = unquote(html.unescape(link)).partition("#")
            if re.match(r"[a-z]+:", to) or (not to and not anchor):
                continue
            there = (path.parent / to).resolve() if to else path
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), (path, link)
            if anchor and there.suffix == ".html":
                assert anchor in anchors[there], (path, link)


def test_nothing_is_asked_of_a_network(site):
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        asked = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:[^"]*)"', text)
        assert not asked, (path, asked)


def test_a_page_is_read_from_a_disk_with_networking_off(window, site):
    page = window.new_page()
    complaints, asked = watched(page), []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index", "gallery", "reference/Patchscope"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.locator("h1").count() == 1
        page.wait_for_function("[...document.images].every(each => each.complete)")
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0 && i.alt)")
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()


def test_a_word_is_found(window, site):
    page = window.new_page()
    page.goto((site / "index.html").as_uri())
    page.locator(".md-search__input").click()
    page.keyboard.type("run_many")
    first = page.locator(".md-search-result__link").first
    first.wait_for()
    assert "run_many" in first.get_attribute("href")
    first.click()
    page.wait_for_url("**/run_many.html*")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(window, site, scheme, width):
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    context = another_window(window.browser, offline=True, **options)
    page = context.new_page()
    for name in SAMPLE:
        page.goto((site / f"{name}.html").as_uri())
        shown = page.evaluate("document.body.getAttribute('data-md-color-scheme')")
        assert shown == ("slate" if scheme == "dark" else "default")
        assert violations(page) == [], name
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, (name, wide)
    context.close()


def test_what_scrolls_is_reached_with_the_keyboard(window, site):
    page = window.new_page()
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto((site / "families.html").as_uri())
    page.wait_for_selector("[tabindex='0'][role='region']")
    region = page.locator("[tabindex='0'][role='region']").first
    region.focus()
    before = region.evaluate("each => each.scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("b => document.activeElement.scrollLeft > b", arg=before)
    page.close()
