"""Configurations of architecture families beside those that every test runs on, and where their
parts are in Hugging Face's model.

Rotary switches, sliding windows and chunks of state are shorter than the judge's prompts, so that
each is crossed. Contexts hold a prompt that is read in stretches, where the family's own can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import transformers as hf

VOCAB = 97
_IDS = {"bos_token_id": 1, "eos_token_id": 2}
_BASE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "pad_token_id": 2,
    **_IDS,
}
_GQA = {**_BASE, "num_key_value_heads": 2}
_MHA = {**_BASE, "num_key_value_heads": 4}
_GPT = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 48, **_IDS}
_LOCAL = ["sliding_attention", "full_attention", "sliding_attention"]
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "factor": 32.0,
    "original_max_position_embeddings": 16,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0, 8.0, 16.0, 32.0],
}
_FALCON = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    **_IDS,
}
_OPT = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "pad_token_id": 2,
    **_IDS,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LATENT = {
    "kv_lora_rank": 8,
    "q_lora_rank": 12,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 5,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
_MAMBA2 = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_d_state": 4,
    "mamba_d_conv": 3,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}


@dataclass(frozen=True)
class Parts:
    """Where the parts of a family are in Hugging Face's model.

    Paths are within a block; a block that lacks one has no such site.

    Attributes:
        blocks: the list of blocks, within the model.
        attention: gives what attention adds to the residual stream, after a norm of its own.
        mlp: gives what the MLP adds to it.
        heads: the projection that is given the heads' outputs side by side.
        down: the projection that is given the MLP's hidden layer.
        qkv: the projections that give queries, keys and values; or the one that gives them all.
        layout: of the one: ``"stacked"`` all queries, then keys, then values; ``"grouped"`` for
            each key-value head its queries, its key, its value; ``"grouped qvk"`` the value first;
            ``"given"`` what the file's attention function is given, after rotation.
        kv_heads: of the one.
        patterns: whether ``output_attentions`` shows them.
        added: what is multiplied with what attention and MLP give before it is added.
    """

    blocks: str = "model.layers"
    attention: str | None = "self_attn"
    mlp: str | None = "mlp"
    heads: str | None = "self_attn.o_proj"
    down: str | None = "mlp.down_proj"
    qkv: tuple[str | None, str | None, str | None] | str = (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
    )
    layout: str = ""
    kv_heads: int = 4
    patterns: bool = True
    added: float = 1.0


@dataclass(frozen=True)
class Family:
    """A configuration, and where its parts are."""

    config: Callable[[], Any]
    parts: Parts = Parts()
    context: int = 512


_NO_QKV = (None, None, None)
_FALCON_PARTS = Parts(
    "transformer.h",
    "self_attention",
    heads="self_attention.dense",
    down="mlp.dense_4h_to_h",
    qkv="self_attention.query_key_value",
    layout="grouped",
)
_BLOOM_PARTS = replace(  # both add the residual themselves
    _FALCON_PARTS, attention="self_attention.dense", mlp="mlp.dense_4h_to_h"
)
_GPT_PARTS = Parts(
    "transformer.h",
    "attn",
    heads="attn.c_proj",
    down="mlp.c_proj",
    qkv="attn.c_attn",
    layout="stacked",
    kv_heads=1,
)
_OUT_PROJ_QKV = ("attn.q_proj", "attn.k_proj", "attn.v_proj")
_OPT_PARTS = Parts("model.decoder.layers", mlp="fc2", heads="self_attn.out_proj", down="fc2")
_MOE = Parts(down=None)
_LATENT_PARTS = Parts(qkv="self_attn", layout="given")
_FUSED = Parts(qkv="self_attn.qkv_proj", layout="stacked", kv_heads=2)
_POST_NORM = Parts(attention="post_attention_layernorm", mlp="post_feedforward_layernorm")
_HYBRID = Parts(mlp="feed_forward", down="feed_forward.down_proj")
_MIXER = Parts("backbone.layers", None, None, None, None, _NO_QKV, patterns=False)

KNOWN: dict[str, tuple[Parts, int]] = {
    "gpt2": (replace(_GPT_PARTS, kv_heads=4), 64),
    "neox": (
        Parts(
            "gpt_neox.layers",
            "attention",
            heads="attention.dense",
            down="mlp.dense_4h_to_h",
            qkv="attention.query_key_value",
            layout="grouped",
        ),
        64,
    ),
    "llama": (Parts(), 64),
    "qwen2": (Parts(), 64),
    "qwen3": (Parts(), 64),
    "gemma2": (_POST_NORM, 64),
    "gemma3": (_POST_NORM, 64),
}
"""Parts and context of the families that every test runs on."""

FAMILIES: dict[str, Family] = {
    "mistral": Family(lambda: hf.MistralConfig(**_GQA, sliding_window=4)),
    "phi3": Family(lambda: hf.Phi3Config(**_GQA), _FUSED),
    "phi3-longrope": Family(
        lambda: hf.Phi3Config(
            **_GQA, original_max_position_embeddings=16, rope_parameters=dict(_LONGROPE)
        ),
        _FUSED,
    ),
    "llama-dynamic": Family(
        lambda: hf.LlamaConfig(
            **{**_GQA, "max_position_embeddings": 16},
            rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
        ),
        context=16,
    ),
    "falcon-new": Family(
        lambda: hf.FalconConfig(
            **_FALCON, num_kv_heads=2, new_decoder_architecture=True, bias=False, alibi=False
        ),
        replace(_FALCON_PARTS, kv_heads=2),
    ),
    "falcon-old": Family(
        lambda: hf.FalconConfig(
            **_FALCON,
            multi_query=True,
            parallel_attn=True,
            new_decoder_architecture=False,
            bias=False,
            alibi=False,
        ),
        replace(_FALCON_PARTS, kv_heads=1),
    ),
    "falcon-alibi": Family(
        lambda: hf.FalconConfig(
            **_FALCON,
            multi_query=False,
            parallel_attn=False,
            new_decoder_architecture=False,
            bias=True,
            alibi=True,
        ),
        _FALCON_PARTS,
    ),
    "mpt": Family(
        lambda: hf.MptConfig(
            vocab_size=VOCAB,
            d_model=32,
            n_layers=3,
            n_heads=4,
            expansion_ratio=2,
            max_seq_len=512,
            **_IDS,
        ),
        Parts(
            "transformer.blocks",
            "attn",
            "ffn.down_proj",  # its module adds the residual
            "attn.out_proj",
            "ffn.down_proj",
            "attn.Wqkv",
            "stacked",
        ),
    ),
    "opt": Family(
        lambda: hf.OPTConfig(**_OPT, ffn_dim=48, word_embed_proj_dim=32),
        _OPT_PARTS,
    ),
    "opt-350m": Family(
        lambda: hf.OPTConfig(
            **_OPT, ffn_dim=128, word_embed_proj_dim=16, do_layer_norm_before=False
        ),
        _OPT_PARTS,
    ),
    "bloom": Family(
        lambda: hf.BloomConfig(
            vocab_size=VOCAB, hidden_size=32, n_layer=3, n_head=4, pad_token_id=2, **_IDS
        ),
        _BLOOM_PARTS,
    ),
    "gptj": Family(
        lambda: hf.GPTJConfig(**_GPT, rotary_dim=4, n_positions=512),
        Parts("transformer.h", "attn", "mlp", "attn.out_proj", "mlp.fc_out", _OUT_PROJ_QKV),
    ),
    "gptbigcode": Family(lambda: hf.GPTBigCodeConfig(**_GPT, n_positions=512), _GPT_PARTS),
    "gptneo": Family(
        lambda: hf.GPTNeoConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            num_layers=4,
            num_heads=4,
            intermediate_size=48,
            attention_types=[[["global", "local"], 2]],
            window_size=4,
            max_position_embeddings=512,
            **_IDS,
        ),
        Parts(
            "transformer.h",
            "attn",
            "mlp",
            "attn.attention.out_proj",
            "mlp.c_proj",
            ("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"),
        ),
    ),
    "stablelm": Family(lambda: hf.StableLmConfig(**_GQA)),
    "olmo": Family(lambda: hf.OlmoConfig(**_GQA)),
    "olmo2": Family(lambda: hf.Olmo2Config(**_GQA), _POST_NORM),
    "olmo3": Family(
        lambda: hf.Olmo3Config(**_GQA, sliding_window=4, layer_types=_LOCAL), _POST_NORM
    ),
    "olmoe": Family(
        lambda: hf.OlmoeConfig(
            **{**_GQA, "intermediate_size": 16}, num_experts=4, num_experts_per_tok=2
        ),
        _MOE,
    ),
    "mixtral": Family(lambda: hf.MixtralConfig(**_GQA, num_local_experts=4), _MOE),
    "qwen2-moe": Family(
        lambda: hf.Qwen2MoeConfig(**_GQA, **_EXPERTS, shared_expert_intermediate_size=24), _MOE
    ),
    "qwen3-moe": Family(lambda: hf.Qwen3MoeConfig(**_GQA, **_EXPERTS, head_dim=8), _MOE),
    "gpt-oss": Family(
        lambda: hf.GptOssConfig(
            **_GQA,
            num_local_experts=4,
            num_experts_per_tok=2,
            head_dim=8,
            sliding_window=4,
            rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        ),
        _MOE,
    ),
    "deepseek-v2": Family(lambda: hf.DeepseekV2Config(**_MHA, **_LATENT), _LATENT_PARTS),
    "deepseek-v3": Family(lambda: hf.DeepseekV3Config(**_MHA, **_LATENT), _LATENT_PARTS),
    "cohere": Family(lambda: hf.CohereConfig(**_GQA)),
    "cohere2": Family(lambda: hf.Cohere2Config(**_GQA, sliding_window=4, layer_types=_LOCAL)),
    "granite": Family(
        lambda: hf.GraniteConfig(
            **_GQA,
            embedding_multiplier=3.0,
            logits_scaling=2.0,
            residual_multiplier=0.5,
            attention_multiplier=0.3,
        ),
        Parts(added=0.5),
    ),
    "lfm2": Family(
        lambda: hf.Lfm2Config(**_GQA, layer_types=["conv", "full_attention", "conv"]),
        Parts(mlp="feed_forward", heads="self_attn.out_proj", down="feed_forward.w2"),
    ),
    "jamba": Family(
        lambda: hf.JambaConfig(
            **_GQA,
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            num_experts=2,
            num_experts_per_tok=1,
            mamba_d_state=4,
            mamba_d_conv=3,
            mamba_expand=2,
            mamba_dt_rank=4,
            use_mamba_kernels=False,
        ),
        _HYBRID,
    ),
    "bamba": Family(lambda: hf.BambaConfig(**_GQA, **_MAMBA2, attn_layer_indices=[1]), _HYBRID),
    "falcon-h1": Family(
        lambda: hf.FalconH1Config(**_GQA, **_MAMBA2, mamba_d_ssm=64, head_dim=8), _HYBRID
    ),
    "mamba": Family(
        lambda: hf.MambaConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            num_hidden_layers=3,
            state_size=4,
            pad_token_id=2,
            **_IDS,
        ),
        _MIXER,
    ),
    "mamba2": Family(
        lambda: hf.Mamba2Config(
            vocab_size=VOCAB,
            hidden_size=32,
            num_hidden_layers=3,
            state_size=4,
            num_heads=4,
            head_dim=16,
            n_groups=1,
            chunk_size=16,
            pad_token_id=2,
            **_IDS,
        ),
        _MIXER,
    ),
    "recurrent-gemma": Family(
        lambda: hf.RecurrentGemmaConfig(**_GQA, lru_width=32, attention_window_size=4),
        Parts(
            attention=None,
            mlp="mlp_block",
            heads="temporal_block.o_proj",
            down="mlp_block.down_proj",
            qkv=("temporal_block.q_proj", "temporal_block.k_proj", "temporal_block.v_proj"),
            patterns=False,
        ),
    ),
    "qwen3-next": Family(
        lambda: hf.Qwen3NextConfig(
            **_GQA,
            **_EXPERTS,
            shared_expert_intermediate_size=24,
            head_dim=8,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_conv_kernel_dim=3,
            layer_types=["linear_attention", "full_attention", "linear_attention"],
        ),
        Parts(  # its queries come with a gate
            down=None, qkv=(None, "self_attn.k_proj", "self_attn.v_proj")
        ),
    ),
    "gemma": Family(lambda: hf.GemmaConfig(**_GQA, head_dim=8)),
    "gemma3n": Family(
        lambda: hf.Gemma3nTextConfig(
            **{**_GQA, "intermediate_size": [48] * 3},
            head_dim=8,
            sliding_window=4,
            layer_types=_LOCAL,
            num_kv_shared_layers=0,
            hidden_size_per_layer_input=8,
            vocab_size_per_layer_input=VOCAB,
            altup_num_inputs=2,
            laurel_rank=4,
            activation_sparsity_pattern=[0.0] * 3,
        )
    ),
    "gemma4": Family(
        lambda: hf.Gemma4TextConfig(
            **_GQA,
            head_dim=8,
            global_head_dim=16,
            num_global_key_value_heads=2,
            sliding_window=4,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
            hidden_size_per_layer_input=0,
            num_kv_shared_layers=0,
            vocab_size_per_layer_input=VOCAB,
        ),
        _POST_NORM,
    ),
    "phi": Family(
        lambda: hf.PhiConfig(**_BASE, partial_rotary_factor=0.5),
        Parts(heads="self_attn.dense", down="mlp.fc2"),
    ),
    "starcoder2": Family(
        lambda: hf.Starcoder2Config(**_GQA, sliding_window=None), Parts(down="mlp.c_proj")
    ),
    "glm": Family(lambda: hf.GlmConfig(**_GQA, head_dim=8)),
    "glm4": Family(
        lambda: hf.Glm4Config(**_GQA, head_dim=8),
        Parts(attention="post_self_attn_layernorm", mlp="post_mlp_layernorm"),
    ),
    "smollm3": Family(lambda: hf.SmolLM3Config(**_GQA)),
    "codegen": Family(
        lambda: hf.CodeGenConfig(**_GPT, rotary_dim=4, n_positions=512),
        Parts(
            "transformer.h",
            "attn",
            "mlp",
            "attn.out_proj",
            "mlp.fc_out",
            "attn.qkv_proj",
            "grouped qvk",
        ),
    ),
}
