"""From one model to another: maps, both tasks by hand, other tokenizers, going on, bad input."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import lensscope as ls
from lensscope.studies.experiments.cross_model.identity import same_word
from tests import families, oracle

TEXTS = [" ".join(f"w{i}" for i in families.prompt(12, seed=n)) for n in range(12)]
GIVEN = [
    ls.studies.Entity(f"w{20 + n} w{30 + n}", "word", f"w{40 + n} w{50 + n}") for n in range(4)
]
SCOPES = {
    "identity": ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9")),
    "inspection": ls.Patchscope(ls.InspectionPrompt("w7 w3 w8", "w8")),
}
OPTIONS = {"entities": GIVEN, **SCOPES, "max_new_tokens": 3}


@pytest.fixture(scope="module")
def twin(llama):
    """The same weights, another model."""
    return families.wrap(copy.deepcopy(families.hf_model("llama")))


@pytest.fixture(scope="module")
def other():
    return families.build(families.Case("gpt2", "bridge", "raw"))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A model that cuts ``w12`` into ``w`` and ``12``."""
    model = families.wrap(copy.deepcopy(families.hf_model("qwen2")), family="qwen2")
    vocabulary = {"?": 0, "<s>": 1, "</s>": 2, "w": 3} | {str(n): n + 4 for n in range(93)}
    cut = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    cut.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"w|\d+"), "isolated")]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=cut, unk_token="?", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    made.save_pretrained(where := tmp_path_factory.mktemp("pieces"))  # TransformerLens reads it
    model.tokenizer = PreTrainedTokenizerFast.from_pretrained(where)
    model.cfg.model_name = "tiny-pieces"
    return model


def test_both_tasks_are_patchscopes_with_the_fitted_maps(llama, other):
    study = ls.studies.cross_model(llama, other, TEXTS, layers=[0, 2], target_layers=[1], **OPTIONS)
    result = study.run()
    fit, held = study.split()
    assert sorted([*fit, *held]) == sorted(TEXTS)
    lens = ls.AffineLens.fit(
        llama,
        fit,
        sites=[ls.resid_post(0), ls.resid_post(2)],
        target=ls.resid_post(1),
        target_model=other,
        max_tokens=5000,
    )
    shared = study.prepare()
    for s in (0, 2):
        oracle.close(shared[f"map-{s}-1-matrix"], lens.at(ls.resid_post(s)).matrix, 1e-5)
    cells = pd.concat(result.cells())
    scopes = {
        name: dataclasses.replace(scope, transform=lens, model=other, max_new_tokens=3)
        for name, scope in SCOPES.items()
    }
    for n, text in enumerate(held):
        own = cells[(cells["item"] == n) & cells["precision_at_1"].notna()]
        states = own[own["condition"] == "state"].set_index("source_layer")
        found = scopes["identity"].inspect(llama, text, layers=[0, 2], target_layers=[1]).frame()
        for row in found.itertuples():
            assert states.loc[row.source_layer, "text"] == row.first_token
        says = ls.generate(llama, text, max_new_tokens=1)
        assert set(own["source_says"]) == {says.labels[0][0]}
        right = [float(a == b) for a, b in zip(own["text"], own["source_says"], strict=True)]
        assert own["precision_at_1"].tolist() == right
    for entity in GIVEN:
        states = result.texts(entity.name, condition="state").set_index("source_layer")
        found = scopes["inspection"].inspect(llama, entity.name, layers=[0, 2], target_layers=[1])
        for row in found.frame().itertuples():
            assert states.loc[row.source_layer, "text"] == row.text


def test_controls_go_through_the_same_maps(llama, other):
    study = ls.studies.cross_model(llama, other, TEXTS, layers=[1], random_draws=2, **OPTIONS)
    result = study.run()
    shared, held = study.prepare(), study.split()[1]
    at = ls.resid_post(1).at(-1)
    states = torch.stack([ls.capture(llama, text, at)[at][0, 0] for text in held])
    oracle.close(shared["nulls-text"][0, 0], states.mean(0), 1e-4)
    matrix, bias = shared["map-1-1-matrix"], shared["map-1-1-bias"]

    def word(state):
        out = SCOPES["identity"].inspect(other, matrix @ state + bias, layers=[1], max_new_tokens=1)
        return out.frame()["first_token"][0]

    cells = pd.concat(result.cells())
    cells = cells[cells["precision_at_1"].notna()].set_index(["item", "condition"])
    (order,) = study.groups()
    for place, item in enumerate(order):
        assert cells.loc[[(item, "shuffled")], "text"].tolist() == [
            word(states[order[(place + 1) % len(order)]])
        ]
        assert cells.loc[[(item, "mean")], "text"].tolist() == [word(states.mean(0))]
        assert sorted(cells.loc[[(item, "random")], "draw"]) == [0, 1]
        prior = ls.generate(other, "w5 w9", max_new_tokens=1).labels[0][0]
        assert cells.loc[[(item, "prior")], "text"].tolist() == [prior]
    for name in ("precision_at_1", "resolved"):
        assert np.isfinite(result.data[name]).all()


