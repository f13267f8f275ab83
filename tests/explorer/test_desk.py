"""Questions wait their turn, later ones end earlier ones, and what is stopped leaves nothing."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from lensscope import progress
from lensscope.explorer import desk as desks
from lensscope.explorer.desk import Desk, Kept, Stopped, Worker
from tests.explorer.asking import ITALY, JAPAN

NOTHING = SimpleNamespace(lock=threading.Lock())
"""In place of a laboratory, where nothing is run."""


class Heard(list):
    """What is told of one question."""

    def __init__(self):
        super().__init__()
        self.over = threading.Event()

    def __call__(self, told):
        self.append(told)
        if "done" in told or "error" in told:
            self.over.set()

    @property
    def parts(self):
        return [one["part"] for one in self if "part" in one]


def tokens(text):
    return {"kind": "tokens", "prompt": text, "placeholder": None}


@pytest.fixture
def slow(monkeypatch):
    """Answers that wait to be let go, and say how often they were begun."""
    begun, go = [], threading.Event()

    def answered(lab, question, tell):
        begun.append(question.prompt)
        yield {"first": question.prompt}
        with progress.progress(1000, "slow") as bar:
            while not go.is_set():
                time.sleep(0.005)
                bar.update()
        yield {"second": question.prompt}

    monkeypatch.setattr(desks, "answered", answered)
    return begun, go


@pytest.fixture
def working():
    """A desk with a worker, both stopped afterwards."""
    made = []

    def start(lab=NOTHING):
        desk = Desk(lab)
        made.append(Worker(desk))
        return desk

    yield start
    for worker in made:
        worker.stop()
        assert not worker._thread.is_alive()


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def test_a_later_question_of_a_lane_ends_the_earlier_one(slow, working):
    begun, go = slow
    desk = working()
    heard = [Heard() for _ in range(4)]
    for n, one in enumerate(heard[:3]):
        desk.ask(tokens(f"t{n}"), "a", "cell", one)
    desk.ask(tokens("other"), "a", "grid", heard[3])
    wait_for(lambda: "t2" in begun)
    assert heard[0].over.wait(5)
    assert heard[1].over.wait(5)
    assert heard[1][-1] == {"done": True, "stopped": True}
    go.set()
    for one in heard[2:]:
        assert one.over.wait(5)
        assert [next(iter(part)) for part in one.parts] == ["first", "second"]
    assert "t1" not in begun


def test_what_is_asked_for_in_advance_gives_way(slow, working):
    begun, go = slow
    desk = working()
    idle, own = Heard(), Heard()
    desk.ask(tokens("idle"), "a", "idle", idle)
    wait_for(lambda: begun == ["idle"])
    desk.ask(tokens("own"), "b", "cell", own)
    wait_for(lambda: "own" in begun)
    assert idle[-1].get("stopped")
    go.set()
    assert own.over.wait(5)


def test_work_is_stopped_in_the_middle_of_a_run(lab, no_hooks_left, working):
    """Within a sweep of the engine, not only between two of them."""
    desk = working(lab)
    heard = Heard()
    pair = {"clean": JAPAN, "corrupted": ITALY, "answer": "", "wrong": "", "site": "attn_out"}
    job = desk.ask({"kind": "matters", **pair}, "a", "matters", heard)
    wait_for(lambda: heard.parts, 60)
    desk.cancel(job)
    again = Heard()
    asked = time.monotonic()
    desk.ask(tokens("Paris is"), "a", "tokens", again)
    assert again.over.wait(20)
    assert time.monotonic() - asked < 20
    assert again.parts[0]["tokens"][0]["text"] == "Paris"
    assert "exact" not in str(heard.parts[-1:]) or len(heard.parts) < 7
    no_hooks_left(lab.model)


def test_a_stop_is_no_exception_that_a_trial_would_take_for_an_answer():
    assert not issubclass(Stopped, Exception)


def test_what_was_answered_is_told_again_without_work(slow, working):
    begun, go = slow
    go.set()
    desk = working()
    for n in range(3):
        heard = Heard()
        desk.ask(tokens("once"), f"s{n}", "cell", heard)
        assert heard.over.wait(5)
        assert heard.parts == [{"first": "once"}, {"second": "once"}]
    assert begun == ["once"]


def test_errors_are_told_and_the_next_question_is_answered(lab, working, capsys, monkeypatch):
    desk = working(lab)
    for wrong in (tokens(""), {"kind": "grid", "prompt": "a", "lens": "none"}, {"kind": "?"}, 7):
        heard = Heard()
        desk.ask(wrong, "a", "x", heard)
        assert heard.over.wait(5)
        assert set(heard[-1]["error"]) == {"what", "got", "expected", "instead"}
    real = desks.answered

    def broken(lab, question, tell):
        raise KeyError("inside")
        yield

    monkeypatch.setattr(desks, "answered", broken)
    heard = Heard()
    desk.ask(tokens("b"), "a", "x", heard)
    assert heard.over.wait(5)
    assert "KeyError" in heard[-1]["error"]["got"]
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setattr(desks, "answered", real)
    heard = Heard()
    desk.ask(tokens("c"), "a", "x", heard)
    assert heard.over.wait(5)
    assert heard.parts[0]["tokens"] == [{"text": "c"}]


def test_fifty_questions_a_second_end_with_the_last_one(lab, working):
    desk = working(lab)
    heard = [Heard() for _ in range(50)]
    for n, one in enumerate(heard):
        desk.ask(
            {"kind": "cell", "prompt": JAPAN, "position": n % 8, "layer": n % 30}, "a", "cell", one
        )
    assert heard[-1].over.wait(60)
    assert len(heard[-1].parts) >= 5
    assert all(one.over.wait(1) for one in heard)
    assert sum(bool(one[-1].get("stopped")) for one in heard) >= 40


def test_a_long_answer_lets_others_go_before(working, monkeypatch):
    begun: list[str] = []
    monkeypatch.setattr(desks, "_LONG", ("grid",))

    def answered(lab, question, tell):
        begun.append(question.kind)
        for n in range(400 if question.kind == "grid" else 1):
            time.sleep(0.005)
            yield {"n": n}

    monkeypatch.setattr(desks, "answered", answered)
    desk = working()
    long, quick = Heard(), Heard()
    desk.ask({"kind": "grid", "prompt": "a", "lens": "logit"}, "a", "map", long)
    wait_for(lambda: long.parts)
    desk.ask(tokens("quick"), "a", "cell", quick)
    assert quick.over.wait(5)
    assert not long.over.is_set()
    assert long.over.wait(20)
    assert len(long.parts) == 400


def test_who_has_gone_does_not_end_the_work_for_others(slow, working):
    _, go = slow
    go.set()

    def gone(told):
        raise OSError("nobody there")

    desk = working()
    desk.ask(tokens("first"), "a", "1", gone)
    heard = Heard()
    desk.ask(tokens("second"), "a", "2", heard)
    assert heard.over.wait(5)


def test_an_answer_that_is_known_ends_the_lane_s_earlier_question(slow, working):
    begun, go = slow
    desk = working()
    go.set()
    known = Heard()
    desk.ask(tokens("known"), "a", "cell", known)
    assert known.over.wait(5)
    go.clear()
    waits = Heard()
    desk.ask(tokens("waits"), "a", "cell", waits)
    wait_for(lambda: "waits" in begun)
    desk.ask(tokens("known"), "a", "cell", Heard())
    assert waits.over.wait(5)
    assert waits[-1].get("stopped")
    go.set()


def test_a_closed_desk_ends_what_waits_and_takes_no_more():
    desk = Desk(NOTHING)
    worker = Worker(desk)
    first, second, third = Heard(), Heard(), Heard()
    desk.ask(tokens("one"), "a", "1", first)
    desk.ask(tokens("two"), "a", "2", second)
    worker.stop()
    desk.ask(tokens("three"), "a", "3", third)
    assert all(one.over.is_set() for one in (first, second, third))
    assert "Too much" in third[-1]["error"]["what"]


def test_kept_answers_are_bounded_and_the_oldest_go():
    kept = Kept(most=3000)
    for n in range(10):
        kept.put(str(n), {"n": n}, [{"text": "x" * 900}])
    assert kept.get("0") is None
    assert kept.get("9") == [{"text": "x" * 900}]
    assert len(kept.all()) == 3
    kept.get("7")
    kept.put("10", {}, [{"text": "x" * 900}])
    assert kept.get("7") is not None
    assert kept.get("8") is None


def test_progress_is_told_and_no_bar_is_drawn(lab, working, monkeypatch):
    monkeypatch.setattr(desks, "_EVERY", 0.0)
    desk = working(lab)
    heard = Heard()
    desk.ask({"kind": "grid", "prompt": "A prompt of its own", "lens": "logit"}, "a", "g", heard)
    assert heard.over.wait(60)
    told = [one["progress"] for one in heard if "progress" in one]
    assert told
    assert all(one["done"] <= one["total"] for one in told)
