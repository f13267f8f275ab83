"""Readers beside what the model says of the names: scores by plain hooks, going on, bad input."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import lensscope as ls
from lensscope.errors import StudyError
from lensscope.patchscope.maps import LayerMaps
from lensscope.patchscope.trained import Trained
from lensscope.stats.distributions import student
from lensscope.studies.experiments.reading_quality import study as study_file
from lensscope.studies.experiments.reading_quality.descriptions import (
    agreement,
    brief_of,
    counted,
    ranked_first,
)
from lensscope.studies.scoring import rouge_l
from lensscope.values.transforms import Projection
from tests import families, oracle, planted, readers

NAMES = [f"w{10 + n} w{40 + n}" for n in range(5)]
TEMPLATE = "w7 w8 {}"
PROMPT = ls.InspectionPrompt("w60 w61 w50", "w50")
EARLY = ls.Patchscope(PROMPT, ls.resid_pre(1), read=ls.resid_post, max_new_tokens=3)
TURNED = ls.Patchscope(
    ls.InspectionPrompt("w62 w50 w3{layer}", "w50"),
    transform=ls.affine(torch.eye(32).roll(1, 0), torch.linspace(-1, 1, 32)),
    max_new_tokens=4,
)


def quality_of(model, scopes, names=NAMES, **how):
    given = {"template": TEMPLATE, "layers": [0, 2], "n_candidates": 3, "seed": 1, **how}
    return ls.studies.reading_quality(model, scopes, names, **given)


@pytest.fixture(scope="module")
def study(llama):
    return quality_of(llama, {"raw": EARLY, "turned": TURNED}, random_draws=2)


@pytest.fixture(scope="module")
def result(study, tmp_path_factory):
    return study.run(tmp_path_factory.mktemp("quality") / "out")


@pytest.fixture(scope="module")
def cells(result):
    return pd.concat(result.cells())


# ------------------------------------------------------------- by plain hooks


def ids_of(text):
    """Tokens of the tests' own words, behind a BOS; what is no word is 0."""
    known = {f"w{n}": n for n in range(families.VOCAB) if n > 2}
    return [1, *(known.get(word, 0) for word in text.split())]


def greedy(model, ids, edits, steps):
    """As the hook loop generates; a text ends with EOS."""
    found = oracle.generate(model, ids, edits, steps)
    return tuple(found[: found.index(2) + 1] if 2 in found else found)


def words(ids):
    return " ".join(f"w{i}" for i in ids if i > 2) if 0 not in ids else None


def log_probability(model, ids, text, edits=()):
    log_p = oracle.logits(model, [*ids, *text], edits).log_softmax(-1)
    return [float(log_p[len(ids) - 1 + n, token]) for n, token in enumerate(text)]


class Plain:
    """A reader as a plain hook: where it writes and what, its prompt and the names in it."""

    def __init__(self, model, text, place, kind, layer, turn, steps):
        self.model, self.text, self.steps = model, text, steps
        self.place, self.kind, self.layer, self.turn = place, kind, layer, turn

    def asked(self, name=None):
        return ids_of(self.text.replace("w50", name or "w50"))

    def edits(self, state):
        if state is None:
            return []
        return [oracle.Edit(self.kind, self.layer, self.place, lambda _: self.turn(state))]

    def says(self, state):
        return greedy(self.model, self.asked(), self.edits(state), self.steps)

    def own(self, name):
        return greedy(self.model, self.asked(name), [], self.steps)

    def nats(self, name, state):
        return -np.mean(
            log_probability(self.model, self.asked(), self.own(name), self.edits(state))
        )

    def first(self, names, said):
        each = [sum(log_probability(self.model, self.asked(n), said)) for n in names]
        return float(all(each[0] > other for other in each[1:]))


def plain(model, reader, layer):
    if reader == "raw":
        return Plain(model, "w60 w61 w50", 3, "resid_pre", 1, lambda x: x, 3)
    turn = lambda x: x.roll(1, 0) + torch.linspace(-1, 1, 32)
    return Plain(model, f"w62 w50 w3{layer}", 2, "resid_post", layer, turn, 4)


