"""Questions in two steps: every text by hand, what is counted, going on, bad input."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import lensscope as ls
from lensscope.studies.questions import Question, unrelated

Q = ls.studies.Question
LAYERS = {"layers": [1, 2], "target_layers": [0, 1], "max_new_tokens": 3, "placeholder": "w8"}
WAYS = ["chain of thought", "back-patching"]


def some_questions(n: int = 4) -> list[Question]:
    return [
        Q(f"w{20 + i} w{30 + i}", f"w{40 + i}", "w3 {} w7 w9", f"w{50 + i}", (f"w{60 + i}",))
        for i in range(n)
    ]


def planted(model) -> list[Question]:
    """Questions whose answer is what one cell of one way alone says."""
    found = []
    for q in some_questions():
        alone = ls.generate(model, q.text, max_new_tokens=3).text
        said = by_hand(model, q, "chain of thought", 2, 1).split()
        found.append(Q(q.first, q.bridge, q.second, next(w for w in said if w not in alone)))
    return found


def by_hand(model, q: Question, way: str, source: int, target: int) -> str:
    """One patch, one run."""
    chain = way == "chain of thought"
    read, at = (q.first, -1) if chain else (q.text, q.first)
    prompt, to = (q.asked("w8"), "w8") if chain else (q.text, q.first)
    state = ls.capture(model, read, ls.resid_post(source).at(at))[ls.resid_post(source).at(at)]
    patch = ls.resid_post(target).at(to).set(state[0, 0])
    return ls.generate(model, prompt, [patch], max_new_tokens=3).text


def test_every_text_is_one_patch_and_one_run(few):
    given = some_questions(3)
    result = ls.studies.multihop(few, given, **LAYERS).run()
    cells = pd.concat(result.cells())
    for item, q in enumerate(given):
        own = cells[cells["item"] == item]
        alone = ls.generate(few, q.text, max_new_tokens=3).text
        assert own.loc[own["condition"] == "alone", "text"].tolist() == [alone]
        priors = own[own["condition"] == "prior"].sort_values("variant")["text"].tolist()
        assert priors == [ls.generate(few, q.asked("w8"), max_new_tokens=3).text, alone]
        for variant, way in enumerate(WAYS):
            states = own[(own["condition"] == "state") & (own["variant"] == variant)]
            layers = list(zip(states["source_layer"], states["target_layer"], strict=True))
            everywhere = [(1, 0), (1, 1), (2, 0), (2, 1)]
            assert layers == (everywhere if variant == 0 else [(1, 0), (2, 0), (2, 1)])
            for s, t, text in zip(*zip(*layers, strict=True), states["text"], strict=True):
                assert text == by_hand(few, q, way, s, t)


def test_controls_are_other_states_of_the_same_layer(llama):
    given = some_questions(3)
    study = ls.studies.multihop(llama, given, **LAYERS, random_draws=2)
    own, other, mean = study._states([0, 1, 2], 1)
    shared = study.prepare()["mean"][1]
    np.testing.assert_allclose(shared, (own + other + mean) / 3, atol=1e-5)
    sweep = study._sweep(0, 1, own, other, {"mean": [shared]})
    assert [w.condition for w in sweep[::3]] == ["state", "shuffled", "mean", "random", "random"]
    assert (sweep[3].state == other[0]).all()  # source layer 1
    lengths = [w.state.norm().item() for w in sweep if w.condition == "random" and w.source == 2]
    assert lengths == pytest.approx([own[1].norm().item()] * 4, rel=1e-4)
    draws = [w.state for w in sweep if w.condition == "random" and w.source == 1]
    assert not np.allclose(draws[0], draws[1])
    again = study._sweep(0, 1, own, other, {"mean": [shared]})
    assert all((a.state == b.state).all() for a, b in zip(sweep, again, strict=True))


def test_the_other_question_has_nothing_in_common():
    given = [
        Q("a", "A", "one {}", "1"),
        Q("b", "B", "two {}", "2"),
        Q("c", "C", "one {}", "3"),
        Q("a", "A", "two {}", "4"),
        Q("d", "D", "one {}", "1"),
    ]
    for seed in range(5):
        others = unrelated(given, seed)
        assert others[0] == 2  # the only one that asks the same, of another phrase and answer
        assert others[1] == 3
        assert others[3] == 1
        assert others[2] in (0, 4)
    with pytest.raises(ls.LensscopeError, match="different answers"):
        unrelated([Q("a", "A", "one {}", "1"), Q("b", "A", "two {}", "2")], 0)


def test_what_is_counted(llama):
    given = planted(llama)
    result = ls.studies.multihop(llama, given, **LAYERS).run()
    cells = pd.concat(result.cells())
    data = result.data
    assert data.sizes == {"condition": 6, "way": 2, "source_layer": 2, "target_layer": 2}
    cell = data.sel(condition="state", way="chain of thought", source_layer=2, target_layer=1)
    assert float(cell["answered"]) == 1
    for variant, way in enumerate(WAYS):
        for condition in ("state", "shuffled", "mean", "drawn", "random"):
            own = cells[(cells["condition"] == condition) & (cells["variant"] == variant)]
            found = data.sel(way=way, condition=condition)
            for (s, t), part in own.groupby(["source_layer", "target_layer"]):
                at = found.sel(source_layer=s, target_layer=t)
                assert float(at["answered"]) == pytest.approx(part["answered"].mean())
            some = own.groupby("item")["answered"].max().mean()
            assert float(found["answered_some_layer"]) == pytest.approx(some)
    back = data.sel(way="back-patching")
    assert np.isnan(back["answered"].sel(source_layer=1, target_layer=1)).all()
    assert np.isfinite(back["answered_some_target"]).all()
    head = result.headline
    assert head["way"].tolist() == ["alone", *(w for w in WAYS for _ in range(3))]
    # so few are each scored once, at what the others choose, where they choose any
    assert head["questions"].tolist()[:4] == [4] * 4
    assert (head["questions"] <= 4).all()
    repaired = next(t for name, t in result.tables.items() if name.startswith("repaired"))
    chain = repaired[(repaired["way"] == WAYS[0]) & (repaired["cells"] == "some cell")].iloc[0]
    assert chain["state"] == 1
    right = int(cells.loc[cells["condition"] == "alone", "answered"].sum())
    assert any(f"answers {right} alone and fails {4 - right}" in note for note in result.notes)
    assert "only 4 questions" in result.notes[0]


def test_a_result_shows_itself(llama):
    result = ls.studies.multihop(llama, planted(llama), **LAYERS).run()
    page = result.to_html()
    assert "back-patching" in page
    assert "random vector" in page
    assert ">nan<" not in page.split("<h2>")[0]
    assert "| chain of thought | best fixed cell |" in result.to_markdown()
    assert len(result.charts) == 2
    assert len(result.panels) == 10  # a state and four controls, two ways
    assert "answered_low" in result.frame()
    json.loads(result.to_json())


def test_going_on_after_a_break_gives_the_same(llama, tmp_path, monkeypatch):
    study = ls.studies.multihop(llama, some_questions(), **LAYERS)
    whole = study.run()
    measure, done = type(study).measure, []

    def broken(self, key, shared):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(key)
        return measure(self, key, shared)

    with monkeypatch.context() as patched:
        patched.setattr(type(study), "measure", broken)
        with pytest.raises(KeyboardInterrupt):
            study.run(tmp_path / "out")
    half = ls.studies.load(tmp_path / "out")
    assert not half.finished
    assert int(half.data["items"].max()) == 2
    again = study.run(tmp_path / "out")
    xr.testing.assert_identical(again.data, whole.data)
    pd.testing.assert_frame_equal(again.headline, whole.headline)
    with pytest.raises(ls.LensscopeError, match="other arguments"):
        ls.studies.multihop(llama, some_questions(3), **LAYERS).run(tmp_path / "out")


def test_files_of_questions(tmp_path, llama):
    path = tmp_path / "questions.json"
    path.write_text(
        json.dumps(
            [
                {"first": q.first, "bridge": q.bridge, "second": q.second, "answer": q.answer}
                for q in some_questions()
            ]
        )
    )
    assert [q.first for q in ls.studies.questions(path)] == [q.first for q in some_questions()]
    assert len(ls.studies.multihop(llama, path).questions) == 4
    assert len(ls.studies.questions()) > 50
    for text, match in (
        ("{", "holds no questions"),
        ("[]", "holds no questions"),
        ('{"first": "a"}', "holds no questions"),
        ('[{"first": "a", "bridge": "b", "second": "c {}"}]', "lacks its answer"),
        ('[{"first": "a", "bridge": "b", "second": "c", "answer": "d"}]', "does not say where"),
        ('[{"first": "a", "bridge": "", "second": "c {}", "answer": "d"}]', "has no bridge"),
    ):
        path.write_text(text)
        with pytest.raises(ls.LensscopeError, match=match):
            ls.studies.questions(path)
    with pytest.raises(ls.LensscopeError, match="aliases"):
        Q("a", "b", "c {}", "d", ("",))


def test_what_cannot_be_run(llama):
    study_of = inspect.unwrap(ls.studies.multihop)  # the type checker would answer first
    given = some_questions()
    for bad in ([], "missing.json"):
        with pytest.raises(ls.LensscopeError):
            study_of(llama, bad)
    with pytest.raises(ls.LensscopeError, match="not questions"):
        study_of(llama, ["w3 w4"])
    for options, match in (
        ({"layers": [0]}, "no layer to write back to"),
        ({"layers": [7]}, "[Ll]ayer"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"random_draws": 0}, "random_draws"),
        ({"placeholder": "w3"}, "not the only one"),
        ({"placeholder": "elsewhere"}, "not one token"),
    ):
        with pytest.raises(ls.LensscopeError, match=match):
            study_of(llama, given, **{**LAYERS, **options}).run()
