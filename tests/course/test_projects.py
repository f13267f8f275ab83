"""The data of the projects are there, and are what the projects say."""

from __future__ import annotations

import csv
import re

import pytest

import lensscope as ls
from notebooks.making.unit import HERE

DATA = HERE / "projects"
TEXT = (HERE.parent / "docs/course/projects.md").read_text("utf-8")
ROWS = {
    "homographs": 20,
    "agreement": 24,
    "opposites": 16,
    "sums": 32,
    "passages": 15,
    "occupations": 40,
    "proverbs": 30,
    "invented": 48,
}


def rows(name):
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_there_are_ten_and_their_files_are_these():
    assert len(re.findall(r"^## \d+\. ", TEXT, re.MULTILINE)) == 10
    assert set(re.findall(r"`(\w+)\.csv`", TEXT)) == set(ROWS) == {p.stem for p in DATA.iterdir()}


@pytest.mark.parametrize("name", ROWS)
def test_a_file_is_whole(name):
    found = rows(name)
    assert len(found) == ROWS[name]
    assert len({tuple(row.values()) for row in found}) == len(found)
    assert all(
        (value and value == value.strip(" \n")) or value[0] == " "
        for r in found
        for value in r.values()
    )


@pytest.mark.parametrize("name", ["agreement", "opposites"])
def test_pairs_are_aligned_and_the_model_prefers_their_answers(name, demo):
    pairs = ls.pairs.from_csv(DATA / f"{name}.csv", demo)
    logits = ls.run(demo, list(pairs.clean)).last_logits
    words = zip(logits, pairs.correct, pairs.wrong, strict=True)
    better = [
        row[demo.to_single_token(right[0])] > row[demo.to_single_token(wrong[0])]
        for row, right, wrong in words
    ]
    assert sum(better) > 0.8 * len(better)


def test_a_homograph_ends_both_its_sentences():
    for row in rows("homographs"):
        for each in ("sentence_a", "sentence_b"):
            assert row[each].endswith(f" {row['word']}")


def test_examples_make_the_model_add(demo):
    shots = "2 + 2 = 4\n5 + 1 = 6\n1 + 4 = 5\n"
    found = rows("sums")
    with_shots = ls.generate(demo, [shots + r["prompt"] for r in found], max_new_tokens=2).text
    alone = ls.generate(demo, [r["prompt"] for r in found], max_new_tokens=2).text
    right = [
        sum(t.strip()[:1] == r["answer"] for t, r in zip(texts, found, strict=True))
        for texts in (with_shots, alone)
    ]
    assert right[0] > len(found) / 2 > 4 * right[1]


def test_about_half_of_the_sayings_are_known_by_heart(demo):
    found = rows("proverbs")
    texts = ls.generate(demo, [r["beginning"] for r in found], max_new_tokens=3).text
    known = sum(t.strip().startswith(r["last_word"]) for t, r in zip(texts, found, strict=True))
    assert 0.35 < known / len(found) < 0.65


def test_five_kinds_each():
    assert (
        len({r["kind"] for r in rows("passages")})
        == len({r["kind"] for r in rows("invented")})
        == 5
    )
    assert sum(r["real"] == "yes" for r in rows("invented")) == 24
