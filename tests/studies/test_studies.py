"""Studies: what they find in a model made by hand, their controls, their folder, bad input."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import lensscope as ls
from lensscope.errors import StudyError
from lensscope.studies.controls import derangement
from lensscope.studies.folder import Folder
from lensscope.studies.scoring import contains, rouge_l
from tests import families, planted


@pytest.fixture(scope="module")
def model():
    return planted.model()


@pytest.fixture(scope="module")
def attribute(model):
    return ls.studies.attribute_extraction(
        model, planted.relation(), inspection=planted.INSPECTION, max_new_tokens=1
    )


@pytest.fixture(scope="module")
def found(attribute, tmp_path_factory):
    return attribute.run(tmp_path_factory.mktemp("study") / "attribute")


@pytest.fixture(scope="module")
def entity(model):
    return ls.studies.entity_resolution(
        model,
        planted.entities(),
        inspection=planted.INSPECTION,
        max_new_tokens=1,
        all_tokens=True,
        variants=["bare", "w61 {}"],
    )


# ------------------------------------------------------------- what is planted is found


def test_the_attribute_appears_at_the_layer_where_it_was_planted(found):
    cells = found.data.correct.sel(variant="sentence 0", inspection="w60 w50")
    state = cells.sel(condition="state")
    assert (state.sel(source_layer=0) == 0).all()
    assert (state.sel(source_layer=[1, 2]) == 1).all()
    best = found.headline.iloc[0]
    assert best["source_layer"] == planted.LAYER and best["state"] == 1
    chance = 1 / planted.SUBJECTS
    for control in ("shuffled", "mean", "random", "prior"):
        assert best[control] <= chance + 1e-6, control
    # drawn where states lie, it is near some of them: two draws, each of one answer at most
    assert best["drawn"] <= chance + 1e-6
    assert best["lift"] >= 1 - chance - 1e-6


@pytest.mark.parametrize("layer", [0, 2])
def test_at_whatever_layer_it_is_planted(layer):
    study = ls.studies.attribute_extraction(
        planted.model(layer),
        planted.relation(1),
        inspection=planted.INSPECTION,
        max_new_tokens=1,
        probe=False,
        target_layers="same",
    )
    state = study.run().data.correct.sel(condition="state").squeeze().values
    assert state.tolist() == [0.0] * layer + [1.0] * (3 - layer)


def test_entities_are_resolved_there_and_from_their_last_token_only(entity, tmp_path):
    result = entity.run(tmp_path / "out")
    state = result.data.resolved.sel(condition="state")
    assert (state.sel(source_layer=0) == 0).all() and (state.sel(source_layer=[1, 2]) == 1).all()
    unresolved = result.data.rouge_unresolved.sel(condition="state", source_layer=0)
    assert (unresolved == 1).all()
    table = result.tables["resolution by variant"]
    assert (table["mean layer of resolution"] == planted.LAYER).all()
    assert (table["resolved, another entity's state"] == 0).all()
    by_token = result.tables["resolved by token"]
    # the first token has what it means in itself, and nothing is generated of it
    assert by_token["state"].tolist() == [1.0, 1.0] or by_token["state"].iloc[0] == 1.0


def test_probes_and_lenses_find_it_too(found):
    methods = found.tables["methods"].set_index("method")
    lens = methods.loc["logit lens"]
    assert lens["source_layer"] == planted.LAYER and lens["accuracy"] == 1
    chart = next(c for c in found.charts if "logit lens" in c.title)
    state = next(line for line in chart.lines if line.name == "state of the item")
    assert state.y == (0.0, 1.0, 1.0)


def test_probes_part_subjects_where_objects_are_shared(model):
    """Three objects with four subjects each: tested on subjects that no probe has seen."""
    names = [f"w{10 + n % 8} w4{n // 8}" for n in range(12)]
    words = tuple((f"w{20 + n % 3}",) for n in range(12))
    shared = ls.studies.Relation(
        "shared", tuple(names), words, ("w60 w50",), tuple((n,) for n in names)
    )
    study = ls.studies.attribute_extraction(
        model, shared, inspection=planted.INSPECTION, max_new_tokens=1, only_known=False
    )
    assert study.loaded().arguments()["probe_folds"] == "subjects"
    result = study.run()
    parts = list(result.folder.read("probe-"))
    assert len(parts) == 3 and all(len(part) == 12 for part in parts)
    whole = pd.concat(parts)
    assert whole["majority"].mean() < 0.5
    # classes that no probe has seen cannot be learnt: no control task, no selectivity
    assert whole["shuffled"].isna().all() and whole["probe"].notna().all()
    probe = result.tables["methods"].set_index("method").loc["probe"]
    assert probe["which control"] == "commonest object" and np.isnan(probe["selectivity"])
    assert any("no selectivity" in note for note in result.notes)


def test_selectivity_where_folds_part_sentences(model):
    """Eight objects with one subject each, in three sentences: a control task to learn."""
    study = ls.studies.attribute_extraction(
        model, planted.relation(3), inspection=planted.INSPECTION, max_new_tokens=1
    )
    assert study.loaded().arguments()["probe_folds"] == "sentences"
    result = study.run()
    probe = result.tables["methods"].set_index("method").loc["probe"]
    assert np.isfinite(probe["selectivity"]) and probe["items"] == planted.SUBJECTS
    assert any("selectivity is" in note for note in result.notes)


def test_probes_read_what_is_there(found):
    """With each object's subjects in two sentences there is no third: no probes, and it is said."""
    assert found.manifest["arguments"]["probe_folds"] is None
    assert any("No probes" in note for note in found.notes)


