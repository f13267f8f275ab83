"""In a notebook: what the front end sends, and what it is told, on the kernel's own loop."""

from __future__ import annotations

import asyncio

import pytest

from lensscope.explorer import desk as desks
from lensscope.explorer.widget import Talk


class Widget:
    """What a notebook's widget is to Python."""

    def __init__(self):
        self.sent = []

    def on_msg(self, heard):
        self.heard = lambda content: heard(self, content, [])

    def send(self, content):
        self.sent.append(content)

    def of(self, number):
        return [one for one in self.sent if one["id"] == number]


def ask(number, text, lane="grid"):
    question = {"kind": "tokens", "prompt": text, "placeholder": None}
    return {"type": "ask", "id": number, "session": "s", "lane": lane, "question": question}


def test_a_question_is_answered_with_its_number(explorer):
    widget = Widget()
    Talk(explorer.desk, widget)
    widget.heard(ask(1, "Paris"))
    widget.heard(ask(2, ""))
    assert widget.of(1)[0]["part"]["tokens"] == [{"text": "Paris"}]
    assert widget.of(1)[-1]["done"]
    assert widget.of(2)[-1]["error"]["what"]


def test_on_a_loop_later_questions_end_earlier_ones_between_two_steps(explorer, monkeypatch):
    def answered(lab, question, tell):
        for n in range(5):
            yield {"n": n}

    monkeypatch.setattr(desks, "answered", answered)
    widget = Widget()
    Talk(explorer.desk, widget)

    async def notebook():
        widget.heard(ask(1, "first"))
        await asyncio.sleep(0)
        widget.heard(ask(2, "second"))
        widget.heard(ask(3, "third", "cell"))
        await asyncio.sleep(0)
        widget.heard({"type": "cancel", "id": 3})
        while not widget.of(2) or "done" not in widget.of(2)[-1]:
            await asyncio.sleep(0)

    asyncio.run(notebook())
    assert widget.of(1)[-1].get("stopped")
    assert len(widget.of(1)) < 6
    assert [one.get("part") for one in widget.of(2)][:5] == [{"n": n} for n in range(5)]
    assert widget.of(3)[-1].get("stopped")


@pytest.mark.parametrize("wrong", [None, 3, [], {}, {"id": "1", "type": "ask"}, {"id": 1}])
def test_what_is_no_message_is_let_be(explorer, wrong):
    widget = Widget()
    Talk(explorer.desk, widget)
    widget.heard(wrong)
    assert widget.sent == []


def test_a_record_becomes_a_page(explorer):
    from lensscope.explorer.record import record_of

    widget = Widget()
    Talk(explorer.desk, widget)
    record = record_of(explorer.about, explorer.about["state"], [])
    widget.heard({"type": "export", "id": 7, "recorded": record})
    widget.heard({"type": "export", "id": 8, "recorded": {}})
    assert widget.of(7)[0]["html"].startswith("<!doctype html>")
    assert widget.of(8)[0]["error"]["expected"]


def test_it_shows_itself_in_a_notebook(explorer):
    bundle = explorer._repr_mimebundle_()
    held = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in held
    assert explorer.widget is explorer.widget
    assert explorer._display_() is explorer.widget  # in marimo
    assert explorer.widget.about["model"]["name"] == explorer.about["model"]["name"]