@pytest.mark.parametrize("reader", ["raw", "turned"])
@pytest.mark.parametrize("layer", [0, 2])
def test_every_score_is_what_plain_hooks_give(llama, study, cells, reader, layer):
    by_hand = plain(llama, reader, layer)
    states = [
        oracle.activations(llama, ids_of(f"w7 w8 {name}"), "resid_post", layer)[-1]
        for name in NAMES
    ]
    own = cells[(cells["reader"] == reader) & (cells["source_layer"] == layer)]
    assert set(own["target_layer"]) == {1 if reader == "raw" else layer}
    seen = 0
    for group, items in enumerate(study.items.groups):
        each = zip(items, study.items.candidates(group), strict=True)
        for place, (item, candidates) in enumerate(each):
            other = items[(place + 1) % len(items)]
            written = {"state": states[item], "shuffled": states[other], "prior": None}
            written["mean"] = torch.stack(states).mean(0)
            for condition, state in written.items():
                line = own[(own["item"] == item) & (own["condition"] == condition)].iloc[0]
                said, reference = by_hand.says(state), by_hand.own(NAMES[item])
                assert line["name"] == NAMES[item]
                if (text := words(said)) is not None:
                    assert line["text"].strip() == text
                assert line["first_tokens"] == float(said[:4] == reference[:4])
                assert line["nats"] == pytest.approx(by_hand.nats(NAMES[item], state), abs=1e-4)
                names = [NAMES[n] for n in candidates]
                assert names[0] == NAMES[item] and len(set(names)) == 3
                assert line["identified"] == by_hand.first(names, said)
                assert line["rouge_l"] == pytest.approx(rouge_l(line["text"], line["own"]))
                seen += 1
    assert seen == 20
    for condition in ("random", "drawn"):
        assert own[own["condition"] == condition].groupby("draw").size().to_dict() == {0: 5, 1: 5}


def test_random_vectors_are_as_long_as_a_state(llama, study):
    shared = study.prepare()
    for at, layer in enumerate((0, 2)):
        states = [
            oracle.activations(llama, ids_of(f"w7 w8 {name}"), "resid_post", layer)[-1]
            for name in NAMES
        ]
        lengths = torch.stack(states).norm(dim=-1)
        for vectors in shared["random 0"]:
            assert float((lengths - vectors[at].norm()).abs().min()) < 1e-4


def test_readers_are_set_beside_the_first_by_the_same_names(result, cells):
    state = cells[cells["condition"] == "state"]
    table = state.pivot(index=["item", "source_layer"], columns="reader", values="nats")
    apart = (table["turned"] - table["raw"]).unstack()
    for layer in (0, 2):
        own = apart[layer].to_numpy()
        half = float(student(np.array(4.0), 0.95)) * own.std(ddof=1) / math.sqrt(5)
        found = result.data.sel(pair="turned - raw", layer=layer)
        assert float(found.nats_difference) == pytest.approx(own.mean(), abs=1e-6)
        assert float(found.nats_difference_low) == pytest.approx(own.mean() - half, abs=1e-6)
        assert float(found.nats_difference_high) == pytest.approx(own.mean() + half, abs=1e-6)
    whole = result.tables["differences between readers"].set_index("layer").loc["all"]
    assert whole["nats"] == pytest.approx(apart.to_numpy().mean(), abs=1e-6)
    assert whole["items"] == 5


def test_means_are_those_of_the_cells(result, cells):
    means = cells.groupby(["condition", "reader", "source_layer"])
    for metric in ("rouge_l", "nats", "identified", "first_word"):
        for (condition, reader, layer), value in means[metric].mean().items():
            own = result.data[metric].sel(condition=condition, reader=reader, layer=layer)
            assert float(own) == pytest.approx(value, abs=1e-6)
    assert int(result.data["items"]) == 5 and result.finished


# ------------------------------------------------------------- what is known beforehand


def test_a_reader_of_a_planted_model_names_what_it_reads():
    """Above the block where a name's meaning reaches its last token, it is read; below, nothing."""
    scope = ls.Patchscope(planted.INSPECTION, max_new_tokens=1)
    names = [entity.name for entity in planted.entities()]
    result = ls.studies.reading_quality(
        planted.model(), scope, names, template="w61 {}", n_candidates=8
    ).run()
    state = result.data.sel(condition="state", reader="patchscope")
    for metric in ("rouge_l", "first_tokens", "first_word", "identified"):
        assert state[metric].values.tolist()[1:] == [1.0, 1.0], metric
    assert float(state["identified"].sel(layer=0)) < 0.2
    assert float(state["nats"].sel(layer=0)) > float(state["nats"].sel(layer=1)) + 0.5
    for control in ("shuffled", "mean", "prior"):
        own = result.data.sel(condition=control, layer=2)
        assert (own["identified"] <= 1 / 8 + 1e-6).all(), control
        assert (own["nats"] > state["nats"].sel(layer=2) + 0.5).all(), control
    assert result.headline["layer"][0] == planted.LAYER
    assert result.headline["lift"][0] > 0.5


