"""Attribution patching against plain autograd, TransformerLens' own, and patching itself."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import lensscope as ls
from lensscope.effects.estimates import Estimate
from lensscope.effects.sweeping import How, Sweep
from lensscope.model.classes import backend_of
from tests import families, oracle

CLEAN, CORRUPTED = families.prompt(7), families.prompt(7, seed=1)


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1, 7] - logits[:, -1, 9]


# ------------------------------------------------------- plain autograd


def gradients(model, ids, names, share=0.0, other=None, constant=()):
    """The metric's gradient and what is there, by hook name, with TransformerLens' own hooks.

    Args:
        model: a TransformerLens model.
        ids: the run whose gradient it is.
        names: hook points.
        share: how far the first residual goes to that of ``other``.
        other: what it goes to.
        constant: hook points through which no gradient flows.
    """
    held = {}

    def start(x, hook):
        return x.detach().requires_grad_()

    def keep(x, hook):
        x = x if x.requires_grad else x.requires_grad_()
        held[hook.name] = x
        return x

    hooks = [("hook_embed", start)]
    if share:
        hooks.append(("blocks.0.hook_resid_pre", lambda x, hook: x + share * (other - x)))
    asked = {id(model.hook_dict[name]): name for name in names}
    hooks += [(name, keep) for name in names]
    hooks += [(name, lambda x, hook: x.detach()) for name in constant]
    with torch.enable_grad():
        logits = model.run_with_hooks(torch.tensor([list(ids)]), fwd_hooks=hooks)
        value = difference(logits)[0]
        points = {name: held[model.hook_dict[name].name] for name in asked.values()}
        found = torch.autograd.grad(value, list(points.values()), allow_unused=True)
    return {
        name: (torch.zeros_like(x) if g is None else g)[0].detach()
        for (name, x), g in zip(points.items(), found, strict=True)
    }


def product(kind, change, gradient):
    """By token (query): ``[token]``, or ``[head, token]``."""
    total = (change * gradient).sum(-1)
    return total.T if kind in ("q", "k", "v", "head_out") else total


SITES = ("embed", "resid_pre", "resid_post", "attn_out", "mlp_out", "mlp_hidden")
HEADED = ("q", "k", "v", "head_out", "pattern")


def caches(model, *prompts):
    with torch.no_grad():
        return [model.run_with_cache(torch.tensor([list(ids)]))[1] for ids in prompts]


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_estimates_are_gradient_times_difference(few, direction, no_hooks_left):
    base, source = (CORRUPTED, CLEAN) if direction == "denoising" else (CLEAN, CORRUPTED)
    sites = [ls.Site(kind) for kind in (*SITES, *HEADED)]
    result = ls.attribution_patching(
        few, CLEAN, CORRUPTED, sites, difference, direction, qk_fix=False
    )
    assert result.settings["qk_fix"] == [] and result.settings["ig_steps"] == 1
    ends = {False: "corrupted", True: "clean"}[direction == "noising"]
    names = {
        (kind, n): oracle.HOOKS[kind].format(n)
        for kind in (*SITES, *HEADED)
        for n in ([0] if kind == "embed" else range(3))
    }
    there, here = caches(few, source, base)
    slopes = gradients(few, base, list(names.values()))
    spread = float(result.data["metric"].max() - result.data["metric"].min())
    for (kind, n), name in names.items():
        expected = product(kind, there[name][0] - here[name][0], slopes[name])
        layer = -1 if kind == "embed" else n
        got = result.data["metric"].sel(pair=0, site=kind, layer=layer) - result.data[ends][0]
        got = got.isel(head=slice(1, 1 + len(expected))) if kind in HEADED else got.sel(head=-1)
        np.testing.assert_allclose(got, expected, atol=1e-4 * spread, err_msg=name)
    no_hooks_left(few)


def test_groups_windows_and_keys_add_up(llama):
    sites = [ls.mlp_out, ls.resid_pre]
    each = ls.attribution_patching(llama, CLEAN, CORRUPTED, sites, difference)
    rise = lambda r: r.data["metric"].isel(pair=0) - r.data["corrupted"].item()
    groups = {"start": slice(0, 3), "apart": slice(0, None, 3)}
    grouped = ls.attribution_patching(llama, CLEAN, CORRUPTED, sites, difference, positions=groups)
    close = lambda got, expected: np.testing.assert_allclose(got, expected, atol=1e-4)
    close(rise(grouped).sel(position="start"), rise(each).sel(position=[0, 1, 2]).sum("position"))
    close(rise(grouped).sel(position="apart"), rise(each).sel(position=[0, 3, 6]).sum("position"))
    every = ls.attribution_patching(llama, CLEAN, CORRUPTED, sites, difference, positions=ls.ALL)
    close(rise(every), rise(each).sum("position"))
    wide = ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.mlp_out, difference, window=3)
    close(rise(wide).sel(layer=1), rise(each).sel(site="mlp_out").sum("layer"))
    close(rise(wide).sel(layer=0), rise(each).sel(site="mlp_out", layer=[0, 1]).sum("layer"))
    whole, by_key = (
        ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.pattern, difference, keys=keys)
        for keys in (ls.ALL, None)
    )
    close(rise(by_key).sum("key"), rise(whole))
    heads = ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.head_out, difference)
    together = ls.attribution_patching(
        llama, CLEAN, CORRUPTED, ls.head_out, difference, heads=ls.ALL
    )
    close(rise(together), rise(heads).sum("head"))


def test_prompts_of_different_lengths(llama):
    clean, corrupted = families.prompt(8), families.prompt(5, seed=1)
    groups = {"what": (3, 1), "two": (slice(4, 6), slice(2, 4)), "end": -1}
    where = {"what": ([1], [3]), "two": ([2, 3], [4, 5]), "end": ([4], [7])}
    result = ls.attribution_patching(
        llama, clean, corrupted, [ls.resid_pre(1), ls.v(1)], difference, positions=groups
    )
    there, here = caches(llama, clean, corrupted)
    names = {"resid_pre": "blocks.1.hook_resid_pre", "v": "blocks.1.attn.hook_v"}
    slopes = gradients(llama, corrupted, list(names.values()))
    for kind, name in names.items():
        for group, (to, at) in where.items():
            change = (there[name][0, at] - here[name][0, to]) * slopes[name][to]
            expected = change.sum((0, -1))
            got = result.data["metric"].sel(pair=0, site=kind, position=group)
            got = got.sel(head=[0, 1] if kind == "v" else -1) - result.data["corrupted"].item()
            np.testing.assert_allclose(got.sel(layer=1), expected, atol=1e-4)
    fixed = ls.attribution_patching(llama, clean, corrupted, ls.q(1), difference, positions=groups)
    assert fixed.data["effect"].notnull().all()


def test_steps_are_gradients_on_the_way(few):
    name = "blocks.1.hook_mlp_out"
    there, here = caches(few, CLEAN, CORRUPTED)
    other = there["blocks.0.hook_resid_pre"]
    slopes = [
        gradients(few, CORRUPTED, [name], share, other)[name] for share in (1 / 6, 3 / 6, 5 / 6)
    ]
    expected = ((there[name][0] - here[name][0]) * sum(slopes) / 3).sum(-1)
    result = ls.attribution_patching(few, CLEAN, CORRUPTED, ls.mlp_out(1), difference, ig_steps=3)
    got = result.data["metric"][0, 0] - result.data["corrupted"][0]
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_effects_of_the_embeddings_add_up_to_the_gap(few):
    """Completeness of integrated gradients (Sundararajan et al. 2017, proposition 1)."""
    errors = []
    for steps in (2, 30):
        result = ls.attribution_patching(
            few, CLEAN, CORRUPTED, ls.resid_pre(0), difference, ig_steps=steps
        )
        errors.append(abs(result.data["effect"].sum().item() - 1))
    assert errors[-1] < 0.03 and errors[-1] < max(errors[0], 1e-3) / 2


def test_gradient_drop_is_by_hand(few):
    names = {
        "mlp_out": [oracle.HOOKS["mlp_out"].format(n) for n in range(3)],
        "head_out": [oracle.HOOKS["head_out"].format(n) for n in range(3)],
    }
    everything = [name for some in names.values() for name in some]
    # Noising, where the metric falls: sizes are above 0 all the same.
    there, here = caches(few, CORRUPTED, CLEAN)
    total = dict.fromkeys(everything, 0.0)
    for block in range(3):
        out = [f"blocks.{block}.hook_{kind}_out" for kind in ("attn", "mlp")]
        slopes = gradients(few, CLEAN, everything, constant=out)
        for kind, some in names.items():
            for name in some:
                change = there[name][0] - here[name][0]
                total[name] += product(kind, change, slopes[name]).abs() / 2
    result = ls.attribution_patching(
        few,
        CLEAN,
        CORRUPTED,
        [ls.mlp_out, ls.head_out],
        difference,
        "noising",
        grad_drop=True,
        verify=3,
        sample=3,
    )
    effect = result.data["effect"].isel(pair=0)
    assert float(effect.min()) >= 0  # sizes
    gap = abs(result.data["clean"] - result.data["corrupted"]).item()
    for kind, some in names.items():
        for n, name in enumerate(some):
            got = effect.sel(site=kind, layer=n)
            got = got.sel(head=[0, 1, 2, 3]) if kind == "head_out" else got.sel(head=-1)
            np.testing.assert_allclose(got, total[name] / gap, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------- where estimates are exact


def linear(family: str, *, attends: bool):
    """A model without MLPs whose norms do nothing, so large are their epsilons.

    Without attention scores all heads look at everything equally, and the model is linear; with
    scores in the last layer alone, it is linear in the patterns and values there.
    """
    config = families.config(family)
    for name in ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps"):
        if hasattr(config, name):
            setattr(config, name, 1e12)
    torch.manual_seed(0)
    inner = AutoModelForCausalLM.from_config(config).eval()
    names = [name for name, _ in inner.named_parameters()]
    last = max(int(part) for name in names for part in name.split(".") if part.isdigit())
    with torch.no_grad():
        for name, weight in inner.named_parameters():
            silent = not attends or f".{last}." not in name
            if "norm" in name or ".ln_" in name:
                gain = 1e6 - 1 if family.startswith("gemma") else 1e6
                weight.fill_(gain if name.endswith("weight") else 0.1)
            elif any(part in name for part in ("down_proj", "mlp.c_proj", "dense_4h_to_h")):
                weight.zero_()
            elif "q_proj" in name or "k_proj" in name:
                weight.mul_(0 if silent else 40)
            elif silent and "c_attn" in name:
                weight[..., :64] = 0
            elif "c_attn" in name:
                weight.mul_(20)
            elif silent and "query_key_value" in name:  # [head, (q, k, v), d_head]
                weight.view(4, 3, 8, *weight.shape[1:])[:, :2] = 0
            elif weight.ndim > 1:
                weight.mul_(8)
    return families.wrap(inner, family=family)


@pytest.fixture(scope="module", params=["gpt2", "neox", "llama", "gemma3"])
def linear_family(request):
    return request.param


def both(model, *sites, **how):
    exact = ls.activation_patching(model, CLEAN, CORRUPTED, list(sites), difference, **how)
    return exact, ls.attribution_patching(model, CLEAN, CORRUPTED, list(sites), difference, **how)


def test_estimates_are_exact_where_the_model_is_linear(linear_family):
    model = linear(linear_family, attends=False)
    sites = [ls.Site(kind) for kind in ("embed", "resid_pre", "resid_post", "attn_out", "v")]
    for how in ({"positions": {"two": slice(1, 3), "end": -1}}, {"direction": "noising"}):
        exact, estimate = both(model, *sites, ls.head_out, ls.mlp_out, **how)
        assert np.nanmax(np.abs(exact.data["effect"])) > 0.2
        np.testing.assert_allclose(estimate.data["effect"], exact.data["effect"], atol=1e-3)
    total = estimate.data["effect"].sel(site="resid_pre", head=-1, layer=[0, 1, 2]).sum("position")
    np.testing.assert_allclose(total, 1, atol=1e-3)


def test_queries_keys_and_patterns_are_exact_where_the_model_is_linear_in_patterns(linear_family):
    model = linear(linear_family, attends=True)
    sites = (ls.q(2), ls.k(2), ls.pattern(2), ls.v(2), ls.head_out(2), ls.attn_out(2))
    groups = {"one": 2, "two": slice(3, 5), "apart": slice(0, None, 3), "end": -1, "all": ls.ALL}
    for how in ({"positions": groups}, {"direction": "noising"}):
        exact, estimate = both(model, *sites, **how)
        for kind in ("q", "k", "pattern"):
            assert np.nanmax(np.abs(exact.data["effect"].sel(site=kind))) > 0.01
        np.testing.assert_allclose(estimate.data["effect"], exact.data["effect"], atol=1e-3)
    by_key = both(model, ls.pattern(2), keys={"one": 2, "two": slice(3, 5)})
    np.testing.assert_allclose(by_key[1].data["effect"], by_key[0].data["effect"], atol=1e-3)
    # Tokens that stand elsewhere in the other prompt.
    moved = {"positions": {"there": (2, 4), "and": (slice(5, 7), slice(2, 4))}}
    exact, estimate = both(model, ls.q(2), ls.k(2), ls.v(2), **moved)
    np.testing.assert_allclose(estimate.data["effect"], exact.data["effect"], atol=1e-3)
    exact, estimate = both(model, ls.pattern(2), keys={"there": (2, 1)}, positions=[-1])
    np.testing.assert_allclose(estimate.data["effect"], exact.data["effect"], atol=1e-3)
    plain = ls.attribution_patching(
        model, CLEAN, CORRUPTED, [ls.q(2), ls.k(2)], difference, qk_fix=False
    )
    exact = ls.activation_patching(model, CLEAN, CORRUPTED, [ls.q(2), ls.k(2)], difference)
    assert np.nanmax(np.abs(plain.data["effect"] - exact.data["effect"])) > 1e-3


def test_a_token_that_is_to_have_several_queries(llama):
    groups = {"one": (2, 4), "other": (3, 4)}
    how = {"positions": groups}
    with pytest.raises(ls.PatchError, match="2 at 4, 3 at 4"):
        ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.q(1), difference, **how)
    for more in ({"qk_fix": False}, {"direction": "noising"}):
        found = ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.q(1), difference, **how, **more)
        assert found.data["effect"].notnull().all()


def estimate_of(model, site, positions, direction="denoising"):
    sweep = Sweep.of(model, CLEAN, CORRUPTED, site, difference, How(direction, positions))
    runs = sweep.runs(0)
    return runs, Estimate(sweep.backend, runs, sweep.groups[0], sweep.keys[0], {site.kind}, 1)


@pytest.mark.parametrize("layer", [0, 2])
def test_the_pattern_of_a_new_query_or_key_is_as_it_is(few, layer):
    """Every head and token by itself, and groups of tokens, under whatever gradient."""
    torch.manual_seed(0)
    gradient = torch.randn(7, 4, 7)
    groups = {**{str(t): t for t in range(7)}, "two": slice(2, 4), "apart": slice(1, None, 2)}
    groups["all"] = ls.ALL
    tokens = [[t] for t in range(7)] + [[2, 3], [1, 3, 5], list(range(7))]
    share = 4 // backend_of(few).n_kv_heads
    base = ls.capture(few, CORRUPTED, ls.pattern(layer))[ls.pattern(layer)][0]
    for site in (ls.q(layer), ls.k(layer)):
        runs, estimate = estimate_of(few, site, groups)
        change = estimate._queries if site.kind == "q" else estimate._keys
        found = change(site, gradient)
        source = runs.source_states(site)
        for n, group in enumerate(tokens):
            patches = [site.at(t).set(source[t]) for t in group]
            new = ls.run(few, CORRUPTED, patches, keep=ls.pattern(layer)).cache
            moved = (new[ls.pattern(layer)][0] - base) * gradient
            by_head = moved.sum((0, 2))
            if site.kind == "k":
                by_head = by_head.view(-1, share).sum(-1)
            np.testing.assert_allclose(found[n], by_head, atol=2e-4, err_msg=f"{site} {group}")


def test_keys_that_take_all_the_weight_or_lose_it(llama):
    """Weights of next to nothing, and of next to everything, before or after."""
    inner = copy.deepcopy(families.hf_model("llama"))
    with torch.no_grad():
        for layer in inner.model.layers:
            layer.self_attn.q_proj.weight.mul_(60)
    model = families.wrap(inner)
    estimate = both(model, ls.q(2), ls.k(2))[1]
    patterns = ls.capture(model, CORRUPTED, ls.pattern(2))[ls.pattern(2)]
    assert float(patterns.amax(-1).quantile(0.5)) > 0.9
    assert int(estimate.data["effect"].notnull().sum()) == 7 * (4 + 2)
    gradient = torch.ones(7, 4, 7) * torch.arange(7)
    runs, fixed = estimate_of(model, ls.k(2), None)
    found = fixed._keys(ls.k(2), gradient)
    source = runs.source_states(ls.k(2))
    for t in range(7):
        new = ls.run(model, CORRUPTED, [ls.k(2).at(t).set(source[t])], keep=ls.pattern(2)).cache
        moved = ((new[ls.pattern(2)] - patterns)[0] * gradient).sum((0, 2))
        np.testing.assert_allclose(found[t], moved.view(2, 2).sum(-1), atol=1e-3)


# ------------------------------------------------------- TransformerLens' own


def test_transformer_lens_finds_the_same():
    module = pytest.importorskip(
        "transformer_lens.tools.analysis.attribution_patching",
        reason="attribution patching came with TransformerLens 4",
    )
    model = families.build(families.Case("gpt2", "bridge", "raw"))
    scores = module.attribution_patch(
        model,
        torch.tensor([CLEAN]),
        torch.tensor([CORRUPTED]),
        lambda logits: logits[0, -1, 7] - logits[0, -1, 9],
    ).node_scores
    result = ls.attribution_patching(
        model, CLEAN, CORRUPTED, [ls.embed, ls.head_out, ls.mlp_out], difference
    )
    metric = result.data["metric"].isel(pair=0) - result.data["corrupted"].item()
    kinds = {"embed": "embed", "attn_head_out": "head_out", "mlp_out": "mlp_out"}
    for node, score in scores.items():
        got = metric.sel(
            site=kinds[node.kind],
            layer=-1 if node.layer is None else node.layer,
            head=-1 if node.head is None else node.head,
            position=node.position,
        )
        assert got.item() == pytest.approx(score, abs=1e-4), node
    assert len(scores) == int(metric.notnull().sum())


# ------------------------------------------------------- verification


def test_some_estimates_are_run(llama):
    sites = [ls.mlp_out, ls.head_out]
    exact = ls.activation_patching(llama, CLEAN, CORRUPTED, sites, difference)
    for k, sample in ((5, 10), (3, 0), (10**3, 5)):
        result = ls.attribution_patching(
            llama, CLEAN, CORRUPTED, sites, difference, verify=k, sample=sample, seed=2
        )
        report = result.settings["verified"]
        cells = int(exact.data["effect"].notnull().sum())
        known = result.data["exact"].notnull().values
        assert report["run"] == known.sum() == min(k + sample, cells)
        assert report["sample"] == (0 if k > cells else sample)
        estimates = result.data["effect"].values
        np.testing.assert_allclose(
            result.data["exact"].values[known], exact.data["effect"].values[known], atol=1e-3
        )
        largest = np.sort(np.abs(estimates[~np.isnan(estimates)]))[::-1][:k]
        assert set(np.round(largest, 6)) <= set(np.round(np.abs(estimates[known]), 6))
        own, true = estimates[known], result.data["exact"].values[known]
        above = [(x[:, None] > x).sum(1) - (x[:, None] < x).sum(1) for x in (own, true)]
        ranks = np.corrcoef(*above)[0, 1]
        assert report["rank_correlation"] == pytest.approx(ranks, abs=1e-6)
        assert report["largest_error"] == pytest.approx(np.abs(own - true).max(), abs=1e-3)
        best = set(np.argsort(-np.abs(true))[: min(k, cells)])
        mine = set(np.argsort(-np.abs(own))[: min(k, cells)])
        assert report["overlap"] == pytest.approx(len(best & mine) / min(k, cells))
        least = np.sort(np.abs(true[list(mine)]))[0]
        others = [n for n in range(len(true)) if n not in mine]
        assert report["false_negatives"] == int((np.abs(true[others]) > least).sum())


def test_one_cell_is_verified_too(llama):
    for more in ({"verify": 1, "sample": 0}, {"verify": 5, "sample": 5}):
        result = ls.attribution_patching(
            llama, CLEAN, CORRUPTED, ls.mlp_out(1).at(6), difference, **more
        )
        exact = ls.activation_patching(llama, CLEAN, CORRUPTED, ls.mlp_out(1).at(6), difference)
        assert result.data["exact"].item() == pytest.approx(exact.data["effect"].item(), abs=1e-4)
        assert result.settings["verified"]["run"] == 1
        assert "<svg" in result.to_html() and result.to_json()


def test_pairs_of_many_lengths_are_verified(llama):
    clean = [families.prompt(n, seed=n) for n in (5, 8)]
    corrupted = [families.prompt(n, seed=n + 20) for n in (5, 8)]
    result = ls.attribution_patching(
        llama, clean, corrupted, ls.resid_pre, difference, verify=40, direction="noising"
    )
    exact = ls.activation_patching(
        llama, clean, corrupted, ls.resid_pre, difference, direction="noising"
    )
    np.testing.assert_allclose(result.data["exact"], exact.data["effect"], atol=1e-3)
    for n in range(2):
        alone = ls.attribution_patching(
            llama, clean[n], corrupted[n], ls.resid_pre, difference, direction="noising"
        )
        width = len(clean[n])
        np.testing.assert_allclose(
            result.data["effect"][n, :, :width], alone.data["effect"][0], atol=1e-4
        )
        assert result.data["effect"][n, :, width:].isnull().all()


def test_what_was_run_is_shown_beside_its_estimate_and_makes_the_circuit(llama):
    prompts = [[families.prompt(6, seed=n) for n in seeds] for seeds in ((0, 5), (1, 6))]
    what = (llama, *prompts, [ls.mlp_out, ls.head_out], difference)
    result = ls.attribution_patching(*what, positions=ls.ALL, verify=5, sample=2)
    exact = ls.activation_patching(*what, positions=ls.ALL)
    cell = ["site", "layer", "head"]
    both = result.frame().merge(exact.frame(), on=["pair", *cell], suffixes=("", "_run"))
    run = both["exact"].notna()
    assert result.frame().columns[-1] == "exact" and run.sum() == 2 * 7
    np.testing.assert_allclose(both["exact"][run], both["effect_run"][run], atol=1e-3)
    top = result.top(30)
    whole = exact.top(30).set_index(cell)["effect"]
    best = top["exact"].fillna(top["effect"])
    assert (best.abs().diff().dropna() <= 0).all()
    for row in top.head(12).dropna().itertuples():
        assert row.exact == pytest.approx(whole[row.site, row.layer, row.head], abs=1e-3)
        assert abs(row.exact - row.effect) > 1e-3  # else nothing would tell the two apart
        shown = f"{row.exact:+.3f}"
        assert shown in str(result) and shown in result.to_html()
        assert f"exact {row.exact:.4f}" in result.to_svg()
        assert f"exact {row.exact:.4f}" in str(result.plot().to_dict())
    assert any(cell["exact"] is None for cell in json.loads(result.to_json())["cells"])
    found = result.circuit(top=9)
    assert len(found.estimated) == 9 - 7 or 0 < len(found.estimated) < 9
    for row in top.head(9).itertuples():
        node = ls.Site(row.site, int(row.layer), None if row.head < 0 else int(row.head))
        known = not np.isnan(row.exact)
        assert found.nodes[node] == (row.exact if known else row.effect)
        assert (node in found.estimated) != known
    again = ls.Circuit.from_json(found.to_json())
    assert again.estimated == found.estimated
    assert found.frame()["estimated"].sum() == len(found.estimated) == str(found).count("≈") - 1
    assert found.to_html().count("≈") == 2 * len(found.estimated)
    assert not exact.circuit(top=3).estimated
    assert len(ls.attribution_patching(*what, positions=ls.ALL).circuit(top=3).estimated) == 3


# ------------------------------------------------------- what it leaves and refuses


def test_it_leaves_nothing_behind(few, no_hooks_left):
    before = [(p.requires_grad, p.grad) for p in few.parameters()]
    plain = ls.attribution_patching(few, CLEAN, CORRUPTED, [ls.q, ls.mlp_out], difference)
    with torch.no_grad():
        quiet = ls.attribution_patching(few, CLEAN, CORRUPTED, [ls.q, ls.mlp_out], difference)
        assert not torch.is_grad_enabled()
    np.testing.assert_array_equal(plain.data["effect"], quiet.data["effect"])
    assert [(p.requires_grad, p.grad) for p in few.parameters()] == before
    assert all(p.grad is None for p in few.parameters())
    no_hooks_left(few)
    state = [p.requires_grad for p in few.parameters()]
    try:
        for p in few.parameters():
            p.requires_grad_(False)
        frozen = ls.attribution_patching(few, CLEAN, CORRUPTED, [ls.q, ls.mlp_out], difference)
    finally:
        for p, needs in zip(few.parameters(), state, strict=True):
            p.requires_grad_(needs)
    np.testing.assert_allclose(frozen.data["effect"], plain.data["effect"], atol=1e-5)


def test_what_has_no_gradient_is_refused(llama, no_hooks_left):
    best = int(oracle.logits(llama, CLEAN)[-1].argmax())
    with pytest.raises(ls.PlanError, match="has no gradient"):
        ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.mlp_out, ls.rank(best))
    with pytest.raises(ls.PlanError, match="inference mode"), torch.inference_mode():
        ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.mlp_out, difference)
    with pytest.raises(ls.PatchError, match="5 and 7 tokens"):
        ls.attribution_patching(
            llama, CLEAN[:5], CORRUPTED, ls.mlp_out, difference, positions=[-1], ig_steps=2
        )
    no_hooks_left(llama)


def test_each_metric_has_a_gradient(llama):
    clean = oracle.logits(llama, CLEAN)[-1]
    best, worst = int(clean.argmax()), int(clean.argmin())
    for metric in (
        ls.logit_difference(best, worst),
        ls.log_probability((best, 5)),
        ls.probability(best, worst),
        ls.kl_divergence(),
    ):
        result = ls.attribution_patching(
            llama, CLEAN, CORRUPTED, ls.resid_pre(0), metric, ig_steps=20, positions=ls.ALL
        )
        assert result.data["effect"].item() == pytest.approx(1, abs=0.04), metric.name


def test_a_model_of_one_layer():
    config = families.config("llama")
    config.num_hidden_layers = 1
    torch.manual_seed(0)
    model = families.wrap(AutoModelForCausalLM.from_config(config).eval())
    result = ls.attribution_patching(
        model, CLEAN, CORRUPTED, [ls.mlp_out, ls.resid_pre], difference, grad_drop=True
    )
    assert np.isfinite(result.data["effect"]).all()
    assert float(result.data["effect"].sel(site="mlp_out").max()) == 0  # its own block is dropped


def test_estimates_are_checkpointed(llama, tmp_path):
    clean, corrupted = [CLEAN, CLEAN[:5]], [CORRUPTED, CORRUPTED[:5]]
    path = tmp_path / "estimates.safetensors"
    call = lambda **how: ls.attribution_patching(
        llama, clean, corrupted, [ls.mlp_out, ls.q], difference, checkpoint=path, **how
    )
    first = call()
    np.testing.assert_array_equal(call().data["effect"], first.data["effect"])
    for how in ({"ig_steps": 2}, {"qk_fix": False}, {"grad_drop": True}):
        with pytest.raises(ls.LensError, match=next(iter(how))):
            call(**how)