def test_a_model_read_by_itself_is_an_ordinary_patchscope(llama):
    result = ls.studies.cross_model(llama, llama, TEXTS[:5], layers=[1, 2], **OPTIONS).run()
    held = result.manifest["arguments"]["texts"]
    lens = SCOPES["identity"].as_lens()
    assert result.data["target_layer"].values.tolist() == [1, 2]
    report = ls.compare(llama, held, lens, layers=[1, 2])
    own = result.data["precision_at_1"].sel(condition="state")
    np.testing.assert_allclose(own.values, report.data["precision_at_1"].values[0], atol=1e-6)


def test_a_twin_is_read_as_well(llama, twin):
    """The last layer written to the last one is the model's own head."""
    options = {**OPTIONS, "ridge": 0.0}
    texts = [" ".join(f"w{i}" for i in families.prompt(40, seed=n)) for n in range(24)]
    result = ls.studies.cross_model(llama, twin, texts, layers=[2], **options).run()
    assert float(result.data["precision_at_1"].sel(condition="state", source_layer=2)) == 1
    assert float(result.data["precision_lift"].sel(source_layer=2)) > 0
    head = result.headline
    assert head["target_layer"].dropna().tolist() == [2, 2]
    assert head.loc[0, "state"] == 1


def test_models_of_different_tokenizers(llama, pieces):
    words = {
        "identity": ls.Patchscope(ls.InspectionPrompt("5 9", "9")),
        "inspection": ls.Patchscope(ls.InspectionPrompt("7 3 8", "8")),
    }
    options = {**OPTIONS, **words, "target_layers": "all"}
    result = ls.studies.cross_model(llama, pieces, TEXTS, **options).run()
    assert result.data["precision_at_1"].dims == ("condition", "source_layer", "target_layer")
    assert result.data["precision_at_1"].shape == (6, 3, 3)
    back = ls.studies.cross_model(
        pieces, llama, TEXTS, layers=[1], entities=GIVEN, **SCOPES, max_new_tokens=2
    ).run()
    assert np.isfinite(back.data["resolved"]).all()


def test_layers_of_the_same_depth(llama, other):
    deep = ls.studies.cross_model(llama, other, TEXTS, **OPTIONS)
    assert deep.pairs() == [(0, 0), (1, 1), (2, 2)]
    assert ls.studies.cross_model(llama, other, TEXTS, layers=[-1], **OPTIONS).pairs() == [(2, 2)]
    grid = ls.studies.cross_model(
        llama, other, TEXTS, layers=[0, 1], target_layers=[2, 0], **OPTIONS
    )
    assert grid.pairs() == [(0, 2), (0, 0), (1, 2), (1, 0)]


def test_the_same_word():
    assert same_word(" Paris", "paris")
    assert same_word("\n", "\n")
    assert not same_word("\n", " ")
    assert not same_word("Par", "Paris")


def test_a_result_shows_itself(llama, other):
    for target_layers in ("proportional", [0, 1]):
        result = ls.studies.cross_model(
            llama, other, TEXTS, layers=[0, 1], target_layers=target_layers, **OPTIONS
        ).run()
        assert len(result.charts) == 3
        assert {line.name for line in result.charts[0].lines} >= {
            "random vector",
            "nothing written",
        }
        page = result.to_html()
        assert "entity resolved" in page
        assert "llama-bridge-raw" in page
        json.loads(result.to_json())
        assert {"precision_at_1", "resolved_low"} <= set(result.frame())


def test_going_on_after_a_break_gives_the_same(llama, other, tmp_path, monkeypatch):
    study = ls.studies.cross_model(llama, other, TEXTS, layers=[1], **OPTIONS)
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
    assert not ls.studies.load(tmp_path / "out").finished
    again = study.run(tmp_path / "out")
    xr.testing.assert_identical(again.data, whole.data)
    pd.testing.assert_frame_equal(again.headline, whole.headline)
    with pytest.raises(ls.LensscopeError, match="target_model"):
        ls.studies.cross_model(llama, llama, TEXTS, layers=[1], **OPTIONS).run(tmp_path / "out")


def test_what_cannot_be_run(llama, other):
    study_of = inspect.unwrap(ls.studies.cross_model)  # the type checker would answer first

    def study(texts=TEXTS, **options):
        return study_of(llama, other, texts, **{**OPTIONS, **options})

    for call, match in (
        (lambda: study([]), "not texts"),
        (lambda: study(TEXTS[:2]).run(), "too few texts"),
        (lambda: study(entities=[]).run(), "no items"),
        (lambda: study(entities=GIVEN[:1]).run(), "different answers"),
        (lambda: study(target_layers="deepest"), "target layers"),
        (lambda: study(target_layers=[7]).run(), "[Ll]ayer"),
        (lambda: study(layers=[7]).run(), "[Ll]ayer"),
        (lambda: study(ridge=-1.0).run(), "ridge"),
        (lambda: study(max_tokens=0).run(), "max_tokens"),
        (lambda: study(inspection="no placeholder here").run(), "does not occur"),
        (
            lambda: study(identity=ls.Patchscope(SCOPES["identity"].inspection, model=llama)),
            "itself",
        ),
        (lambda: study_of(llama, "gpt2", TEXTS, **OPTIONS).run(), "not a Transf"),
    ):
        with pytest.raises(ls.LensscopeError, match=match):
            call()
    assert len(study_of(llama, other).corpus) > 50