def test_an_adapter_speaks_and_does_not_judge(tmp_path):
    model = families.wrap(copy.deepcopy(families.hf_model("llama")))
    model.tokenizer = readers.tokenizer()
    readers.oracle(tmp_path)
    scope = ls.Patchscope.load(tmp_path, model, question="w20 w21")
    scope = dataclasses.replace(scope, max_new_tokens=3)
    plain_scope = dataclasses.replace(scope, adapter=None, trained=None)
    result = quality_of(model, {"raw": plain_scope, "oracle": scope}, layers=[1]).run()
    cells = pd.concat(result.cells())
    cells = cells[cells["condition"] == "state"].set_index(["reader", "item"]).sort_index()
    for item, name in enumerate(NAMES):
        own = ls.generate(model, scope.inspection.of_layer(1).filled(name), max_new_tokens=3)
        said = scope.inspect(model, f"w7 w8 {name}", layers=[1]).frame()["text"][0]
        assert cells.loc[("oracle", item), "own"] == cells.loc[("raw", item), "own"] == own.text
        assert cells.loc[("oracle", item), "text"] == said
    assert any("trained reader (activation oracle)" in note for note in result.notes)
    assert not np.allclose(cells.loc["oracle", "nats"], cells.loc["raw", "nats"])


def test_a_reader_is_asked_for_the_layers_that_it_was_trained_on(llama):
    provenance = EARLY.inspect(llama, [3, 4], layers=[1]).source
    trained = dataclasses.replace(EARLY, trained=Trained("tuned patchscope", provenance, (1,)))
    result = quality_of(llama, [EARLY, trained], layers=None, identify=False).run()
    assert result.data["reader"].values.tolist() == ["patchscope", "tuned patchscope"]
    own = result.data["rouge_l"].sel(condition="state")
    assert np.isnan(own.sel(reader="tuned patchscope", layer=[0, 2])).all()
    assert np.isfinite(own.sel(layer=1)).all()
    assert "identified" not in result.data
    apart = result.data["nats_difference"].squeeze()
    assert float(apart.sel(layer=1)) == 0 and np.isnan(apart.sel(layer=[0, 2])).all()
    assert result.tables["differences between readers"]["layer"].tolist() == [1, "all"]


def test_a_tuned_patchscope_is_read_by_its_maps(llama, tmp_path):
    provenance = EARLY.inspect(llama, [3, 4], layers=[1]).source
    bias = torch.linspace(-2, 2, 32)

    def tuned(scale):
        maps = LayerMaps("resid_post", {1: Projection(scale, bias=bias)}, provenance)
        trained = Trained("tuned patchscope", provenance, (1,))
        return dataclasses.replace(EARLY, transform=maps, trained=trained)

    how = {"layers": None, "identify": False}
    result = quality_of(llama, {"tuned": tuned(4.0)}, **how).run(tmp_path / "out")
    cells = pd.concat(result.cells())
    cells = cells[cells["condition"] == "state"].set_index("item")
    assert set(cells["source_layer"]) == {1}
    for item, name in enumerate(NAMES):
        seen = tuned(4.0).inspect(llama, f"w7 w8 {name}", layers=[1]).frame()
        assert cells.loc[item, "text"] == seen["text"][0]
    with pytest.raises(StudyError, match="other arguments"):
        quality_of(llama, {"tuned": tuned(5.0)}, **how).run(tmp_path / "out")
    with pytest.raises(ls.errors.SiteError, match="not trained on such states"):
        quality_of(llama, {"tuned": tuned(4.0)}, layers=[0, 1])


def test_of_a_list_of_entities_the_first_description_counts(demo):
    scope = ls.Patchscope.entity_description()
    first = brief_of(scope.inspection)
    assert first is not None
    for other in (ls.Patchscope.token_identity(), ls.Patchscope.selfie()):
        assert brief_of(other.inspection) is None
    assert brief_of(ls.InspectionPrompt("The largest city in x")) is None
    sentence = brief_of(ls.Patchscope.definition().inspection)
    assert sentence is not None and sentence(" a city, near Rome.\n\nWhat") == "a city, near Rome"
    from lensscope.model.classes import backend_of

    prompt = scope.inspection.tokens(demo)
    text = ": American film, The Beatles: English band"
    ids = demo.tokenizer(text, add_special_tokens=False)["input_ids"]
    said = counted(backend_of(demo), prompt, ids, first)
    assert said.text == text and said.brief == "American film"
    assert demo.tokenizer.decode(said.counted) == ": American film"
    whole = counted(backend_of(demo), prompt, ids, None)
    assert whole.counted == tuple(ids) and whole.brief == text
    own = counted(backend_of(demo), prompt, ids[:3], first)
    assert agreement(said, own) == {"rouge_l": 1.0, "first_tokens": 0.0, "first_word": 1.0}


def test_a_tie_identifies_nobody():
    assert ranked_first(torch.tensor([-1.0, -2.0, -3.0])) == 1
    assert ranked_first(torch.tensor([-1.0, -1.0])) == 0
    assert ranked_first(torch.tensor([-1.0, -0.5])) == 0


