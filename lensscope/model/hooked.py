"""``HookedTransformer`` (TransformerLens 3.x) of any checkpoint of the Llama architecture."""

from __future__ import annotations

from typing import Any, Final

import torch

from lensscope.errors import ModelError
from lensscope.model.agreement import Expected, check_agreement, expected_of
from lensscope.model.checkpoints import failing_as_model_error, nothing_installed

_FOLDS: Final = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")


def require_hooked_transformer() -> None:
    """Refuse where TransformerLens has none.

    Raises:
        ModelError: TransformerLens 4.x.
    """
    from importlib.metadata import version

    try:
        from transformer_lens import HookedTransformer  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "This TransformerLens has no HookedTransformer.",
            got=f"transformer-lens {version('transformer-lens')}",
            expected="transformer-lens 3.x for backend='hooked'",
            instead="pip install 'transformer-lens>=3.9,<4', or backend='bridge'",
        ) from error


def hooked_transformer(
    hf_model: Any,
    tokenizer: Any,
    title: str,
    processing: str,
    dtype: torch.dtype,
    device: str | torch.device,
    expected: Expected | None = None,
) -> Any:
    """The model, raw or folded, checked to compute what the checkpoint does.

    Raises:
        ModelError: an architecture that HookedTransformer cannot hold.
    """
    folded = processing == "folded"
    if expected is None:
        expected = expected_of(hf_model, title)
    with failing_as_model_error(title), nothing_installed():
        model = _converted(hf_model, tokenizer, title, folded, dtype, device).eval()
        mask = torch.ones_like(expected.tokens)  # without one, it is guessed from pad ids
        check_agreement(model, expected, title, folded=folded, attention_mask=mask)
    return model


def _converted(
    hf_model: Any,
    tokenizer: Any,
    title: str,
    folded: bool,
    dtype: torch.dtype,
    device: str | torch.device,
) -> Any:
    from transformer_lens import HookedTransformer

    folds = dict.fromkeys(_FOLDS, folded)
    if type(hf_model).__name__ != "LlamaForCausalLM":
        try:
            return HookedTransformer.from_pretrained(
                title,
                hf_model=hf_model,
                tokenizer=tokenizer,
                device=str(device),
                dtype=dtype,
                **folds,
            )
        except ValueError as error:
            raise ModelError(
                f"HookedTransformer cannot load {title}.",
                got=f"{type(hf_model).__name__}, a name that it does not list",
                expected="a checkpoint of the Llama architecture, or a name in its list",
                instead="backend='bridge'",
            ) from error
    from transformer_lens import HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_llama_weights

    cfg = HookedTransformerConfig.from_dict(
        {**_llama_config(hf_model.config, title), "dtype": dtype, "device": str(device)}
    )
    model = HookedTransformer(cfg, tokenizer=tokenizer)
    model.load_and_process_state_dict(
        convert_llama_weights(hf_model, cfg),
        **folds,
    )
    model.generation_config = getattr(hf_model, "generation_config", None)  # its ends of text
    return model


def _llama_config(config: Any, title: str) -> dict[str, Any]:
    """A HookedTransformerConfig's values for a checkpoint of the Llama architecture."""
    rope = dict(getattr(config, "rope_parameters", None) or {})
    kind = rope.get("rope_type", "default")
    if kind not in ("default", "llama3") or config.attention_bias or config.mlp_bias:
        raise ModelError(
            f"HookedTransformer cannot hold {title}.",
            got=f"rope_type={kind}, attention_bias={config.attention_bias}",
            expected="rotary positions of type default or llama3, and no biases",
            instead="backend='bridge'",
        )
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // heads
    values: dict[str, Any] = {
        "model_name": title,
        "original_architecture": "LlamaForCausalLM",
        "d_model": config.hidden_size,
        "d_head": d_head,
        "n_heads": heads,
        "n_key_value_heads": kv_heads if kv_heads != heads else None,
        "d_mlp": config.intermediate_size,
        "n_layers": config.num_hidden_layers,
        "n_ctx": config.max_position_embeddings,
        "d_vocab": config.vocab_size,
        "act_fn": config.hidden_act,
        "eps": config.rms_norm_eps,
        "normalization_type": "RMS",
        "final_rms": True,
        "gated_mlp": True,
        "positional_embedding_type": "rotary",
        "rotary_adjacent_pairs": False,
        "rotary_dim": d_head,
        "rotary_base": int(rope.get("rope_theta", 10000.0)),
    }
    if kind == "llama3":
        values |= {
            "use_NTK_by_parts_rope": True,
            "NTK_by_parts_low_freq_factor": rope["low_freq_factor"],
            "NTK_by_parts_high_freq_factor": rope["high_freq_factor"],
            "NTK_by_parts_factor": rope["factor"],
            "NTK_original_ctx_len": rope["original_max_position_embeddings"],
        }
    return values
