"""What a study claims: of whom, chosen how, against which null, and read where."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

import lensscope as ls
from lensscope.errors import StudyError
from lensscope.stats.intervals import Sums
from lensscope.studies.controls import Spread
from lensscope.studies.described import Scores
from lensscope.studies.folds import Folds, best
from lensscope.studies.places import LEAD_IN, find
from lensscope.studies.scoring import contains
from tests import planted

OPTIONS = {"inspection": planted.INSPECTION, "max_new_tokens": 1, "probe": False}


@pytest.fixture(scope="module")
def model():
    return planted.model()


# ------------------------------------------------------------- which cell


def test_no_cell_is_chosen_where_none_is_right(model):
    """Of layer 0 nothing can be read: every target layer gives nothing, and none is the best."""
    study = ls.studies.attribute_extraction(
        model, planted.relation(), layers=[0], target_layers=[1, 2], **OPTIONS
    )
    result = study.run()
    fixed = result.headline.iloc[0]
    assert fixed["chosen"] == "no cell chosen"
    assert pd.isna(fixed["source_layer"]) and pd.isna(fixed["inspection"])
    assert fixed["items"] == 0 and np.isnan(fixed["state"])
    assert "no cell chosen" in str(result) and "no cell chosen" in result.to_html()
    assert any("No cell is chosen" in note for note in result.notes)
    texts = next(panel for panel in result.panels if panel.cell_width > 6)
    assert "no cell chosen" in texts.title
    some = result.headline.iloc[2]  # no cell, and so no choice
    assert some["items"] == planted.SUBJECTS and some["state_high"] < 1


def test_no_cell_is_chosen_where_nobody_counts(model):
    right = planted.relation()
    wrong = ls.studies.Relation(
        "wrong", right.subjects, (*right.objects[1:], ("w99",)), right.inspection, right.sentences
    )
    result = ls.studies.attribute_extraction(model, wrong, **OPTIONS).run()
    assert set(result.headline["chosen"]) == {"no cell chosen"}
    assert set(result.headline["items"]) == {0}
    assert "no cell chosen" in str(result) and "nan" not in str(result).lower()


def test_a_cell_is_the_best_of_some_and_never_of_its_own():
    assert best(np.array([0, 3, 3]), np.array([True, True, True])) == (1,)
    assert best(np.array([5, 3, 3]), np.array([False, True, True])) == (1,)
    assert best(np.array([5, 0, 0]), np.array([False, True, True])) is None
    assert best(np.array([2]), np.array([True])) == (0,)
    counted = np.ones(30, bool)
    counted[20:] = False
    halves = Folds.among(counted, 0)
    assert halves.halves and [*halves.held] == [1] and (halves.of[20:] == -1).all()
    few = Folds.among(counted & (np.arange(30) < 12), 0)
    assert not few.halves and few.number == 10 and all(few.scored(n) for n in range(12))
    # item n is right at cell n only: what the others choose is always wrong for it
    sums = Sums.empty((4, 2, 4))
    for n in range(4):
        own = (np.arange(4) == n) + (np.arange(4) == 3) * 1.0
        sums.add(n, np.stack([own, own * 0]), 1.0, own)
    four = Folds(np.arange(4), 4, False)
    held, at = four.crossed(sums, lambda own: best(own.hits[0], own.known[0]))
    assert at == (3,) and held.items.tolist() == [4, 4] and held.hits[0] == 5


# ------------------------------------------------------------- of whom


def test_every_row_says_of_how_many(model):
    one, two = planted.relation(3), planted.relation(1)
    result = ls.studies.attribute_extraction(
        model, one, inspection=planted.INSPECTION, max_new_tokens=1
    ).run()
    for name, table in {**result.tables, "headline": result.headline}.items():
        if name != "controls":
            assert (table["items"] > 0).all(), name
    assert (result.frame()["items"] == planted.SUBJECTS).all()
    assert two.subjects == one.subjects


def test_methods_are_compared_on_the_subjects_that_all_have(model):
    """Probes know only objects that subjects share: six of eleven."""
    names = [f"w{10 + n % 8} w4{n // 8}" for n in range(11)]
    words = tuple((f"w{20 + n % 8}",) for n in range(11))
    given = ls.studies.Relation(
        "some shared",
        tuple(names),
        (*words[:8], words[0], words[1], words[2]),
        ("w60 w50",),
        tuple((f"w61 {n}", f"w62 w61 {n}") for n in names),
    )
    study = ls.studies.attribute_extraction(
        model, given, inspection=planted.INSPECTION, max_new_tokens=1, only_known=False
    )
    result = study.run()
    same, own = list(result.tables)[:2]
    assert same == "methods, on the 6 subjects that all have"
    assert set(result.tables[same]["items"]) == {6}
    every = result.tables[own].set_index("method")["items"]
    assert every["probe"] == 6 and every["logit lens"] == 11


def test_subjects_are_drawn_with_the_seed(model):
    drawn = [
        ls.studies.attribute_extraction(model, "capital", subjects=5, seed=seed).relation.subjects
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    first = ls.studies.relation("capital").first(subjects=5).subjects
    assert first not in drawn


def test_patchscopes_are_scored_as_lenses_are_too(model):
    result = ls.studies.attribute_extraction(
        model,
        planted.relation(),
        inspection=planted.INSPECTION,
        max_new_tokens=2,
        probe=False,
    ).run()
    methods = result.tables["methods"]
    own = methods[methods["method"] == "patchscope, best fixed cell"].set_index("scored by")
    assert own.loc["first token", "accuracy"] == own.loc["any mention", "accuracy"] == 1
    cells = pd.concat(result.folder.read("cells-"))
    states = cells[cells["condition"] == "state"]
    tokenizer = model.tokenizer
    for line in states.itertuples():
        begins = tokenizer.decode([line.first_token_id]).strip() == f"w{20 + line.item}"
        assert line.first_token == begins


# ------------------------------------------------------------- which null


def test_drawn_vectors_have_the_states_mean_and_covariance():
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=rng)
    states = torch.randn(400, 2, 6, generator=rng) @ mixing + 3.0
    spread = Spread(4000, seed=0)
    for some in states.split(37):
        spread.add(some)
    drawn = spread.drawn()
    torch.testing.assert_close(spread.mean(), states.mean(0), atol=1e-5, rtol=1e-5)
    for layer in range(2):
        own = torch.cov(states[:, layer].T)
        close = {"atol": 0.12 * float(own.diagonal().max()), "rtol": 0.0}
        torch.testing.assert_close(torch.cov(drawn[:, layer].T), own, **close)
        torch.testing.assert_close(
            drawn[:, layer].mean(0), states[:, layer].mean(0), atol=0.3, rtol=0
        )
    one = Spread(2, seed=0)
    one.add(states[:1])
    torch.testing.assert_close(one.drawn()[1], states[0])


def test_each_control_says_which_null_it_is(model):
    result = ls.studies.attribute_extraction(model, planted.relation(), **OPTIONS).run()
    table = result.tables["controls"].set_index("control")
    assert list(table.index) == ["shuffled", "mean", "drawn", "random", "prior"]
    assert "off the states' manifold" in table.loc["random", "null"]
    assert "on the states' manifold" in table.loc["drawn", "null"]
    controls = pd.concat(result.folder.read("control-"))
    assert controls.groupby("condition")["draw"].nunique().to_dict() == {
        "drawn": 2,
        "mean": 1,
        "prior": 1,
        "random": 2,
    }


# ------------------------------------------------------------- what is right


def test_what_suits_any_entity_resolves_none():
    given = [
        ls.studies.Entity("A", "place", "City in the United States", "Letter"),
        ls.studies.Entity("B", "place", "City in the United Kingdom", "Letter"),
        ls.studies.Entity("C", "place", "City in the United States", "Letter"),
        ls.studies.Entity("D", "person", "American film actor", ""),
    ]
    scores = Scores(given, None)
    assert [scores(": City in the United Kingdom", n)[0] for n in range(4)] == [0, 1, 0, 0]
    # as near to three of them, which is above their unresolved reading all the same
    assert [scores(": City in the United", n)[0] for n in range(4)] == [0, 0, 0, 0]
    assert scores(": actor", 3)[0] == 1 and scores("", 3)[0] == 0
    # two entities of one description are told apart by nothing, and both have it
    assert [scores(": City in the United States", n)[0] for n in (0, 2)] == [1, 1]


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("It is a city", "A", False),
        ("A city in France", "A", False),
        ("It is big. A", "A", False),
        ("I think so, and I'm right", "I", False),
        ("a-ha, in the end", "a", False),
        ("It is in the", "the", False),
        ("Vitamin C, which", "C", True),
        ("The answer is A.", "A", True),
        (" A, B", "A", True),
        ("A", "A", True),
        ("it says 'the'", "the", True),
        ("in 3 days", "3", True),
        ("首都は東京です", "東京", True),
    ],
)
def test_a_letter_or_an_article_is_not_found_in_any_sentence(text, answer, right):
    assert contains(text, [answer]) is right


def test_the_papers_test_is_an_option(model):
    assert contains("Indiana", ["India"], "substring")
    assert not contains("indiana", ["India"], "substring")
    names = planted.relation(1)
    objects = tuple((f"2{n}",) for n in range(8))
    parts = ls.studies.Relation("parts", names.subjects, objects, names.inspection, names.sentences)
    found = [
        ls.studies.attribute_extraction(model, parts, match=match, only_known=False, **OPTIONS)
        .run()
        .data.correct.sel(condition="state", source_layer=2, target_layer=0)
        .item()
        for match in ("words", "substring")
    ]
    assert found == [0, 1]
    with pytest.raises(StudyError, match="no such match"):
        ls.studies.attribute_extraction(model, parts, match="letters")


# ------------------------------------------------------------- where it is read


@pytest.mark.parametrize(
    ("name", "text", "occurrence", "start", "inside"),
    [
        ("Niger", "Niger borders Nigeria", None, 0, False),
        ("Nigeria", "Niger borders Nigeria", None, 14, False),
        ("Niger", "all of Nigeria", None, 7, True),
        ("Mali", "Mali and Mali in Somalia", None, 9, False),
        ("Mali", "Mali and Mali in Somalia", 0, 0, False),
        ("日本", "東京は日本の首都", None, 3, False),
        ("C++", "C++ is not C", None, 0, False),
    ],
)
def test_a_name_is_found_as_whole_words_first(name, text, occurrence, start, inside):
    found = find(name, text, occurrence)
    assert (found.start, found.stop, found.inside) == (start, start + len(name), inside)


def test_an_occurrence_that_is_not_there():
    for text, occurrence, says in (("Mali", 1, "occurrence"), ("Chad", None, "not in its text")):
        with pytest.raises(StudyError, match=says):
            find("Mali", text, occurrence)


def _relation(**sample):
    return ls.studies.relation(
        {
            "name": "capital",
            "prompt_templates": ["The capital of {} is", "{} has the capital"],
            "samples": [
                {"subject": "Niger", "object": "Niamey", **sample},
                {"subject": "Bras\\u00edlia", "object": "S\\u00e3o"},
            ],
        }
    )


def test_a_sample_names_its_own_occurrence():
    sentences = ["Niger borders Nigeria, and Niger is dry"] * 4
    found = _relation(sentences=sentences, occurrence=0)
    assert found.occurrences == (0, None)
    assert found.first(1).occurrences == (0,)
    with pytest.raises(StudyError, match="no such occurrence"):
        _relation(sentences=sentences, occurrence=2)
    with pytest.raises(StudyError, match="whole number"):
        _relation(occurrence="first")


def test_escapes_that_were_escaped_again(tmp_path):
    found = _relation()
    assert found.subjects[1] == "Brasília" and found.objects[1] == ("São",)
    assert all("Brasília" in sentence for sentence in found.sentences[1])
    path = tmp_path / "own.json"
    text = {
        "prompt_templates": ["In {} is"],
        "samples": [{"subject": "Br\\\\u00e1s", "object": "x"}],
    }
    path.write_text(json.dumps(text).replace("\\\\\\\\", "\\\\"))
    assert ls.studies.relation(path).subjects == ("Brás",)
    pair = {
        "prompt_templates": ["In {} is"],
        "samples": [{"subject": "\\ud83d\\ude00 \\ud800", "object": "x"}],
    }
    assert ls.studies.relation(pair).subjects == ("😀 \\ud800",)  # half a pair is no letter


def test_nothing_begins_with_its_subject_by_default():
    found = _relation()
    for subject, own in zip(found.subjects, found.sentences, strict=True):
        assert not any(sentence.startswith(subject) for sentence in own)
    assert found.inspection == ("The capital of x is", "Question: x has the capital")


def test_no_state_of_a_first_token_is_read(demo):
    """The demo model's tokenizer adds no BOS, so its first token is the sink."""
    study = ls.studies.entity_resolution(
        demo,
        [
            ls.studies.Entity("Japan", "place", "Island country in East Asia"),
            ls.studies.Entity("Jurassic Park", "work", "American film about dinosaurs"),
        ],
        variants=["bare", "space", "{} is here"],
    )
    bare, space, begins = (study.sample(0, n) for n in range(3))
    for sample in (bare, space, begins):
        assert 0 not in sample.tokens and sample.led
        assert sample.prompt.text.startswith(LEAD_IN.rstrip())
        assert "".join(sample.prompt.labels[t] for t in sample.tokens).strip() == "Japan"
    assert not study.sample(1, 0).led and study.sample(1, 0).prompt.text == "Jurassic Park"
    assert study.arguments()["samples_with_lead_in"] == 3
    every = ls.studies.entity_resolution(demo, study.given, all_tokens=True)
    assert every.sample(1, 0).led and 0 not in every.sample(1, 0).tokens
    read = ls.studies.next_token(demo, ["one two three", "four five"], positions=None).reads([0, 1])
    assert all(0 not in one.tokens for one in read)