def test_a_function_may_load_the_model(model, found):
    study = ls.studies.attribute_extraction(
        lambda: model, planted.relation(), inspection=planted.INSPECTION, max_new_tokens=1
    )
    pd.testing.assert_frame_equal(study.run().frame(), found.frame())
    with pytest.raises(ls.ModelError):
        ls.studies.entity_resolution(lambda: "gpt2").run()


# ------------------------------------------------------------- against plain hooks


def test_cells_equal_plain_hooks_on_a_random_model(llama, tmp_path):
    """Every text of a study, found again by one hooked generation a cell."""
    names = ["w10 w11", "w12", "w30 w31 w32"]
    given = [ls.studies.Entity(n, "any", f"w{i}", "w9") for i, n in enumerate(names)]
    prompt = ls.InspectionPrompt("w60 w50 w61", "w50")
    study = ls.studies.entity_resolution(
        llama, given, inspection=prompt, target_layers="all", all_tokens=True, max_new_tokens=4
    )
    result = study.run(tmp_path / "out")
    lines = pd.concat(result.folder.read("cells-"))
    assert len(lines) == 9 * 6
    for line in lines.sample(20, random_state=0).itertuples():
        cache = ls.capture(llama, line.name, ls.resid_post(line.source_layer))
        state = cache[ls.resid_post(line.source_layer)][0, line.position]
        place = ls.resid_post(line.target_layer).at(prompt.places(llama)[0])
        text = ls.generate(llama, prompt.text, [place.set(state)], max_new_tokens=4).text
        assert line.text == text


def test_controls_are_what_they_say(llama, tmp_path):
    given = planted.entities()
    study = ls.studies.entity_resolution(
        llama, given, inspection=planted.INSPECTION, max_new_tokens=2, random_draws=3
    ).loaded()
    shared = study.prepare()
    states = torch.stack(
        [ls.capture(llama, e.name, ls.resid_post(2))[ls.resid_post(2)][0, -1] for e in given]
    )
    torch.testing.assert_close(shared["mean"][2], states.mean(0), atol=1e-4, rtol=1e-4)
    lengths = states.norm(dim=-1)
    for vector in shared["random"][:, 2]:
        assert (vector.norm() - lengths).abs().min() < 1e-3 * lengths.min()
    lines = pd.concat(study.run(tmp_path / "out").folder.read("control-"))
    prior = lines[lines["condition"] == "prior"]["text"].tolist()
    assert prior == [ls.generate(llama, "w60 w50", max_new_tokens=2).text]
    place = ls.resid_post(1).at(planted.INSPECTION.places(llama)[0])
    mean = lines[(lines["condition"] == "mean") & (lines["source_layer"] == 1)]["text"].item()
    assert mean == ls.generate(llama, "w60 w50", [place.set(shared["mean"][1])], 2).text
    parts = pd.concat(study.run(tmp_path / "out").folder.read("cells-"))
    others = study.others()
    for line in parts.itertuples():
        assert line.rouge_reference_shuffled == study.score(line.text, others[line.item])[1]


