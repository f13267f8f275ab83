"""First tokens without BOS, and substrings inside words: left out, or said of them."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
import torch

import lensscope as ls
from lensscope.lenses.corpus import Corpus, counted, named, pieces
from lensscope.lenses.fit_report import FitReport
from lensscope.lenses.notes import notes_on
from lensscope.lenses.settings import Training
from lensscope.lenses.training import Trainer
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from tests import families, oracle
from tests.lenses.test_lens_fits import FAST, TEXTS

BOS = 1
BARE = families.prompt(6)
WITH_BOS = [BOS, *BARE]
SINK = "is no BOS"


def shown(result):
    return str(result), result.to_html(), result.to_json()


@pytest.mark.parametrize("position", [0, -6, ls.ALL, slice(0, 2), "w37"])
def test_a_first_token_without_bos_is_said_to_be_one(llama, position):
    scope = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50"), max_new_tokens=1)
    text = " ".join(f"w{i}" for i in BARE)
    assert text.startswith("w37 ")
    inspected = scope.inspect(llama, text, position, layers=[1], prepend_bos=False)
    read = ls.LogitLens().read(llama, BARE, positions=0 if position == "w37" else position)
    compared = ls.compare(llama, [BARE], ls.LogitLens(), positions=slice(0, 2))
    for result in (inspected, read, compared):
        assert len(result.notes) == 1 and "Token 0 ('w37') is no BOS" in result.notes[0]
        assert all("is no BOS: most models make" in " ".join(one.split()) for one in shown(result))
        assert json.loads(result.to_json())["notes"] == list(result.notes)


def test_nothing_is_said_of_other_tokens(llama):
    scope = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50"), max_new_tokens=1)
    for prompt, position in ((BARE, -1), (BARE, slice(1, None)), (WITH_BOS, 0), (WITH_BOS, ls.ALL)):
        for result in (
            scope.inspect(llama, prompt, position, layers=[1]),
            ls.LogitLens().read(llama, prompt, positions=position),
            ls.compare(llama, [prompt], ls.LogitLens(), positions=position),
        ):
            assert result.notes == ()
            assert all(SINK not in one and "Note:" not in one for one in shown(result))
    vector = scope.inspect(llama, torch.randn(32), layers=[1])
    assert vector.notes == ()


def test_it_is_said_how_many_prompts_it_is_of(llama):
    read = ls.LogitLens().read(llama, [BARE, WITH_BOS, BARE[:3]], positions=0)
    assert read.notes[0].startswith("Token 0 of 2 of 3 prompts ('w37') is no BOS")


def test_a_model_without_a_tokenizer_has_no_bos():
    model = families.wrap(copy.deepcopy(families.hf_model("llama")))
    model.tokenizer = None
    backend = backend_of(model)
    prompts = tokenize(backend, [WITH_BOS])
    assert SINK in notes_on(backend, [(prompts[0], (0,))])[0]


def test_a_part_of_a_word_is_said_to_be_one(llama):
    scope = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50"), max_new_tokens=1)
    text = "w5 w66 w71"
    for result in (
        scope.inspect(llama, text, "6", layers=[1], occurrence=-1),
        scope.inspect(llama, text, ls.span("w7"), layers=[1]),
        ls.LogitLens().read(llama, text, positions="w7"),
        ls.compare(llama, [(text, "w7")], ls.LogitLens()),
    ):
        (note,) = result.notes
        assert "is found inside the word 'w" in note
        assert "is found inside the word" in " ".join(str(result).split())
    assert ls.LogitLens().read(llama, text, positions="w71").notes == ()


# ------------------------------------------------------- fits


def test_which_tokens_count(llama):
    backend = backend_of(llama)
    assert counted(backend, BARE, None) == (1, 2, 3, 4, 5)
    assert counted(backend, WITH_BOS, None) == (0, 1, 2, 3, 4, 5, 6)
    assert counted(backend, WITH_BOS, 1) == (1, 2, 3, 4, 5, 6)
    assert counted(backend, BARE, 0) == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(("texts", "first"), [([BARE, BARE[::-1]], 1), ([WITH_BOS] * 2, 0)])
def test_a_tuned_lens_is_trained_without_first_tokens_that_are_no_bos(llama, texts, first):
    options = {"steps": 1, "length": 7, "batch_size": 2, "tokens_per_step": None}
    training = Training(**options, optimizer="sgd", learning_rate=0.01, bf16=False)
    trainer = Trainer(
        backend_of(llama), [ls.resid_pre(1)], Corpus(backend_of(llama), texts, 7, 2), training
    )
    trainer.run()
    log_p = torch.cat([oracle.logits(llama, t)[first:] for t in texts]).log_softmax(-1)
    states = torch.cat([oracle.activations(llama, t, "resid_pre", 1)[first:] for t in texts])
    log_q = ls.LogitLens().logits(llama, states, ls.resid_pre(1)).log_softmax(-1)
    expected = float((log_p.exp() * (log_p - log_q)).sum(-1).mean())
    assert trainer.losses[0][0] == pytest.approx(expected, rel=1e-4)


def test_a_fit_says_what_it_left_out_and_can_take_it_in(llama):
    lens = ls.TunedLens.fit(llama, TEXTS, **{**FAST, "steps": 2})
    assert lens.settings["skip_first"] == "the first token where it is no BOS"
    every = ls.TunedLens.fit(llama, TEXTS, **{**FAST, "steps": 2}, skip_first=0)
    assert every.settings["skip_first"] == 0
    assert (lens.scores()["kl_before"] != every.scores()["kl_before"]).all()
    assert ls.AffineLens.fit(llama, TEXTS).settings["skip_first"] == 1


# ------------------------------------------------------- scores


def test_scores_say_what_they_are_of(llama, tmp_path):
    lens = ls.TunedLens.fit(llama, TEXTS, **{**FAST, "steps": 2})
    assert set(lens.scores()["corpus"]) == {"held out of 12 texts"}
    called = ls.TunedLens.fit(llama, TEXTS, corpus="random words", **{**FAST, "steps": 2})
    assert set(called.scores()["corpus"]) == {"held out of random words"}
    given = ls.TunedLens.fit(llama, TEXTS[:8], held_out=TEXTS[8:], **{**FAST, "steps": 2})
    assert set(given.scores()["corpus"]) == {"4 texts"}
    again = ls.TunedLens.load(called.save(tmp_path / "lens.safetensors"))
    pd.testing.assert_frame_equal(again.scores(), called.scores())
    report = FitReport(called, called.scores(llama, TEXTS[:2], corpus="other words"))
    for text in (str(report), report.to_html(), report.to_json()):
        assert "held out of random words" in text and "other words" in text
    assert report.to_svg().startswith("<svg")


@pytest.mark.parametrize("kind", [ls.TunedLens, ls.AffineLens, ls.JacobianLens])
def test_scores_on_other_texts_are_what_a_comparison_finds(llama, kind):
    how = {**FAST, "steps": 2} if kind is ls.TunedLens else {"length": 10}
    how |= {"skip_first": 2, "max_pieces": 3} if kind is ls.JacobianLens else {}
    lens = kind.fit(llama, TEXTS, **how)
    other = [families.prompt(9, seed=n) for n in range(20, 23)]
    scores = lens.scores(llama, other, corpus="others")
    assert set(scores["corpus"]) == {"others"}
    apart = slice(1, None)
    report = ls.compare(llama, other, [ls.LogitLens(), lens], positions=apart)
    for name, column in (("logit lens", "kl_before"), (lens.name, "kl_after")):
        own = report.data.kl.sel(lens=name, layer=[0, 1]).values
        found = scores.set_index("site")[column][["resid_pre(1)", "resid_pre(2)"]]
        assert found.to_numpy() == pytest.approx(own, rel=1e-3)
    after = report.data["next_token_log_probability"].sel(lens=lens.name, layer=[0, 1]).values
    found = scores.set_index("site")["ce_after"][["resid_pre(1)", "resid_pre(2)"]]
    assert found.to_numpy() == pytest.approx(-after, rel=1e-3)


def test_scores_need_a_model_and_texts(llama):
    lens = ls.AffineLens.fit(llama, TEXTS)
    with pytest.raises(ls.LensError, match="Nothing was measured of this lens"):
        lens.scores()
    for given in ({"model": llama}, {"texts": TEXTS}):
        with pytest.raises(ls.LensError, match="Scores are of a model on texts"):
            lens.scores(**given)
    with pytest.raises(ls.LensError, match="no text to measure on"):
        lens.scores(llama, [[5]])
    with pytest.raises(ls.BasisError):
        lens.scores(families.build(families.Case("qwen2", "bridge", "raw")), TEXTS)
    halfway = ls.AffineLens.fit(llama, TEXTS, sites=ls.resid_pre(1), target=ls.resid_post(1))
    with pytest.raises(ls.LensError, match="does not lead to the last residual"):
        halfway.scores(llama, TEXTS)


def test_texts_are_named(tmp_path):
    assert named(tmp_path / "wiki.txt") == "wiki.txt"
    assert named(["One\ntwo", "three"]) == "2 texts, the first 'One two'"
    assert named("a " * 40) == "a text, 'a a a a a a a a a a a a…'"
    assert named([[3, 4]]) == "1 text"
    assert named(iter(["x"])) == "texts that were gone through once"


def test_scores_draw_from_all_texts(llama):
    lens = ls.TunedLens.identity(llama)
    scores = lens.scores(llama, iter(TEXTS), length=10, max_pieces=2)
    first = list(pieces(llama, TEXTS, 10))[:2]
    expected = lens.scores(llama, first, length=10)
    pd.testing.assert_frame_equal(scores.drop(columns="corpus"), expected.drop(columns="corpus"))
    one, other = (lens.scores(llama, TEXTS, length=10, max_pieces=2, seed=n) for n in (0, 1))
    assert (one["kl_before"] != other["kl_before"]).all()
