"""Laws of the lenses: what each reads, recomputed from weights; reading, batched and one by one."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import lensscope as ls
from lensscope.lenses.linear import Translator
from lensscope.model.classes import backend_of
from lensscope.model.head import unembed
from tests import families, oracle

P = families.prompt(7)
MANY = [families.prompt(n, seed=n) for n in (3, 7, 5)]


@torch.no_grad()
def by_hand(family: str, states: torch.Tensor) -> torch.Tensor:
    """Final norm, unembedding and cap, written out from the weights of the Hugging Face model."""
    hf = families.hf_model(family)
    if family == "gpt2":
        norm = hf.transformer.ln_f
        centred = states - states.mean(-1, keepdim=True)
        size = centred.pow(2).mean(-1, keepdim=True).add(norm.eps).sqrt()
        return (centred / size * norm.weight + norm.bias) @ hf.transformer.wte.weight.T
    inner = hf.model
    size = states.pow(2).mean(-1, keepdim=True).add(hf.config.rms_norm_eps).sqrt()
    weight = inner.norm.weight + 1 if family.startswith("gemma") else inner.norm.weight
    logits = (states / size * weight) @ hf.lm_head.weight.T
    cap = getattr(hf.config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def residual(model, layer: int = 1) -> torch.Tensor:
    return oracle.activations(model, P, "resid_post", layer)


def linear_lens(model, kind=ls.TunedLens, *, seed: int = 0, **kwargs):
    """A lens with random translators."""
    blank = ls.TunedLens.identity(model)
    generator = torch.Generator().manual_seed(seed)
    d = backend_of(model).d_model
    residual = kind is ls.TunedLens
    made = {
        site: Translator(
            torch.randn(d, d, generator=generator) / d,
            None if kind is ls.JacobianLens else torch.randn(d, generator=generator),
            residual=residual,
        )
        for site in blank.translators
    }
    if kind is ls.AffineLens:
        kwargs = {"target": ls.resid_post(backend_of(model).n_layers - 1), **kwargs}
    return kind(made, blank.origin, **kwargs)


# -------------------------------------------------------------------- the head


def test_the_last_layer_gives_the_models_own_logits(tiny):
    expected = oracle.logits(tiny, P)
    states = residual(tiny, 2)
    oracle.close(ls.LogitLens().logits(tiny, states, ls.resid_post(-1)), expected, 1e-6)
    reading = ls.LogitLens().read(tiny, [P], full=True)
    got = torch.tensor(reading.data.full_log_probability.sel(layer=2).values[0])
    oracle.close(got, expected.log_softmax(-1), 1e-5)


def test_the_way_through_the_model_gives_the_same(few, monkeypatch, no_hooks_left):
    backend, states = backend_of(few), residual(few)
    with torch.no_grad():
        direct = unembed(backend, states)
        monkeypatch.setattr("lensscope.model.head._is_direct", lambda backend: False)
        oracle.close(unembed(backend, states), direct, 1e-6)
    no_hooks_left(few)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_each_lens_is_what_its_weights_say(family):
    model = families.build(families.Case(family, "bridge", "raw"))
    states = residual(model)
    oracle.close(
        ls.LogitLens().logits(model, states, ls.resid_post(1)), by_hand(family, states), 1e-5
    )
    for kind in (ls.TunedLens, ls.AffineLens, ls.JacobianLens):
        lens = linear_lens(model, kind)
        translator = lens.translators[ls.resid_pre(2)]
        moved = states @ translator.matrix.T
        moved = moved if translator.bias is None else moved + translator.bias
        moved = moved + states if kind is ls.TunedLens else moved
        oracle.close(lens.logits(model, states, ls.resid_post(1)), by_hand(family, moved), 1e-5)
        oracle.close(lens.at(ls.resid_post(-2))(states), moved, 1e-5)


def test_a_fresh_tuned_lens_is_the_logit_lens(few):
    states = residual(few)
    fresh, plain = ls.TunedLens.identity(few), ls.LogitLens()
    site = ls.resid_post(1)
    assert torch.equal(fresh.logits(few, states, site), plain.logits(few, states, site))


def test_a_patchscope_into_the_last_residual_is_the_logit_lens(few):
    inspection = ls.InspectionPrompt("w5 w9", "w9")
    lens = ls.Patchscope(inspection, write=ls.resid_post(-1), read=ls.resid_post).as_lens()
    states = residual(few, 0)
    expected = ls.LogitLens().logits(few, states, ls.resid_post(0))
    oracle.close(lens.logits(few, states, ls.resid_post(0)), expected, 1e-5)


def test_a_patchscope_lens_reads_what_a_patched_forward_gives(few):
    inspection = ls.InspectionPrompt("w5 w9 w7", "w9")
    lens = ls.Patchscope(inspection).as_lens()
    prompt = inspection.tokens(few).ids
    place = inspection.places(few)[0]
    reading = lens.read(few, [P], full=True, positions=3)
    for layer in range(3):
        state = residual(few, layer)[3]
        edit = oracle.Edit("resid_post", layer, place, lambda x, state=state: state)
        expected = oracle.logits(few, prompt, [edit])[-1].log_softmax(-1)
        got = torch.tensor(reading.data.full_log_probability.sel(layer=layer).values[0, 0])
        oracle.close(got, expected)


def test_a_patchscope_lens_reads_every_layer_and_answers_in_the_same_tokens(llama):
    inspection = ls.InspectionPrompt("w5 w9", "w9")
    fixed = ls.Patchscope(inspection, write=ls.resid_pre(1)).as_lens()
    assert fixed.read(llama, [P]).data.layer.values.tolist() == [0, 1, 2]
    other = families.wrap(copy.deepcopy(families.hf_model("llama")))
    other.tokenizer = copy.deepcopy(other.tokenizer)
    ls.Patchscope(inspection, model=other).as_lens().read(llama, [P])
    other.tokenizer.add_tokens(["surplus"])
    with pytest.raises(ls.LensError, match="another model's tokens"):
        ls.Patchscope(inspection, model=other).as_lens().read(llama, [P])


def test_patchscopes_are_averaged(llama):
    scopes = [ls.Patchscope(ls.InspectionPrompt(text, "w9")) for text in ("w5 w9", "w4 w4 w9")]
    states, site = residual(llama), ls.resid_post(1)
    each = [s.as_lens().logits(llama, states, site).softmax(-1) for s in scopes]
    both = scopes[0].as_lens(scopes[1]).logits(llama, states, site).softmax(-1)
    oracle.close(both, (each[0] + each[1]) / 2, 1e-5)


# -------------------------------------------------------------------- components


@torch.no_grad()
def test_components_are_read_as_what_they_add(few):
    plain, family = ls.LogitLens(), str(few.cfg.model_name)
    for kind in ("attn_out", "mlp_out"):
        state = oracle.activations(few, P, kind, 1)
        site = getattr(ls, kind)(1)
        reading = plain.read(few, [P], site, full=True)
        got = torch.tensor(reading.data.full_log_probability.values[0, 0])
        expected = plain.logits(few, state, ls.resid_post(1)).log_softmax(-1)
        oracle.close(got, expected)
    if family.startswith("gemma"):
        with pytest.raises(ls.LensError, match="Heads of layer 1"):
            plain.read(few, [P], ls.head_out(1, 2))
        return
    z = oracle.activations(few, P, "head_out", 1)
    weight = few.blocks[1].attn.W_O
    reading = plain.read(few, [P], ls.head_out(1), full=True)
    assert reading.axis == "site"
    assert reading.frame()["site"].nunique() == 4
    for head in range(4):
        got = reading.data.full_log_probability.sel(site=f"head_out(1, {head})").values[0]
        expected = plain.logits(few, z[:, head] @ weight[head], ls.resid_post(1)).log_softmax(-1)
        oracle.close(torch.tensor(got), expected)


def test_fitted_lenses_read_components_only_where_they_are_linear(llama):
    with pytest.raises(ls.LensError, match="no translator"):
        linear_lens(llama).read(llama, [P], ls.mlp_out)
    lens = linear_lens(llama, ls.JacobianLens)
    state = oracle.activations(llama, P, "mlp_out", 1)
    got = torch.tensor(
        lens.read(llama, [P], ls.mlp_out(1), full=True).data.full_log_probability.values[0, 0]
    )
    oracle.close(got, lens.logits(llama, state, ls.resid_post(1)).log_softmax(-1))


def test_every_residual_kind_can_be_read(few):
    plain = ls.LogitLens()
    for kind in ("resid_pre", "resid_post"):
        reading = plain.read(few, [P], getattr(ls, kind), full=True)
        for layer in range(3):
            state = oracle.activations(few, P, kind, layer)
            expected = plain.logits(few, state, ls.resid_post(0)).log_softmax(-1)
            oracle.close(torch.tensor(reading.data.full_log_probability.values[0, layer]), expected)
    if "neox" not in str(few.cfg.model_name):
        assert plain.read(few, [P], ls.resid_mid).data.sizes["layer"] == 3


# -------------------------------------------------------------------- reading


def test_batched_reading_equals_one_by_one(few):
    lens = linear_lens(few)
    options = {"measures": "all", "top_k": 3, "targets": [5, 9], "full": True}
    together = lens.read(few, MANY, **options)
    assert list(together.data.prompt.values) == [" ".join(f"w{i}" for i in p) for p in MANY]
    for n, prompt in enumerate(MANY):
        alone = lens.read(few, [prompt], **options)
        own = together.data.isel(prompt=n, position=slice(0, len(prompt)))
        assert (own.token_index.values == np.arange(len(prompt))).all()
        for name, values in alone.data.isel(prompt=0).data_vars.items():
            if values.dtype == object:
                assert (own[name].values == values.values).all()
            else:
                np.testing.assert_allclose(own[name].values, values.values, atol=2e-4)
        beyond = together.data.isel(prompt=n, position=slice(len(prompt), None))
        assert np.isnan(beyond.log_probability.values).all()
    assert len(together.frame()) == sum(map(len, MANY)) * 3 * 3


def test_what_is_measured_is_what_the_definitions_say(few):
    lens = linear_lens(few, ls.AffineLens)
    data = lens.read(few, [P], measures="all", top_k=4, targets=[5], full=True).data.isel(prompt=0)
    log_q = torch.tensor(data.full_log_probability.values)
    log_p = oracle.logits(few, P).log_softmax(-1)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1)
    np.testing.assert_allclose(data.kl.values, kl, atol=1e-4)
    np.testing.assert_allclose(data.entropy.values, -(log_q.exp() * log_q).sum(-1), atol=1e-4)
    best = log_q.sort(-1, descending=True)
    assert (data.token_id.values[..., 0] == best.indices[..., 0].numpy()).all()
    np.testing.assert_allclose(data.log_probability.values, best.values[..., :4], atol=1e-5)
    for position in range(len(P) - 1):
        after = P[position + 1]
        own = log_q[:, position, after]
        np.testing.assert_allclose(
            data.next_token_log_probability.values[:, position], own, atol=1e-5
        )
        rank = (log_q[:, position] > own[:, None]).sum(-1)
        assert (data.next_token_rank.values[:, position] == rank.numpy()).all()
    assert np.isnan(data.next_token_rank.values[:, -1]).all()
    target = log_q[..., 5]
    np.testing.assert_allclose(data.target_log_probability.values[..., 0], target, atol=1e-5)
    assert (data.target_rank.values[..., 0] == (log_q > target[..., None]).sum(-1).numpy()).all()


def test_layers_and_positions_keep_their_names(llama):
    reading = ls.LogitLens().read(
        llama, [P], [ls.resid_post(2), ls.resid_post(0)], positions=slice(2, 4), measures="entropy"
    )
    whole = ls.LogitLens().read(llama, [P], measures="entropy")
    for layer in (0, 2):
        for position in (2, 3):
            own, other = (
                r.data.sel(layer=layer, position=position).isel(prompt=0) for r in (reading, whole)
            )
            assert own.predicted.values.tolist() == other.predicted.values.tolist()
            assert float(own.entropy) == pytest.approx(float(other.entropy), abs=1e-5)
    frame = reading.frame()
    assert list(frame.columns[:8]) == (
        ["prompt", "lens", "layer", "position", "token", "rank", "predicted", "log_probability"]
    )
    assert set(frame["position"]) == {2, 3}
    assert frame["token"].iloc[0] == f"w{P[2]}"


def test_reading_leaves_no_hooks_and_keeps_the_users(few, no_hooks_left):
    seen = []
    few.add_hook("blocks.1.hook_resid_post", lambda x, hook: seen.append(x.shape))
    try:
        linear_lens(few).read(few, MANY)
        assert seen
    finally:
        few.reset_hooks()
    no_hooks_left(few)


def test_a_reading_shows_itself(llama, tmp_path):
    options = {"measures": ("entropy", "kl"), "targets": [5, 6]}
    plain = ls.LogitLens().read(llama, MANY, **options)
    tuned = linear_lens(llama).read(llama, MANY, **options)
    for text in (str(plain), plain._repr_html_(), plain.to_html(), plain.to_json()):
        assert f"w{MANY[0][0]}" in text
    found = json.loads(plain.to_json())
    assert len(found["cells"]) == len(plain.frame())
    assert len(found["targets"]) == 2 * 3 * sum(map(len, MANY))
    assert {row["prompt"] for row in found["targets"]} == {0, 1, 2}
    page = plain.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page
    assert len(plain.plot(beside=tuned).data) == 6
    assert plain.to_svg(value="kl", beside=tuned).count("<rect") > 2 * 3 * 15
    assert len(plain.plot_trajectories().data) == 2  # one a target
    assert len(plain.plot_trajectories("entropy", prompt=1).data) == len(MANY[1])
    assert "w5" in plain.trajectories_svg("target_rank")
    with pytest.raises(ls.LensError, match="not measured"):
        plain.plot("next_token_rank")


# -------------------------------------------------------------------- whose lens it is


@pytest.mark.parametrize("kind", [ls.TunedLens, ls.AffineLens, ls.JacobianLens])
def test_saving_and_loading_changes_nothing(llama, tmp_path, kind):
    lens = linear_lens(llama, kind, name="mine", settings={"steps": 3})
    again = kind.load(lens.save(tmp_path / "lens.safetensors"))
    assert (again.name, again.settings, again.origin) == ("mine", {"steps": 3}, lens.origin)
    site, states = ls.resid_post(0), residual(llama, 0)
    assert torch.equal(again.logits(llama, states, site), lens.logits(llama, states, site))
    assert list(again.translators) == list(lens.translators)


def test_a_lens_of_another_basis_model_or_unembedding_is_refused(llama):
    lens = linear_lens(llama)
    folded = families.build(families.Case("llama", "bridge", "folded"))
    with pytest.raises(ls.BasisError, match="another basis"):
        lens.read(folded, [P])
    other = families.build(families.Case("qwen2", "bridge", "raw"))
    with pytest.raises(ls.BasisError, match="elsewhere"):
        lens.read(other, [P])
    inner = copy.deepcopy(families.hf_model("llama"))
    with torch.no_grad():
        inner.lm_head.weight[3] += 1
    changed = families.wrap(inner)
    changed.cfg.model_name = llama.cfg.model_name
    with pytest.raises(ls.BasisError, match="another unembedding"):
        lens.read(changed, [P])
    inner = copy.deepcopy(families.hf_model("llama"))
    with torch.no_grad():
        inner.model.layers[0].mlp.up_proj.weight[3] += 1
    changed = families.wrap(inner)
    with pytest.raises(ls.BasisError, match="another model"):
        lens.read(changed, [P])
    lens.read(llama, [P])


def test_layers_that_a_lens_lacks_are_refused_and_left_out_by_default(llama):
    lens = linear_lens(llama)
    part = replace(lens, translators={ls.resid_pre(1): lens.translators[ls.resid_pre(1)]})
    with pytest.raises(ls.LensError, match=r"resid_post\(1\)"):
        part.read(llama, [P], ls.resid_post(1))
    assert part.read(llama, [P]).data.layer.values.tolist() == [0, 2]
    report = ls.compare(llama, MANY, [ls.LogitLens(), part])
    assert len(report.frame()) == 5


def test_a_transform_by_site_maps_each_layer_in_its_own_way(llama):
    lens = linear_lens(llama, ls.AffineLens)
    scope = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9"), transform=lens, max_new_tokens=1)
    both = scope.inspect(llama, [P], layers=[0, 1], target_layers=[1]).frame()
    for layer in (0, 1):
        single = replace(scope, transform=lens.at(ls.resid_post(layer)))
        one = single.inspect(llama, [P], layers=[layer], target_layers=[1]).frame()
        own = both[both["source_layer"] == layer]
        assert own["first_token_probability"].item() == pytest.approx(
            one["first_token_probability"].item(), abs=1e-6
        )