def test_only_subjects_that_the_model_knows_count(model, tmp_path):
    """One subject whose answer is wrong on purpose is asked, and left out."""
    right = planted.relation(1)
    objects = (("w99",), *right.objects[1:])
    wrong = ls.studies.Relation(
        "one wrong", right.subjects, objects, right.inspection, right.sentences
    )
    options = {"inspection": planted.INSPECTION, "max_new_tokens": 1, "probe": False}
    known = ls.studies.attribute_extraction(model, wrong, **options).run(tmp_path / "known")
    every = ls.studies.attribute_extraction(model, wrong, only_known=False, **options).run()
    assert known.data["items"].item() == 7 and every.data["items"].item() == 8
    cell = {"condition": "state", "source_layer": 2, "target_layer": 1}
    assert known.data.correct.sel(cell).item() == 1
    assert every.data.correct.sel(cell).item() == 7 / 8
    assert any("answers 7 rightly" in note for note in known.notes)


# ------------------------------------------------------------- numbers


def test_few_items_are_each_scored_once(found):
    """Fewer than twenty: each is scored at what the others choose."""
    assert found.headline["items"].tolist() == [planted.SUBJECTS] * 3
    assert set(found.headline["chosen"]) == {"on the other items, 8 times"}
    assert "only 8 subjects" in found.caption and "WARNING" in found.notes[0]


def test_other_items_have_other_answers():
    answers = [("a",), ("A", "b"), ("c",), ("b",), ("d",)]
    others = derangement(answers, seed=0)
    for mine, other in enumerate(others):
        assert not {a.casefold() for a in answers[mine]} & {a.casefold() for a in answers[other]}
    with pytest.raises(StudyError, match="different answers"):
        derangement([("a",), ("a",)], seed=0)


def test_answers_are_whole_words():
    assert contains("the U.S. dollar (USD)", ["dollar"])
    assert not contains("an Indian city", ["India"])
    assert contains("Die Stadt São  Paulo", ["são paulo"])
    assert contains("cafe\u0301", ["caf\u00e9"])  # the same letters, encoded in two ways
    assert not contains("", ["x"])


def test_rouge_l_is_googles():
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(["rougeL"], use_stemmer=True)
    for text, reference in (
        ("American film franchise of dinosaurs", "American science fiction films about dinosaurs"),
        ("Queen of the North", "Princess of the British royal family"),
        ("", "a thing"),
    ):
        assert rouge_l(text, reference) == theirs.score(reference, text)["rougeL"].fmeasure
    assert rouge_l("город в России", "город в Сибири") > 0  # which theirs does not see


# ------------------------------------------------------------- the folder


def test_the_same_call_again_does_only_what_is_missing(attribute, found, monkeypatch):
    gone = found.folder.parts / "cells-000001-000.parquet"
    before = gone.read_bytes()
    gone.unlink()
    asked = []
    kind = type(attribute)
    measure = kind.measure
    monkeypatch.setattr(
        kind,
        "measure",
        lambda self, part, shared: asked.append(part.key) or measure(self, part, shared),
    )
    again = attribute.run(found.folder.path)
    assert asked == ["cells-000001-000"] and gone.read_bytes() == before
    pd.testing.assert_frame_equal(again.frame(), found.frame())
    assert len(again.manifest["sessions"]) == len(found.manifest["sessions"]) + 1


def test_parts_are_on_disk_as_they_say(attribute, found):
    parts = attribute.loaded().parts()
    assert {part.key for part in parts} == found.folder.done()
    for part in parts:
        columns = list(part.kind.columns)
        assert list(found.folder.part(part.key))[: len(columns)] == columns


def test_what_is_public_and_nothing_else():
    assert dir(ls.studies) == sorted(ls.studies.__all__)


