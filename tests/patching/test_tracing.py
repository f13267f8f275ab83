"""Causal tracing and attention knockout against the plain hook loop; what blurred rows share."""

from __future__ import annotations

import copy
import random
import warnings

import numpy as np
import pytest
import torch
import transformers

import lensscope as ls
from lensscope.model.classes import backend_of
from lensscope.patching.knockout import _masked
from tests import families, oracle
from tests.oracle import Edit, close

PROMPT = families.prompt(7)
SUBJECT = [2, 3]


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1, 7] - logits[:, -1, 9]


# ------------------------------------------------------- causal tracing


def deviation(model, *subjects):
    """One number over all entries of the subjects' embeddings, as the code of Meng et al. has it
    (``collect_embedding_std``)."""
    given = [oracle.activations(model, ids, "embed")[list(tokens)] for ids, tokens in subjects]
    return float(torch.cat(given).std())


def draws(model, ids, tokens, noise, samples, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(samples, len(tokens), 32, generator=generator)
    return drawn * noise * deviation(model, (ids, tokens))


def blur(draw, tokens):
    return [Edit("embed", None, t, lambda x, v=v: x + v) for t, v in zip(tokens, draw, strict=True)]


def restored(model, ids, kind, layers, token, head=None):
    found = []
    for layer in layers:
        held = oracle.activations(model, ids, kind, layer)[token]
        held = held if head is None else held[head]
        found.append(Edit(kind, layer, token, lambda x, v=held: v, head))
    return found


def traced(model, ids, blurs, edits, measure):
    """The metric, averaged over the draws."""
    values = [measure(oracle.logits(model, ids, [*one, *edits])[-1]) for one in blurs]
    return sum(map(float, values)) / len(values)


def test_each_cell_equals_the_plain_loop(few, no_hooks_left):
    clean = oracle.logits(few, PROMPT)[-1]
    answer = int(clean.argmax())
    measure = lambda logits: logits.softmax(-1)[answer]
    blurs = [blur(d, SUBJECT) for d in draws(few, PROMPT, SUBJECT, 2.0, 3, seed=5)]
    base, source = traced(few, PROMPT, blurs, [], measure), float(measure(clean))
    result = ls.causal_trace(few, PROMPT, slice(2, 4), noise=2.0, samples=3, seed=5)
    data = result.data
    assert data["clean"].item() == pytest.approx(source, abs=1e-4)
    assert data["corrupted"].item() == pytest.approx(base, abs=1e-4)
    for layer, token in ((0, 2), (0, 3), (1, 3), (2, 6), (1, 6), (2, 3)):
        edits = restored(few, PROMPT, "resid_post", [layer], token)
        expected = traced(few, PROMPT, blurs, edits, measure)
        got = data["metric"].sel(pair=0, layer=layer, position=token).item()
        assert got == pytest.approx(expected, abs=1e-4)
        effect = data["effect"].sel(pair=0, layer=layer, position=token).item()
        assert effect * (source - base) == pytest.approx(expected - base, abs=2e-4)
    assert data["effect"].sel(layer=2, position=6).item() == pytest.approx(1, abs=1e-3)
    assert result.settings["blurred"] == [SUBJECT] and result.settings["samples"] == 3
    no_hooks_left(few)


def test_windows_heads_and_other_metrics(few):
    measure = lambda logits: difference(logits[None, None])[0]
    blurs = [blur(d, [2]) for d in draws(few, PROMPT, [2], 3.0, 2, seed=0)]
    call = lambda site, **how: ls.causal_trace(
        few, PROMPT, 2, samples=2, site=site, metric=difference, **how
    ).data["metric"]
    mlps = call(ls.mlp_out, window=2)
    for layer, window in ((0, [0]), (1, [0, 1]), (2, [1, 2])):
        expected = traced(few, PROMPT, blurs, restored(few, PROMPT, "mlp_out", window, 6), measure)
        assert mlps.sel(pair=0, layer=layer, position=6).item() == pytest.approx(expected, abs=1e-3)
    heads = call(ls.head_out(1), heads=[3], positions=[-1])
    edits = restored(few, PROMPT, "head_out", [1], 6, head=3)
    assert heads.item() == pytest.approx(traced(few, PROMPT, blurs, edits, measure), abs=1e-3)
    together = call(ls.resid_pre(1), positions={"last two": slice(5, None)})
    edits = [e for t in (5, 6) for e in restored(few, PROMPT, "resid_pre", [1], t)]
    assert together.item() == pytest.approx(traced(few, PROMPT, blurs, edits, measure), abs=1e-3)


def test_giving_all_back_is_the_run_as_it_is(few):
    result = ls.causal_trace(
        few, PROMPT, slice(2, 4), samples=4, site=ls.resid_pre, positions=ls.ALL, metric=difference
    )
    np.testing.assert_allclose(result.data["effect"][0], 1, atol=1e-3)
    assert result.data["effect"].dims == ("pair", "layer")
    subject = ls.causal_trace(
        few,
        PROMPT,
        slice(2, 4),
        samples=4,
        site=[ls.resid_pre(0), ls.embed],
        positions={"it": slice(2, 4), "not": slice(4, None)},
        metric=difference,
    )
    it = subject.data["effect"].sel(position="it").values
    np.testing.assert_allclose(it[~np.isnan(it)], 1, atol=1e-3)  # the embeddings, unblurred
    others = subject.data["effect"].sel(position="not").values
    np.testing.assert_allclose(others[~np.isnan(others)], 0, atol=1e-3)


def test_tokens_before_the_subject_tell_nothing(few):
    result = ls.causal_trace(few, PROMPT, slice(2, 4), samples=2, metric=difference)
    early = result.data["effect"].sel(position=[0, 1])
    assert np.abs(early).max() < 1e-3


def test_no_noise_leaves_no_gap(llama):
    result = ls.causal_trace(llama, PROMPT, 2, noise=0, samples=2)
    assert result.data["clean"].item() == pytest.approx(result.data["corrupted"].item(), abs=1e-6)
    result = ls.causal_trace(llama, PROMPT, 2, noise=0, samples=1, metric=difference)
    effects = result.data["effect"].values
    assert result.data["metric"].notnull().all()
    assert not np.isinf(effects).any() and not np.isinf(result.mean()["effect"]).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "<svg" in result.to_html() and str(result) and result.to_json()


def test_draws_come_from_the_seed(llama):
    call = lambda seed: ls.causal_trace(llama, PROMPT, 2, samples=2, seed=seed, metric=difference)
    one, two, other = call(3), call(3), call(4)
    np.testing.assert_array_equal(one.data["metric"], two.data["metric"])
    assert one.data["corrupted"].item() != other.data["corrupted"].item()
    torch.manual_seed(0)
    first = torch.rand(3)
    torch.manual_seed(0)
    call(5)
    assert torch.equal(torch.rand(3), first)  # nobody else's randomness is touched


def test_several_prompts_with_subjects_and_answers_of_their_own(llama, tmp_path):
    prompts = [PROMPT, families.prompt(5, seed=2)]
    best = [int(oracle.logits(llama, ids)[-1].argmax()) for ids in prompts]
    subjects = [slice(2, 4), 1]
    call = lambda **how: ls.causal_trace(llama, prompts, subjects, samples=2, seed=1, **how)
    result = call(checkpoint=tmp_path / "trace.safetensors")
    np.testing.assert_array_equal(
        call(answer=best).data["metric"], result.data["metric"]
    )  # the model's own next tokens
    assert result.settings["blurred"] == [[2, 3], [1]]
    unit = deviation(llama, (prompts[0], [2, 3]), (prompts[1], [1]))
    assert result.settings["deviation"] == pytest.approx(3 * unit)
    for n in range(2):
        alone = ls.causal_trace(
            llama, prompts[n], subjects[n], best[n], samples=2, seed=1 + n, unit=unit
        )
        got = result.data["metric"].isel(pair=n, position=slice(None, len(prompts[n])))
        np.testing.assert_allclose(got, alone.data["metric"][0], atol=1e-5)
    again = call(checkpoint=tmp_path / "trace.safetensors")
    np.testing.assert_array_equal(again.data["metric"], result.data["metric"])
    for how in ({"noise": 1.0}, {"window": 2}, {"unit": "vocabulary"}):
        with pytest.raises(ls.LensError, match=next(iter(how))):
            call(checkpoint=tmp_path / "trace.safetensors", **how)
    with pytest.raises(ls.LensError, match="answers"):
        call(checkpoint=tmp_path / "trace.safetensors", answer=best[::-1])


def test_a_substring_is_blurred_as_a_whole(demo):
    prompt = "The Eiffel Tower is in the city of"
    result = ls.causal_trace(demo, prompt, "Eiffel Tower", samples=1, site=ls.resid_post(29))
    labels = ls.run(demo, prompt).prompts[0].labels
    (blurred,) = result.settings["blurred"]
    assert "".join(labels[t] for t in blurred).strip() == "Eiffel Tower"
    assert result.data["effect"].sel(position=len(labels) - 1).item() == pytest.approx(1, abs=1e-3)
    assert "' Paris'" in result.settings["metric"]


def test_noise_is_in_units_of_the_subjects_embeddings(tiny):
    call = lambda **how: ls.causal_trace(
        tiny, PROMPT, slice(2, 4), samples=1, site=ls.resid_post(2).at(-1), **how
    )
    asked = call()
    assert asked.data["effect"].item() == pytest.approx(1, abs=1e-3)
    own = deviation(tiny, (PROMPT, SUBJECT))
    assert asked.settings["deviation"] == pytest.approx(3 * own, rel=1e-4)
    assert call(noise=own, unit=3).data["corrupted"].item() == pytest.approx(
        asked.data["corrupted"].item(), abs=1e-4
    )
    table = tiny.W_E.detach()  # which some models scale
    scale = float(oracle.activations(tiny, PROMPT, "embed").norm() / table[PROMPT].norm())
    every = call(noise=1, unit="vocabulary").settings["deviation"]
    assert every == pytest.approx(float(table.std()) * scale, rel=1e-4)
    assert every != pytest.approx(own, rel=1e-5)


def test_noise_is_as_wide_as_the_embedding():
    """OPT-350m embeds more narrowly than its residual stream is."""
    torch.manual_seed(0)
    plain = transformers.OPTForCausalLM(
        transformers.OPTConfig(
            vocab_size=97,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            ffn_dim=128,
            max_position_embeddings=64,
            word_embed_proj_dim=16,
            do_layer_norm_before=False,
        )
    ).eval()
    plain.config.architectures = ["OPTForCausalLM"]
    model = families.wrap(copy.deepcopy(plain), family="opt")
    traced = ls.causal_trace(model, PROMPT, slice(2, 4), samples=2, metric=difference)
    embedded = plain.get_input_embeddings()(torch.tensor([PROMPT]))[0, 2:4].detach()
    assert traced.settings["deviation"] == pytest.approx(3 * float(embedded.std()), rel=1e-4)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 2, 16, generator=generator) * traced.settings["deviation"]
    values = []
    for draw in noise:

        def blur(module, args, output, draw=draw):
            output = output.clone()
            output[:, 2:4] += draw
            return output

        handle = plain.get_input_embeddings().register_forward_hook(blur)
        with torch.no_grad():
            values.append(float(difference(plain(torch.tensor([PROMPT])).logits)[0]))
        handle.remove()
    assert traced.data["corrupted"].item() == pytest.approx(np.mean(values), abs=1e-4)


