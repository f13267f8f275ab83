"""Prompts in every form that they come in: one door, one check."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

import lensscope as ls
from lensscope.errors import PromptError
from lensscope.model.classes import backend_of
from lensscope.model.tokens import ids_of, tokenize
from lensscope.values.prompts import parts_of
from tests import families

P = families.prompt(9)
TEXT = " ".join(f"w{i}" for i in P)
T = torch.tensor(P)


def encoded(**parts):
    return transformers.BatchEncoding(parts)


@pytest.mark.parametrize(
    "prompt",
    [
        P,
        tuple(P),
        deque(P),
        T,
        T.int(),
        T[None],
        np.array(P),
        np.array(P, dtype=np.uint8),
        np.array(P, dtype=object),
        list(T),
        list(np.array(P)),
        [*map(np.int16, P[:4]), *P[4:]],
        TEXT,
        np.str_(TEXT),
        encoded(input_ids=P),
        encoded(input_ids=P, attention_mask=[1] * 9),
        encoded(input_ids=T[None], attention_mask=torch.ones(1, 9)),
        {"input_ids": np.array(P), "attention_mask": None},
        encoded(input_ids=[2, 2, *P], attention_mask=[0, 0, *[1] * 9]),
        encoded(input_ids=torch.tensor([[*P, 2]]), attention_mask=torch.arange(10)[None] < 9),
    ],
    ids=lambda p: type(p).__name__,
)
def test_one_prompt(llama, prompt):
    run = ls.run(llama, prompt, prepend_bos=False)
    assert [list(p.ids) for p in run.cache.prompts] == [P]
    assert run.logits.shape[0] == 1
    assert ls.generate(llama, prompt, max_new_tokens=2).single


@pytest.mark.parametrize(
    "prompts",
    [
        [P, P[:4]],
        [T, T[:4]],
        [T[None], np.array(P[:4])],
        (TEXT, P[:4]),
        np.array([TEXT, "w3 w5"]),
        [list(T), encoded(input_ids=P[:4])],
        encoded(input_ids=[P, [*P[:4], 2]], attention_mask=[[1] * 9, [1, 1, 1, 1, 0]]),
        torch.stack([T, T + 1]),
        np.stack([T, T + 1]),
        encoded(
            input_ids=torch.stack([T, T]), attention_mask=torch.tensor([[1] * 9, [0, *[1] * 8]])
        ),
        [[*P]],
        np.array([TEXT]),
    ],
    ids=lambda p: type(p).__name__,
)
def test_several_prompts(llama, prompts):
    parts, single = parts_of(prompts)
    assert not single
    assert ls.run(llama, prompts).logits.shape[0] == len(parts)


def test_padding_is_left_out(llama):
    ids = torch.tensor([[2, 2, *P[:4]], P[:6]])
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    run = ls.run(llama, encoded(input_ids=ids, attention_mask=mask))
    assert [p.ids for p in run.cache.prompts] == [tuple(P[:4]), tuple(P[:6])]


@pytest.mark.parametrize(
    "prompt",
    [
        bytes(P),
        bytearray(P),
        memoryview(bytes(P)),
        T.bool(),
        np.array(P) > 3,
        [True, False],
        [True, 3, 5],
        T.float(),
        np.array(P, dtype=float),
        np.array([b"w3"]),
        [3.0, 5.0],
        [3, 5.0],
        list(T.float()),
        [T.bool()[0], T[1]],
        T[0],
        np.array(3),
        7,
        3.5,
        None,
        object(),
        {1, 2},
        iter(P),
        (i for i in P),
        T[None, None],
        [T[None].repeat(2, 1)],
        [[P], [P]],
        [[]],
        [],
        "",
        ["w3", ""],
        torch.tensor([]),
        torch.empty(0, 5, dtype=torch.long),
        ["w3", 5],
        [5, "w3"],
        [P, 5],
        [P, None],
        [-1, 5],
        [families.VOCAB],
        [10**30],
        torch.tensor([families.VOCAB]),
        np.array([2**63], dtype=np.uint64),
        range(10**9),
        range(10**30),
        ls.run_many,
        {"input_ids": P, "pixel_values": 1},
        {"attention_mask": [1]},
        {"role": "user", "content": "w3"},
        [{"role": "user", "content": "w3"}],
        encoded(input_ids=P, attention_mask=[1, 0, *[1] * 7]),
        encoded(input_ids=P, attention_mask=[0] * 9),
        encoded(input_ids=P, attention_mask=[2] * 9),
        encoded(input_ids=P, attention_mask=[1] * 8),
        encoded(input_ids=[P, P], attention_mask=[[1] * 9]),
        encoded(input_ids=[P], attention_mask=[1] * 9),
        torch.ones(2, dtype=torch.complex64),
    ],
    ids=lambda p: type(p).__name__,
)
def test_what_is_no_prompt_is_refused(llama, prompt):
    backend = backend_of(llama)
    with pytest.raises(PromptError) as caught:
        parts, _ = parts_of(prompt)
        tokenize(backend, parts)
    assert len(str(caught.value)) < 800


def test_a_token_that_the_model_has_no_row_for(llama):
    """An added token beyond the vocabulary, through text, ids and another model's prompt."""
    backend = backend_of(llama)
    backend.tokenizer = families.own_tokenizer()
    backend.tokenizer.add_tokens(["<new>"])
    new = backend.tokenizer.convert_tokens_to_ids("<new>")
    assert new >= families.VOCAB
    for prompt in ("w3 <new>", ["w3", "w4 <new>"], [3, new]):
        with pytest.raises(PromptError, match=f"{new}"):
            tokenize(backend, prompt)
    with pytest.raises(PromptError, match="'<new>', token"):
        ids_of(backend, " <new>")
    (foreign,) = tokenize(backend, "w3 w5")
    with pytest.raises(PromptError, match="outside the vocabulary"):
        ls.run(llama, replace(foreign, ids=(3, families.VOCAB)))


def test_a_bos_that_the_model_has_no_row_for_is_not_prepended(llama):
    backend = backend_of(llama)
    tokenizer = families.own_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<start>"})
    backend.tokenizer, backend.default_prepend_bos = tokenizer, True
    assert tokenize(backend, "w3 w5")[0].ids == (3, 5)
    with pytest.raises(PromptError, match="<start>"):
        tokenize(backend, "w3 w5", True)


def test_lenses_take_what_a_tokenizer_returns(llama):
    lens = ls.LogitLens()
    expected = lens.read(llama, P, top_k=1).data.predicted.values
    for prompts in (encoded(input_ids=P), [encoded(input_ids=P)], list(T), [(list(T), ls.ALL)]):
        assert (lens.read(llama, prompts, top_k=1).data.predicted.values == expected).all()
    two = lens.read(llama, (np.int64(P[0]), np.int64(P[1])), top_k=1)  # a prompt of two tokens
    assert two.data.sizes["position"] == 2
    with pytest.raises(PromptError):
        lens.read(llama, {"text": P})
