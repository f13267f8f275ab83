"""One word means the same wherever it is taken, and an argument goes by all its words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

import lensscope as ls
from lensscope.lenses.lens import lenses_of
from tests import families

P, Q = families.prompt(6), families.prompt(6, seed=1)
TEXTS = [families.prompt(20, seed=n) for n in range(6)]
LENS, METRIC = ls.LogitLens(), ls.log_probability(7)
SCOPE = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50"), max_new_tokens=1)


def read(model, **how):
    return LENS.read(model, P, top_k=1, **how).frame()


def inspected(model, **how):
    return SCOPE.inspect(model, P, **how).frame()


def patched(model, **how):
    return ls.activation_patching(model, P, Q, ls.mlp_out(1), METRIC, **how).data.to_dataframe()


@pytest.mark.parametrize("call", [read, inspected, patched])
def test_position_and_positions_are_one(llama, call):
    for where in (-1, [1, 3], [[1, 3]]):
        pd.testing.assert_frame_equal(call(llama, position=where), call(llama, positions=where))
    with pytest.raises(ls.LensscopeError, match="two words for one argument") as caught:
        call(llama, position=-1, positions=-1)
    assert "instead:" in str(caught.value)


def test_a_prompt_may_be_called_prompts(llama):
    expected = ls.run(llama, P).logits
    assert torch.equal(ls.run(llama, prompts=P).logits, expected)
    with pytest.raises(ls.PatchError, match="prompts= and prompt="):
        ls.run(llama, P, prompts=P)
    with pytest.raises(ls.PatchError, match="sites= in place of site="):
        SCOPE.inspect(llama, P, site=ls.resid_post(1))
    with pytest.raises(ls.LensError, match="layers= in place of layer="):
        LENS.read(llama, P, layer=1)


@pytest.mark.parametrize(
    "layers",
    [1, np.int64(1), [1], np.array([1]), range(1, 2), slice(1, 2), slice(-2, -1), ls.resid_post(1)],
    ids=repr,
)
def test_layers_are_block_outputs_where_sites_are_taken(llama, layers):
    assert LENS.read(llama, P, layers=layers).sites == (ls.resid_post(1),)
    assert list(ls.capture(llama, P, layers=layers)) == [ls.resid_post(1)]
    assert inspected(llama, layers=layers).equals(inspected(llama, sites=ls.resid_post(1)))
    every = LENS.read(llama, P, layers="all").sites
    assert every == LENS.read(llama, P, layers=ls.ALL).sites == LENS.read(llama, P).sites
    targets = inspected(llama, layers=[0], target_layers=layers)
    assert targets["target_layer"].tolist() == [1]


def test_fits_take_layers_and_sites_alike(llama):
    both = [ls.resid_post(0), ls.resid_post(1)]
    identity = ls.TunedLens.identity(llama, layers=[0, 1])
    assert [*identity.translators] == [*ls.TunedLens.identity(llama, both).translators]
    for fit, sites, how in (
        (ls.TunedLens.fit, both, {"steps": 1, "n_held_out": 1, "length": 8, "batch_size": 2}),
        (ls.AffineLens.fit, both, {}),
        (ls.JacobianLens.fit, both, {"max_pieces": 1, "length": 8, "skip_first": 2}),
    ):
        one, other = (
            fit(llama, TEXTS, layers=slice(0, 2), **how),
            fit(llama, TEXTS, sites=sites, **how),
        )
        assert one.signature == other.signature and len(one.translators) == 2
    with pytest.raises(ls.LensError, match="two words"):
        ls.AffineLens.fit(llama, TEXTS, layers=[1], sites=both)
    report = ls.compare(llama, [P], LENS, sites=ls.resid_post(1), resamples=5)
    assert report.data.layer.values.tolist() == [1]


@pytest.mark.parametrize(
    "layers", [[], slice(7, 9), slice(None, None, 0), [1.5], 9, ls.mlp_out(1), [1, ls.embed]]
)
def test_what_is_no_layer_is_refused(llama, layers):
    for call in (read, inspected):
        with pytest.raises(ls.LensscopeError, match="instead:"):
            call(llama, layers=layers)


def test_a_metric_that_asks_for_what_is_not_there_is_refused(llama):
    beyond = lambda logits: logits[:, 5, 7]
    assert ls.run_many(llama, P, [[]], positions=ls.ALL, metric=beyond).metric.shape == (1,)
    for call in (
        lambda: ls.run_many(llama, P, [[]], metric=beyond),
        lambda: ls.activation_patching(llama, P, Q, ls.mlp_out(1), beyond),
        lambda: ls.activation_patching(llama, P, Q, ls.mlp_out(1), lambda x: x[:, -1, 97]),
    ):
        with pytest.raises(ls.PlanError, match="not there") as caught:
            call()
        assert "positions=ls.ALL" in str(caught.value)


def test_answers_are_looked_at_before_anything_runs(llama, monkeypatch):
    monkeypatch.setattr("lensscope.effects.measuring.run_many", None)
    for answers in ([7, "w5 w6"], [7, ""], [7, 97], [7, ()]):
        with pytest.raises(ls.PromptError, match="instead:"):
            ls.activation_patching(llama, [P, Q], [Q, P], ls.mlp_out, ls.log_probability(answers))
    with pytest.raises(ls.LensError, match="A target is one token"):
        LENS.read(llama, P, targets=[""])
    for lenses in (SCOPE, [LENS, SCOPE]):
        with pytest.raises(ls.LensError, match=r"scope\.as_lens\(\)"):
            lenses_of(lenses, ls.LensError)


def test_it_is_said_that_prompts_and_lists_go_side_by_side(llama):
    silent = [ls.mlp_out(0).zero()]
    out = ls.run_many(llama, [P, Q], [[], silent])
    assert "2 prompts, row n of prompt n under list n" in str(out.plan)
    assert "under list n" not in str(ls.run_many(llama, P, [[], silent]).plan)
    with pytest.raises(ls.PromptError, match=r"\[p for p in prompts for _ in sets\]"):
        ls.run_many(llama, [P, Q], [[], silent, []])
    sets, labels = [[], silent], {"prompt": ["p", "q"], "set": ["plain", "silent"]}
    prompts = [p for p in (P, Q) for _ in sets]
    crossed = ls.run_many(llama, prompts, sets * 2, labels=labels)
    for n, prompt in enumerate((P, Q)):
        for k, patches in enumerate(sets):
            row = torch.from_numpy(crossed.data.logits.values[n, k, 0])
            expected = ls.run(llama, prompt, patches).logits[0, -1]
            torch.testing.assert_close(row, expected, atol=1e-4, rtol=1e-4)


PROMPTS = {
    "a tokenizer's": lambda: transformers.BatchEncoding(
        {"input_ids": P, "attention_mask": [1] * 6}
    ),
    "a dict": lambda: {"input_ids": torch.tensor(P)},
    "tensors": lambda: list(torch.tensor(P)),
}
NO_PROMPTS = {
    "bytes": bytes(P),
    "flags": torch.tensor(P).bool(),
    "bytes in an array": np.array([b"w3"]),
    "floats": list(torch.tensor(P).float()),
    "beyond the vocabulary": [3, families.VOCAB],
}
ENTRIES = {
    "capture": lambda m, p: ls.capture(m, p, ls.embed)[ls.embed],
    "run": lambda m, p: ls.run(m, p).logits,
    "generate": lambda m, p: ls.generate(m, p, max_new_tokens=1).tokens,
    "run_many": lambda m, p: ls.run_many(m, p, [[]]).logits,
    "inspect": lambda m, p: SCOPE.inspect(m, p, layers=1).frame()["text"].tolist(),
    "read": lambda m, p: LENS.read(m, p, layers=1, top_k=1).data.token_id.values.tolist(),
    "clean": lambda m, p: ls.activation_patching(
        m, p, Q, ls.embed, METRIC
    ).data.effect.values.tolist(),
    "corrupted": lambda m, p: ls.activation_patching(
        m, Q, p, ls.embed, METRIC
    ).data.metric.values.tolist(),
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_entry_takes_and_refuses_the_same_prompts(llama, entry):
    expected = entry(llama, P)
    for made in PROMPTS.values():
        found = entry(llama, made())
        assert torch.equal(found, expected) if torch.is_tensor(found) else found == expected
    for prompt in NO_PROMPTS.values():
        with pytest.raises(ls.PromptError, match="instead:"):
            entry(llama, prompt)
