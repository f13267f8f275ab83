"""What is no reader, or none for this model: each is refused before anything is said."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import lensscope as ls
from lensscope.studies.given import as_scopes
from tests import families, readers
from tests.readers import adapter, oracle, selfie

NO_PATTERNS = {"rank_pattern": {}, "alpha_pattern": {}}


@pytest.fixture(scope="module")
def model():
    """A tiny Llama that talks."""
    made = families.wrap(copy.deepcopy(families.hf_model("llama")))
    made.tokenizer = readers.tokenizer()
    return made


def refused(model, path, error, match, **options):
    with pytest.raises(error, match=match) as caught:
        ls.Patchscope.load(path, model, **options)
    assert "expected:" in str(caught.value) and "instead:" in str(caught.value)


def rewritten(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


def test_what_is_no_plain_lora_of_this_model(model, tmp_path, monkeypatch):
    lens, basis = ls.LensError, ls.BasisError
    pickled = oracle(tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    refused(model, pickled, lens, "adapter_model.bin: a pickle")
    for name, settings in {
        "use_dora": {"use_dora": True},
        "bias": {"bias": "all"},
        "modules_to_save": {"modules_to_save": ["lm_head"]},
    }.items():
        refused(model, oracle(tmp_path / name, **settings), lens, f"plain LoRA(?s:.*){name}")
    unknown = oracle(tmp_path / "unknown")
    config = unknown / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "use_more": True}))
    refused(model, unknown, lens, "use_more")
    config.write_text("[]")
    refused(model, unknown, lens, "no whole adapter")
    embedding = oracle(tmp_path / "embedding", target_modules=["embed_tokens"], **NO_PATTERNS)
    refused(model, embedding, lens, "are not those of its configuration")
    nan = rewritten(
        oracle(tmp_path / "nan"), lambda held: {n: t * torch.nan for n, t in held.items()}
    )
    refused(model, nan, lens, "NaN")

    renamed = {"q_proj": "query", "o_proj": "out"}
    named = lambda held: {n.replace("q_proj", renamed["q_proj"]): t for n, t in held.items()}
    other = oracle(tmp_path / "named", **NO_PATTERNS)
    refused(model, rewritten(other, named), basis, "does not have(?s:.*)query")
    wide = rewritten(
        oracle(tmp_path / "wide"),
        lambda held: {n: t[:, :16].clone() if "lora_A" in n else t for n, t in held.items()},
    )
    refused(model, wide, basis, "another width")
    refused(model, oracle(tmp_path / "new", init_lora_weights=True), basis, "change nothing")
    folded = families.build(families.Case("llama", "bridge", "folded"))
    refused(folded, oracle(tmp_path / "good"), basis, "weights as they are")
    monkeypatch.setitem(sys.modules, "peft", None)
    refused(model, tmp_path / "good", lens, r"pip install 'lensscope\[readers\]'")


def test_a_hooked_transformer_has_no_linear_modules(hooked_transformer, tmp_path):
    hooked = families.build(families.Case("llama", "hooked", "raw"))
    refused(hooked, oracle(tmp_path), ls.ModelError, "TransformerBridge")


def test_an_oracle_that_cannot_be_told_how_to_read(model, tmp_path):
    lens = ls.LensError
    for told, match in (
        ({"hook_onto_layer": "1"}, "hook_onto_layer"),
        ({"schema_version": 2}, "schema_version 2"),
        ({"act_layer_combinations": [[0, 1]]}, "several layers at once"),
        ({"prefix_template": "{who}{special_token} * {num_positions}"}, "prefix_template"),
        ({"created_at_utc": ""}, "created_at_utc"),
    ):
        refused(model, oracle(tmp_path, told), lens, match)
    refused(model, oracle(tmp_path, {"hook_onto_layer": 9}), ls.SiteError, "out of range")
    split = oracle(tmp_path, {"special_token": " w9w9"})
    refused(model, split, ls.PromptError, "not one token")
    (tmp_path / "ao_config.json").write_text("{")
    refused(model, tmp_path, lens, "no whole Activation Oracle")

    given = ls.rules.add(times=2.0)
    undated = oracle(tmp_path, {"created_at_utc": None})
    assert ls.Patchscope.load(undated, model, rule=given).rule == given
    refused(model, undated, ls.PromptError, "placeholder in it", rule=given, question="w1 w9 w2")
    scope = ls.Patchscope.load(undated, model, rule=given)
    with pytest.raises(ls.PromptError, match="waits for a question"):
        scope.inspect(model, "w11 w12")
    asked = scope.asking("w20")
    with pytest.raises(ls.PromptError, match="asked nothing"):
        asked.asking("w20")
    with pytest.raises(ls.LensError, match="names a layer"):
        asked.as_lens().read(model, "w11 w12", ls.resid_post(1))
    with pytest.raises(ls.LensError, match="no way back"):
        asked.reconstruct("w20")
    anywhere = ls.Patchscope("w5 x", adapter=scope.adapter)
    with pytest.raises(ls.StudyError, match="as it is"):
        as_scopes(anywhere)
    # before there was a configuration: nothing says how, so it is asked for
    (tmp_path / "ao_config.json").unlink()
    refused(model, tmp_path, lens, "cannot be told")


def test_files_of_other_kinds_versions_and_widths(model, tmp_path):
    lens, basis = ls.LensError, ls.BasisError
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("w1")
    for name in ("empty", "nowhere", "notes.txt"):
        refused(model, tmp_path / name, lens, "no reader here")
    (tmp_path / "damaged.safetensors").write_bytes(b"w1")
    refused(model, tmp_path / "damaged.safetensors", lens, "no whole SelfIE adapter")

    path = selfie(tmp_path / "a.safetensors", "full_rank")
    folded = families.build(families.Case("llama", "bridge", "folded"))
    refused(folded, path, basis, "another basis")
    path = selfie(tmp_path / "a.safetensors", "full_rank", config_json="{}")
    refused(model, path, lens, "projection")
    path = selfie(tmp_path / "a.safetensors", "full_rank", format="selfie_adapter_v2")
    refused(model, path, lens, "selfie_adapter_v2")
    path = selfie(tmp_path / "a.safetensors", "scalar_affine")
    held = load_file(path)
    told = {
        "config_json": json.dumps(
            {"projection": {"type": "scalar_affine", "normalize_input": True}}
        )
    }
    for tensors, error, match in (
        ({"bias": held["bias"]}, lens, "scalar_affine of"),
        ({**held, "bias": held["bias"] * torch.nan}, lens, "not finite"),
        ({**held, "bias": held["bias"][:16].clone()}, basis, "another width"),
        (held, lens, "prompt of this SelfIE adapter"),
    ):
        save_file(tensors, path, metadata=told)
        refused(model, path, error, match)
    refused(model, path, ls.PromptError, "does not occur", question="w1 w2")

    adapter(tmp_path / "lens")
    for config, match in (
        ({"layers": [1]}, "alpha"),
        ({"alpha": 1.0, "layers": [1], "transform": "raw"}, "transform 'raw'"),
    ):
        (tmp_path / "lens" / "run.json").write_text(json.dumps({"config": config}))
        refused(model, tmp_path / "lens", lens, match, question="w1 {char}")
    config = {"alpha": 1.0, "layers": [1]}
    (tmp_path / "lens" / "run.json").write_text(json.dumps({"config": config}))
    two = "w1 {char} w2 {char}"
    refused(model, tmp_path / "lens", ls.PromptError, "No character can mark", question=two)

    file = tmp_path / "scope.safetensors"
    scope = ls.Patchscope.load(selfie(tmp_path / "b.safetensors", "full_rank"), model)
    there = dataclasses.replace(scope.trained.model, d_model=16)
    trained = dataclasses.replace(scope.trained, model=there)
    refused(model, dataclasses.replace(scope, trained=trained).save(file), basis, "another width")
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b"patchscope-1", b"patchscope-2"))
    refused(model, file, lens, "no whole patchscope")
    file.write_bytes(raw[:-40] + b"\1" * 40)
    refused(model, file, lens, "not as it was written")


def test_autoencoders_that_do_not_fit(model, tmp_path):
    folder = readers.autoencoder(tmp_path)
    path = folder / "av" / "nla_meta.yaml"
    good = yaml.safe_load(path.read_text())
    tokens = good["tokens"]
    for change, error, match in (
        ({"d_model": 64}, ls.BasisError, "another width"),
        ({"kind": "nla_dataset"}, ls.LensError, "nla_dataset"),
        ({"schema_version": 3}, ls.LensError, "version 3"),
        ({"extraction": {}}, ls.LensError, "at which length"),
        ({"tokens": {**tokens, "injection_token_id": 7}}, ls.LensError, "token ids"),
        ({"prompt_templates": {"av": "w1"}}, ls.LensError, "injection_char"),
    ):
        path.write_text(yaml.safe_dump({**good, **change}))
        refused(model, folder, error, match)
    path.write_text(yaml.safe_dump(good))
    (folder / "ar" / "value_head.safetensors").unlink()
    refused(model, folder, ls.LensError, "no whole way back")
