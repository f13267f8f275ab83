"""A model small enough to be worked out by hand.

Four tokens, width four. Token ``j`` is the unit vector ``e_j``. The one head looks at all tokens up
to its own equally (its queries and keys are zero) and copies what the norm makes of them: a root
mean square of 1/2 turns ``e_j`` into ``2 e_j``. The MLP is silent. The head of the model reads
``e_j`` as token ``j + 1``.
"""

from __future__ import annotations

import math

import pytest
import torch
import transformers

import lensscope as ls
from tests import families


@pytest.fixture(scope="module")
def micro(backend):
    config = transformers.LlamaConfig(
        vocab_size=4,
        hidden_size=4,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=16,
        rms_norm_eps=1e-12,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    eye = torch.eye(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.ones(4) if "norm" in name else torch.zeros_like(parameter))
        model.model.embed_tokens.weight.copy_(eye)
        model.model.layers[0].self_attn.v_proj.weight.copy_(eye)
        model.model.layers[0].self_attn.o_proj.weight.copy_(eye)
        model.lm_head.weight.copy_(eye.roll(1, 0))
    return families.wrap(model, backend, vocab=4)


def vector(*entries: float) -> torch.Tensor:
    return torch.tensor([float(entry) for entry in entries])


def same(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_every_activation_is_what_the_hand_says(micro):
    kinds = [ls.embed, ls.pattern(0), ls.v(0), ls.head_out(0), ls.attn_out(0), ls.resid_mid(0)]
    cache = ls.capture(micro, [0, 3], [*kinds, ls.resid_post(0), ls.mlp_out(0)])
    same(cache[ls.embed][0], torch.stack([vector(1, 0, 0, 0), vector(0, 0, 0, 1)]))
    same(cache[ls.v(0, 0)][0], torch.stack([vector(2, 0, 0, 0), vector(0, 0, 0, 2)]))
    same(cache[ls.pattern(0, 0)][0], torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    same(cache[ls.head_out(0, 0).at(1)][0, 0], vector(1, 0, 0, 1))
    same(cache[ls.resid_mid(0).at(1)][0, 0], vector(1, 0, 0, 2))
    same(cache[ls.mlp_out(0)][0], torch.zeros(2, 4))
    same(cache[ls.resid_post(0).at(1)][0, 0], vector(1, 0, 0, 2))


def test_logits_and_patched_logits_are_what_the_hand_says(micro):
    root = math.sqrt(5)
    # e_0 + 2 e_3 has root mean square sqrt(5)/2; token 0 is read as 1 and token 3 as 0.
    same(ls.run(micro, [0, 3]).logits[0, 1], vector(4 / root, 2 / root, 0, 0))
    # Without the head, e_3 is left, and is read as token 0.
    silent = ls.run(micro, [0, 3], [ls.head_out(0, 0).at(1).zero()])
    same(silent.logits[0, 1], vector(2, 0, 0, 0))
    # Looking at the first token alone: e_3 + 2 e_0.
    looks = ls.run(micro, [0, 3], [ls.pattern(0, 0).at(1).set(vector(1, 0))])
    same(looks.logits[0, 1], vector(2 / root, 4 / root, 0, 0))
    # Half way from e_0 + 2 e_3 to e_0 is e_0 + e_3, root mean square sqrt(1/2).
    half = ls.run(micro, [0, 3], [ls.resid_post(0).at(1).lerp(vector(1, 0, 0, 0), 0.5)])
    same(half.logits[0, 1], vector(math.sqrt(2), math.sqrt(2), 0, 0))
    # Without its e_3, only e_0 is left.
    out = ls.run(micro, [0, 3], [ls.resid_post(0).at(1).project_out(vector(0, 0, 7, 7.0)[None])])
    # e_0 + 2 e_3 less its part along (e_2 + e_3)/sqrt(2): e_0 - e_2 + e_3, length sqrt(3).
    scale = 2 / math.sqrt(3)
    same(out.logits[0, 1], vector(scale, scale, 0, -scale))


def test_a_patch_fires_once_while_the_text_goes_on(micro):
    # Unpatched, with a silent head, the model counts: 3 -> 0 -> 1 -> 2 -> 3.
    silent = ls.head_out(0).zero(when="every_step")
    counted = ls.generate(micro, [3], [silent], 4, stop_at_eos=False)
    assert counted.tokens == [0, 1, 2, 3]
    # Told that it is at 2, it goes on from there; fired at each step it would say 3, 3, 3, 3.
    told = ls.resid_post(0).at(0).set(vector(0, 0, 1, 0))
    assert ls.generate(micro, [3], [silent, told], 4, stop_at_eos=False).tokens == [3, 0, 1, 2]
    always = ls.resid_post(0).at(0).set(vector(0, 0, 1, 0), when="every_step")
    assert ls.generate(micro, [3], [silent, always], 4, stop_at_eos=False).tokens == [3, 3, 3, 3]


def test_the_text_ends_at_the_end_token(micro):
    silent = ls.head_out(0).zero(when="every_step")
    ended = ls.generate(micro, [[3], [1]], [silent], 5)
    assert ended.tokens == [[0, 1, 2], [2]]
    assert ended.texts == ("w0", "")  # BOS is token 1, EOS token 2
    assert ls.run_many(micro, [3], [[silent], []], max_new_tokens=5).generation.token_ids[0] == (
        0,
        1,
        2,
    )
