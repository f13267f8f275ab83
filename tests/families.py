"""Tiny random models of each architecture family, built from a config; no download."""

from __future__ import annotations

import copy
import functools
import tempfile
import warnings
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from lensscope.model.demo_model import calm
from lensscope.model.hooked import hooked_transformer
from lensscope.model.loading import _bridge
from tests import more_families

VOCAB = 97
_BASE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
_GQA = {**_BASE, "num_key_value_heads": 2}
_LOCAL = ["sliding_attention", "full_attention", "sliding_attention"]


def config(family: str) -> Any:
    """The configuration of a family; sliding windows are shorter than the tests' prompts."""
    made = {
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=VOCAB,
            n_embd=32,
            n_layer=3,
            n_head=4,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=2,
        ),
        "neox": lambda: transformers.GPTNeoXConfig(**_BASE),
        "llama": lambda: transformers.LlamaConfig(**_GQA),
        "qwen2": lambda: transformers.Qwen2Config(**_GQA),
        "qwen3": lambda: transformers.Qwen3Config(**_GQA, head_dim=8),
        "gemma2": lambda: transformers.Gemma2Config(
            **_GQA, head_dim=8, sliding_window=4, query_pre_attn_scalar=8
        ),
        "gemma3": lambda: transformers.Gemma3TextConfig(
            **_GQA,
            head_dim=8,
            sliding_window=4,
            layer_types=_LOCAL,
            architectures=["Gemma3ForCausalLM"],
        ),
    }
    return made[family]() if family in made else more_families.FAMILIES[family].config()


@dataclass(frozen=True)
class Case:
    family: str
    backend: str
    processing: str

    def __str__(self) -> str:
        return f"{self.family}-{self.backend}-{self.processing}"


def has_hooked_transformer() -> bool:
    try:
        from transformer_lens import HookedTransformer  # noqa: F401
    except ImportError:
        return False
    return True


FAMILIES = ("gpt2", "neox", "llama", "qwen2", "qwen3", "gemma2", "gemma3")
CASES = [Case(f, "bridge", p) for f in FAMILIES for p in ("raw", "folded")]
if has_hooked_transformer():
    CASES += [Case("llama", "hooked", p) for p in ("raw", "folded")]
MORE = tuple(more_families.FAMILIES)
"""Families that `tests.judge` looks at, and no other test runs on."""
FEW = [Case("gpt2", "bridge", "raw"), Case("neox", "bridge", "folded")]
FEW += [Case("gemma3", "bridge", "raw"), CASES[-1]]


def own_tokenizer(vocab: int = VOCAB) -> PreTrainedTokenizerFast:
    """Words ``w0``, ``w3``, …, one token each, BOS 1 and EOS 2; its folder stays, for
    TransformerLens reads it again."""
    special = {1: "<s>", 2: "</s>"}
    vocabulary = {special.get(i, f"w{i}"): i for i in range(vocab)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    where = tempfile.mkdtemp(prefix="lensscope-tiny-")
    made.save_pretrained(where)
    return PreTrainedTokenizerFast.from_pretrained(where)


@functools.cache
def hf_model(family: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """The Hugging Face model; weights are large enough for attention to be uneven."""
    torch.manual_seed(seed)
    eager = {"attn_implementation": "eager"} if family in MORE else {}
    model = AutoModelForCausalLM.from_config(config(family), **eager).eval()
    model.config.architectures = [type(model).__name__]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):  # which Gemma 4 has trained
                buffer.fill_(0.7)
    return model.to(dtype)


@functools.cache
def build(case: Case, seed: int = 0) -> Any:
    """The TransformerLens model of a case, on weights of its own (folding changes them)."""
    inner = copy.deepcopy(hf_model(case.family, seed))
    model = wrap(inner, case.backend, case.processing, family=case.family)
    model.cfg.model_name = str(case)
    return model


def wrap(
    inner: Any,
    backend: str = "bridge",
    processing: str = "raw",
    *,
    family: str = "llama",
    vocab: int = VOCAB,
) -> Any:
    """A Hugging Face model as a TransformerLens model."""
    own = own_tokenizer(vocab)
    with warnings.catch_warnings(), calm():
        warnings.simplefilter("ignore")
        if backend == "hooked":
            return hooked_transformer(inner, own, family, processing, torch.float32, "cpu")
        return _bridge(inner, own, f"tiny-{family}", processing, "cpu")


@functools.cache
def not_built(family: str) -> str | None:
    """Why transformers or TransformerLens cannot build a family, or ``None``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrap(copy.deepcopy(hf_model(family)), family=family)
    except Exception as error:  # of whichever library
        return f"{type(error).__name__}: {error}"
    return None


def prompt(length: int, seed: int = 0) -> list[int]:
    """Random token ids that are neither BOS nor EOS."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (length,), generator=generator).tolist()
