"""Small GGUF files of random weights, each written as llama.cpp's converter names its parts."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

VOCAB, WIDTH, HIDDEN, HEADS, KV_HEADS, LAYERS = 384, 64, 96, 4, 2, 2


def write(path: Path, family: str, kind: str = "F32", seed: int = 0) -> Path:
    """A file of a ``llama`` or a ``gemma3``, its matrices stored as ``kind``."""
    writer = gguf.GGUFWriter(str(path), family)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCAB)
    if family == "gemma3":
        writer.add_key_length(WIDTH // HEADS)
        writer.add_value_length(WIDTH // HEADS)
        writer.add_sliding_window(8)
    else:
        writer.add_rope_dimension_count(WIDTH // HEADS)
    _tokenizer(writer, family)
    random = np.random.default_rng(seed)

    def matrix(name: str, *shape: int) -> None:
        values = random.normal(0, 0.2, shape).astype(np.float32)
        quantization = gguf.GGMLQuantizationType[kind]
        data = gguf.quantize(values, quantization)
        writer.add_tensor(name, data, raw_dtype=quantization)

    def norm(name: str, size: int = WIDTH) -> None:
        writer.add_tensor(name, random.normal(1, 0.2, size).astype(np.float32))

    matrix("token_embd.weight", VOCAB, WIDTH)
    norm("output_norm.weight")
    if family == "llama":
        matrix("output.weight", VOCAB, WIDTH)
    kv = WIDTH * KV_HEADS // HEADS
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        matrix(f"{block}.attn_q.weight", WIDTH, WIDTH)
        matrix(f"{block}.attn_k.weight", kv, WIDTH)
        matrix(f"{block}.attn_v.weight", kv, WIDTH)
        matrix(f"{block}.attn_output.weight", WIDTH, WIDTH)
        matrix(f"{block}.ffn_gate.weight", HIDDEN, WIDTH)
        matrix(f"{block}.ffn_up.weight", HIDDEN, WIDTH)
        matrix(f"{block}.ffn_down.weight", WIDTH, HIDDEN)
        norm(f"{block}.attn_norm.weight")
        norm(f"{block}.ffn_norm.weight")
        if family == "gemma3":
            norm(f"{block}.attn_q_norm.weight", WIDTH // HEADS)
            norm(f"{block}.attn_k_norm.weight", WIDTH // HEADS)
            norm(f"{block}.post_attention_norm.weight")
            norm(f"{block}.post_ffw_norm.weight")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tokenizer(writer: gguf.GGUFWriter, family: str) -> None:
    """Pieces as SentencePiece has them: special ones, bytes, letters, a few words."""
    pieces = ["<pad>", "<eos>", "<bos>"] if family == "gemma3" else ["<unk>", "<s>", "</s>"]
    kinds = [gguf.TokenType.CONTROL] * 3
    pieces += [f"<0x{n:02X}>" for n in range(256)]
    kinds += [gguf.TokenType.BYTE] * 256
    words = ["▁", *"abcdefghijklmnopqrstuvwxyzTP", "▁T", "▁o", "▁of", "▁i", "▁is", "▁P", "er", "en"]
    words += [f"w{n}" for n in range(VOCAB - len(pieces) - len(words))]
    pieces += words
    kinds += [gguf.TokenType.NORMAL] * len(words)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores([-float(n) for n in range(len(pieces))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(pieces.index("<bos>" if family == "gemma3" else "<s>"))
    writer.add_eos_token_id(pieces.index("<eos>" if family == "gemma3" else "</s>"))
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(0)
