"""Training a reader, and finding where it is written, on the command line."""

from __future__ import annotations

import json

import lensscope as ls


def test_next_tokens_are_written_late(lensscope, tmp_path, demo):
    texts = tmp_path / "texts.txt"
    texts.write_text("One two three four five six seven eight nine ten. " * 14, "utf-8")
    command = ("train-reader", "--objective", "next_token", "--texts", str(texts), "--steps", "1")
    lensscope(*command, "--held-out", "2", "--layers", "8", "--map", "scale", cwd=tmp_path)
    reader = ls.Patchscope.load(tmp_path / "reader.safetensors", demo)
    assert (reader.write, reader.earliest) == (ls.resid_post, 20)
    said = reader.inspect(demo, "One two three four", layers=[8]).frame()
    assert said.target_layer.tolist() == [20]


def test_a_reader_is_trained_kept_and_read_with(lensscope, tmp_path, demo):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(ls.names(kinds=["animal"])[:24]), "utf-8")
    command = ("train-reader", "--names", str(names), "--held-out", "8", "--steps", "2")
    done = lensscope(
        *command,
        "--layers",
        "8,24",
        "--rank",
        "4",
        "--map",
        "low_rank",
        "--keep-rank",
        "4",
        "--int8",
        "--json",
        "scores.json",
        cwd=tmp_path,
    )
    assert "Reader written to reader.safetensors" in done.stderr
    assert "nats before" in done.stdout
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert [row["layer"] for row in scores] == [8, 24]
    reader = ls.Patchscope.load(tmp_path / "reader.safetensors", demo)
    assert reader.trained.settings["steps"] == 2
    assert reader.transform.layers == (8, 24)
    assert reader.transform.maps[24].down.shape == (576, 4)
    read = lensscope(
        "read",
        "I have read about Japan",
        "--reader",
        "reader.safetensors",
        "--layers",
        "8",
        "--max-new-tokens",
        "3",
        cwd=tmp_path,
    )
    assert "another state" in read.stdout


def test_the_best_block_is_an_early_one(lensscope, tmp_path):
    done = lensscope(
        "best-block",
        "--limit",
        "6",
        "--blocks",
        "2,20",
        "--layers",
        "8",
        "--json",
        "blocks.json",
        cwd=tmp_path,
    )
    assert "best: 2" in " ".join(done.stdout.split())
    rows = {row["block"]: row["8"] for row in json.loads((tmp_path / "blocks.json").read_text())}
    assert rows[2] < rows[20]


def test_settings_that_make_no_sense_are_one_message(lensscope, tmp_path):
    done = lensscope("train-reader", "--limit", "30", "--rank", "0", cwd=tmp_path)
    assert done.returncode == 2 and "rank" in done.stderr
    done = lensscope("train-reader", "--limit", "30", cwd=tmp_path)
    assert done.returncode == 2 and "too few names" in done.stderr