def test_texts_of_one_token(few):
    with pytest.raises(StudyError, match="attention sink"):
        ls.studies.next_token(few, [[5], [6, 7]], ls.LogitLens(), positions=None).run()
    result = ls.studies.next_token(few, [[5], [6, 7]], ls.LogitLens()).run()
    assert any("of 1 texts the first token is read" in note for note in result.notes)


# ------------------------------------------------------------- what is shown


def test_a_panel_says_which_cell_it_shows(model):
    """Read in the second sentence, which is the better one, at the cell that is best."""
    given = planted.relation()
    result = ls.studies.attribute_extraction(model, given, target_layers=[0, 2], **OPTIONS).run()
    texts = next(panel for panel in result.panels if panel.cell_width > 6)
    row = result.headline.iloc[0]
    assert f"written to layer {row['target_layer']}" in texts.title
    assert "sentence " in texts.title and "*: the best fixed cell" in texts.title
    assert f"{row['source_layer']} *" in texts.y
    number = int(texts.title.split("sentence ")[1][0])
    at = {"source_layer": row["source_layer"], "target_layer": row["target_layer"]}
    own = result.texts(texts.x[0], variant=number, **at)["text"].item()
    shown = texts.texts[texts.y.index(f"{row['source_layer']} *")][0]
    assert own.strip() in shown


def test_a_user_s_relation_reaches_what_the_shipped_one_does(demo):
    """Ten capitals in the LRE format, nothing else said: no attention sink in its way."""
    shipped = ls.studies.relation("capital").first(subjects=10)
    own = ls.studies.relation(
        {
            "name": "country capital",
            "prompt_templates": ["The capital of {} is the city of"],
            "samples": [
                {"subject": subject, "object": objects[0]}
                for subject, objects in zip(shipped.subjects, shipped.objects, strict=True)
            ],
        }
    )
    options = {
        "layers": [6, 12],
        "target_layers": [1, 3],
        "max_new_tokens": 6,
        "random_draws": 1,
        "probe": False,
        "lenses": [],
    }
    theirs, mine = (
        ls.studies.attribute_extraction(
            demo, one.first(sentences=1), inspection="The capital of x is the city of", **options
        )
        .run()
        .headline.iloc[0]
        for one in (shipped, own)
    )
    assert mine["state"] >= theirs["state_low"]
    assert mine["state"] > mine["mean_high"]