@pytest.mark.parametrize(("n", "candidates"), [(5, 3), (7, 3), (9, 4), (6, 6), (5, 2)])
def test_candidates_are_so_many_and_itself_first(llama, n, candidates):
    names = [f"w{10 + i} w{40 + i}" for i in range(n)]
    study = quality_of(llama, EARLY, names, n_candidates=candidates)
    seen = []
    for group, items in enumerate(study.items.groups):
        for item, own in zip(items, study.items.candidates(group), strict=True):
            assert own[0] == item and len(own) == len(set(own)) == candidates
            seen.append(item)
    assert sorted(seen) == list(range(n))


# ------------------------------------------------------------- as all studies


def test_going_on_after_a_break_gives_the_same(study, result, tmp_path, monkeypatch):
    measure, done = type(study).measure, []

    def broken(self, part, shared):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part)
        return measure(self, part, shared)

    with monkeypatch.context() as patched:
        patched.setattr(type(study), "measure", broken)
        with pytest.raises(KeyboardInterrupt):
            study.run(tmp_path / "out")
    half = ls.studies.load(tmp_path / "out")
    assert not half.finished and int(half.data["items"]) == 3
    again = study.run(tmp_path / "out")
    xr.testing.assert_identical(again.data, result.data)
    pd.testing.assert_frame_equal(again.headline, result.headline)
    with pytest.raises(StudyError, match="other arguments"):
        quality_of(study.model, {"raw": EARLY, "turned": TURNED}, seed=2).run(tmp_path / "out")


def test_layers_are_cut_into_blocks_and_give_the_same(llama, monkeypatch):
    study = quality_of(llama, EARLY, layers=None)
    whole, expected = len(study.keys()), study.run()
    monkeypatch.setattr(study_file, "_BLOCK", 2)
    assert len(study.keys()) == 2 * whole
    xr.testing.assert_allclose(study.run().data, expected.data, atol=1e-5)


def test_a_result_shows_itself(result):
    assert result.title == "Reading quality: 2 readers of 5 names"
    assert len(result.charts) == 5 + 2 * 5
    for text in (str(result), result.to_html(), result.to_markdown()):
        assert "turned" in text and "raw" in text
    page = result.to_html()
    assert "random vector" in page and "by chance 0.33" in page
    held = json.loads(result.to_json())
    assert {row["reader"] for row in held["headline"]} == {"raw", "turned"}
    assert {"condition", "reader", "layer", "nats_low", "items"} <= set(result.frame())
    texts = result.texts(NAMES[0], reader="raw", condition="state")
    assert texts["source_layer"].tolist() == [0, 2]
    assert result.plot() is not None


def test_entities_and_what_comes_along(llama):
    given = [ls.studies.Entity(name, "odd", "w9") for name in NAMES]
    study = quality_of(llama, EARLY, given)
    assert study.given == tuple(given)
    assert len(ls.studies.reading_quality(lambda: llama, EARLY).given) > 50


def test_what_cannot_be_run(llama):
    study_of = inspect.unwrap(ls.studies.reading_quality)  # the type checker would answer first
    elsewhere = dataclasses.replace(EARLY, model=llama)
    own_map = dataclasses.replace(EARLY, transform=lambda x: x)
    narrow = dataclasses.replace(EARLY, transform=ls.affine(torch.ones(3, 32)))
    named = {"n_candidates": 3}
    for scopes, names, how, match in (
        ([], NAMES, named, "not scopes|not readers"),
        ({}, NAMES, named, "not readers"),
        ({"": EARLY}, NAMES, named, "not readers"),
        ("w60", NAMES, named, "not scopes|not readers"),
        ({"raw": "w60"}, NAMES, named, "not readers"),
        (elsewhere, NAMES, named, "speaks through the model"),
        (own_map, NAMES, named, "the same later"),
        (narrow, NAMES, named, "does not fit where it is written"),
        (EARLY, [], named, "no items"),
        (EARLY, [*NAMES, NAMES[0]], named, "there twice"),
        (EARLY, [*NAMES, f" {NAMES[0]} "], named, "there twice"),
        (EARLY, [*NAMES, "  "], named, "has a name"),
        (EARLY, NAMES[:1], {"identify": False}, "another text"),
        (EARLY, NAMES, {}, "not so many names"),
        (EARLY, NAMES, {"n_candidates": 1}, "n_candidates"),
        (EARLY, NAMES, {**named, "random_draws": 0}, "random_draws"),
        (EARLY, NAMES, {**named, "template": "w7"}, "where the name stands"),
        (EARLY, NAMES, {**named, "layers": [9]}, "[Ll]ayer"),
        (EARLY, NAMES, {**named, "max_new_tokens": 0}, "max_new_tokens"),
        (ls.Patchscope("w60 w61"), NAMES, named, "does not occur"),
    ):
        with pytest.raises(ls.LensscopeError, match=match):
            study_of(llama, scopes, names, **how)
