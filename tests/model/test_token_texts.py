"""Texts and labels of tokens, whatever a tokenizer's decoder does to what starts its input."""

from __future__ import annotations

import re
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

import lensscope as ls
from lensscope.model.classes import backend_of
from lensscope.model.demo_model import calm
from lensscope.model.loading import _bridge
from lensscope.model.token_texts import labels_of, text_of
from lensscope.model.tokens import tokenize
from tests import families, own_tokenizers

VOCAB = 512


def backend(kind: str, cleanup: bool = False) -> Any:
    return SimpleNamespace(tokenizer=own_tokenizers.made(kind, cleanup))


def decode(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False, skip_special_tokens=True)


@pytest.mark.parametrize("cleanup", [False, True])
@pytest.mark.parametrize("kind", own_tokenizers.KINDS)
def test_new_text_is_what_is_added_to_the_old(kind, cleanup):
    it = backend(kind, cleanup)
    compared = 0
    for said in own_tokenizers.SAID:
        ids = it.tokenizer(said, add_special_tokens=False)["input_ids"]
        for n in range(1, len(ids)):
            before, whole = decode(it.tokenizer, ids[:n]), decode(it.tokenizer, ids)
            if before and whole.startswith(before):
                compared += 1
                assert text_of(it, ids[n:], ids[:n]) == whole[len(before) :]
    assert compared > 10


@pytest.mark.parametrize("kind", ["metaspace-first", "metaspace-always", "like-llama"])
def test_labels_keep_their_space(kind):
    it = backend(kind)
    inner = it.tokenizer.convert_tokens_to_ids
    for said in own_tokenizers.SAID[:4]:
        ids = it.tokenizer(said, add_special_tokens=False)["input_ids"]
        assert "".join(labels_of(it, ids)) == f" {said}"
    assert labels_of(it, [inner("▁Tokyo"), inner("</s>")]) == (" Tokyo", "</s>")
    # ordinary text starts with a space of its own, and needs nothing before it
    assert text_of(it, [inner("▁Tokyo")]) == " Tokyo"


def test_pieces_of_a_word_and_words_are_told_apart():
    it = backend("metaspace-never")
    pieces = [it.tokenizer.convert_tokens_to_ids(p) for p in ("Tokyo", "▁Tokyo")]
    assert labels_of(it, pieces) == ("Tokyo", " Tokyo")
    it = backend("word-piece")
    pieces = [it.tokenizer.convert_tokens_to_ids(p) for p in ("Tokyo", "##n")]
    assert labels_of(it, pieces) == ("Tokyo", "##n")
    it = backend("word-ends")
    assert labels_of(it, [it.tokenizer.convert_tokens_to_ids("Tokyo</w>")]) == ("Tokyo ",)


def test_a_character_of_several_tokens():
    it = backend("like-llama")
    ids = it.tokenizer("Tokyo 東京 Paris", add_special_tokens=False)["input_ids"]
    first = ids.index(it.tokenizer.convert_tokens_to_ids("<0xE6>"))
    assert text_of(it, ids[first:], ids[:first]) == "東京 Paris"
    assert text_of(it, ids[first + 3 :], ids[: first + 3]) == "京 Paris"


def test_byte_level_is_as_it_was(demo):
    it = SimpleNamespace(tokenizer=demo.tokenizer)
    ids = demo.tokenizer("The Eiffel Tower 東京, don't  stop <|im_end|>\n x").input_ids
    plain = [demo.tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in ids]
    for label, alone in zip(labels_of(it, ids), plain, strict=True):
        assert label == alone or "\ufffd" in alone
    for n in range(len(ids)):
        assert text_of(it, ids[n:], ids[:n]) == decode(demo.tokenizer, ids[n:])


@pytest.mark.parametrize("kind", ["byte-level", "like-llama"])
def test_bytes_that_are_no_character_are_spelt_out(kind):
    said = "한 🎈 Paris"
    it = backend(kind)
    ids = it.tokenizer(said, add_special_tokens=False)["input_ids"]
    labels = labels_of(it, ids)
    assert "\ufffd" not in "".join(labels)
    spelt = re.sub(r"<([0-9A-F]{2})>", lambda byte: chr(int(byte[1], 16)), "".join(labels))
    assert spelt.strip().encode("latin-1").decode() == said
    assert {"<ED>", "<95>", "<9C>", "<F0>", "<9F>"} <= set(labels)
    assert text_of(it, ids).strip() == said  # whole texts stay as they are


def test_bytes_of_one_token_stand_together(demo):
    ids = demo.tokenizer("한국어 🎈", add_special_tokens=False)["input_ids"]
    prompt = tokenize(backend_of(demo), "한국어 🎈 Paris")[0]
    assert "\ufffd" not in "".join(prompt.labels)
    assert any(re.search("<[0-9A-F]{2}><[0-9A-F]{2}>", label) for label in prompt.labels)
    spans = ls.LogitLens().read(demo, "한국어 🎈 Paris", ls.resid_post(2), positions="🎈")
    assert spans.data["token"].item().endswith("<88>")  # its last byte: found by its characters
    assert prompt.ids[: len(ids)] == tuple(ids)


@pytest.fixture(scope="module", params=["metaspace-always", "like-llama", "word-piece"])
def spaced(request):
    """A tiny Llama with such a tokenizer, and the Hugging Face model."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**{**families._GQA, "vocab_size": VOCAB})
    plain = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(6 if parameter.ndim > 1 else 1)
    tokenizer = own_tokenizers.made(request.param)
    with warnings.catch_warnings(), calm():
        warnings.simplefilter("ignore")
        return _bridge(plain, tokenizer, "tiny-llama", "raw", "cpu")


def test_generated_texts_go_on_from_their_prompts(spaced):
    prompts = own_tokenizers.SAID[:3]
    made = ls.generate(spaced, prompts, max_new_tokens=6, stop_at_eos=False)
    tokenizer = spaced.tokenizer
    for row, (prompt, new) in enumerate(zip(made.prompts, made.tokens, strict=True)):
        before, whole = (decode(tokenizer, list(ids)) for ids in (prompt.ids, (*prompt.ids, *new)))
        assert whole == before + made.texts[row]


def test_a_patchscope_says_the_space_of_its_first_token(spaced):
    tokenizer = spaced.tokenizer
    word = "Tokyo" if "Tokyo" in tokenizer.get_vocab() else "▁Tokyo"
    token = tokenizer.convert_tokens_to_ids(word)
    state = spaced.original_model.lm_head.weight  # a state that is read as this very token
    state = state.weight if hasattr(state, "weight") else state
    scope = ls.Patchscope(
        ls.InspectionPrompt("The city of Paris", "Paris"), write=ls.resid_post, max_new_tokens=1
    )
    found = scope.inspect(spaced, 40 * state[token].detach()[None], layers=[2]).frame().iloc[0]
    assert found["first_token"] == labels_of(SimpleNamespace(tokenizer=tokenizer), [token])[0]
    assert found["first_token"] == (" Tokyo" if word.startswith("▁") else "Tokyo")
    assert found["text"] == " Tokyo"