# ------------------------------------------------------- attention knockout


def cut(layers, queries, keys, heads=range(4), renormalise=False):
    def without(row):
        left = row.clone()
        left[list(keys)] = 0
        return left / left.sum().clamp_min(1e-30) * row.sum() if renormalise else left

    return [Edit("pattern", n, t, without, h) for n in layers for t in queries for h in heads]


@pytest.mark.parametrize("renormalise", [False, True])
def test_a_knockout_equals_the_plain_loop(few, renormalise, no_hooks_left):
    clean = float(difference(oracle.logits(few, PROMPT)[None])[0])

    def check(got, edits):
        expected = float(difference(oracle.logits(few, PROMPT, edits)[None])[0])
        assert float(got["metric"]) == pytest.approx(expected, abs=1e-3)
        assert float(got["effect"]) == pytest.approx(1 - expected / clean, abs=1e-3)

    call = lambda *args, **how: ls.attention_knockout(
        few, PROMPT, *args, metric=difference, renormalise=renormalise, **how
    ).data.isel(pair=0)
    groups = {"two": slice(2, 4), "first": 0}
    by_layer = call(groups)
    assert by_layer["effect"].dims == ("layer", "position")
    for layer, name, keys in ((0, "two", (2, 3)), (2, "two", (2, 3)), (1, "first", (0,))):
        check(
            by_layer.sel(layer=layer, position=name),
            cut([layer], [6], keys, renormalise=renormalise),
        )
    wide = call(slice(2, 4), window=3)
    for layer, layers in ((0, (0, 1)), (1, (0, 1, 2)), (2, (1, 2))):
        check(
            wide.sel(layer=layer).isel(position=0),
            cut(layers, [6], (2, 3), renormalise=renormalise),
        )
    queries = call(2, slice(3, None), [1])
    check(queries.isel(layer=0, position=0), cut([1], (3, 4, 5, 6), [2], renormalise=renormalise))
    heads = call(2, heads=[0, 3], layers=[-1])
    assert heads["head"].values.tolist() == [0, 3] and heads["layer"].values.tolist() == [2]
    check(
        heads.isel(layer=0, position=0).sel(head=3),
        cut([2], [6], [2], heads=[3], renormalise=renormalise),
    )
    no_hooks_left(few)


