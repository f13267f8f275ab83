"""The commands about studies, as they are typed."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import lensscope as ls

FEW = ("--limit", "3", "--layers", "6,8", "--max-new-tokens", "2", "--random-draws", "1")


@pytest.fixture
def run(lensscope, tmp_path):
    return lambda *arguments: lensscope(*arguments, cwd=tmp_path)


def test_a_study_its_folder_and_its_report(run, tmp_path):
    done = run("study", "entity-resolution", *FEW, "--html", "page.html", "--json", "all.json")
    assert done.returncode == 0, done.stderr
    assert "Entity resolution: 3 entities" in done.stdout
    assert "best fixed layer" in done.stdout and "largest control" in done.stdout
    folder = tmp_path / "lensscope-entity-resolution"
    assert len(list((folder / "parts").iterdir())) == 7
    assert "<svg" in (tmp_path / "page.html").read_text()
    whole = json.loads((tmp_path / "all.json").read_text())
    assert whole["manifest"]["arguments"]["max_new_tokens"] == 2

    again = run("study", "entity-resolution", *FEW)
    assert "Going on in lensscope-entity-resolution, where 7 parts are finished" in again.stderr
    refused = run("study", "entity-resolution", *FEW, "--no-resume")
    assert refused.returncode == 2 and "7 finished parts" in refused.stderr
    other = run("study", "entity-resolution", *FEW, "--seed", "7")
    assert other.returncode == 2 and "seed: 0" in other.stderr and "seed: 7" in other.stderr

    report = run("report", folder.name, "--markdown", "table.md", "--latex", "table.tex")
    assert report.returncode == 0, report.stderr
    assert "<svg" in (folder / "report.html").read_text()
    assert (tmp_path / "table.md").read_text().startswith("| way |")
    assert r"\toprule" in (tmp_path / "table.tex").read_text()
    nothing = run("report", "nowhere")
    assert nothing.returncode == 2 and "not the folder of a study" in nothing.stderr


def test_a_relation_from_a_file(run, tmp_path):
    lre = {
        "name": "capital",
        "prompt_templates": ["The capital city of {} is"],
        "samples": [
            {"subject": "Japan", "object": "Tokyo"},
            {"subject": "France", "object": "Paris"},
            {"subject": "Italy", "object": "Rome"},
        ],
    }
    (tmp_path / "mine.json").write_text(json.dumps(lre))
    asked = ("study", "attribute-extraction", "--relation", "mine.json")
    done = run(
        *asked,
        "--layers",
        "8",
        "--target-layers",
        "4",
        "--max-new-tokens",
        "3",
        "--sentences",
        "1",
        "--no-probe",
        "--no-only-known",
        "--match",
        "substring",
        "-q",
    )
    assert done.returncode == 0, done.stderr
    result = ls.studies.load(tmp_path / "lensscope-attribute-extraction-mine")
    assert result.manifest["arguments"]["match"] == "substring"
    assert result.finished and result.data.sizes["source_layer"] == 1
    listed = run("study", "attribute-extraction", "--list")
    assert "capital  country capital city" in listed.stdout


def test_the_next_token_and_two_steps(run, tmp_path):
    (tmp_path / "texts.txt").write_text("The cat sat on the\nTwo and two make\nOne, two, three,\n")
    done = run("study", "next-token", "--texts", "texts.txt", "--layers", "10,20")
    assert done.returncode == 0, done.stderr
    assert "token identity" in done.stdout and "logit lens" in done.stdout
    hops = run(
        "study",
        "multihop",
        "--limit",
        "6",
        "--layers",
        "9,15",
        "--target-layers",
        "3",
        "--max-new-tokens",
        "2",
    )
    assert hops.returncode == 0, hops.stderr
    assert "alone" in hops.stdout
    assert run("report", "lensscope-multihop").returncode == 0


def test_one_model_into_another(run, tmp_path):
    lines = [f"Here is sentence number {n} about towns and rivers and fields." for n in range(40)]
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    done = run(
        "study",
        "cross-model",
        "--target",
        "demo",
        "--texts",
        "texts.txt",
        "--limit",
        "3",
        "--layers",
        "10",
        "--target-layers",
        "4",
        "--max-new-tokens",
        "2",
    )
    assert done.returncode == 0, done.stderr
    assert ls.studies.load(tmp_path / "lensscope-cross-model").finished


def test_mistakes_are_told_briefly(run):
    for arguments, says in (
        (("attribute-extraction", "--relation", "capitals"), "no such relation"),
        (("entity-resolution", "--limit", "2", "--variant", "loud"), "ways to put a name"),
        (("entity-resolution", "--limit", "2", "--num-workers", "3"), "are Ray's"),
        (("entity-resolution", "--entities", "none.csv"), "no entities"),
        (("entity-resolution", "--layers", "x"), "list of layers"),
        (("multihop", "--questions", "none.json"), "none.json"),
    ):
        done = run("study", *arguments)
        assert done.returncode == 2 and says in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_says_what_is_kept(run, tmp_path, monkeypatch):
    from lensscope.studies.experiments.entity_resolution.study import EntityResolution

    measure, asked = EntityResolution.measure, []

    def broken_off(self, key, shared):
        asked.append(key)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return measure(self, key, shared)

    monkeypatch.setattr(EntityResolution, "measure", broken_off)
    done = run("study", "entity-resolution", *FEW, "--out", "out")
    assert done.returncode == 130
    assert "Broken off; 2 parts are kept in out, and the same command goes on." in done.stderr
    again = run("study", "entity-resolution", *FEW, "--out", "out")
    assert again.returncode == 0 and len(asked) == 3 + 5
    assert "2 parts are finished" in again.stderr


def test_a_table_is_the_same_in_every_form(run, tmp_path):
    run("study", "entity-resolution", *FEW, "--out", "out", "-q")
    result = ls.studies.load(tmp_path / "out")
    frame = result.frame()
    assert set(frame["condition"]) == {"state", "shuffled", "mean", "random", "prior", "drawn"}
    held = pd.DataFrame(json.loads(result.to_json())["headline"])
    assert held["state"].tolist() == pytest.approx(result.headline["state"].tolist(), nan_ok=True)
