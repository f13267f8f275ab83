"""Readers as they are published, made with PEFT and safetensors for a tiny Llama."""

from __future__ import annotations

import copy
import functools
import json
import tempfile

import peft
import torch
import yaml
from safetensors.torch import save_file
from tokenizers.processors import TemplateProcessing

from tests import families

MARK = "\u3200"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} w3 {{ m.content }} w4{% endfor %}"
    "{% if add_generation_prompt %} w5{% endif %}"
)
ORACLE = {
    "schema_version": 1,
    "created_at_utc": "2026-01-05T12:00:00+00:00",
    "special_token": " w9",
    "hook_onto_layer": 1,
    "steering_coefficient": 1.5,
    "prefix_template": "Layer: {layer}\\n{special_token} * {num_positions} \\n",
    "act_layer_combinations": [[0], [1]],
}
LORA = {
    "r": 4,
    "lora_alpha": 16,
    "target_modules": ["q_proj", "o_proj", "up_proj", "down_proj"],
    "rank_pattern": {"q_proj": 2},
    "alpha_pattern": {"layers.1.mlp.up_proj": 40},
    "init_lora_weights": False,
}


@functools.cache
def tokenizer():
    """The tests' words, the last of them a mark that no text has, with a chat template."""
    own = families.own_tokenizer()
    state = json.loads(own.backend_tokenizer.to_str())
    state["model"]["vocab"][MARK] = state["model"]["vocab"].pop("w96")
    made = type(own)(
        tokenizer_object=type(own.backend_tokenizer).from_str(json.dumps(state)),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
    )
    made.chat_template = TEMPLATE
    where = tempfile.mkdtemp(prefix="lensscope-tiny-")  # TransformerLens reads it again
    made.save_pretrained(where)
    return type(own).from_pretrained(where)


def adapter(folder, family="llama", seed=0, **settings):
    """A LoRA folder as PEFT saves one, with random weights."""
    torch.manual_seed(seed)
    usual = LORA if family == "llama" else {"r": 3, "init_lora_weights": False}
    config = peft.LoraConfig(task_type="CAUSAL_LM", **{**usual, **settings})
    peft.get_peft_model(copy.deepcopy(families.hf_model(family)), config).save_pretrained(
        folder, save_embedding_layers=False
    )
    return folder


def oracle(folder, told=None, **settings):
    adapter(folder, **settings)
    (folder / "ao_config.json").write_text(json.dumps({**ORACLE, **(told or {})}))
    return folder


TENSORS = {
    "log_scale": torch.tensor([1.2]),
    "bias": torch.linspace(-1, 1, 32),
    "weight": torch.linspace(-1, 2, 32 * 32).sin().reshape(32, 32),
    "U": torch.linspace(-1, 3, 96).cos().reshape(32, 3),
    "V": torch.linspace(-2, 3, 96).sin().reshape(32, 3),
}
SOFT = {"template": "<s> w30 w31 w9 w32 w33 w9 w34", "reserved_token": "w9"}


def selfie(path, kind, normalize=True, **more):
    """An adapter's file, in the newer format or the older one."""
    names = {
        "scale_only": ["log_scale"],
        "scalar_affine": ["log_scale", "bias"],
        "full_rank": ["weight", "bias"],
        "low_rank_only": ["U", "V", "bias"],
        "scalar_affine_plus_low_rank": ["log_scale", "U", "V", "bias"],
    }[kind]
    state = {name: TENSORS[name] for name in names}
    config = {"projection": {"type": kind, "normalize_input": normalize}, "soft_prompt": SOFT}
    if path.suffix == ".pt":
        torch.save({"projection_state": state, "config": config, "model_dim": 32}, path)
        return path
    told = {"format": "selfie_adapter_v1", "config_json": json.dumps(config), "model_dim": "32"}
    save_file(state, path, metadata={**told, **more})
    return path


def autoencoder(folder, told=None):
    """Both sides, as their own trainer saves them."""
    meta = {
        "kind": "nla_model",
        "schema_version": 2,
        "role": "av",
        "d_model": 32,
        "extraction": {"injection_scale": 7.5},
        "tokens": {
            "injection_char": MARK,
            "injection_token_id": 96,
            "injection_left_neighbor_id": 50,
            "injection_right_neighbor_id": 51,
        },
        "prompt_templates": {
            "av": "w49 w50 {injection_char} w51",
            "ar": "w60 {explanation} w61 w62",
        },
    }
    for side, more in (("av", told or {}), ("ar", {"role": "ar", "ar": {"num_hidden_layers": 1}})):
        inner = copy.deepcopy(families.hf_model("llama", seed=4 if side == "av" else 5))
        if side == "ar":
            inner.config.num_hidden_layers = 2
            inner.model.layers = inner.model.layers[:2]
            kept = {n: p for n, p in inner.state_dict().items() if n.startswith("model.layers")}
            kept["model.embed_tokens.weight"] = inner.model.embed_tokens.weight
            inner.save_pretrained(folder / side, state_dict=kept)
            save_file({"weight": torch.randn(32, 32)}, folder / side / "value_head.safetensors")
        else:
            inner.save_pretrained(folder / side)
        own = copy.deepcopy(tokenizer())
        if side == "ar":
            begins = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
            own.backend_tokenizer.post_processor = begins
        own.save_pretrained(folder / side)
        (folder / side / "nla_meta.yaml").write_text(yaml.safe_dump({**meta, **more}))
    return folder
