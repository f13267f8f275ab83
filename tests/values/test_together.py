"""Results put together are what one call gives; what does not belong together is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lensscope as ls
from tests import families

PROMPTS = ["w3 w4 w5", "w7 w8", "w9 w10 w11 w12"]


def same(found, whole):
    """The same numbers at the same places, however the prompts were batched."""
    assert found.sizes == whole.sizes
    assert set(found.variables) == set(whole.variables)
    for name, variable in whole.variables.items():
        own = found.variables[name]
        assert own.dims == variable.dims and own.dtype.kind == variable.dtype.kind, name
        if variable.dtype.kind == "f":
            np.testing.assert_allclose(own.values, variable.values, rtol=1e-3, atol=1e-4)
        else:
            np.testing.assert_array_equal(own.values, variable.values, str(name))


def law(kind, ask):
    """Of one call for all, and of two whose results are put together."""
    whole, found = ask(slice(None)), kind.together([ask(slice(0, 2)), ask(slice(2, 3))])
    same(found.data, whole.data)
    assert len(found.frame()) == len(whole.frame())
    for name in ("provenance", "source", "target"):
        assert getattr(found, name, None) == getattr(whole, name, None)
    return found, whole


def test_prompts_of_a_patchscope(llama):
    scope = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9"), max_new_tokens=2)
    for how in (
        {"position": slice(None), "layers": [0, 2]},
        {"target_layers": "all"},
    ):
        found, _ = law(ls.PatchscopeResult, lambda own: scope.inspect(llama, PROMPTS[own], **how))
        assert found.to_svg().startswith("<svg") and found.settings["max_new_tokens"] == 2
    vectors = ls.capture(llama, PROMPTS[0], ls.resid_post(1))[ls.resid_post(1)][0, 1:]
    ask = lambda own: scope.inspect(llama, vectors[own], layers=[0, 1])
    law(ls.PatchscopeResult, ask)
    one = ask(slice(None))
    for other, said in (
        (
            scope.inspect(llama, vectors, layers=[0, 2]),
            r"target_layer[\s\S]*\[0, 1\]' and '\[0, 2\]",
        ),
        (scope.inspect(llama, vectors, layers=[0, 1], max_new_tokens=3), r"max_new_tokens"),
        (scope.inspect(llama, PROMPTS[0]), r"axes"),
        (replace(scope, mix=0.5).inspect(llama, vectors, layers=[0, 1]), r"mix"),
        (ls.LogitLens().read(llama, PROMPTS[0]), r"of one kind"),
    ):
        with pytest.raises(ls.PatchError, match=said):
            ls.PatchscopeResult.together([one, other])
    with pytest.raises(ls.PatchError, match="not results"):
        ls.PatchscopeResult.together([])


def test_prompts_of_a_reading(llama):
    lens = ls.LogitLens()
    how = {"measures": "all", "targets": ["w5"], "full": True}
    found, whole = law(ls.LensReading, lambda own: lens.read(llama, PROMPTS[own], **how))
    assert str(found) == str(whole) and found.to_svg() == whole.to_svg()
    one = lens.read(llama, PROMPTS[0])
    texts = [families.prompt(20, seed=n) for n in range(4)]
    fitted = [ls.AffineLens.fit(llama, some) for some in (texts[:3], texts[1:])]
    two = [one_lens.read(llama, PROMPTS[0]) for one_lens in fitted]
    for pair, said in (
        ([one, lens.read(llama, PROMPTS[1], top_k=3)], "rank"),
        ([one, lens.read(llama, PROMPTS[1], measures="kl")], r"axes \(kl\)"),
        ([one, two[0]], "lens"),
        (two, "signature"),
    ):
        with pytest.raises(ls.LensError, match=said):
            ls.LensReading.together(pair)
    other = families.build(families.Case("qwen2", "bridge", "raw"))
    with pytest.raises(ls.BasisError, match="another model"):
        ls.LensReading.together([one, lens.read(other, PROMPTS[0])])


def test_pairs_of_patching(llama):
    clean = [families.prompt(n, seed=n) for n in (4, 5, 3)]
    corrupted = [families.prompt(n, seed=n + 9) for n in (4, 5, 3)]

    def ask(own, sites=ls.resid_pre, **how):
        metric = ls.log_probability([5, 6, 7][own])
        return ls.activation_patching(llama, clean[own], corrupted[own], sites, metric, **how)

    found, whole = law(ls.PatchingResult, ask)
    assert found.settings == whole.settings and found.data["pair"].values.tolist() == [0, 1, 2]
    same(found.mean(), whole.mean())  # intervals too: over three pairs, not over two and one
    law(ls.PatchingResult, lambda own: ask(own, [ls.head_out, ls.mlp_out], positions=ls.ALL))
    first = ask(slice(0, 1))
    for other, said in (
        (ask(slice(1, 2), ls.resid_mid), r"settings \(sites\)"),
        (ask(slice(1, 2), direction="noising"), r"settings \(direction\)"),
        (
            ls.activation_patching(llama, clean[1], corrupted[1], ls.resid_pre, ls.rank(5)),
            r"settings \(measure\)",
        ),
        (ask(slice(1, 2), positions={"end": -1}), "labels of position"),
        (ask(slice(1, 2), positions=[0, 1]), "labels of position"),
    ):
        with pytest.raises(ls.SweepError, match=said):
            ls.PatchingResult.together([first, other])


def test_prompts_of_a_comparison(llama):
    lenses = [ls.LogitLens(), ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9")).as_lens()]

    def ask(own):
        return ls.compare(llama, PROMPTS[own], lenses, positions=None, layers=[0, 2])

    found, whole = law(ls.LensComparison, ask)
    same(found.values, whole.values)
    with pytest.raises(ls.LensError, match=r"settings \(layers\)"):
        ls.LensComparison.together([found, ls.compare(llama, PROMPTS, lenses, layers=[1])])


def test_rows_of_many_runs(llama, tmp_path):
    place = ls.resid_pre.at(1)
    sets = [[place(n).scale(s)] for n in (0, 1, 2) for s in (0.5, 2.0)]
    cells = {"layer": [0, 1, 2], "factor": [0.5, 2.0]}

    def ask(own, **how):
        labels = {**cells, "layer": cells["layer"][own]}
        own_sets = sets[2 * own.start : 2 * own.stop]
        return ls.run_many(llama, PROMPTS[2], own_sets, labels=labels, **how)

    halves = slice(0, 2), slice(2, 3)
    for how in (
        {"max_new_tokens": 2},
        {"positions": slice(1, None)},
        {"top_k": 3, "positions": ls.ALL},
        {"metric": lambda logits: logits[..., 7]},
    ):
        found = ls.Runs.together([ask(own, **how) for own in halves])
        whole = ask(slice(0, 3), **how)
        same(found.data, whole.data)
        assert found.axes == whole.axes and found.positions == whole.positions
        assert found.provenance == whole.provenance and len(found.cache.prompts) == 6
        assert found.frame().drop(columns="text", errors="ignore").shape[0] == 6
        assert (found.plan.rows, found.plan.run) == (6, 6) and "6 rows" in str(found.plan)
        again = ls.Runs.load(found.save(tmp_path / "runs.safetensors"))
        same(again.data, found.data)
    plain = [ls.run_many(llama, PROMPTS[2], sets[own], top_k=2) for own in halves]
    assert ls.Runs.together(plain).axes == {"row": (0, 1, 2)}
    ragged = [
        ls.run_many(llama, PROMPTS[2], sets[:2], top_k=2, positions=own) for own in (-1, ls.ALL)
    ]
    both = ls.Runs.together(ragged)
    assert both.top_tokens.shape[:2] == (4, len(both.positions[2]))
    assert (both.top_tokens[0, 1:] == -1).all()
    assert both.top_log_probabilities[0, 1:].isnan().all()
    for other, said in (
        (ls.run_many(llama, PROMPTS[2], sets[:2], top_k=2, keep=ls.resid_post(1)), "hold states"),
        (ls.run_many(llama, PROMPTS[2], sets[:2]), "kept results"),
        (ask(halves[0], top_k=2), "axes"),
        (ask(halves[0]), "one kind|kept|axes"),
    ):
        with pytest.raises(ls.PatchError, match=said):
            ls.Runs.together([plain[0], other])


def test_runs_that_keep_other_shapes_stay_apart(llama):
    ask = lambda **how: ls.run_many(llama, PROMPTS[2], [[]], **how)
    for one, other in (
        (ask(top_k=2), ask(top_k=3)),
        (ask(metric=lambda x: x[..., 7]), ask(metric=lambda x: x[..., :2])),
    ):
        with pytest.raises(ls.PatchError, match="kept results"):
            ls.Runs.together([one, other])
