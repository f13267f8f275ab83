"""The laws of meaning, on every family, class and processing, against the plain hook loop."""

from __future__ import annotations

import copy

import pytest
import torch

import lensscope as ls
from lensscope.values.site_kinds import KINDS
from tests import families, oracle
from tests.oracle import Edit, close

PROMPT = families.prompt(9)
OTHER = families.prompt(9, seed=1)
RAGGED = [families.prompt(n, seed=n) for n in (1, 7, 4, 12)]


def sites_of(model, *, layer=1):
    """Every kind of site that the model has."""
    backend = lensscope_backend(model)
    found = []
    for kind in KINDS:
        site = ls.Site(kind, None if kind == "embed" else layer)
        try:
            backend.concrete(site)
        except ls.SiteError:
            assert kind == "resid_mid" and "neox" in model.cfg.model_name
            continue
        found.append(site)
    return found


def lensscope_backend(model):
    from lensscope.model.classes import backend_of

    return backend_of(model)


def test_reading_equals_transformer_lens_own_cache(tiny):
    sites = sites_of(tiny)
    cache = ls.capture(tiny, PROMPT, sites)
    assert list(cache) == sites
    for site in sites:
        expected = oracle.activations(tiny, PROMPT, site.kind, site.layer)
        if site.kind == "pattern":
            expected = expected.transpose(0, 1)
        assert cache[site].shape == (1, *expected.shape)
        close(cache[site][0], expected, 1e-5)


def test_a_long_prompt_read_in_stretches_is_the_same(tiny, monkeypatch):
    sites = [s for s in sites_of(tiny) if s.kind != "pattern"]
    sites.append(ls.resid_post(2).at(slice(None, None, -2)))
    for asked in (sites, [ls.pattern(0, 1).at(5), ls.pattern(2)]):
        whole = ls.capture(tiny, PROMPT, asked)
        with monkeypatch.context() as patched:
            patched.setattr("lensscope.engine.runner.STRETCH", 2)
            parts = ls.capture(tiny, PROMPT, asked)
        for site in whole:
            close(parts[site], whole[site], 1e-5)


def test_writing_back_what_was_read_changes_nothing(tiny, no_hooks_left):
    clean = oracle.logits(tiny, PROMPT)
    for layer in range(3):
        for site in sites_of(tiny, layer=layer):
            cache = ls.capture(tiny, PROMPT, site)
            run = ls.run(tiny, PROMPT, [site.set(cache[site][0])])
            close(run.logits[0], clean)
    no_hooks_left(tiny)


def test_writing_something_else_changes_something(tiny):
    clean = oracle.logits(tiny, PROMPT)
    for site in sites_of(tiny):
        run = ls.run(tiny, PROMPT, [site.at(4).map(lambda x: 2.5 * x + 0.5)])
        assert float((run.logits[0, 4:] - clean[4:]).abs().max()) > 1e-3, site
        close(run.logits[0, :4], clean[:4])


def test_every_verb_at_every_kind_equals_the_oracle(tiny):
    for site in sites_of(tiny):
        if site.kind == "resid_mid" and not lensscope_backend(tiny).writes_resid_mid:
            continue  # the plain hook does not reach the residual stream: see test_resid_mid…
        shape = ls.capture(tiny, PROMPT, site)[site][0, 3].shape
        torch.manual_seed(0)
        value = torch.randn(shape)
        basis = torch.linalg.qr(torch.randn(shape[-1], 2))[0].T
        verbs = {
            "set": (lambda s: s.set(value), lambda x: value),
            "add": (lambda s: s.add(value), lambda x: x + value),
            "scale": (lambda s: s.scale(0.25), lambda x: 0.25 * x),
            "lerp": (lambda s: s.lerp(value, 0.3), lambda x: 0.7 * x + 0.3 * value),
            "zero": (lambda s: s.zero(), torch.zeros_like),
            "map": (lambda s: s.map(torch.tanh), torch.tanh),
            "project_out": (lambda s: s.project_out(3 * basis), lambda x: x - x @ basis.T @ basis),
        }
        for verb, (make, plain) in verbs.items():
            run = ls.run(tiny, PROMPT, [make(site.at(3))])
            expected = oracle.logits(tiny, PROMPT, [Edit(site.kind, site.layer, 3, plain)])
            close(run.logits[0], expected), verb


def test_one_head_equals_the_oracle(tiny):
    backend = lensscope_backend(tiny)
    for kind, heads in (("q", 4), ("head_out", 4), ("pattern", 4), ("k", backend.n_kv_heads)):
        for head in range(heads):
            site = ls.Site(kind, 1, head).at(5)
            run = ls.run(tiny, PROMPT, [site.scale(-2.0)])
            edit = Edit(kind, 1, 5, lambda x: -2.0 * x, head=head)
            close(run.logits[0], oracle.logits(tiny, PROMPT, [edit]))
            whole = ls.capture(tiny, PROMPT, ls.Site(kind, 1))[site]
            torch.testing.assert_close(ls.capture(tiny, PROMPT, site)[site], whole)


