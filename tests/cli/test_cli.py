"""The command line: some of it as a process, the rest in this one, where models are loaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import lensscope as ls
from tests import families


def process(*arguments, cwd=None):
    """A command as a user gives it."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "lensscope", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120"},
    )


def test_versions_for_a_report(lensscope):
    done = lensscope("--version")
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {"lensscope", "torch", "transformers", "transformer-lens", "python"} <= set(told)


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from lensscope.cli.command import app\n"
        "done = CliRunner().invoke(app, ['--help'])\n"
        "assert done.exit_code == 0 and 'inspect' in done.output\n"
        "print([m for m in ('torch', 'transformers', 'transformer_lens', 'pandas', 'numpy',"
        " 'xarray', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_inspect_prints_and_writes(lensscope, tmp_path):
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
    done = process(
        *("inspect", "--source", "Jurassic Park", "--layers", "12", "--json", "-"),
        *("--preset", "token-identity", "--target-layers", "all", "--quiet"),
    )
    assert done.returncode == 0 and done.stderr == ""
    assert len(json.loads(done.stdout)["cells"]) == 30


@pytest.mark.parametrize("position", ["-1", "0:2", "span:Jurassic", "all", "Park"])
def test_every_form_of_position(lensscope, position):
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
def test_mistakes_are_one_message_and_exit_code_two(lensscope, arguments, says):
    done = lensscope("inspect", "--source", "Jurassic Park", "--max-new-tokens", "1", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_models_lists_what_is_at_hand(lensscope):
    done = lensscope("models")
    assert done.returncode == 0
    assert "SmolLM2-135M-Instruct" in done.stdout and "LlamaForCausalLM" in done.stdout


def test_models_are_searched(lensscope, tmp_path):
    done = lensscope("models", "gpt2 LMHead", "--json", "-")
    found = json.loads(done.stdout)
    assert set(found[0]) == {"name", "architecture", "parameters", "loads_with", "where"}
    assert {"openai-community/gpt2"} <= {one["name"] for one in found} and len(found) > 1
    for one in found:
        said = f"{one['name']} {one['architecture']}".lower()
        assert "gpt2" in said and "lmhead" in said
    shown = lensscope("models", "smollm2-135m-instruct").stdout
    row = next(line for line in shown.splitlines() if line.strip().startswith("SmolLM2"))
    assert all(word in row for word in ("LlamaForCausalLM", "135M", "bridge"))
    assert lensscope("models", "no such thing").stdout.strip().startswith("0 models")


def test_what_a_model_can_do_is_printed(lensscope, tiny_folder):
    done = lensscope("models", "--check", str(tiny_folder / "model"))
    assert done.returncode == 0, done.stderr
    assert "TransformerBridge, raw, float32" in done.stdout and "holds  a forward" in done.stdout
    done = lensscope("models", "--check", "no-such-model-anywhere")
    assert done.returncode == 2 and "no such model" in done.stderr


def test_the_demo_writes_a_page_with_every_layer(lensscope, monkeypatch, tmp_path):
    shorter = ls.Patchscope.entity_description(max_new_tokens=5)
    monkeypatch.setattr(ls.Patchscope, "entity_description", lambda: shorter)
    done = lensscope("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "lensscope-demo.html").read_text()
    for entity in ("Diana, Princess of Wales", "Jurassic Park", "Alexander the Great"):
        assert entity in page and entity in done.stdout
    assert page.count("<tr>") == 3 * 31
    assert page.count("logit lens") == 3
    assert ": American film franchise" in page


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    """A tiny random Llama as a folder, with texts in its words."""
    folder = tmp_path_factory.mktemp("tiny")
    families.hf_model("llama").save_pretrained(folder / "model")
    families.own_tokenizer().save_pretrained(folder / "model")
    lines = [" ".join(f"w{i}" for i in families.prompt(12, seed=n)) for n in range(30)]
    (folder / "texts.txt").write_text("\n".join(lines))
    (folder / "prompts.txt").write_text("\n".join(lines[:5]))
    return folder


def test_lenses_are_trained_read_and_compared(lensscope, tiny_folder):
    train = ("lens", "train", "--model", "model", "--texts", "texts.txt", "--length", "10")
    steps = ("--steps", "8", "--learning-rate", "0.02", "--out", "tuned.safetensors")
    done = lensscope(*train, *steps, "--html", "fit.html", "--json", "fit.json", cwd=tiny_folder)
    assert done.returncode == 0, done.stderr
    assert "Lower KL at 3 of 3 sites" in " ".join(done.stdout.split())
    scores = json.loads((tiny_folder / "fit.json").read_text())["scores"]
    assert all(row["kl_after"] < row["kl_before"] for row in scores)
    assert "<svg" in (tiny_folder / "fit.html").read_text()
    assert not (tiny_folder / "tuned.safetensors.checkpoint").exists()
    done = lensscope(*train, "--kind", "affine", "--out", "affine.safetensors", cwd=tiny_folder)
    assert done.returncode == 0, done.stderr
    done = lensscope(
        *("compare", "--model", "model", "--prompts", "prompts.txt", "--checkpoint", "part"),
        *("--lens", "logit", "--lens", "tuned.safetensors", "--lens", "affine.safetensors"),
        *("--json", "-", "--html", "compared.html", "--svg", "compared.svg", "--quiet"),
        cwd=tiny_folder,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["layers"]
    assert {row["lens"] for row in rows} == {"logit lens", "tuned lens", "affine lens"}
    assert len(rows) == 9
    assert all((tiny_folder / f"compared.{kind}").exists() for kind in ("html", "svg"))
    done = lensscope(
        *("lens", "read", "--model", "model", "--prompts", "prompts.txt", "--layers", "1,2"),
        *("--lens", "logit", "--lens", "tuned.safetensors", "--measure", "all"),
        *("--html", "read.html", "--json", "read.json", "--svg", "read.svg"),
        cwd=tiny_folder,
    )
    assert done.returncode == 0, done.stderr
    assert "Logit lens" in done.stdout and "Tuned lens" in done.stdout
    both = json.loads((tiny_folder / "read.json").read_text())
    assert [one["lens"] for one in both] == ["logit lens", "tuned lens"]
    assert {"kl", "entropy", "predicted"} <= set(both[1]["cells"][0])


def test_a_training_that_is_killed_goes_on(lensscope, tiny_folder):
    train = ("lens", "train", "--model", "model", "--texts", "texts.txt", "--length", "10")
    train += ("--steps", "100000", "--out", "long.safetensors")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "lensscope", *train],
        cwd=tiny_folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    checkpoint = tiny_folder / "long.safetensors.checkpoint"
    try:
        for _ in range(600):
            if checkpoint.exists():
                break
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"interrupted" in err
    assert checkpoint.exists()
    done = lensscope(*train, "--seed", "1", cwd=tiny_folder)  # it is looked at
    assert done.returncode == 2
    assert "Going on from" in done.stderr and "another training" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lens", "read"), "one of --prompt and --prompts"),
        (("lens", "read", "--prompt", "w5", "--lens", "nowhere.safetensors"), "no such lens"),
        (
            ("compare", "--prompts", "nowhere.txt", "--model", "model", "--lens", "logit"),
            "cannot be read",
        ),
    ],
)
def test_mistakes_about_lenses(lensscope, tiny_folder, arguments, says):
    done = lensscope(*arguments, cwd=tiny_folder)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_prompt_that_a_user_says(lensscope, tmp_path):
    asked = ["--source", "Who was Diana?", "--chat", "--position", "Diana", "--layers", "8"]
    rest = ["--max-new-tokens", "6", "--stop", ",", "--quiet", "--json", "-"]
    done = lensscope("inspect", *asked, *rest)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    assert cell["prompt"].startswith("<|im_start|>system") and cell["token"] == " Diana"
    assert "," not in cell["text"]
    read = lensscope(
        *("lens", "read", "--prompt", "Who was Diana?", "--chat", "--position", "-1"),
        *("--quiet", "--json", "-"),
    )
    assert json.loads(read.stdout)["prompts"][0].endswith("<|im_start|>assistant\n")
