"""Checks of answers: right ones, wrong ones, and what is no answer at all."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

import lensscope as ls
from lensscope.course import checking as course
from lensscope.course.judges import Function, Holds, Items, Number, Numbers, Word
from lensscope.course.plain import plain
from lensscope.course.sealing import seal, unseal

N = "3.2"


@pytest.fixture
def judged(monkeypatch):
    """`check` with a judge of one's own."""

    def use(judge):
        monkeypatch.setattr(course, "_judges", lambda: {N: judge})
        return lambda answer: ls.course.check(N, answer)

    return use


@pytest.mark.parametrize("value", [3, 0.25, "Paris", [[1, 2], [3, 4]], {"a": None}, "é☃" * 40])
def test_what_is_sealed_is_unsealed_and_not_read(value):
    sealed = seal(N, value)
    assert unseal(N, sealed) == value
    assert str(value) not in sealed
    assert sealed != seal("3.3", value)


def test_a_number(judged):
    check = judged(Number(seal(N, 12), within=0.5, known={seal(N, 13): "You counted from 1."}))
    for right in (12, 12.4, np.int64(12), torch.tensor(12), torch.tensor([12.0]), [12]):
        assert check(right), right
    assert check(13).says == "You counted from 1."
    assert (check(40).says, check(2).says) == ("That is too large.", "That is too small.")
    for none in (math.nan, math.inf, "12", True, [1, 2], {"a": 1}, object()):
        verdict = check(none)
        assert verdict.right is False
        assert "12" not in verdict.says.replace("'12'", "")


def test_a_word(judged):
    check = judged(
        Word(seal(N, ["Paris", "Paris, France"]), {seal(N, "Rome"): "That is the other."})
    )
    assert check(" paris ")
    assert check("Paris, France")
    assert check("Rome").says == "That is the other."
    assert check("Lyon").right is False
    assert check(3).right is False


def test_items(judged):
    check = judged(Items(seal(N, [[23, 3], [17, 4]]), "a pair (layer, head)"))
    for right in ([(17, 4), (23, 3)], {(23, 3), (17, 4)}, torch.tensor([[23, 3], [17, 4]])):
        assert check(right), right
    assert check([(23, 3)]).says == "1 of yours is right; 1 is missing."
    verdict = check([(23, 3), (1, 1), (2, 2)])
    assert verdict.says == "1 of yours is right; 2 of yours do not belong and 1 is missing."
    assert check([23, 17]).says == "Each of them is a pair (layer, head)."
    assert check("23.3").right is False


def test_numbers_in_order_and_by_name(judged):
    check = judged(Numbers(seal(N, [1.0, 2.0]), within=0.1))
    assert check(torch.tensor([1.05, 2.0]))
    assert check(pd.Series([1.0, 2.0]))
    assert check([1.0]).says == "It has 1 numbers, and should have 2."
    assert check([1.0, 3.0]).says == "1 of 2 are right; look at number 1, counted from 0."
    check = judged(
        Numbers(seal(N, {"a": 1, "b": 2}), known={seal(N, {"a": 2, "b": 1}): "Swapped."})
    )
    assert check({"a": torch.tensor(1), "b": 2, "more": 3})
    assert check({"a": 2, "b": 1}).says == "Swapped."
    assert check({"a": 1}).says == "There is no 'b' in it."
    assert check([1, 2]).right is False


def test_a_function(judged):
    check = judged(Function(lambda: [((2,), 4), ((3.0,), 9.0)], said=["a whole number"]))
    assert check(lambda x: torch.tensor(x * x))
    assert check(lambda x: None).says == "On a whole number it gives nothing: is there a return?"
    assert "raises ZeroDivisionError" in check(lambda x: x / 0).says
    assert check(lambda x: 2 * x).says == "On case 2, the result is too small (6)."
    assert check(lambda x: [x]).right is False
    assert check(lambda x: math.nan).right is False
    assert "a function" in check(4).says


def test_properties(judged):
    conditions = [(lambda a: len(a) == 2, "Two are wanted."), (lambda a: a[0] < a[1], "In order.")]
    check = judged(Holds(conditions))
    assert check([1, 2])
    assert check([2, 1]).says == "In order."
    assert check(5).says.startswith("Two are wanted. (It raises TypeError")


def test_no_answer_yet(judged):
    check = judged(Word(seal(N, "x")))
    for none in (None, ...):
        assert check(none).right is None
        assert not check(none)


def test_it_shows_itself_without_markup_of_the_answer(judged):
    def fails(x):
        raise ValueError("<script>")

    verdict = judged(Function(lambda: [((1,), 1)]))(fails)
    assert "<script>" not in verdict._repr_html_()
    assert str(verdict).startswith(f"✗ {N} ")


@pytest.mark.parametrize("number", ["13.1", "3.9", "", "x", 3, None, "3.1.1"])
def test_an_exercise_that_is_not_there(number):
    with pytest.raises(ls.CourseError, match="no such exercise"):
        ls.course.check(number, 1)


def test_plain_values():
    frame = {"a": np.float32(1), ("b", 2): torch.tensor([1, 2])}
    assert plain(frame) == {"a": 1.0, "['b', 2]": [1, 2]}
    assert plain(range(2)) == [0, 1]
    assert plain({3, 1}) == [1, 3]


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")


JUDGES = [
    Number(seal(N, 1)),
    Word(seal(N, "x")),
    Items(seal(N, [1]), "a number"),
    Numbers(seal(N, [1])),
    Numbers(seal(N, {"a": 1})),
    Function(lambda: [((1,), 1)]),
    Holds([(lambda a: a.x == 1, "No.")]),
]


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: type(judge).__name__)
def test_whatever_the_answer_there_is_a_verdict_at_once(judged, judge):
    check = judged(judge)
    looped = []
    looped.append(looped)
    strange = (range(10**12), torch.zeros(2000, 2000), Hostile(), Hostile, b"x", {1: {2: 3}}, 1j)
    for answer in (*strange, looped, str, "", [], {}, torch.tensor([]), np.array("y"), [None]):
        assert check(answer).right is False


def test_only_numbers_are_drawn():
    say = {"title": "t", "x": "x", "y": "y"}
    for values in ({"a": "text"}, {"a": [None]}, {"a": {"x": 1}}, {"a": torch.zeros(2, 2)}):
        with pytest.raises(ls.CourseError, match="Only numbers"):
            ls.course.lines(values, **say)
    with pytest.raises(ls.CourseError, match="another number of values"):
        ls.course.lines({"a": [1, 2]}, at=[1], **say)
    with pytest.raises(ls.CourseError, match="Only numbers"):
        ls.course.heatmap(3, value="v", **say)
    assert ls.course.lines({}, **say).svg.startswith("<svg")
    drawn = ls.course.lines({"<b>": pd.Series([1.0, math.nan], index=[3, 5])}, **say)
    assert "&lt;b&gt;" in drawn.svg


def test_a_picture_is_svg_and_png_as_wide_as_a_page():
    wide = ls.course.picture("<svg xmlns='http://www.w3.org/2000/svg' width='2000' height='9'/>")
    shown, about = wide._repr_mimebundle_()
    assert set(shown) == {"image/svg+xml", "image/png", "text/plain"}
    assert shown["image/png"][:4] == b"\x89PNG"
    assert about == {"image/png": {"width": 934}}
