"""Lenses and the next token: the numbers of `compare`, controls by hand, going on, bad input."""

from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import lensscope as ls
from lensscope.lenses.measures import FinalDistribution, agreement
from lensscope.studies.controls import groups
from lensscope.studies.texts import Rows
from tests import families, oracle
from tests.lenses.test_lenses import linear_lens

TEXTS = [families.prompt(n, seed=n) for n in (3, 7, 5, 6, 4)]


def some_lenses(model) -> list[ls.Lens]:
    identity = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9")).as_lens(name="identity")
    return [ls.LogitLens(), linear_lens(model), identity]


@pytest.mark.parametrize("positions", [-1, [0, -2], None])
def test_states_are_measured_as_compare_does(few, positions):
    lenses = some_lenses(few)
    result = ls.studies.next_token(few, TEXTS, lenses, positions=positions).run()
    read = slice(1, None) if positions is None else positions  # not the first of all tokens
    pairs = [(text, read) for text in TEXTS]
    report = ls.compare(few, pairs, lenses, positions=None)
    own = result.data.sel(condition="state", lens=report.data["lens"].values)
    for name in ("precision_at_1", "surprisal"):
        np.testing.assert_allclose(own[name].values, report.data[name].values, atol=1e-4)
    last = own.sel(layer=2, lens="logit lens")
    assert float(last["precision_at_1"]) == 1
    assert int(result.data["texts"]) == 5


def test_every_number_is_what_the_hook_loop_gives(llama):
    result = ls.studies.next_token(llama, TEXTS[:3], ls.LogitLens(), random_draws=2, seed=3).run()
    cells = pd.concat(result.cells())
    (order,) = groups(3, 8, seed=3)
    lens = ls.LogitLens()

    def says(state, layer):
        return int(lens.logits(llama, state[None], ls.resid_post(layer))[0].argmax())

    states = {
        (n, layer): oracle.activations(llama, TEXTS[n], "resid_post", layer)[-1]
        for n in range(3)
        for layer in range(3)
    }
    for place, item in enumerate(order):
        other = order[(place + 1) % 3]
        log_p = oracle.logits(llama, TEXTS[item])[-1].log_softmax(-1)
        for layer in range(3):
            own = cells[(cells["item"] == item) & (cells["layer"] == layer)].set_index("condition")
            mean = torch.stack([states[n, layer] for n in range(3)]).mean(0)
            expected = {
                "state": says(states[item, layer], layer),
                "shuffled": says(states[other, layer], layer),
                "mean": says(mean, layer),
            }
            for condition, token in expected.items():
                line = own.loc[condition]
                assert line["predicted"] == token
                assert line["precision_at_1"] == (token == int(log_p.argmax()))
                assert line["surprisal"] == pytest.approx(-float(log_p[token]), abs=1e-4)
            assert sorted(own.loc["random", "draw"]) == [0, 1]
            assert "prior" not in own.index  # a logit lens has none
    assert np.isnan(result.data["precision_at_1"].sel(condition="prior")).all()
    lift = result.data["precision_at_1"].sel(condition=["shuffled", "mean", "drawn", "random"])
    expected = result.data["precision_at_1"].sel(condition="state") - lift.max("condition")
    np.testing.assert_allclose(result.data["lift"].values, expected.values, atol=1e-6)


def test_random_vectors_are_as_long_as_states(llama):
    study = ls.studies.next_token(llama, TEXTS, ls.LogitLens(), positions=None)
    reads = study.reads([0, 1])
    (part,) = study._gathered(reads, final=False)
    rows = Rows([0, 1], reads)
    at = rows.of(part.prompts)
    first, again, other = (study._random(part.states, rows, at, draw) for draw in (0, 0, 1))
    for site, own in part.states.items():
        torch.testing.assert_close(first[site].norm(dim=-1), own.norm(dim=-1))
        assert (first[site] == again[site]).all()
        assert not torch.allclose(first[site], other[site])
        assert not torch.allclose(first[site][0], first[site][1])


def test_the_prior_is_the_prompt_as_it_is(llama):
    scopes = [ls.Patchscope(ls.InspectionPrompt(t, "w9")) for t in ("w5 w9", "w7 w3 w9")]
    one, two = scopes[0].as_lens(name="one"), scopes[0].as_lens(scopes[1], name="two")
    found = ls.studies.next_token(llama, TEXTS, [one, two], layers=[1]).run()
    cells = pd.concat(found.cells())
    each = [ls.run(llama, scope.inspection.text).last_logits[0].softmax(-1) for scope in scopes]
    for name, expected in (("one", each[0]), ("two", each[0] + each[1])):
        own = cells[(cells["condition"] == "prior") & (cells["lens"] == name)]
        assert set(own["predicted"]) == {int(expected.argmax())}
        assert len(own) == 5
    assert np.isfinite(found.headline["prior"]).all()


