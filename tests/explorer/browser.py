"""A real browser for the tests: the distribution's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parents[2] / "explorer/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WAIT = 60_000
"""Milliseconds that an answer may take on a busy machine."""


def chromium() -> str:
    """The browser; where it is needed, its absence is a failure."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return found or absent("there is no chromium, which CI installs")


def absent(why: str) -> Any:
    """Without something, a browser is not looked at; where it is needed, that is a failure."""
    if os.environ.get("LENSSCOPE_BROWSER") == "needed":
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def browsing(**context: Any) -> Iterator[Any]:
    """A window of a browser, whose pages may read and write the clipboard."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield window(browser, **context)
        finally:
            browser.close()


def window(browser: Any, **context: Any) -> Any:
    """Another window of the same browser."""
    permissions = ["clipboard-read", "clipboard-write"]
    usual = {"viewport": {"width": 1360, "height": 900}, "permissions": permissions}
    found = browser.new_context(**{**usual, **context})
    found.set_default_timeout(WAIT)
    return found


def watched(page: Any) -> list[str]:
    """Whatever a page complains of, as it comes."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    return complaints


def violations(page: Any) -> list[str]:
    """What axe finds against WCAG, levels A and AA."""
    if not AXE.is_file():
        absent("there is no axe, which npm ci in explorer/ brings")
    # evaluated, not inserted: the page's policy lets no other script in
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES
    )
    return [
        f"{one['id']}: {one['help']}: {json.dumps([n['html'][:160] for n in one['nodes'][:3]])}"
        for one in found["violations"]
    ]