def test_a_token_that_looks_at_nothing_else(few):
    """The first token has nothing but itself to look at: it takes in nothing."""
    result = ls.attention_knockout(few, PROMPT, 0, to=0, layers=[1], metric=difference)
    expected = oracle.logits(few, PROMPT, cut([1], [0], [0]))[None]
    assert result.data["metric"].item() == pytest.approx(float(difference(expected)[0]), abs=1e-3)


def test_the_default_is_the_model_s_own_next_token(llama):
    prompts = [PROMPT, families.prompt(5, seed=2)]
    result = ls.attention_knockout(llama, prompts, {"it": [1, 2]}, layers=range(2), window=3)
    for n, (ids, key) in enumerate(zip(prompts, (1, 2), strict=True)):
        log_p = oracle.logits(llama, ids)[-1].softmax(-1)
        answer, clean = int(log_p.argmax()), float(log_p.max())
        edits = cut((0, 1, 2), [len(ids) - 1], [key], renormalise=True)
        expected = float(oracle.logits(llama, ids, edits)[-1].softmax(-1)[answer])
        got = result.data.sel(pair=n, layer=1, position="it")
        assert got["metric"].item() == pytest.approx(expected, abs=1e-4)
        assert got["effect"].item() == pytest.approx(1 - expected / clean, abs=1e-3)
    assert result.data["clean"].values.tolist() == pytest.approx(
        [float(oracle.logits(llama, ids)[-1].softmax(-1).max()) for ids in prompts], abs=1e-4
    )
    assert "nothing" in str(result) and "<svg" in result.to_html()