def test_the_layer_is_chosen_on_one_half_and_scored_on_the_other(llama):
    texts = [families.prompt(5, seed=n) for n in range(20)]
    result = ls.studies.next_token(llama, texts, some_lenses(llama)).run()
    head = result.headline
    assert head["lens"].tolist() == ["logit lens", "tuned lens", "identity"]
    head = head[head["chosen"] != "no cell chosen"]  # where no layer reads any token
    assert head["lens"].iloc[0] == "logit lens"
    assert set(head["layer"]) <= {0, 1}  # the last is the model's own head
    assert set(head["texts"]) == {10}
    assert (head["state_low"] <= head["state"]).all()
    assert (head["state"] <= head["state_high"]).all()
    order = np.random.default_rng(0).permutation(20)
    cells = pd.concat(result.cells())
    own = cells[(cells["lens"] == "logit lens") & (cells["condition"] == "state")]
    chosen = own[own["item"].isin(order[:10])].groupby("layer")["precision_at_1"].mean()[:2]
    assert head["layer"][0] == chosen.idxmax()
    held = own[own["item"].isin(order[10:]) & (own["layer"] == head["layer"][0])]
    assert head["state"][0] == pytest.approx(held["precision_at_1"].mean())


def test_agreement_is_of_tokens_and_a_distribution():
    final = FinalDistribution(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([-1]))
    found = agreement(torch.tensor([1]), final)
    assert found["precision_at_1"].tolist() == [0.0]
    assert found["surprisal"].tolist() == pytest.approx([np.log(4)])


def test_a_lens_that_cannot_read_a_layer_has_none_there(llama):
    one_layer = ls.TunedLens.identity(llama, ls.resid_post(1))
    result = ls.studies.next_token(llama, TEXTS, [ls.LogitLens(), one_layer]).run()
    own = result.data["precision_at_1"].sel(lens="tuned lens")
    assert np.isnan(own.sel(layer=0)).all()
    assert float(own.sel(layer=1, condition="state")) >= 0
    assert {line.name for line in result.charts[1].lines} == {
        line.name for line in result.charts[0].lines
    }
    assert result.charts[1].lines[0].x == (1, 2)


def test_a_result_shows_itself(llama):
    result = ls.studies.next_token(llama, TEXTS, some_lenses(llama)).run()
    assert len(result.charts) == 6
    assert len(result.charts[0].lines) == 5
    assert len(result.charts[2].lines) == 6
    for text in (str(result), result.to_html(), result.to_markdown()):
        assert "tuned lens" in text
    assert "random vector" in result.to_html()
    json.loads(result.to_json())
    assert {"condition", "lens", "layer", "surprisal_low"} <= set(result.frame())


def test_going_on_after_a_break_gives_the_same(llama, tmp_path, monkeypatch):
    texts = [families.prompt(5, seed=n) for n in range(20)]
    study = ls.studies.next_token(llama, texts, some_lenses(llama))
    assert len(study.keys()) == 3
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
    assert int(half.data["texts"]) == 16
    again = study.run(tmp_path / "out")
    xr.testing.assert_identical(again.data, whole.data)
    other = [ls.LogitLens(), linear_lens(llama, seed=1), some_lenses(llama)[2]]
    with pytest.raises(ls.LensscopeError, match="other arguments"):
        ls.studies.next_token(llama, texts, other).run(tmp_path / "out")


def test_groups_leave_nobody_alone():
    for n in range(2, 30):
        found = groups(n, 4, seed=n)
        assert sorted(i for group in found for i in group) == list(range(n))
        assert min(map(len, found)) > 1
        assert max(map(len, found)) <= 5


def test_texts_of_every_kind(llama, tmp_path):
    words = [" ".join(f"w{i}" for i in text) for text in TEXTS]
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(words) + "\n\n")
    results = [
        ls.studies.next_token(llama, texts, ls.LogitLens()).run()
        for texts in (words, file, [torch.tensor([1, *t]) for t in TEXTS])
    ]
    for result in results[1:]:
        xr.testing.assert_allclose(result.data, results[0].data, atol=1e-5)
    assert len(ls.studies.next_token(llama).texts) > 50
    assert [lens.name for lens in ls.studies.next_token(llama).lenses] == [
        "logit lens",
        "token identity",
    ]


def test_what_cannot_be_run(llama):
    study_of = inspect.unwrap(ls.studies.next_token)  # the type checker would answer first
    own = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9"), transform=lambda x: x).as_lens()
    twice = [ls.LogitLens(), dataclasses.replace(ls.LogitLens())]
    for call, match in (
        (lambda: study_of(llama, []), "not texts"),
        (lambda: study_of(llama, "w3 w4"), "not texts"),
        (lambda: study_of(llama, [3.5]), "not a text"),
        (lambda: study_of(llama, [[]]), "not a text"),
        (lambda: study_of(llama, TEXTS, []), "not lenses"),
        (lambda: study_of(llama, TEXTS, twice), "cannot be told apart"),
        (lambda: study_of(llama, TEXTS, ["logit"]), "cannot be told apart"),
        (lambda: study_of(llama, TEXTS, own), "the same later"),
        (lambda: study_of(llama, TEXTS[:1], ls.LogitLens()).run(), "another text"),
        (lambda: study_of(llama, TEXTS, random_draws=0).run(), "random_draws"),
        (lambda: study_of(llama, TEXTS, layers=[9]).run(), "[Ll]ayer"),
        (lambda: study_of(llama, TEXTS, positions=30).run(), "out of range"),
    ):
        with pytest.raises(ls.LensscopeError, match=match):
            call()
