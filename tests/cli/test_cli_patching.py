"""The commands about patching."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import networkx as nx
import pytest

import lensscope as ls
from tests import families

CLEAN = "The capital of Japan is the city of"
CORRUPTED = "The capital of Italy is the city of"
PAIR = ["--clean", CLEAN, "--corrupted", CORRUPTED]
ANSWERS = ["--answer", " Tokyo", "--wrong", " Rome"]


@pytest.fixture
def run(lensscope, tmp_path):
    """A command in this process, in an empty folder."""

    def act(*arguments, fails=False):
        done = lensscope(*arguments, cwd=tmp_path)
        assert done.returncode == (2 if fails else 0), done.stderr
        return done.stdout + done.stderr

    return act


def test_patch_gives_what_python_gives(run, demo, tmp_path):
    said = run(
        *("patch", *PAIR, *ANSWERS, "--site", "mlp_out", "--position", "all"),
        *("--svg", "a.svg", "--html", "a.html", "--json", "a.json"),
    )
    effect = ls.activation_patching(
        demo,
        CLEAN,
        CORRUPTED,
        ls.mlp_out,
        ls.logit_difference(" Tokyo", " Rome"),
        positions=ls.ALL,
    )
    assert "corrupted run" in said and "clean run" in said
    cells = json.loads((tmp_path / "a.json").read_text())["cells"]
    assert [c["effect"] for c in cells] == pytest.approx(list(effect.frame()["effect"]), abs=1e-6)
    assert "<svg" in (tmp_path / "a.svg").read_text()
    page = (tmp_path / "a.html").read_text()
    assert (
        "<svg" in page and "<script" not in page and "http" not in page.replace("xmlns='http", "")
    )


def test_positions_by_name_and_in_each_prompt(run, tmp_path):
    run(
        *("patch", "--clean", "The capital of Japan is", "--corrupted"),
        *("The capital of the United Kingdom is", "--answer", " Tokyo", "--wrong", " London"),
        *("--position", "country=Japan|Kingdom", "--position", "last=-1", "--json", "a.json", "-q"),
    )
    cells = json.loads((tmp_path / "a.json").read_text())["cells"]
    assert {c["position"] for c in cells} == {"country", "last"} and len(cells) == 60


def test_attribution_over_a_data_set_says_how_good_it_is(run, tmp_path):
    said = run(
        *("patch", "--pairs", "country_capital", "--n", "2", "--site", "mlp_out"),
        *("--position", "named", "--method", "attribution", "--verify", "3", "--json", "a.json"),
    )
    assert "rank_correlation" in said
    held = json.loads((tmp_path / "a.json").read_text())
    assert held["settings"]["verified"]["run"] == 23
    assert {c["position"] for c in held["cells"]} == {"country", "end"}


@pytest.mark.parametrize(
    "metric", ["log-probability", "probability", "kl-divergence", "rank", "logit-difference"]
)
def test_every_metric(run, metric):
    answers = [] if metric == "kl-divergence" else ANSWERS
    said = run(
        "patch", *PAIR, *answers, "--metric", metric, "--position", "Japan", "--site", "embed"
    )
    assert "+1.000" in said  # only the country differs


def test_pairs_from_a_file(run, tmp_path):
    (tmp_path / "own.csv").write_text(
        f"clean,corrupted,correct,wrong\n{CLEAN},{CORRUPTED}, Tokyo, Rome\n"
    )
    run("patch", "--pairs", "own.csv", "--position", "all", "--json", "a.json", "-q")
    cells = json.loads((tmp_path / "a.json").read_text())["cells"]
    assert cells[0]["effect"] == pytest.approx(1, abs=1e-4)


def test_trace(run, tmp_path):
    said = run(
        *("trace", "--prompt", CLEAN, "--subject", "span:Japan", "--samples", "1"),
        *("--site", "mlp_out", "--window", "5", "--json", "a.json", "--svg", "a.svg"),
    )
    assert "blurred run" in " ".join(said.split()) and "' Tokyo'" in said
    assert json.loads((tmp_path / "a.json").read_text())["settings"]["window"] == 5


TINY = ["--clean", "w3 w5 w7 w9", "--corrupted", "w3 w6 w7 w9", "--answer", "w11", "--wrong", "w12"]


@pytest.fixture
def run_tiny(llama, run, monkeypatch):
    """The same on a tiny model, whose answers mean nothing."""
    monkeypatch.setattr("lensscope.model.loading.load_model", lambda *_, **__: llama)
    return run


@pytest.mark.filterwarnings("ignore")  # the answers mean nothing to it
def test_circuit_with_everything(run_tiny, tmp_path):
    said = run_tiny(
        *("circuit", *TINY, "--top", "5", "--edges", "--threshold", "0", "--curve"),
        *("--html", "c.html", "--svg", "c.svg", "--graphml", "c.graphml", "--json", "c.json"),
    )
    assert "recovered" in said and "random" in said
    circuit = ls.Circuit.from_json(tmp_path / "c.json")
    assert len(circuit.nodes) == 5 and circuit.edges
    assert nx.read_graphml(tmp_path / "c.graphml").number_of_nodes() == 6  # and the logits
    assert "Faithfulness(" in (tmp_path / "c.html").read_text()


@pytest.mark.filterwarnings("ignore")
def test_circuits_can_be_grown(run_tiny, tmp_path):
    run_tiny(
        *("circuit", *TINY, "--search", "grow", "--top", "3", "--threshold", "0.001"),
        *("--json", "c.json", "-q"),
    )
    circuit = ls.Circuit.from_json(tmp_path / "c.json")
    assert len(circuit.nodes) == 3 and circuit.settings["grown"]
    said = run_tiny("circuit", *TINY, "--search", "grow", "--threshold", "999", fails=True)
    assert "smaller threshold" in said


def test_nodes_in_words(run, tmp_path):
    run("circuit", *PAIR, *ANSWERS, "--top", "3", "--words", "--json", "c.json", "-q")
    assert len(ls.Circuit.from_json(tmp_path / "c.json").words) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["patch", *PAIR], "there is no answer"),
        (["patch", *PAIR, "--answer", " Tokyo"], "needs --wrong"),
        (["patch", "--clean", CLEAN, *ANSWERS], "there are no prompts"),
        (["patch", *PAIR, *ANSWERS, "--pairs", "ioi"], "leave out the others"),
        (["patch", "--pairs", "soup"], "there is no set"),
        (["patch", "--pairs", "none.csv"], "none.csv"),
        (["patch", *PAIR, *ANSWERS, "--site", "mlp"], "there is no site 'mlp'"),
        (["patch", *PAIR, *ANSWERS, "--verify", "3"], "--method attribution"),
        (["patch", *PAIR, *ANSWERS, "--position", "named"], "name no tokens"),
        (["patch", *PAIR, "--answer", " Antananarivo", "--wrong", " Rome"], "is not one token"),
        (["patch", "--clean", CLEAN, "--corrupted", "Italy", *ANSWERS], "not equally long"),
        (["trace", "--prompt", CLEAN, "--subject", "Peru"], "does not occur"),
        (["circuit", *PAIR, *ANSWERS, "--top", "0"], "top"),
    ],
)
def test_mistakes_are_told_without_a_traceback(run, arguments, says):
    said = run(*arguments, fails=True)
    assert says in " ".join(said.replace("│", " ").split()) and "Traceback" not in said


@pytest.mark.filterwarnings("ignore")
def test_a_broken_off_data_set_goes_on(run, tmp_path):
    families.hf_model("llama").save_pretrained(tmp_path / "model")
    families.own_tokenizer().save_pretrained(tmp_path / "model")
    lines = [
        f"w{3 + n % 20} w5 w{n % 90 + 3},w{3 + n % 20} w6 w{n % 90 + 3}, w11, w12"
        for n in range(60)
    ]
    (tmp_path / "own.csv").write_text("\n".join(["clean,corrupted,correct,wrong", *lines]))
    command = ["patch", "--pairs", "own.csv", "--model", "model", "--site", "mlp_out", "-q"]
    command += ["--position", "all", "--checkpoint", "kept", "--json", "a.json"]
    first = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "lensscope", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        for _ in range(1200):
            if (tmp_path / "kept").exists() or first.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=60)
    assert first.returncode == 130 and b"interrupted" in err, err
    assert not (tmp_path / "a.json").exists()
    run(*command)
    whole = (tmp_path / "a.json").read_text()
    (tmp_path / "kept").unlink()
    run(*command)
    assert (tmp_path / "a.json").read_text() == whole
    assert len(json.loads(whole)["cells"]) == 60 * 3
