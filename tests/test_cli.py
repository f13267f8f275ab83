"""The command line, as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def lensscope(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "lensscope", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120"},
    )


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from lensscope.cli import app\n"
        "done = CliRunner().invoke(app, ['--help'])\n"
        "assert done.exit_code == 0 and 'inspect' in done.output\n"
        "print([m for m in ('torch', 'transformers', 'transformer_lens', 'pandas', 'numpy',"
        " 'xarray', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_inspect_prints_and_writes(demo, tmp_path):
    done = lensscope(
        *("inspect", "--source", "a flight to Japan", "--position", "Japan"),
        *("--preset", "attribute", "--text", "The largest city in x"),
        *("--layers", "5:7", "--target-layers", "3", "--max-new-tokens", "4"),
        *("--html", "out.html", "--json", "out.json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert ", Tokyo" in done.stdout
    assert "Tokyo" in (tmp_path / "out.html").read_text()
    cells = json.loads((tmp_path / "out.json").read_text())["cells"]
    assert [(c["source_layer"], c["target_layer"]) for c in cells] == [(5, 3), (6, 3)]
    assert cells[1]["text"].startswith(", Tokyo")
    assert cells[1]["logit_lens"]


def test_json_for_pipes(demo):
    done = lensscope(
        *("inspect", "--source", "Jurassic Park", "--layers", "12", "--json", "-"),
        *("--preset", "token-identity", "--target-layers", "all", "--quiet"),
    )
    assert done.returncode == 0 and done.stderr == ""
    assert len(json.loads(done.stdout)["cells"]) == 30


@pytest.mark.parametrize("position", ["-1", "0:2", "span:Jurassic", "all", "Park"])
def test_every_form_of_position(demo, position):
    done = lensscope(
        *("inspect", "--source", "Jurassic Park", "--layers", "3,4", "--json", "-", "-q"),
        *("--position", position, "--preset", "selfie", "--max-new-tokens", "1"),
    )
    assert done.returncode == 0, done.stderr
    tokens = {c["token"] for c in json.loads(done.stdout)["cells"]}
    expected = {
        "-1": {" Park"},
        "Park": {" Park"},
        "0:2": {"J", "ur"},
        "span:Jurassic": {"J", "ur", "assic"},
        "all": {"J", "ur", "assic", " Park"},
    }
    assert tokens == expected[position]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--position", "Peru"], "does not occur"),
        (["--layers", "30"], "out of range"),
        (["--layers", "some"], "not a list of layers"),
        (["--target-layers", "3,x"], "not a list of layers"),
        (["--preset", "attribute"], "needs --text"),
        (["--preset", "nonsense"], "nonsense"),
        (["--model", "no-such-model-anywhere"], "no such model"),
        (["--html", "/no/such/folder/x.html", "--layers", "1"], "cannot be written"),
        (["--preset", "selfie", "--target-layers", "3,5"], "always writes at one layer"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_two(demo, arguments, says):
    done = lensscope("inspect", "--source", "Jurassic Park", "--max-new-tokens", "1", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_models_lists_what_is_at_hand(demo):
    done = lensscope("models")
    assert done.returncode == 0
    assert "SmolLM2-135M-Instruct" in done.stdout and "LlamaForCausalLM" in done.stdout


def test_the_demo_writes_a_page_with_every_layer(demo, tmp_path):
    done = lensscope("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "lensscope-demo.html").read_text()
    for entity in ("Diana, Princess of Wales", "Jurassic Park", "Alexander the Great"):
        assert entity in page and entity in done.stdout
    assert page.count("<tr>") == 3 * 31
    assert page.count("logit lens") == 3
    assert ": American film franchise" in page
