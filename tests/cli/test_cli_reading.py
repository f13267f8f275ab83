"""``lensscope read`` and ``lensscope study reading-quality``, as they are typed."""

from __future__ import annotations

import json

import pytest
import torch

import lensscope as ls
from tests import families

CONTROLS = {"prior", "random", "mean", "other"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random Llama as a folder, a reader for it, and texts in its words."""
    folder = tmp_path_factory.mktemp("tiny")
    families.hf_model("llama").save_pretrained(folder / "model")
    families.own_tokenizer().save_pretrained(folder / "model")
    prompt = ls.InspectionPrompt("w60 {question} w50", "w50")
    reader = ls.Patchscope(prompt, ls.resid_pre(1), read=ls.resid_post, max_new_tokens=3)
    reader.save(folder / "early.safetensors")
    (folder / "texts.txt").write_text("w5 w6 w7\nw8 w9\n")
    (folder / "names.txt").write_text("\n".join(f"w{10 + n} w{40 + n}" for n in range(4)))
    return folder


@pytest.fixture
def run(lensscope, folder):
    return lambda *arguments: lensscope(*arguments, cwd=folder)


READ = ("read", "w11 w12 w13", "--model", "model", "--reader", "early.safetensors")


def test_what_is_read_stands_beside_its_controls(run, folder):
    done = run(
        *(*READ, "--question", "w61", "--layers", "0,2", "--texts", "texts.txt"),
        *("--html", "read.html", "--svg", "read.svg", "--json", "read.json"),
    )
    assert done.returncode == 0, done.stderr
    for name in ("nothing written", "random vector", "mean state", "another state"):
        assert name.split()[0] in done.stdout
        assert name in (folder / "read.html").read_text()
        assert name in (folder / "read.svg").read_text()
    held = json.loads((folder / "read.json").read_text())
    assert set(held["controls"]) == CONTROLS and "2 texts" in held["about"]
    model = ls.load_model(folder / "model")
    scope = ls.Patchscope.load(folder / "early.safetensors", model, question="w61")
    seen = scope.inspect(model, "w11 w12 w13", layers=[0, 2]).frame()
    assert [cell["text"] for cell in held["cells"]] == seen["text"].tolist()
    prior = ls.generate(model, "w60 w61 w50", max_new_tokens=3).text
    assert {cell["prior"] for cell in held["cells"]} == {prior}
    for cell, layer in zip(held["cells"], (0, 2), strict=True):
        site = ls.resid_post(layer)
        first, second = (ls.capture(model, t, site)[site][0] for t in ("w5 w6 w7", "w8 w9"))
        mean = torch.cat([first[1:], second[1:]]).mean(0)
        for name, vector in (("other", first[-1]), ("mean", mean)):
            assert cell[name] == scope.inspect(model, vector[None]).frame()["text"][0], name


@pytest.mark.parametrize(
    ("where", "tokens"),
    [
        (("--span", "w12 w13"), ["w12", "w13"]),
        (("--position", "w12"), ["w12"]),
        (("--position", "-2"), ["w12"]),
        ((), ["w13"]),
    ],
)
def test_positions_and_spans(run, where, tokens):
    done = run(*READ, "--question", "w61", *where, "--layers", "1", "--json", "-", "-q")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert [cell["token"].strip() for cell in cells] == tokens
    assert all(isinstance(cell[name], str) for cell in cells for name in CONTROLS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--reader", "nowhere"), "no such reader"),
        (("--reader", "attribute"), "Which attribute"),
        (("--reader", "token-identity", "--question", "w7"), "asked nothing"),
        (("--reader", "early.safetensors"), "waits for a question"),
        (("--reader", "early.safetensors", "--question", "w7 w50"), "placeholder"),
        (("--reader", "early.safetensors", "--block", "1"), "its own place"),
        (("--question", "w7", "--span", "w12", "--position", "1"), "two places"),
        (("--question", "w7", "--texts", "nowhere.txt"), "cannot be read"),
        (("--question", "w7", "--layers", "9"), "out of range"),
    ],
)
def test_mistakes_are_one_message(run, arguments, says):
    asked = ("read", "w11 w12 w13", "--model", "model", "--layers", "1")
    first = () if "--reader" in arguments else ("--reader", "early.safetensors")
    done = run(*asked, *first, *arguments)
    assert done.returncode == 2 and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_presets_are_readers(lensscope, tmp_path):
    done = lensscope(
        *("read", "I have read about Japan", "--position", "Japan", "--layers", "6"),
        *("--reader", "attribute", "--question", "The largest city in x", "--block", "3"),
        *("--max-new-tokens", "4", "--json", "-", "-q"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    assert "Tokyo" in cell["text"] and cell["target_layer"] == 3
    assert not any("Tokyo" in cell[name] for name in CONTROLS)


def test_how_good_readers_are(run, folder):
    asked = (
        *("study", "reading-quality", "--model", "model", "--question", "w61"),
        *("--reader", "early.safetensors", "--reader", "again=early.safetensors"),
        *("--names", "names.txt", "--template", "w7 {}", "--layers", "1", "--candidates", "2"),
    )
    done = run(*asked, "--json", "all.json", "--html", "all.html")
    assert done.returncode == 0, done.stderr
    assert "Reading quality: 2 readers of 4 names" in " ".join(done.stdout.split())
    held = json.loads((folder / "all.json").read_text())
    assert [row["reader"] for row in held["headline"]] == ["early", "again"]
    assert {row["rouge_l"] for row in held["differences between readers"]} == {0.0}
    assert "by chance 0.50" in (folder / "all.html").read_text()
    again = run(*asked, "--limit", "4")
    assert again.returncode == 0 and "parts are finished" in again.stderr
    assert run("report", "lensscope-reading-quality").returncode == 0
    twice = run(*asked, "--reader", "again=early.safetensors")
    assert twice.returncode == 2 and "two readers are called again" in twice.stderr