def test_a_result_comes_from_its_folder_alone(found):
    again = ls.studies.load(found.folder.path)
    pd.testing.assert_frame_equal(again.headline, found.headline)
    assert again.to_html().count("<svg") >= 3
    assert "UNFINISHED" not in again.caption


def test_an_unfinished_study_says_so(attribute, tmp_path):
    def stop(part, shared, measure=attribute.measure):
        if part.key.startswith("cells-000001"):
            raise KeyboardInterrupt
        return measure(part, shared)

    loaded = attribute.loaded()
    object.__setattr__(loaded, "measure", stop)
    out = tmp_path / "out"
    study = attribute
    kind = type(study)
    original = kind.measure
    try:
        kind.measure = lambda self, key, shared: stop(
            key, shared, lambda k, s: original(self, k, s)
        )
        with pytest.raises(KeyboardInterrupt):
            study.run(out)
    finally:
        kind.measure = original
    half = ls.studies.load(out)
    assert not half.finished and "UNFINISHED" in half.caption
    assert half.data["items"].max().item() == 5  # of the first ten samples, two a subject
    whole = study.run(out)
    assert whole.finished and whole.data["items"].max().item() == planted.SUBJECTS


def test_a_study_that_has_hardly_begun_can_be_looked_at(found, tmp_path):
    """From nothing at all up to the controls alone: pages, no numbers that are not there."""
    import shutil

    out = tmp_path / "out"
    shutil.copytree(found.folder.path, out)
    for part in (out / "parts").glob("[!c]*"):
        part.unlink()
    for prefix in ("cells", "control"):
        for part in (out / "parts").glob(f"{prefix}*"):
            part.unlink()
        result = ls.studies.load(out)
        assert result.headline["state"].isna().all() and "UNFINISHED" in result.to_html()
        assert "–" in str(result) and result.frame().empty


def test_other_arguments_in_the_same_folder_are_refused_with_the_difference(model, found):
    other = ls.studies.attribute_extraction(
        model, planted.relation(), inspection=planted.INSPECTION, max_new_tokens=2
    )
    with pytest.raises(StudyError, match="other arguments") as error:
        other.run(found.folder.path)
    assert "max_new_tokens: 1" in str(error.value) and "max_new_tokens: 2" in str(error.value)


def test_another_model_in_the_same_folder_is_refused(found, llama):
    study = ls.studies.attribute_extraction(
        planted.model(2), planted.relation(), inspection=planted.INSPECTION, max_new_tokens=1
    )
    with pytest.raises(StudyError, match="other arguments"):
        study.run(found.folder.path)


def test_another_study_in_the_folder_is_refused(entity, found):
    with pytest.raises(StudyError, match="another study"):
        entity.run(found.folder.path)


