"""A recording of every view, from a disk and without a network; and one in which all texts, of the
model, of its readers and of what it says, mean harm."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from lensscope.explorer.explorer import Explorer
from lensscope.explorer.page import recorded_page
from lensscope.explorer.record import record_of
from tests.explorer import browser
from tests.explorer.asking import ITALY, JAPAN

EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
SPOKEN = {"text", "texts", "token", "name", "shuffled_text", "nothing", "python", "notes"}
SPOKEN |= {"answer", "wrong", "read", "written", "about"}
PATCH = {
    "from": {"prompt": 0, "layer": 12, "position": 3},
    "to": {"prompt": 1, "layer": 12, "position": 3},
    "how": "set",
    "amount": 1,
}


@pytest.fixture(scope="module")
def record(lab) -> dict[str, Any]:
    """Answers of every view, as the explorer keeps them."""
    explorer = Explorer(lab)
    state = copy.deepcopy(explorer.about["state"])
    state["prompt"], state["patches"] = JAPAN, [PATCH]
    state["cell"] = {"position": 3, "layer": 12}
    state["matters_cell"] = {"position": 3, "layer": 13}
    where = {"prompt": JAPAN, "position": 3, "layer": 12, "inspection": state["inspection"]}
    pair = {"clean": JAPAN, "corrupted": ITALY, "answer": "", "wrong": ""}
    for question in (
        {"kind": "grid", "prompt": JAPAN, "lens": "logit"},
        {"kind": "grid", "prompt": ITALY, "lens": "logit"},
        {"kind": "cell", "prompt": JAPAN, "position": 3, "layer": 12},
        {"kind": "words", **where},
        {"kind": "step", **where, "reader": state["reader"]},
        {"kind": "patch", "prompts": [JAPAN, ITALY], "patches": [PATCH], "max_new_tokens": 8},
        {"kind": "matters", **pair, "site": "resid_pre"},
        {"kind": "circuit", **pair, "threshold": 0.05},
    ):
        explorer.ask(question)
    held = record_of(explorer.about, state, explorer.desk.kept.all())
    return json.loads(json.dumps(held))


@pytest.fixture
def opened(record, tmp_path):
    """Opens a record as a page on a disk, in a browser without a network."""
    with browser.browsing(offline=True) as room:

        def act(held):
            path = tmp_path / f"talk-{len(list(tmp_path.iterdir()))}.html"
            path.write_text(recorded_page(held), "utf-8")
            page = room.new_page()
            page.complaints = browser.watched(page)
            page.goto(path.as_uri())
            page.get_by_test_id("grid").wait_for()
            return page

        yield act


def go_round(page):
    """Every view, with what it shows of the recording."""
    page.get_by_test_id("words-table").wait_for()
    views = page.get_by_role("navigation", name="Views")
    yield "grid", page.get_by_test_id("words-table").inner_text()
    views.get_by_role("button", name="Patch").click()
    page.get_by_test_id("patch-result-1").wait_for()
    yield "patch", page.get_by_test_id("patch-result-1").inner_text()
    views.get_by_role("button", name="Where it matters").click()
    page.get_by_test_id("matters-map").wait_for()
    page.get_by_test_id("side-panel").wait_for()
    yield "matters", page.get_by_role("main").inner_text()
    page.get_by_role("button", name="Circuit").click()
    page.get_by_test_id("circuit").wait_for()
    yield "circuit", page.get_by_role("main").inner_text()
    views.get_by_role("button", name="Step").click()
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_text("With nothing written it says").wait_for()
    yield "step", page.get_by_role("main").inner_text()


def test_every_view_works_from_a_disk(opened, record):
    page = opened(record)
    seen = dict(go_round(page))
    answers = {one["question"]["kind"]: one["parts"] for one in record["answers"]}
    said = [s for part in answers["words"] for s in part.get("said", ())]
    assert all(one["text"].strip() in seen["grid"] for one in said)
    assert "Tokyo" in seen["patch"]
    assert "0.9" in seen["matters"]
    assert "MLP 0" in seen["circuit"]
    steps = [s["token"].strip() for part in answers["step"] for s in part.get("steps", ())]
    assert all(step in seen["step"] for step in steps if step.isalnum())
    assert page.complaints == []
    # what was not recorded is said to be so
    page.get_by_role("navigation", name="Views").get_by_role("button", name="Grid").click()
    page.get_by_test_id("cell-25-5").first.click()
    page.get_by_text("Not in this recording").first.wait_for()


def hostile(value: Any, name: str = "") -> Any:
    """The same with markup behind every text that a page shows."""
    if isinstance(value, dict):
        return {key: hostile(held, key) for key, held in value.items()}
    if isinstance(value, list):
        return [hostile(held, name) for held in value]
    return value + EVIL if isinstance(value, str) and name in SPOKEN else value


def test_no_text_of_a_recording_becomes_anything_else(opened, record):
    held = copy.deepcopy(record)
    for one in held["answers"]:
        one["parts"] = hostile(one["parts"])
    for name in ("lenses", "readers", "presets"):
        for one in held["about"][name]:
            one["name"] += EVIL
            if "about" in one:
                one["about"] += EVIL
    held["about"]["model"]["name"] += EVIL
    held["about"]["libraries"]["lensscope"] += EVIL
    page = opened(held)
    for _, text in go_round(page):
        assert "onerror" in text
        assert page.locator("img").count() == 0
        assert page.evaluate("document.scripts.length") == 2  # the record, and the explorer
    page.get_by_test_id("copy-python").click()
    page.get_by_test_id("python-code").wait_for()
    assert page.complaints == []


@pytest.mark.parametrize("wrong", ["state", "answers", "about"])
def test_a_damaged_recording_does_not_break_the_page(opened, record, wrong):
    held = copy.deepcopy(record)
    if wrong == "state":
        held["state"] |= {"cell": {"layer": 999, "position": 999}, "lens": "none", "patches": []}
    elif wrong == "answers":
        held["answers"] = [*held["answers"][:4], {"question": {"kind": "grid"}, "parts": [{}]}]
    else:
        held["about"]["readers"] = held["about"]["readers"][:1]
    page = opened(held)
    page.get_by_test_id("grid").locator("[role=gridcell]").first.wait_for()
    assert page.complaints == []
