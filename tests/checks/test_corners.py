"""Corners that were wrong once."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers

import lensscope as ls
from tests import families, oracle
from tests.oracle import Edit, close

PROMPT = families.prompt(7)
RAGGED = [families.prompt(n, seed=n) for n in (2, 6, 4)]
W = ls.InspectionPrompt("w5 w6 w7 w8", "w7")


def test_a_long_capture_of_one_early_site(tiny, monkeypatch):
    """It ends before the first block has stored its keys and values."""
    for site in (ls.embed, ls.resid_pre(0), ls.q(0), ls.k(0), ls.v(0), ls.head_out(0)):
        whole = ls.capture(tiny, PROMPT, site)[site]
        with monkeypatch.context() as patched:
            patched.setattr("lensscope.engine.runner.STRETCH", 3)
            close(ls.capture(tiny, PROMPT, site)[site], whole, 1e-5)


def test_dependent_rows_of_a_basis_remove_nothing_more(llama):
    torch.manual_seed(0)
    a, b = torch.randn(2, 32)
    site = ls.resid_post(1).at(3)
    removed = [
        ls.run(llama, PROMPT, [site.project_out(rows)], keep=site).cache[site]
        for rows in (torch.stack([a, b]), torch.stack([a, b, 0.3 * a + 0.7 * b]))
    ]
    close(removed[1], removed[0], 1e-5)
    assert float((removed[0][0, 0] @ a).abs()) < 1e-4


def test_patterns_while_decoding(tiny):
    steer = ls.pattern(1).scale(0.3, when="every_step")
    value = ls.pattern(0, 1).at(1).set(torch.tensor([0.25, 0.75]))
    batched = ls.generate(tiny, RAGGED, [steer], 4, stop_at_eos=False)
    for n, prompt in enumerate(RAGGED):
        assert ls.generate(tiny, prompt, [steer], 4, stop_at_eos=False).tokens == batched.tokens[n]
    short = RAGGED[0]
    plain = [Edit("pattern", 0, 1, lambda x: torch.cat([torch.tensor([0.25, 0.75]), x[2:]]), 1)]
    expected = oracle.generate(tiny, short, plain, 4)
    for cached in (True, False):
        made = ls.generate(tiny, short, [value], 4, stop_at_eos=False, use_cache=cached)
        assert made.tokens == expected


def test_the_residual_after_resid_mid_is_exactly_what_was_written():
    inner = copy.deepcopy(families.hf_model("llama")).to(torch.bfloat16)
    model = families.wrap(inner)
    large = ls.resid_pre(1).scale(1000.0)
    value = torch.full((32,), 1.5, dtype=torch.bfloat16)
    keep = [ls.resid_mid(1), ls.mlp_out(1), ls.resid_post(1)]
    written = ls.resid_mid(1).at(2).set(value)
    for patches in ([large, written], [written, large]):
        cache = ls.run(model, PROMPT, patches, keep=keep).cache
        post, out = cache[ls.resid_post(1).at(2)], cache[ls.mlp_out(1).at(2)]
        assert torch.equal(cache[ls.resid_mid(1).at(2)][0, 0], value)
        assert torch.equal(post[0, 0], value + out[0, 0])
    both = [ls.resid_post(1).at(2).scale(2.0), written, ls.mlp_out(1).at(2).zero()]
    cache = ls.run(model, PROMPT, both, keep=keep).cache
    assert torch.equal(cache[ls.resid_post(1).at(2)][0, 0], 2 * value)


def test_a_head_is_read_and_another_one_written(llama):
    scope = ls.Patchscope(W, ls.head_out(None, 2), read=ls.head_out(None, 3), max_new_tokens=1)
    state = oracle.activations(llama, PROMPT, "head_out", 1)[-1, 3]
    edit = Edit("head_out", 1, *W.places(llama), lambda x: state, head=2)
    expected = oracle.logits(llama, W.tokens(llama).ids, [edit])[-1].softmax(-1).max()
    got = scope.inspect(llama, PROMPT, layers=[1]).frame()["first_token_probability"][0]
    assert got == pytest.approx(float(expected), abs=1e-4)


def test_the_frame_of_ragged_rows_reads_each_row_s_last_token(tiny):
    out = ls.run_many(tiny, RAGGED, [[], [], []], positions=ls.ALL)
    frame = out.frame()
    for n, prompt in enumerate(RAGGED):
        assert frame["first_token_id"][n] == int(oracle.logits(tiny, prompt)[-1].argmax())


def test_a_transform_may_work_in_place(llama):
    def careless(x):
        x += 1
        return x

    cache = ls.capture(llama, PROMPT, ls.resid_post(1))
    kept = cache[ls.resid_post(1)].clone()
    ls.run(llama, PROMPT, [ls.resid_post(1) >> careless >> ls.resid_post(2)], source=cache)
    torch.testing.assert_close(cache[ls.resid_post(1)], kept)
    pure = ls.Patchscope(W, transform=lambda x: x + 1, max_new_tokens=1)
    harmful = ls.Patchscope(W, transform=careless, max_new_tokens=1)
    frames = [s.inspect(llama, PROMPT, target_layers="all").frame() for s in (pure, harmful)]
    assert frames[0].equals(frames[1])


def test_the_fingerprint_sees_one_neuron(llama):
    inner = copy.deepcopy(families.hf_model("llama"))
    model = families.wrap(inner)
    from lensscope.model.classes import backend_of

    before = backend_of(model).provenance().fingerprint
    assert before == backend_of(model).provenance().fingerprint
    with torch.no_grad():
        inner.model.layers[1].mlp.down_proj.weight[:, 17] = 0
    assert backend_of(model).provenance().fingerprint != before


def test_every_end_of_text_of_the_checkpoint_counts():
    inner = copy.deepcopy(families.hf_model("llama"))
    first = oracle.generate(families.wrap(inner), PROMPT, [], 1)[0]
    inner.generation_config.eos_token_id = [2, first]
    kinds = ["bridge", "hooked"] if families.has_hooked_transformer() else ["bridge"]
    for kind in kinds:
        made = ls.generate(families.wrap(inner, kind), PROMPT, max_new_tokens=5)
        assert made.tokens == [first]


def test_results_show_the_tokens_that_were_run(llama):
    result = ls.Patchscope(W, max_new_tokens=1).inspect(llama, "w8 w9", prepend_bos=True)
    assert result.source.tokens == ((1, 8, 9),)
    assert result.target.tokens == (W.tokens(llama).ids,)
    for shown in (ls.run(llama, "w8 w9"), ls.capture(llama, "w8 w9", ls.embed)):
        assert "<s>|w8|w9" in repr(shown)


def test_trying_a_model_out_is_not_disturbed_by_the_user_s_hooks():
    model = families.wrap(copy.deepcopy(families.hf_model("llama")))
    seen = []
    point = model.hook_dict["blocks.1.hook_resid_post"]
    point.add_hook(lambda tensor, hook: seen.append(1) or tensor * 1.5)
    ls.run(model, PROMPT, [ls.attn_out(1).at(2).zero(), ls.pattern(0).at(2).scale(0.5)])
    assert seen == [1]
    sets = [[ls.resid_pre(n).at(p).scale(0.5)] for n in (1, 2) for p in (2, 3, 4, 5)]
    out = ls.run_many(model, PROMPT, sets)
    assert out.plan.apart == ""
    for row, patches in enumerate(sets):
        close(out.logits[row, 0], ls.run(model, PROMPT, patches).logits[0, -1])
    assert len(point.fwd_hooks) == len(point._forward_hooks) == 1


def test_what_is_written_above_what_is_kept_needs_no_run(llama):
    patch = ls.resid_post(2).at(1).zero()
    out = ls.run_many(llama, PROMPT, [[patch], []], positions=None, keep=ls.resid_post(0))
    close(out.cache[ls.resid_post(0)][0], oracle.activations(llama, PROMPT, "resid_post", 0))


def test_patterns_written_back_in_a_ragged_batch(tiny):
    run = ls.run(tiny, RAGGED, [ls.pattern(1) >> ls.pattern(1)])
    for n, prompt in enumerate(RAGGED):
        close(run.logits[n, : len(prompt)], oracle.logits(tiny, prompt))


def test_labels_of_a_cache(llama):
    cache = ls.capture(llama, RAGGED, [ls.head_out(1, -1), ls.resid_post(1), ls.pattern(0)])
    assert next(iter(cache)) == ls.head_out(1, 3)
    assert cache[ls.head_out(1, -1)].shape == (3, 6, 8)
    assert cache.get(ls.q(0)) is None
    assert ls.resid_post(1).at(5) not in cache
    with pytest.raises(ls.CacheError, match="no head 9"):
        cache[ls.head_out(1, 9)]
    move = ls.head_out(1, -1).at(0) >> ls.head_out(2, -1).at(1)
    assert torch.isfinite(ls.run(llama, PROMPT, [move]).logits).all()
    one = cache.sel(prompt=1, layer=np.int64(1), kind="resid_post")
    assert one.labelled(ls.resid_post(1)).sizes == {"prompt": 1, "position": 6, "d_model": 32}
    assert cache.sel(prompt=0)[ls.pattern(0)].shape == (1, 2, 4, 2)
    late = cache.sel(prompt=1, position=5)
    close(late[ls.resid_post(1).at(5)][0, 0], cache[ls.resid_post(1)][1, 5])
    close(cache.value(ls.resid_post(1).at(5), 1)[0], cache[ls.resid_post(1)][1, 5])


def test_the_same_prompt_twice(llama):
    result = ls.Patchscope(W, max_new_tokens=1).inspect(llama, ["w8 w9", "w8 w9"], position=ls.ALL)
    assert len(result.frame()) == 2 * 3 * 3
    assert len(result.plot().data) == 2
    assert result.to_html().count("<h2>") == 6
    assert "position" in str(ls.Patchscope(W, max_new_tokens=1).inspect(llama, "w8 w8", ls.ALL))


def test_numpy_is_as_good(llama):
    ids = np.array(PROMPT)
    close(ls.run(llama, ids).logits, ls.run(llama, PROMPT).logits)
    scope = ls.Patchscope(W, max_new_tokens=1)
    vector = np.ones(32, dtype=np.float32)
    frames = [
        scope.inspect(llama, v, target_layers=np.array([1])).frame()
        for v in (vector, torch.ones(32))
    ]
    assert frames[0].equals(frames[1])


def test_patterns_that_a_model_shows_but_does_not_use_are_refused():
    config = transformers.GPTJConfig(
        vocab_size=families.VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4
    )
    torch.manual_seed(0)
    model = families.wrap(
        transformers.AutoModelForCausalLM.from_config(config).eval(), family="gptj"
    )
    clean = oracle.logits(model, PROMPT)
    zeros = [Edit("pattern", n, 3, torch.zeros_like) for n in range(2)]
    idle = torch.equal(oracle.logits(model, PROMPT, zeros), clean)
    if idle:
        with pytest.raises(ls.SiteError, match="cannot be written"):
            ls.run(model, PROMPT, [ls.pattern(0).at(3).zero()])
    else:
        close(
            ls.run(model, PROMPT, [ls.pattern(n).at(3).zero() for n in range(2)]).logits[0],
            oracle.logits(model, PROMPT, zeros),
        )


def test_rows_that_cannot_join_are_run_side_by_side(llama, monkeypatch):
    """An architecture that builds something of the batch's size outside its blocks."""
    model = families.wrap(copy.deepcopy(families.hf_model("llama")))
    from lensscope.engine.join_trial import why_not
    from lensscope.model.classes import backend_of

    def sized(module, args):
        if args[0].shape[0] > 1:
            raise ValueError("made for one row")

    handle = model.ln_final.register_forward_pre_hook(sized)
    assert "do not take a batch that grows" in why_not(backend_of(model))
    handle.remove()
    sets = [[ls.resid_pre(n).at(p).scale(0.5)] for n in (1, 2) for p in (4, 5)]
    out = ls.run_many(model, PROMPT, sets)
    assert "do not take" in str(out.plan)
    joined = ls.run_many(llama, PROMPT, sets)
    assert joined.plan.apart == ""
    assert joined.plan.token_layers < out.plan.token_layers < out.plan.plain_token_layers
    close(out.logits, joined.logits)


def test_rows_that_do_the_same_are_decoded_once(llama):
    patch = ls.resid_post(1).at(2).set(torch.ones(32))
    twin = ls.resid_post(1).at(2).set(torch.ones(32))
    idle = ls.resid_post(0).at(1).scale(1.0)
    seen = []
    point = llama.hook_dict["blocks.2.hook_resid_post"]
    point.add_hook(lambda tensor, hook: seen.append(tensor.shape[0]))
    try:
        out = ls.run_many(llama, PROMPT, [[patch], [twin], [idle], []], max_new_tokens=3)
    finally:
        point.fwd_hooks.pop().hook.remove()
    assert seen[-1] <= 2
    ids = out.generation.token_ids
    assert ids[0] == ids[1] and ids[2] == ids[3]
    assert ids[0] == tuple(ls.generate(llama, PROMPT, [patch], 3).tokens)


def test_a_picture_of_one_target_layer_shows_whole_texts(llama):
    result = ls.Patchscope(W, max_new_tokens=3).inspect(llama, "w8 w9", target_layers=[1])
    shown = result.to_svg()
    for text in result.frame()["text"]:
        assert f">{text.strip()}</text>" in shown