def test_a_folder_of_something_else_is_refused(attribute, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StudyError, match="something else"):
        attribute.run(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StudyError, match="folder"):
        attribute.run(file)
    with pytest.raises(StudyError, match="not the folder of a study"):
        ls.studies.load(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_two_runs_at_once_are_refused(attribute, tmp_path):
    with Folder(tmp_path / "out").locked(), pytest.raises(StudyError, match="Another run"):
        attribute.run(tmp_path / "out")


def test_a_broken_part_is_named(attribute, found, tmp_path):
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(found.folder.path, out)
    broken = out / "parts" / "cells-000001-000.parquet"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(StudyError, match="cannot be read") as error:
        attribute.run(out)
    assert str(broken) in str(error.value)
    broken.unlink()
    pd.testing.assert_frame_equal(attribute.run(out).frame(), found.frame())


_FULL = """
import resource, sys
import lensscope as ls
from lensscope.errors import StudyError
from tests import planted

study = ls.studies.attribute_extraction(
    planted.model(), planted.relation(), inspection=planted.INSPECTION, max_new_tokens=1
)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
try:
    study.run(sys.argv[1])
except StudyError as error:
    print(error)
"""


def test_a_full_disk_keeps_what_is_finished(attribute, found, tmp_path):
    """A limit on the size of files is refused as a full disk is, at the first part over it."""
    out = tmp_path / "out"
    sizes = {p.stem: p.stat().st_size for p in found.folder.parts.glob("*.parquet")}
    manifest = (found.folder.path / "manifest.json").stat().st_size
    shared = (found.folder.path / "shared.safetensors").stat().st_size
    limit = max(manifest, shared, *(s for k, s in sizes.items() if k.startswith("control")))
    if limit >= max(sizes.values()):
        limit = max(sizes.values()) - 1
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(out), str(limit)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert "The disk is full." in done.stdout, done.stderr
    assert "finished parts are whole" in done.stdout
    assert not list(out.rglob("*.part"))
    kept = {p.stem: p.read_bytes() for p in (out / "parts").glob("*.parquet")}
    pd.testing.assert_frame_equal(attribute.run(out).frame(), found.frame())
    assert all((out / "parts" / f"{k}.parquet").read_bytes() == b for k, b in kept.items())


def test_killed_at_many_points_and_gone_on_with(tmp_path):
    """SIGKILL before, within and after writes: the table of an uninterrupted run, nothing lost."""
    script = Path(__file__).with_name("killed_study.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["killed"] >= 10
    assert told["lost"] == 0
    assert told["same"]


# ------------------------------------------------------------- showing


def test_tables_for_a_paper(found):
    markdown = found.to_markdown()
    assert markdown.startswith("| way | inspection | source layer |")
    assert len(markdown.splitlines()) == 2 + len(found.headline)
    latex = found.to_latex()
    assert latex.count(r"\\") == 1 + len(found.headline) and r"\toprule" in latex
    assert "95\\%" in latex or "95%" in latex.splitlines()[0]


def test_every_picture_has_its_controls(found, entity, tmp_path):
    for result in (found, entity.run(tmp_path / "out")):
        for chart in result.charts:
            assert len(chart.lines) >= 2, chart.title
        maps = [p for p in result.panels if p.cell_width <= 6]
        assert len(maps) in (0, 5)


def test_json_and_frames_say_the_same(found):
    held = json.loads(found.to_json())
    frame = found.frame()
    assert len(held["cells"]) == len(frame)
    assert list(frame.columns[:5]) == [
        "condition",
        "variant",
        "inspection",
        "source_layer",
        "target_layer",
    ]
    assert found.texts("w13 w40", source_layer=2, target_layer=0, variant=1)["text"].item() == "w23"
    assert found.texts("nobody").empty


# ------------------------------------------------------------- tokenization is a variable


def test_variants_are_cut_and_read_as_they_are(demo):
    study = ls.studies.entity_resolution(
        demo,
        [ls.studies.Entity("Samsung", "company", "South Korean maker of electronics")],
        variants=["bare", "space", "lower", "upper", "sentence", "My uncle works for {} now"],
        all_tokens=True,
    )
    samples = [study.sample(0, n) for n in range(6)]
    said = ["".join(s.prompt.labels[t] for t in s.tokens).strip() for s in samples]
    assert said == ["Samsung", "Samsung", "samsung", "SAMSUNG", "Samsung", "Samsung"]
    assert samples[1].name_tokens == 1 < samples[3].name_tokens
    assert samples[5].tokens[-1] < len(samples[5].prompt) - 1


# ------------------------------------------------------------- relations in the LRE format


def _lre(tmp_path, **changes):
    whole = {
        "name": "country capital",
        "prompt_templates": ["The capital of {} is"],
        "properties": {"relation_type": "factual"},
        "samples": [
            {"subject": "Japan", "object": "Tokyo"},
            {"subject": "Côte d'Ivoire", "object": "Yamoussoukro"},
        ],
        **changes,
    }
    path = tmp_path / "relation.json"
    path.write_text(
        json.dumps({k: v for k, v in whole.items() if v is not None}, ensure_ascii=False)
    )
    return path


def test_an_lre_file_is_read(tmp_path):
    found = ls.studies.relation(_lre(tmp_path))
    assert found.subjects == ("Japan", "Côte d'Ivoire")
    assert found.inspection == ("The capital of x is",)
    assert all("Côte d'Ivoire" in sentence for sentence in found.sentences[1])


def test_a_relation_that_json_made(tmp_path):
    path = _lre(tmp_path)
    assert ls.studies.relation(json.loads(path.read_text())) == ls.studies.relation(path)
    with pytest.raises(StudyError, match="no list of samples"):
        ls.studies.relation({"name": "capital"})


def test_duplicate_subjects_count_once_with_all_their_objects(tmp_path):
    samples = [
        {"subject": "South Africa", "object": "Pretoria"},
        {"subject": "South Africa", "object": "Cape Town"},
        {"subject": "Bolivia", "object": "La Paz", "aliases": ["Sucre"]},
        {"subject": "Bolivia", "object": "La Paz"},
    ]
    found = ls.studies.relation(_lre(tmp_path, samples=samples))
    assert found.subjects == ("South Africa", "Bolivia")
    assert found.objects == (("Pretoria", "Cape Town"), ("La Paz", "Sucre"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"samples": None}, "no list of samples"),
        ({"samples": []}, "no samples"),
        ({"samples": [{"subject": "Japan"}]}, "sample 0 without its object"),
        ({"samples": [{"subject": "", "object": "x"}]}, "sample 0 without its subject"),
        ({"samples": ["Japan"]}, "sample 0"),
        ({"prompt_templates": None}, "neither prompt_templates nor inspection_prompts"),
        ({"prompt_templates": ["The capital is"]}, "once in each"),
        ({"prompt_templates": "The capital of {} is"}, "a list of texts"),
        ({"source_sentences": ["a flight"]}, "once in each"),
        (
            {"samples": [{"subject": "Japan", "object": "Tokyo", "sentences": ["to Nippon"]}]},
            "does not contain its subject",
        ),
    ],
)
def test_what_is_wrong_with_an_lre_file_is_said(tmp_path, changes, says):
    with pytest.raises(StudyError, match=says):
        ls.studies.relation(_lre(tmp_path, **changes))


