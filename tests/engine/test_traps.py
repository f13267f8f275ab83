"""Traps that cost others hours. Each test fails without the care that it stands for."""

from __future__ import annotations

import pytest
import torch

import lensscope as ls
from tests import families, oracle
from tests.oracle import close

PROMPT = families.prompt(6)
RAGGED = [families.prompt(3, seed=3), families.prompt(8, seed=4)]


def watch(model, name="blocks.1.hook_resid_post"):
    """A user's own hook that notes the shape of every forward; call the last to take it off."""
    seen = []
    point = model.hook_dict[name]
    point.add_hook(lambda tensor, hook: seen.append(tuple(tensor.shape)))

    def off():
        handle = point.fwd_hooks.pop()
        handle.hook.remove()

    return seen, off


def test_no_second_bos_while_decoding(demo):
    bos = demo.tokenizer.bos_token_id
    text = "The capital of Japan is the city of"
    seen, off = watch(demo)
    try:
        made = ls.generate(demo, text, max_new_tokens=4, prepend_bos=True)
    finally:
        off()
    ids = made.prompts[0].ids
    assert ids[0] == bos and ids.count(bos) == 1
    assert [shape[1] for shape in seen] == [len(ids), 1, 1, 1]
    expected = oracle.generate(demo, ids, [], 4)
    assert made.tokens == expected
    # A text that already starts with BOS gets no second one; ids are run as they are.
    again = ls.run(demo, demo.tokenizer.bos_token + text, prepend_bos=True)
    assert again.prompts[0].ids == ids
    assert ls.run(demo, list(ids)).prompts[0].ids == ids


def test_the_model_s_own_default_for_bos(demo, tiny):
    assert demo.tokenizer.bos_token_id not in ls.capture(demo, "Hello", ls.embed).prompts[0].ids
    cache = ls.capture(tiny, "w5 w6", ls.embed)
    assert ("<s>" in cache.tokens[0]) == tiny.cfg.default_prepend_bos
    assert ls.capture(tiny, "w5 w6", ls.embed, prepend_bos=False).tokens == (("w5", "w6"),)
    assert tuple(tiny.to_tokens("w5 w6")[0].tolist()) == cache.prompts[0].ids


def test_left_padding_is_masked_and_positions_shift(tiny):
    padded = torch.full((2, 8), 2)
    for row, prompt in enumerate(RAGGED):
        padded[row, 8 - len(prompt) :] = torch.tensor(prompt)
    alone = oracle.logits(tiny, RAGGED[0])
    if "gpt2" in tiny.cfg.model_name:
        # What the mask is for: without it, the short prompt's logits are others.
        with torch.no_grad():
            naive = tiny(padded, return_type="logits")[0, 5:]
        assert float((naive - alone).abs().max()) > 1e-2
    for side in ("left", "right"):
        close(ls.run(tiny, RAGGED, padding_side=side).logits[0, :3], alone)


def test_the_key_value_cache_is_used(tiny):
    seen, off = watch(tiny)
    try:
        ls.generate(tiny, RAGGED, max_new_tokens=5, stop_at_eos=False)
    finally:
        off()
    assert [shape[1] for shape in seen] == [8, 1, 1, 1, 1]


def test_the_key_value_cache_of_one_run_does_not_leak_into_the_next(tiny):
    first = ls.generate(tiny, PROMPT, max_new_tokens=4, stop_at_eos=False).tokens
    ls.run_many(tiny, PROMPT, [[], [ls.resid_post(0).at(3).zero()]], max_new_tokens=4)
    assert ls.generate(tiny, PROMPT, max_new_tokens=4, stop_at_eos=False).tokens == first
    assert first == oracle.generate(tiny, PROMPT, [], 4)


class Stop(BaseException):
    """Neither an Exception nor ours, like KeyboardInterrupt."""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Stop])
def test_hooks_are_gone_after_an_error(tiny, no_hooks_left, error):
    before = oracle.logits(tiny, PROMPT)

    def fail(x):
        raise error

    for act in (
        lambda: ls.run(tiny, PROMPT, [ls.resid_post(1).map(fail)]),
        lambda: ls.generate(tiny, PROMPT, [ls.resid_post(1).map(fail, when="every_step")], 3),
        lambda: ls.run_many(tiny, PROMPT, [[], [ls.resid_post(2).at(4).map(fail)]]),
    ):
        with pytest.raises(error):
            act()
        no_hooks_left(tiny)
    torch.testing.assert_close(oracle.logits(tiny, PROMPT), before)


def test_an_interrupt_while_decoding_leaves_the_model_clean(llama, no_hooks_left, monkeypatch):
    from lensscope.engine.sampling import Sampling

    def interrupt(self, logits, generators):
        raise KeyboardInterrupt

    monkeypatch.setattr(Sampling, "choose", interrupt)
    patch = ls.resid_post(1).map(lambda x: x, when="every_step")
    with pytest.raises(KeyboardInterrupt):
        ls.generate(llama, PROMPT, [patch], 5)
    no_hooks_left(llama)


def test_the_user_s_own_hooks_stay_and_act(tiny):
    clean = oracle.logits(tiny, PROMPT)
    point = tiny.hook_dict["blocks.0.hook_resid_post"]
    point.add_hook(lambda tensor, hook: tensor * 1.5)
    try:
        handle = point.fwd_hooks[-1]
        expected = oracle.logits(tiny, PROMPT)
        assert float((expected - clean).abs().max()) > 1e-3
        close(ls.run(tiny, PROMPT).logits[0], expected)
        ls.capture(tiny, PROMPT, ls.resid_post(0))
        ls.generate(tiny, PROMPT, [ls.resid_post(0).at(0).scale(1.0)], 2)
        with pytest.raises(ZeroDivisionError):
            ls.run(tiny, PROMPT, [ls.resid_post(0).map(lambda x: 1 / 0)])
        assert point.fwd_hooks == [handle]
        assert len(point._forward_hooks) == 1
        close(ls.run(tiny, PROMPT).logits[0], expected)
    finally:
        for left in point.fwd_hooks:
            left.hook.remove()
        point.fwd_hooks.clear()


