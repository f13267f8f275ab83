"""One file that needs nothing: its policy, what is recorded, and that text in it stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from lensscope.errors import FileError, LensscopeError, PositionError
from lensscope.explorer.page import bundle, live_page, recorded_page
from lensscope.explorer.record import checked, record_of

EVIL = "</script><script>alert(1)</script><!--<script>"


def data_of(page):
    """What a page holds."""
    found = re.search(r'id="lensscope-recorded">(.*?)</script>', page, re.S)
    return json.loads(found[1])


def test_a_page_holds_all_that_was_answered_and_nothing_from_outside(explorer, tmp_path):
    asked = {"kind": "tokens", "prompt": EVIL, "placeholder": None}
    explorer.ask(asked)
    page = explorer.export(tmp_path / "talk.html").read_text("utf-8")
    held = data_of(page)
    assert held["answers"][0]["question"] == asked
    assert held["about"]["live"] is False
    assert held["state"] == json.loads(json.dumps(explorer.about["state"]))
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "alert(1)</script>" not in page.replace("\\u003c", "<").split("lensscope-recorded")[0]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'")
    assert "connect-src 'none'" in policy
    for tag in ('script type="module"', "style"):
        text = re.search(rf"<{tag}>(.*?)</{tag.split()[0]}>", page, re.S)[1]
        found = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{found}'" in policy
    outside = re.findall(
        r"""(?:src|href)=["']?(?!data:)([^"'\s>]+)""", page.partition('<script type="module"')[0]
    )
    assert outside == []


def test_json_is_what_the_explorer_opens_again(explorer, tmp_path):
    explorer.ask({"kind": "tokens", "prompt": "Paris", "placeholder": None})
    held = json.loads(explorer.export(tmp_path / "talk.json").read_text("utf-8"))
    assert checked(held) == held
    assert held["about"]["model"]["fingerprint"]
    assert held["about"]["libraries"]["lensscope"]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"format": "lensscope explorer"},
        {"answers": [3]},
        {"format": "x", "version": 1},
    ],
)
def test_what_is_no_record_is_refused(wrong, explorer):
    good = record_of(explorer.about, {}, [])
    given = (
        {**good, **wrong}
        if isinstance(wrong, dict) and len(wrong) == 1 and "answers" in wrong
        else wrong
    )
    with pytest.raises(FileError):
        checked(given)


def test_a_scene_has_every_layer_of_a_token_in_words_and_lenses(explorer, monkeypatch):
    asked = []
    monkeypatch.setattr(explorer, "ask", asked.append)
    state = explorer.record("Paris is in France", position=-1)
    kinds = [one["kind"] for one in asked]
    assert (kinds.count("grid"), kinds.count("cell"), kinds.count("words")) == (3, 30, 30)
    assert state["cell"]["position"] == 3
    assert state["prompt"] == "Paris is in France"
    with pytest.raises(PositionError):
        explorer.record("Paris", position=5)


def test_an_answer_is_one_value_in_python(explorer):
    question = {"kind": "grid", "prompt": "Paris is", "lens": "logit"}
    found = explorer.ask(question)
    assert sorted(row["layer"] for row in found["rows"]) == list(range(30))
    assert explorer.ask(question) == found
    with pytest.raises(LensscopeError) as error:
        explorer.ask({**question, "lens": "none"})
    assert "logit" in error.value.expected


def test_titles_are_text():
    assert "<b>" not in live_page("<b>model</b>")
    held = record_of({"model": {"name": "<b>", "fingerprint": ""}, "libraries": {}}, {}, [])
    assert "<title>&lt;b&gt;" in recorded_page(held)


def test_the_bundle_is_small_and_asks_for_nothing():
    script, style = bundle("explorer.js"), bundle("explorer.css")
    assert len(script.encode()) + len(style.encode()) < 300_000
    for text in (script, style):
        assert not re.search(r"""["'(]\s*https?://(?!www\.w3\.org/)""", text)
        assert "@import" not in text
    for dangerous in (
        "innerHTML=",
        "dangerouslySetInnerHTML:",
        "eval(",
        "new Function",
        "document.write",
    ):
        assert script.count(dangerous) == (1 if dangerous == "innerHTML=" else 0), dangerous
    with pytest.raises(FileError):
        bundle("else.js")