def test_what_comes_along_is_whole():
    names = ls.studies.relations()
    assert len(names) >= 10
    for name in names:
        found = ls.studies.relation(name)
        assert len(found) >= 20 and len(found.sentences[0]) >= 3 and found.inspection
        for subject, objects in zip(found.subjects, found.objects, strict=True):
            assert not any(contains(subject, [o]) for o in objects), (name, subject)
    given = ls.studies.entities()
    assert len(given) >= 60 and len({e.kind for e in given}) >= 6
    assert len({e.name for e in given}) == len(given)
    assert all(e.unresolved for e in given)


def test_entities_from_files(tmp_path):
    table = tmp_path / "some.csv"
    table.write_text('name,kind,reference,unresolved\n"Diana, Princess of Wales",person,A,B\n')
    assert ls.studies.entities(table)[0].name == "Diana, Princess of Wales"
    listed = tmp_path / "some.json"
    listed.write_text(json.dumps([{"name": "Dvořák", "reference": "Czech composer"}]))
    assert ls.studies.entities(listed)[0].unresolved == ""


def test_names_alone_are_items_that_are_shown_and_not_scored(model):
    options = {"inspection": planted.INSPECTION, "max_new_tokens": 1, "random_draws": 1}
    known = planted.entities()
    names = ["w15 w40", "w16 w40"]
    mixed = ls.studies.entity_resolution(model, [*known[:4], *names], **options).run()
    plain = ls.studies.entity_resolution(model, known[:4], **options).run()
    assert (mixed.headline["items"] == 4).all()
    assert mixed.headline["state"].tolist() == plain.headline["state"].tolist()
    xr.testing.assert_allclose(
        mixed.data["resolved"].sel(condition="state"), plain.data["resolved"].sel(condition="state")
    )
    assert any("2 of 6 entities have no reference" in note for note in mixed.notes)
    said = mixed.texts("w15 w40", condition="state", source_layer=2)
    assert said["text"].str.strip().tolist() == ["w25"] and said["resolved"].isna().all()
    alone = ls.studies.entity_resolution(model, names[:1], variants=["bare", "w61 {}"], **options)
    result = alone.run()
    assert (result.headline["items"] == 0).all() and "no cell chosen" in str(result)
    assert any("w25" in text for panel in result.panels for row in panel.texts for text in row)
    assert "1 of 1 entities have no reference" in result.to_html() and result.to_json()
    assert len(result.frame()) == 0 and result.to_svg().startswith("<svg")
    open_ended = inspect.unwrap(ls.studies.entity_resolution)
    for wrong in ([3], [["w5"]], [{"name": "w5"}], [""]):
        with pytest.raises(StudyError) as error:
            open_ended(model, wrong)
        assert {"got:", "expected:", "instead:"} <= set(str(error.value).split())