def test_resid_mid_write_reaches_the_residual_stream(tiny):
    """By hand: the block's output is the written state plus the MLP of the norm of it."""
    if "neox" in tiny.cfg.model_name:
        with pytest.raises(ls.SiteError, match="no resid_mid"):
            ls.run(tiny, PROMPT, [ls.resid_mid(1).zero()])
        return
    value = torch.linspace(-1, 2, 32)
    keep = [ls.resid_mid(1), ls.mlp_out(1), ls.resid_post(1)]
    run = ls.run(tiny, PROMPT, [ls.resid_mid(1).at(4).set(value)], keep=keep)
    close(run.cache[ls.resid_mid(1).at(4)][0, 0], value)
    total = run.cache[ls.resid_mid(1)] + run.cache[ls.mlp_out(1)]
    close(run.cache[ls.resid_post(1)], total, 1e-5)
    post = run.cache[ls.resid_post(1)][0]
    edits = [Edit("resid_post", 1, p, lambda x, p=p: post[p]) for p in range(len(PROMPT))]
    close(run.logits[0], oracle.logits(tiny, PROMPT, edits))
    zero = ls.run(tiny, PROMPT, [ls.resid_mid(1).at(4).zero()], keep=keep)
    assert float(zero.cache[ls.resid_mid(1).at(4)].abs().max()) == 0


def test_all_of_the_embedding_gives_the_source(tiny):
    cache = ls.capture(tiny, OTHER, ls.resid_pre(0))
    run = ls.run(tiny, PROMPT, [ls.resid_pre(0).set(cache[ls.resid_pre(0)][0])])
    close(run.logits[0], oracle.logits(tiny, OTHER))
    moved = ls.run(tiny, PROMPT, [ls.resid_pre(0) >> ls.resid_pre(0)], source=OTHER)
    torch.testing.assert_close(moved.logits, run.logits)


def test_writing_into_the_last_residual_is_the_logit_lens(tiny):
    cache = ls.capture(tiny, OTHER, ls.resid_post(1))
    state = cache[ls.resid_post(1)][0, 4]
    with torch.no_grad():
        lens = tiny.unembed(tiny.ln_final(state[None, None]))[0, 0]
    cap = getattr(tiny.cfg, "output_logits_soft_cap", None)
    if cap and cap > 0:
        lens = cap * torch.tanh(lens / cap)
    for prompt in (PROMPT, PROMPT[:1]):
        run = ls.run(tiny, prompt, [ls.resid_post(-1).at(-1).set(state)])
        close(run.logits[0, -1], lens)


def test_batches_of_different_lengths_equal_one_by_one(tiny):
    patches = [ls.resid_post(0).at(0).scale(1.5), ls.head_out(1, 2).at(-1).zero()]
    if "neox" not in tiny.cfg.model_name:
        patches.append(ls.resid_mid(2).at(-1).scale(-1.0))
    keep = [ls.resid_post(1), ls.pattern(2), ls.q(0).at(-1)]
    for side in ("left", "right"):
        run = ls.run(tiny, RAGGED, patches, keep=keep, padding_side=side)
        assert run.cache.lengths == (1, 7, 4, 12)
        for n, prompt in enumerate(RAGGED):
            alone = ls.run(tiny, prompt, patches, keep=keep)
            close(run.logits[n, : len(prompt)], alone.logits[0])
            assert run.logits[n, len(prompt) :].isnan().all()
            close(run.cache.value(ls.resid_post(1), n), alone.cache[ls.resid_post(1)][0])
            size = len(prompt)
            close(run.cache[ls.pattern(2)][n, :size, :, :size], alone.cache[ls.pattern(2)][0])
            close(run.cache[ls.q(0).at(-1)][n], alone.cache[ls.q(0).at(-1)][0])
        close(run.last_logits[3], run.logits[3, 11])


def test_generation_equals_the_oracle_cached_or_not_batched_or_not(tiny):
    make = lambda x: -3.0 * x
    patches = [ls.resid_post(0).at(0).map(make), ls.attn_out(2).at(-1).map(make)]
    batched = ls.generate(tiny, RAGGED, patches, max_new_tokens=6, stop_at_eos=False)
    uncached = ls.generate(
        tiny, RAGGED, patches, max_new_tokens=6, stop_at_eos=False, use_cache=False
    )
    for n, prompt in enumerate(RAGGED):
        edits = [
            Edit("resid_post", 0, 0, make),
            Edit("attn_out", 2, len(prompt) - 1, make),
        ]
        expected = oracle.generate(tiny, prompt, edits, 6)
        assert batched.tokens[n] == expected
        assert uncached.tokens[n] == expected
        alone = ls.generate(tiny, prompt, patches, max_new_tokens=6, stop_at_eos=False)
        assert alone.tokens == expected


