"""Pairs that are read from files: round trips, forms, and files that are refused."""

from __future__ import annotations

import json

import pytest

from lensscope import pairs
from tests.pairs.test_pairs import refused


@pytest.mark.parametrize("task", pairs.TASKS.values(), ids=pairs.TASKS)
def test_round_trips(demo, task, tmp_path):
    made = task(demo, 6)
    table, lines = tmp_path / f"{made.name}.csv", tmp_path / f"{made.name}.jsonl"
    frame = made.frame()
    for label, where in made.positions.items():
        frame[f"position:{label}"] = [
            f"{w.start}:{w.stop}" if isinstance(w, slice) else w for w in where
        ]
    frame.to_csv(table)
    assert pairs.from_csv(str(table), demo) == made
    rows = frame.to_dict("records")
    for n, row in enumerate(rows):
        row |= {"correct": list(made.correct[n]), "wrong": list(made.wrong[n])}
    lines.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    assert pairs.from_jsonl(lines, demo) == made


def test_forms_of_files(tmp_path):
    table, lines = tmp_path / "mine.csv", tmp_path / "mine.jsonl"
    table.write_text(
        'clean,corrupted,correct,position:it\r\n"Ça, à",é b, x| y,1:\r\n"a\nb",c, z,:-1\r\n',
        encoding="utf-8-sig",
    )
    read = pairs.from_csv(table)
    assert read.clean == ("Ça, à", "a\nb") and read.correct == ((" x", " y"), (" z",))
    assert read.wrong == ((), ()) and read.name == "mine"
    assert read.positions == {"it": (slice(1, None), slice(None, -1))}
    row = {"clean": "a\u2028b", "corrupted": "c", "correct": " x|y", "wrong": None}
    lines.write_text(json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8")
    read = pairs.from_jsonl(lines)
    assert read.clean == ("a\u2028b",) and read.correct == ((" x|y",),) and read.wrong == ((),)


HEAD = "clean,corrupted,correct,wrong\n"
GOOD = '{"clean": "a", "corrupted": "b", "correct": " c"}\n'
FILES = {
    "empty.csv": ("", "holds no pairs", "a header clean,corrupted,correct,wrong"),
    "header.csv": (HEAD, "holds no pairs"),
    "column.csv": ("clean,correct\na,b\n", "Line 2", "no good 'corrupted'", "only clean, correct"),
    "short.csv": (HEAD + "a,b\n", "Line 2", "no good 'correct'", "correct: None"),
    "blank.csv": (HEAD + "a,b, c,\n,b, c,\n", "Line 3", "no good 'clean'", "clean: ''"),
    "answer.csv": (HEAD + "a,b, c|,\n", "no good 'correct'", "[' c', '']"),
    "long.csv": (HEAD + "a, b,c,d,e\n", "more cells than the header", "['e']", "quotes around"),
    "place.csv": (HEAD.replace("wrong", "position:x") + "a,b,c,one\n", "position:x", "      'one'"),
    "both.csv": (HEAD + "a,b, c, c\n", "cannot be told apart"),
    "latin.csv": (HEAD.encode() + b"\xe9,b, c,\n", "cannot be read", "UnicodeDecodeError"),
    "huge.csv": (HEAD + "a" * 140_000 + ",b, c,\n", "Line 2 of ", "field larger than"),
    "empty.jsonl": ("\n", "holds no pairs"),
    "broken.jsonl": (GOOD + '\n{"clean": \n', "Line 3 of ", "JSONDecodeError"),
    "list.jsonl": (GOOD + "[1, 2]\n", "Line 2 of ", "no object, but [1, 2]"),
    "number.jsonl": (GOOD.replace('" c"', "3"), "Line 1", "no good 'correct'", "correct: 3"),
    "numbers.jsonl": (GOOD.replace('" c"', "[3]"), "no good 'correct'", "correct: [3]"),
    "texts.jsonl": (GOOD.replace('"a"', '["a", "d"]'), "no good 'clean'", "expected: a text\n"),
    "key.jsonl": ('{"clean": "a"}', "no good 'corrupted'", "only clean"),
    "place.jsonl": (GOOD.replace("}", ', "position:x": true}'), "'position:x'", "True"),
    "places.jsonl": (GOOD.replace("}", ', "position:x": 1}') + GOOD, "Line 2", "got:      None"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_bad_files(tmp_path, name):
    content, *parts = FILES[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: (pairs.from_csv if name.endswith(".csv") else pairs.from_jsonl)(path), *parts)


def test_files_that_are_not_there(tmp_path):
    for read in (pairs.from_csv, pairs.from_jsonl):
        refused(lambda: read(tmp_path / "none"), "none cannot be read", "FileNotFoundError")
        refused(lambda: read(tmp_path), "cannot be read")


def test_files_are_checked_with_a_model(demo, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(HEAD + "In Rome it,In Ouagadougou it, is,\n")
    assert len(pairs.from_csv(path)) == 1
    refused(lambda: pairs.from_csv(path, demo), "not equally long")