def test_an_aliased_hook_point_counts_once(tiny):
    calls = []

    def count(x):
        calls.append(1)
        return 2 * x

    run = ls.run(tiny, PROMPT, [ls.resid_pre(1).at(2).map(count)], keep=[ls.resid_pre(1)])
    assert calls == [1]
    assert list(run.cache) == [ls.resid_pre(1)]
    expected = 2 * oracle.activations(tiny, PROMPT, "resid_pre", 1)[2]
    close(run.cache[ls.resid_pre(1).at(2)][0, 0], expected)
    twice = ls.capture(tiny, PROMPT, [ls.resid_pre(1), ls.resid_pre(-2), ls.resid_pre])
    assert list(twice) == [ls.resid_pre(1), ls.resid_pre(0), ls.resid_pre(2)]


def test_no_tensor_that_somebody_holds_is_edited(tiny):
    """resid_post(0) and resid_pre(1) share storage in the model's own run."""
    held = {}

    def hold(tensor, hook):
        held["tensor"], held["copy"] = tensor, tensor.clone()

    point = tiny.hook_dict["blocks.0.hook_resid_post"]
    point.add_hook(hold)
    try:
        keep = [ls.resid_post(0), ls.resid_pre(1)]
        run = ls.run(tiny, PROMPT, [ls.resid_pre(1).at(3).zero()], keep=keep)
    finally:
        point.fwd_hooks.pop().hook.remove()
    torch.testing.assert_close(held["tensor"], held["copy"])
    assert float(run.cache[ls.resid_pre(1).at(3)].abs().max()) == 0
    assert float(run.cache[ls.resid_post(0).at(3)].abs().max()) > 0
    close(run.cache[ls.resid_post(0)][0], oracle.activations(tiny, PROMPT, "resid_post", 0))


def test_a_patch_does_not_follow_its_value(llama):
    value = torch.ones(32)
    patch = ls.resid_post(1).at(2).set(value)
    before = ls.run(llama, PROMPT, [patch]).logits
    value.zero_()
    torch.testing.assert_close(ls.run(llama, PROMPT, [patch]).logits, before)
    cache = ls.capture(llama, PROMPT, ls.resid_post(1))
    kept = cache[ls.resid_post(1)].clone()
    site = ls.resid_post(1).at(2)
    ls.run(llama, PROMPT, [site.set(cache[site][0]), site.scale(0.0), site.add(torch.ones(32))])
    torch.testing.assert_close(cache[ls.resid_post(1)], kept)


def test_mapping_in_place_harms_nobody(llama):
    def careless(x):
        x.zero_()
        return x

    keep = [ls.resid_post(0), ls.resid_pre(1)]
    run = ls.run(llama, PROMPT, [ls.resid_pre(1).at(2).map(careless)], keep=keep)
    assert float(run.cache[ls.resid_post(0).at(2)].abs().max()) > 0
    assert float(run.cache[ls.resid_pre(1).at(2)].abs().max()) == 0


def test_folded_and_raw_weights_are_not_mixed(llama):
    folded = families.build(families.Case("llama", "bridge", "folded"))
    scope = ls.Patchscope(ls.InspectionPrompt("w5 w6 w7", "w7"), model=folded, max_new_tokens=1)
    with pytest.raises(ls.BasisError, match="different bases"):
        scope.inspect(llama, PROMPT)
    cache = ls.capture(llama, PROMPT, ls.resid_post(1))
    assert cache.provenance.processing == "raw"
    assert ls.capture(folded, PROMPT, ls.resid_post(1)).provenance.processing == "folded"


def test_an_alias_that_is_not_what_is_added_is_refused(llama):
    """A block that scales its outputs before adding them, as Granite does."""
    import copy

    inner = copy.deepcopy(families.hf_model("llama"))
    layer = inner.model.layers[1]
    layer.self_attn.register_forward_hook(lambda m, a, out: (out[0] * 0.5, *out[1:]))
    model = families.wrap(inner)
    inside = model.blocks[1].attn
    # the doubling comes after the hook point that TransformerLens calls attn_out
    inside.register_forward_hook(lambda m, a, out: (out[0] * 2.0, *out[1:]))
    with pytest.raises(ls.SiteError, match="cannot be written"):
        ls.run(model, PROMPT, [ls.attn_out(1).at(2).zero()])
    ls.run(model, PROMPT, [ls.attn_out(0).at(2).zero()])


def test_a_site_that_the_forward_passes_by_is_an_error(llama):
    model = families.build(families.Case("llama", "bridge", "raw"))
    point = model.blocks[1].attn.hook_pattern
    forward = type(point).forward
    try:
        model.blocks[1].attn.__dict__.get("_modules")["hook_pattern"] = torch.nn.Identity()
        with pytest.raises(ls.SiteError, match="without passing"):
            ls.run(model, PROMPT, [ls.pattern(1).at(2).zero()])
        with pytest.raises(ls.SiteError, match="without passing"):
            ls.run(model, PROMPT, keep=ls.pattern(1))
    finally:
        model.blocks[1].attn._modules["hook_pattern"] = point
        assert type(point).forward is forward