def test_run_many_equals_the_oracle_in_mixed_rows(tiny, no_hooks_left):
    torch.manual_seed(1)
    value = torch.randn(32)
    sets, edits = [], []
    for layer, position in ((0, 8), (2, 3), (1, 3), (2, 8), (1, 5)):
        sets.append([ls.resid_pre(layer).at(position).set(value)])
        edits.append([Edit("resid_pre", layer, position, lambda x: value)])
    row = torch.full((9,), 1 / 9)
    looks = ls.run_many(tiny, PROMPT, [[ls.pattern(0, 1).at(8).set(row)], []], max_new_tokens=2)
    plain = [Edit("pattern", 0, 8, lambda x: row, head=1)]
    close(looks.logits[0, 0], oracle.logits(tiny, PROMPT, plain)[-1])
    sets += [[], [ls.head_out(1, 3).at(6).zero(), ls.mlp_out(2).at(7).add(value)]]
    edits += [
        [],
        [
            Edit("head_out", 1, 6, torch.zeros_like, head=3),
            Edit("mlp_out", 2, 7, lambda x: x + value),
        ],
    ]
    out = ls.run_many(tiny, PROMPT, sets, positions=ls.ALL, keep=ls.resid_post(2))
    assert out.logits.shape == (7, 9, families.VOCAB)
    last = ls.run_many(tiny, PROMPT, sets, max_new_tokens=3, stop_at_eos=False)
    assert last.plan.shared_prefix == 3
    for n, edit in enumerate(edits):
        expected = oracle.logits(tiny, PROMPT, edit)
        close(out.logits[n], expected)
        close(last.logits[n, 0], expected[-1])
        assert list(last.generation.token_ids[n]) == oracle.generate(tiny, PROMPT, edit, 3)
    post = ls.run(tiny, PROMPT, sets[1], keep=ls.resid_post(2)).cache[ls.resid_post(2)]
    close(out.cache[ls.resid_post(2)][1], post[0])
    no_hooks_left(tiny)


def test_sets_of_patches_act_in_the_order_listed(tiny):
    site = ls.resid_post(1).at(4)
    value = torch.linspace(-1, 1, 32)
    run = ls.run(tiny, PROMPT, [site.set(value), site.scale(2.0), site.add(value)], keep=site)
    close(run.cache[site][0, 0], 3 * value, 1e-6)
    run = ls.run(tiny, PROMPT, [site.scale(2.0), site.add(value), site.set(value)], keep=site)
    close(run.cache[site][0, 0], value, 1e-6)


def test_layers_count_from_the_end_too_and_labels_stay(tiny):
    cache = ls.capture(tiny, PROMPT, [ls.resid_post(-1), ls.resid_post(0)])
    assert list(cache) == [ls.resid_post(2), ls.resid_post(0)]
    close(cache[ls.resid_post(2)][0], oracle.activations(tiny, PROMPT, "resid_post", 2), 1e-5)
    assert torch.equal(cache[ls.resid_post(-1)], cache[ls.resid_post(2)])


def test_steering_acts_at_every_step_and_a_position_patch_once(llama):
    calls = []

    def count(x):
        calls.append(len(x))
        return x + 1.0

    ls.generate(llama, PROMPT, [ls.resid_post(1).at(-1).map(count)], 5, stop_at_eos=False)
    assert calls == [1]
    calls.clear()
    patch = ls.resid_post(1).at(ls.ALL).map(count, when="every_step")
    steered = ls.generate(llama, PROMPT, [patch], 5, stop_at_eos=False)
    assert calls == [9, 1, 1, 1, 1]
    again = ls.generate(llama, PROMPT, [patch], 5, stop_at_eos=False, use_cache=False)
    assert steered.tokens == again.tokens
    edits = [Edit("resid_post", 1, p, lambda x: x + 1.0) for p in range(20)]
    grown = list(PROMPT)
    for _ in range(5):
        grown.append(int(oracle.logits(llama, grown, edits[: len(grown)])[-1].argmax()))
    assert steered.tokens == grown[9:]


def test_half_precision_runs_batched_as_alone():
    for dtype in (torch.bfloat16, torch.float16):
        inner = copy.deepcopy(families.hf_model("llama")).to(dtype)
        model = families.wrap(inner)
        value = torch.ones(32, dtype=dtype)
        batched = ls.run(model, RAGGED, [ls.resid_post(0).at(-1).add(value)])
        assert batched.logits.dtype == dtype
        for n, prompt in enumerate(RAGGED):
            alone = ls.run(model, prompt, [ls.resid_post(0).at(-1).add(value)])
            close(batched.logits[n, : len(prompt)].float(), alone.logits[0].float(), 5e-2)
        with pytest.raises(ls.PatchError, match="another dtype"):
            ls.run(model, PROMPT, [ls.resid_post(0).at(-1).add(torch.ones(32))])