def test_tokens_that_come_later_are_not_looked_at(llama):
    with pytest.raises(ls.PatchError, match="cannot look at what comes after"):
        ls.attention_knockout(llama, PROMPT, 5, to=3)
    with pytest.raises(ls.PatchError, match="cannot look at what comes after"):
        ls.attention_knockout(llama, PROMPT, {"ok": 1, "late": slice(5, 7)}, to=slice(0, 5))


def masked(plain, layer, queries, keys):
    """Hugging Face's logits with keys masked before the softmax."""

    def mask(module, args, kwargs):
        held = kwargs["attention_mask"].clone()
        for query in queries:
            held[:, :, query, list(keys)] = torch.finfo(held.dtype).min
        return args, {**kwargs, "attention_mask": held}

    handle = plain.model.layers[layer].self_attn.register_forward_pre_hook(mask, with_kwargs=True)
    try:
        with torch.no_grad():
            return plain(torch.tensor([PROMPT]), use_cache=False).logits[0]
    finally:
        handle.remove()


def with_sinks():
    """A GPT-OSS, some of whose attention goes where there is no token."""
    torch.manual_seed(0)
    config = transformers.GptOssConfig(
        **families._GQA,
        num_local_experts=4,
        num_experts_per_tok=2,
        head_dim=8,
        sliding_window=64,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    plain = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    plain.config.architectures = [type(plain).__name__]
    with torch.no_grad():
        for parameter in plain.eval().parameters():
            spread = parameter.ndim > 1
            parameter.mul_(6) if spread else parameter.add_(0.3 * torch.randn_like(parameter))
    return plain


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gemma3", "sinks"])
def test_a_knockout_is_masking_before_the_softmax(family):
    plain = copy.deepcopy(with_sinks() if family == "sinks" else families.hf_model(family))
    plain.set_attn_implementation("eager")
    model = families.wrap(copy.deepcopy(plain), family=family)
    for layer, queries, keys in ((1, [6], [5]), (1, [6], [4, 5]), (0, [4, 6], [2, 3])):
        got = ls.attention_knockout(
            model,
            PROMPT,
            {"keys": slice(keys[0], keys[-1] + 1)},
            slice(queries[0], queries[-1] + 1, 2),
            [layer],
            metric=difference,
        )
        expected = float(difference(masked(plain, layer, queries, keys)[None])[0])
        assert got.data["metric"].item() == pytest.approx(expected, abs=1e-4)
        assert abs(expected - got.data["clean"].item()) > 1e-3  # the keys matter


def test_a_token_that_looks_at_one_other_alone_is_divided_well():
    """Where next to all weight goes, the rest keeps its proportions, down to what can be told."""
    weights = torch.tensor([[3e-30, 1e-30, 1.0, 0.0]])
    without = _masked(ls.pattern(1, 0), 2, (2,), sink=False)
    assert without(weights.clone())[0].tolist() == pytest.approx([0.75, 0.25, 0, 0])
    some = _masked(ls.pattern(1, 0), 2, (2,), sink=True)
    assert some(torch.tensor([[0.1, 0.2, 0.3]]))[0].tolist() == pytest.approx([1 / 7, 2 / 7, 0])
    nothing = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    with pytest.raises(ls.PatchError, match=r"All that token 2 looks at in pattern\(1, 0\)"):
        without(nothing.clone())
    all_of_it = _masked(ls.pattern(1, 0), 2, (0, 1, 2), sink=False)
    assert all_of_it(nothing.clone()).tolist() == [[0, 0, 0, 0]]


# ------------------------------------------------------- what rows of one embedding share


def blurred_sets(model, prompt, seed, draws=3, each=7):
    """Rows that write the same into the embedding, then other things; the same as plain edits."""
    dice = random.Random(seed)
    torch.manual_seed(seed)
    sets, edits = [[], [ls.embed.at(1).scale(2.0)]], [[], [Edit("embed", None, 1, lambda x: 2 * x)]]
    for _ in range(draws):
        tokens = sorted(dice.sample(range(len(prompt)), 2))
        noise = torch.randn(2, 32)
        start = [ls.embed.at(t).add(v) for t, v in zip(tokens, noise, strict=True)]
        plain = blur(noise, tokens)
        sets.append(start)
        edits.append(plain)
        for _ in range(each):
            kind = dice.choice(("resid_pre", "resid_post", "mlp_out", "head_out", "v", "embed"))
            layer = None if kind == "embed" else dice.randrange(3)
            position, value = dice.randrange(len(prompt)), torch.randn(32)
            head = dice.randrange(2) if kind in ("head_out", "v") else None
            value = value[: backend_of(model).d_head] if head is not None else value
            site = ls.Site(kind, layer, head).at(position)
            sets.append([*start, site.set(value)])
            edits.append([*plain, Edit(kind, layer, position, lambda x, v=value: v, head)])
    order = list(range(len(sets)))
    dice.shuffle(order)
    return [sets[n] for n in order], [edits[n] for n in order]


def test_blurred_rows_equal_the_plain_loop(tiny, no_hooks_left):
    sets, edits = blurred_sets(tiny, PROMPT, 0)
    out = ls.run_many(tiny, PROMPT, sets, positions=ls.ALL)
    for n, plain in enumerate(edits):
        close(out.logits[n], oracle.logits(tiny, PROMPT, plain))
    no_hooks_left(tiny)


def test_blurred_rows_share_what_lies_above_the_embedding(few):
    sets, edits = blurred_sets(few, PROMPT, 1, draws=4, each=8)
    plans = {"prefix": False}, ls.Plan.none()
    shared = ls.run_many(few, PROMPT, sets)
    for n, plain in enumerate(edits):
        close(shared.logits[n, 0], oracle.logits(few, PROMPT, plain)[-1])
    for plan in plans:
        close(ls.run_many(few, PROMPT, sets, plan=plan).logits, shared.logits)
    flat = ls.run_many(few, PROMPT, sets, plan={"depth": False}).plan
    assert shared.plan.token_layers < flat.token_layers
    late = [[s[0], ls.resid_post(2).at(6).set(torch.randn(32))] for s in sets if s] * 3
    shared = ls.run_many(few, PROMPT, late).plan
    flat = ls.run_many(few, PROMPT, late, plan={"depth": False}).plan
    assert shared.token_layers < flat.token_layers / 2


def test_blurred_rows_go_on_writing(few):
    sets, edits = blurred_sets(few, PROMPT, 2, draws=2, each=4)
    out = ls.run_many(few, PROMPT, sets, max_new_tokens=3, stop_at_eos=False)
    for n, plain in enumerate(edits):
        assert list(out.generation.token_ids[n]) == oracle.generate(few, PROMPT, plain, 3)


def test_blurred_rows_keep_sites_and_gradients(few):
    sets, _ = blurred_sets(few, PROMPT, 3, draws=2, each=4)
    keep = [ls.embed, ls.resid_post(1), ls.pattern(2)]
    out = ls.run_many(few, PROMPT, sets, keep=keep)
    for n, patches in enumerate(sets):
        alone = ls.run(few, PROMPT, patches, keep=keep).cache
        for site in keep:
            close(out.cache[site][n], alone[site][0])
    grown = torch.zeros(32, requires_grad=True)
    rows = [[*patches, ls.resid_post(1).at(6).add(grown)] for patches in sets]
    got = ls.run_many(few, PROMPT, rows, metric=difference, grad=True)
    (together,) = torch.autograd.grad(got.metric.sum(), grown)
    each = []
    for row in rows:
        one = ls.run_many(few, PROMPT, [row], metric=difference, grad=True).metric
        each.append(torch.autograd.grad(one.sum(), grown)[0])
    close(together, sum(each), 1e-3)


def test_embeddings_steered_at_every_step(llama):
    """What is written at each new token is not shared with rows that lack it."""
    push = torch.randn(32, generator=torch.Generator().manual_seed(0))
    steer = ls.embed.at(2).add(push, when="every_step")
    once = ls.embed.at(2).add(push)
    late = [ls.resid_post(n).at(6).scale(-1.0) for n in range(3)]
    sets = [[first, *rest] for first in (steer, once) for rest in ([], *([x] for x in late))]
    out = ls.run_many(llama, PROMPT, sets, max_new_tokens=3, stop_at_eos=False)
    for row, patches in enumerate(sets):
        alone = ls.generate(llama, PROMPT, patches, 3, stop_at_eos=False, use_cache=False)
        assert out.generation.token_ids[row] == alone.token_ids[0]
        close(out.generation.first_logits[row], alone.first_logits[0])


def test_embeddings_that_are_drawn_are_drawn_for_every_row(llama):
    noise = lambda x: x + torch.randn_like(x)
    patch = ls.embed.at(3).map(noise)
    late = ls.resid_post(1).at(6)
    rows = [[patch, late.scale(0.5)], [patch, late.scale(0.5)], [patch, late.scale(2.0)], [patch]]
    out = ls.run_many(llama, PROMPT, rows)
    assert len({tuple(row.tolist()) for row in out.logits[:, 0]}) == 4


def test_prompts_of_their_own_under_one_noise(few):
    prompts = [PROMPT, families.prompt(5), PROMPT, families.prompt(5), PROMPT]
    noise = torch.randn(32, generator=torch.Generator().manual_seed(1))
    sets = [[ls.embed.at(1).add(noise), ls.resid_pre(n % 3).at(-1).scale(2.0)] for n in range(5)]
    out = ls.run_many(few, prompts, sets)
    for n, prompt in enumerate(prompts):
        edits = blur(noise[None], [1])
        edits.append(Edit("resid_pre", n % 3, len(prompt) - 1, lambda x: 2 * x))
        close(out.logits[n, 0], oracle.logits(few, prompt, edits)[-1])