def test_what_cannot_be_run_is_refused_where_it_is_given(model, monkeypatch):
    other = families.build(families.Case("llama", "bridge", "raw"))
    entities = lambda **more: ls.studies.entity_resolution(
        model, planted.entities(), **{"inspection": planted.INSPECTION, **more}
    )
    attribute = lambda given=None, **more: ls.studies.attribute_extraction(
        model, given or planted.relation(), **{"probe": False, **more}
    )
    same = replace(planted.relation(), objects=(("w20",),) * planted.SUBJECTS)
    for act, kind in (
        (lambda: entities(layers=[7]), ls.SiteError),
        (lambda: entities(target_layers=[9]), ls.SiteError),
        (lambda: entities(inspection="w60 w61"), ls.PromptError),
        (lambda: attribute(lenses=[ls.TunedLens.identity(other)]), ls.BasisError),
        (lambda: attribute(same), StudyError),
        (lambda: ls.studies.next_token(model, ["w5 w6"] * 2, layers=[9]), ls.SiteError),
        (lambda: ls.studies.entity_resolution("a model"), ls.ModelError),
    ):
        with pytest.raises(kind):
            act()
    study = ls.studies.entity_resolution(lambda: model, layers=[7])  # not loaded yet
    with pytest.raises(ls.SiteError):
        study.run()
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(StudyError, match="extra probes"):
        attribute(probe=True)


# ------------------------------------------------------------- bad input


def test_bad_input_is_refused_before_anything_runs(model, tmp_path):
    bad = {
        "There is no such relation": lambda: ls.studies.relation("capitals"),
        "no entities": lambda: ls.studies.entities(tmp_path / "none.csv"),
        "not ways to put a name": lambda: ls.studies.entity_resolution(model, variants=["loud"]),
        "of this kind": lambda: ls.studies.entities(kinds=["dragon"]),
        "has no items": lambda: ls.studies.entity_resolution(model, []).run(),
        "do not make one study": lambda: ls.studies.entity_resolution(model, inspection=["x", "x"]),
        "cannot be told apart": lambda: ls.studies.attribute_extraction(
            model, planted.relation(), lenses=[ls.LogitLens(), ls.LogitLens()]
        ),
        "are Ray's": lambda: ls.studies.entity_resolution(model).run(num_workers=2),
    }
    for says, act in bad.items():
        with pytest.raises(StudyError, match=says) as error:
            act()
        assert {"got:", "expected:", "instead:"} <= set(str(error.value).split())


def test_layers_and_placeholders_are_checked_first(model, tmp_path):
    out = tmp_path / "out"
    options = {"inspection": planted.INSPECTION, "max_new_tokens": 1}
    with pytest.raises(ls.SiteError):
        ls.studies.entity_resolution(model, planted.entities(), layers=[7], **options).run(out)
    with pytest.raises(ls.PromptError, match="placeholder"):
        ls.studies.entity_resolution(model, planted.entities(), inspection="w60 w61").run(out)
    assert not out.exists()


def test_a_temporary_folder_goes_with_its_result(attribute):
    result = attribute.run()
    place = result.folder.path
    assert place.is_dir()
    del result
    import gc

    gc.collect()
    assert not place.exists()


def test_a_name_has_one_colour_in_all_charts_of_a_picture():
    from lensscope.show.lines import COLOURS, Chart, Line, to_svg

    def chart(*names):
        lines = tuple(Line(name, (0.0, 1.0), (0.2, 0.4)) for name in names)
        return Chart("t", "x", "y", lines)

    drawn = to_svg(chart("one", "two"), chart("three"))
    third = drawn[drawn.index("three, x 0") - 200 : drawn.index("three, x 0")]
    assert COLOURS[2] in third and COLOURS[0] not in third.rsplit("<circle", 1)[1]
