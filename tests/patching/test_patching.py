"""Activation patching against the plain hook loop, TransformerLens' own, and a circuit by hand."""

from __future__ import annotations

import copy
import json
import random
import re
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from safetensors import safe_open

import lensscope as ls
from lensscope.effects.metrics import as_metric
from lensscope.model.classes import backend_of
from lensscope.patching.result import COLUMNS
from tests import families, oracle
from tests.oracle import Edit

CLEAN, CORRUPTED = families.prompt(7), families.prompt(7, seed=1)
HEADED = ("q", "k", "v", "head_out", "pattern")
KINDS = ("embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "mlp_hidden")
JAPAN, ITALY = "The capital of Japan is the city of", "The capital of Italy is the city of"


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1, 7] - logits[:, -1, 9]


def value(logits: torch.Tensor) -> float:
    """The metric of plain logits, ``[position, d_vocab]``."""
    return float(difference(logits[None])[0])


def has(model, kind: str) -> bool:
    return kind != "resid_mid" or "blocks.0.hook_resid_mid" in model.hook_dict


class Plain:
    """The two runs of a pair by plain hooks, and one forward for each cell."""

    def __init__(self, model, clean, corrupted, direction="denoising"):
        noising = direction == "noising"
        self.model, self.base = model, clean if noising else corrupted
        self.source = corrupted if noising else clean
        self.ends = [value(oracle.logits(model, ids)) for ids in (self.base, self.source)]
        self._held = {}

    def states(self, ids, kind, layer):
        key = tuple(ids)
        if key not in self._held:
            with torch.no_grad():
                _, self._held[key] = self.model.run_with_cache(torch.tensor([list(ids)]))
        return self._held[key][oracle.HOOKS[kind].format(layer)][0]

    def edits(self, kind, layer, head, to, at, keys=None):
        """Write what the source has at the tokens ``at`` to the tokens ``to``."""
        states = self.states(self.source, kind, layer)
        states = states.transpose(0, 1) if kind == "pattern" else states  # [query, head, key]
        if kind == "resid_mid" and not backend_of(self.model).writes_resid_mid:
            # A bridge's hook_resid_mid is past the branching: attention makes up the difference.
            before = self.states(self.base, "resid_pre", layer)
            return [
                Edit("attn_out", layer, t, lambda x, v=states[a] - before[t]: v)
                for t, a in zip(to, at, strict=True)
            ]
        found = []
        for t, a in zip(to, at, strict=True):
            new = states[a] if head is None else states[a, head]
            function = lambda x, v=new: v
            if keys is not None:
                chosen = torch.zeros(len(self.base), dtype=torch.bool)
                chosen[list(keys)] = True
                function = lambda x, v=new, c=chosen: torch.where(c, v, x)
            found.append(Edit(kind, layer, t, function, head))
        return found

    def metric(self, *edits) -> float:
        return value(oracle.logits(self.model, self.base, [e for some in edits for e in some]))

    def effect(self, *edits) -> float:
        base, source = self.ends
        return (self.metric(*edits) - base) / (source - base)


def check_cells(plain, result, kind, sample, tokens=None):
    """Some cells of a result, drawn with a seed, are what the plain loop gives.

    Args:
        plain: the plain loop.
        result: of one pair.
        kind: of site.
        sample: how many cells.
        tokens: what is patched at each position of the result; each token by default.
    """
    effects = result.data["effect"].isel(pair=0)
    effects = effects.sel(site=kind) if "site" in effects.dims else effects
    cells = [dict(zip(effects.dims, c, strict=True)) for c in np.argwhere(effects.notnull().values)]
    dice = random.Random(f"{kind} {effects.sizes}")
    for cell in dice.sample(cells, min(sample, len(cells))):
        here = {name: effects[name].values[n].item() for name, n in cell.items()}
        here |= {name: None for name in ("layer", "head") if here.get(name) == -1}
        at = [here["position"]] if tokens is None else tokens[cell.get("position", 0)]
        keys = [here["key"]] if "key" in here else None
        edits = plain.edits(kind, here.get("layer"), here.get("head"), at, at, keys)
        assert effects.isel(cell).item() == pytest.approx(plain.effect(edits), abs=1e-3), here


# ------------------------------------------------------- the plain loop


def all_cells(model, direction, where):
    """Every kind of site that a model has, in one sweep."""
    kinds = [kind for kind in (*KINDS, *HEADED) if has(model, kind)]
    sites = [ls.Site(kind) for kind in kinds]
    call = ls.activation_patching
    return kinds, call(model, CLEAN, CORRUPTED, sites, difference, direction, where)


def test_cells_equal_the_plain_loop(few, no_hooks_left):
    plain = Plain(few, CLEAN, CORRUPTED)
    kinds, result = all_cells(few, "denoising", None)
    sizes = {"pair": 1, "site": len(kinds), "layer": 4, "head": 5, "position": 7}
    assert dict(result.data["effect"].sizes) == sizes
    for kind in kinds:
        heads = {"k": backend_of(few).n_kv_heads, "v": backend_of(few).n_kv_heads}.get(kind, 4)
        size = (1 if kind == "embed" else 3) * (heads if kind in HEADED else 1)
        assert int(result.data["effect"].sel(site=kind).notnull().sum()) == 7 * size
        check_cells(plain, result, kind, 4)
    base, source = plain.ends
    assert result.data["corrupted"].item() == pytest.approx(base, abs=1e-4)
    assert result.data["clean"].item() == pytest.approx(source, abs=1e-4)
    no_hooks_left(few)


def test_all_tokens_at_once_equal_the_plain_loop(few, no_hooks_left):
    plain = Plain(few, CLEAN, CORRUPTED, "noising")
    kinds, result = all_cells(few, "noising", ls.ALL)
    assert result.data["effect"].dims == ("pair", "site", "layer", "head")
    for kind in kinds:
        check_cells(plain, result, kind, 2, [range(7)])
    base, source = plain.ends
    assert result.data["clean"].item() == pytest.approx(base, abs=1e-4)
    assert result.data["corrupted"].item() == pytest.approx(source, abs=1e-4)
    no_hooks_left(few)


def test_noising_equals_the_plain_loop(llama):
    plain = Plain(llama, CLEAN, CORRUPTED, "noising")
    kinds, result = all_cells(llama, "noising", None)
    for kind in kinds:
        check_cells(plain, result, kind, 4)


def test_patterns_by_head_by_query_and_by_key(few):
    plain = Plain(few, CLEAN, CORRUPTED)
    patched = lambda site, **how: ls.activation_patching(
        few, CLEAN, CORRUPTED, site, difference, **how
    )
    whole = patched(ls.pattern, positions=ls.ALL)
    assert dict(whole.data["effect"].sizes) == {"pair": 1, "layer": 3, "head": 4}
    check_cells(plain, whole, "pattern", 8, [range(7)])
    by_key = patched(ls.pattern(2), keys=None)
    assert by_key.data["effect"].dims == ("pair", "layer", "head", "position", "key")
    check_cells(plain, by_key, "pattern", 12)
    later = by_key.data["effect"].where(by_key.data["key"] > by_key.data["position"], 0.0)
    assert np.abs(later).max() < 1e-5  # no token looks ahead
    together = patched(
        ls.pattern(2), positions=ls.ALL, keys={"first": 0, "last two": slice(5, None)}
    )
    assert together.data["key"].values.tolist() == ["first", "last two"]
    for head, key, columns in ((1, "first", [0]), (3, "last two", [5, 6])):
        expected = plain.effect(plain.edits("pattern", 2, head, range(7), range(7), columns))
        got = together.data["effect"].sel(layer=2, head=head, key=key).item()
        assert got == pytest.approx(expected, abs=1e-3)


def test_cells_equal_the_plain_loop_in_every_family(tiny):
    plain = Plain(tiny, CLEAN, CORRUPTED)
    sites = [ls.resid_pre, ls.head_out, ls.mlp_out(1)]
    result = ls.activation_patching(tiny, CLEAN, CORRUPTED, sites, difference)
    assert result.data["effect"].dims == ("pair", "site", "layer", "head", "position")
    effects = result.data["effect"].isel(pair=0)
    for layer, head, token in ((0, 1, 2), (1, 3, 6), (2, 0, 6)):
        for kind, one in (("resid_pre", None), ("head_out", head)):
            got = effects.sel(site=kind, layer=layer, head=-1 if one is None else one)
            expected = plain.effect(plain.edits(kind, layer, one, [token], [token]))
            assert got.sel(position=token).item() == pytest.approx(expected, abs=1e-3)
    assert effects.sel(site="mlp_out", layer=[0, 2]).isnull().all()
    assert effects.sel(site="resid_pre", head=2).isnull().all()
    assert effects.sel(site="mlp_out", layer=1, head=-1).notnull().all()


def test_pairs_of_many_lengths_are_what_each_is_alone(few):
    clean = [families.prompt(n, seed=n) for n in (5, 8, 3)]
    corrupted = [families.prompt(n, seed=n + 20) for n in (5, 8, 3)]
    for sites in ([ls.resid_pre, ls.pattern(1, 2)],):
        result = ls.activation_patching(few, clean, corrupted, sites, difference)
        effects = result.data["effect"]
        assert result.data.sizes["pair"] == 3 and result.data.sizes["position"] == 8
        for n, length in enumerate((5, 8, 3)):
            alone = ls.activation_patching(few, clean[n], corrupted[n], sites, difference)
            own = effects.isel(pair=n, position=slice(None, length))
            np.testing.assert_allclose(own, alone.data["effect"][0], atol=1e-3)
            assert effects.isel(pair=n, position=slice(length, None)).isnull().all()
        frame = result.frame()
        assert frame["effect"].notna().all()
        assert frame.groupby("pair")["position"].nunique().tolist() == [5, 8, 3]
        assert result.data["token"].values[2, 3:].tolist() == [""] * 5


# ------------------------------------------------------- laws


def test_all_of_the_first_residual_is_the_other_run(few):
    for direction in ("denoising", "noising"):
        result = ls.activation_patching(
            few, CLEAN, CORRUPTED, ls.resid_pre(0), difference, direction, positions=ls.ALL
        )
        assert result.data["effect"].item() == pytest.approx(1, abs=1e-3)
        ends = (result.data["corrupted"].item(), result.data["clean"].item())
        reached = ends[direction == "denoising"]
        assert result.data["metric"].item() == pytest.approx(reached, abs=1e-3)
        assert result.data["normalised"].item() == pytest.approx(
            float(direction == "denoising"), abs=1e-3
        )


def test_what_both_runs_share_has_no_effect(few):
    corrupted = [*CLEAN[:4], *CORRUPTED[4:]]
    for direction in ("denoising", "noising"):
        result = ls.activation_patching(
            few, CLEAN, corrupted, [ls.resid_pre, ls.head_out], difference, direction
        )
        shared = result.data["effect"].sel(position=slice(0, 3))
        assert np.abs(shared.fillna(0)).max() < 1e-5
        # The last token alone is read in the end.
        assert np.abs(result.data["effect"].sel(site="head_out", layer=2, position=5)).max() < 1e-5


def test_a_run_patched_with_itself_has_no_effect_to_speak_of(llama):
    result = ls.activation_patching(llama, CLEAN, CLEAN, ls.resid_pre, difference)
    assert result.data["effect"].isnull().all() and result.data["metric"].notnull().all()
    assert result.mean()["effect"].isnull().all()
    assert len(result.top()) == 0
    assert "<svg" in result.to_html()
    assert "0:" not in str(result.frame()["effect"].tolist())


def test_effects_are_of_the_run_that_is_patched_in(llama):
    both = {
        d: ls.activation_patching(llama, CLEAN, CORRUPTED, ls.mlp_out, difference, d)
        for d in ("denoising", "noising")
    }
    for direction, result in both.items():
        data = result.data
        gap = data["clean"] - data["corrupted"]
        normalised = (data["metric"] - data["corrupted"]) / gap
        np.testing.assert_allclose(data["normalised"], normalised, atol=1e-6)
        effect = normalised if direction == "denoising" else 1 - normalised
        np.testing.assert_allclose(data["effect"], effect, atol=1e-6)
    assert both["denoising"].settings["runs"] == ["corrupted run", "clean run"]
    assert both["noising"].baselines == both["denoising"].baselines[::-1]


def test_a_window_is_its_layers_together(llama):
    result = ls.activation_patching(llama, CLEAN, CORRUPTED, ls.mlp_out, difference, window=3)
    plain = Plain(llama, CLEAN, CORRUPTED)
    for layer, window in ((0, (0, 1)), (1, (0, 1, 2)), (2, (1, 2))):
        edits = [plain.edits("mlp_out", n, None, [6], [6]) for n in window]
        got = result.data["effect"].sel(layer=layer, position=6).item()
        assert got == pytest.approx(plain.effect(*edits), abs=1e-3)
    cache = ls.capture(llama, CLEAN, ls.mlp_out)
    patches = [ls.mlp_out(n).at(4).set(cache[ls.mlp_out(n)][0, 4]) for n in range(3)]
    base, source = plain.ends
    run = ls.run(llama, CORRUPTED, patches)
    expected = (value(run.logits[0]) - base) / (source - base)
    assert result.data["effect"].sel(layer=1, position=4).item() == pytest.approx(
        expected, abs=1e-3
    )
    assert result.settings["window"] == 3
    two = ls.activation_patching(llama, CLEAN, CORRUPTED, ls.mlp_out(1), difference, window=2)
    edits = [plain.edits("mlp_out", n, None, [6], [6]) for n in (0, 1)]
    got = two.data["effect"].sel(position=6).item()
    assert got == pytest.approx(plain.effect(*edits), abs=1e-3)


def test_groups_of_tokens(few):
    groups = {"start": slice(0, 2), "apart": slice(0, None, 3), "swapped": (2, 5), "end": -1}
    tokens = {"start": ([0, 1],) * 2, "apart": ([0, 3, 6],) * 2, "end": ([6],) * 2}
    for direction in ("denoising", "noising"):
        plain = Plain(few, CLEAN, CORRUPTED, direction)
        here = tokens | {"swapped": ([2], [5]) if direction == "noising" else ([5], [2])}
        for site, head in ((ls.resid_pre(1), None), (ls.k(2, 1), 1)):
            result = ls.activation_patching(
                few, CLEAN, CORRUPTED, site, difference, direction, positions=groups
            )
            assert result.data["position"].values.tolist() == list(groups)
            for name, (to, at) in here.items():
                edits = plain.edits(site.kind, site.layer, head, to, at)
                got = result.data["effect"].sel(position=name).item()
                assert got == pytest.approx(plain.effect(edits), abs=1e-3), name


def test_prompts_of_different_lengths_by_named_groups(few):
    clean, corrupted = families.prompt(8), families.prompt(5, seed=1)
    groups = {"what": (3, 1), "two": (slice(4, 6), slice(2, 4)), "end": -1}
    for direction, order in (("denoising", 1), ("noising", 0)):
        plain = Plain(few, clean, corrupted, direction)
        for kind, head in (("resid_post", None), ("v", 0), ("head_out", 3)):
            result = ls.activation_patching(
                few, clean, corrupted, ls.Site(kind, 1, head), difference, direction, groups
            )
            where = {"what": ([3], [1]), "two": ([4, 5], [2, 3]), "end": ([7], [4])}
            for name, both in where.items():
                to, at = both[order], both[1 - order]
                expected = plain.effect(plain.edits(kind, 1, head, to, at))
                got = result.data["effect"].sel(position=name).item()
                assert got == pytest.approx(expected, abs=1e-3), (direction, kind, name)


def test_a_list_of_positions_has_one_for_each_pair(few):
    clean = [families.prompt(n, seed=n) for n in (5, 8)]
    corrupted = [families.prompt(n, seed=n + 20) for n in (6, 4)]
    groups = {"it": [(3, 1), (slice(2, 4), slice(0, 2))], "end": -1}
    result = ls.activation_patching(
        few, clean, corrupted, ls.resid_pre(1), difference, positions=groups
    )
    for n, (to, at) in enumerate((([1], [3]), ([0, 1], [2, 3]))):
        plain = Plain(few, clean[n], corrupted[n])
        expected = plain.effect(plain.edits("resid_pre", 1, None, to, at))
        assert result.data["effect"].sel(pair=n, position="it").item() == pytest.approx(
            expected, abs=1e-3
        )
    positions = result.frame()["position"].tolist()
    assert positions == ["it", "end"] * 2


def test_keys_of_named_groups_are_read_where_each_prompt_has_them(llama):
    """A key that is another token in each prompt: its weight is read there, and written here."""
    for direction, (to, at) in (("denoising", (1, 3)), ("noising", (3, 1))):
        result = ls.activation_patching(
            llama,
            CLEAN,
            CORRUPTED,
            ls.pattern(1, 2),
            difference,
            direction,
            positions=[6],
            keys={"moved": (3, 1)},
        )
        plain = Plain(llama, CLEAN, CORRUPTED, direction)
        weight = plain.states(plain.source, "pattern", 1)[2, 6, at]
        moved = lambda x, w=weight, to=to: torch.where(torch.arange(7) == to, w, x)
        expected = plain.effect([Edit("pattern", 1, 6, moved, 2)])
        assert result.data["effect"].item() == pytest.approx(expected, abs=1e-3)


def test_heads_together_and_chosen(llama):
    plain = Plain(llama, CLEAN, CORRUPTED)
    every = ls.activation_patching(llama, CLEAN, CORRUPTED, ls.head_out, difference, heads=ls.ALL)
    assert every.data["effect"].dims == ("pair", "layer", "position")
    for layer, token in ((0, 6), (2, 6), (1, 3)):
        edits = plain.edits("head_out", layer, None, [token], [token])
        got = every.data["effect"].sel(layer=layer, position=token).item()
        assert got == pytest.approx(plain.effect(edits), abs=1e-3)
    some = ls.activation_patching(
        llama, CLEAN, CORRUPTED, ls.head_out(1), difference, heads=[3, 0, -2], positions=ls.ALL
    )
    assert some.data["head"].values.tolist() == [0, 2, 3]
    each = ls.activation_patching(
        llama, CLEAN, CORRUPTED, ls.head_out(1), difference, positions=ls.ALL
    )
    np.testing.assert_allclose(
        some.data["effect"], each.data["effect"].sel(head=[0, 2, 3]), atol=1e-4
    )
    one = ls.activation_patching(llama, CLEAN, CORRUPTED, ls.head_out(1, 2).at(6), difference)
    assert one.data["effect"].sizes == {"pair": 1, "layer": 1, "head": 1, "position": 1}


def test_the_metric_is_what_is_measured(llama):
    """Each of lensscope's own, from the logits of plain hooks."""
    plain = Plain(llama, CLEAN, CORRUPTED)
    edits = plain.edits("resid_pre", 1, None, [6], [6])
    logits = oracle.logits(llama, CORRUPTED, edits)[-1]
    log_p = logits.log_softmax(-1)
    clean = oracle.logits(llama, CLEAN)[-1].log_softmax(-1)
    best, worst = int(clean.argmax()), int(clean.argmin())
    expected = {
        ls.logit_difference(best, worst): logits[best] - logits[worst],
        ls.logit_difference((best, 3), (worst, 4)): logits[[best, 3]].mean()
        - logits[[worst, 4]].mean(),
        ls.log_probability((best, 5)): log_p[[best, 5]].logsumexp(0),
        ls.probability(best): log_p[best].exp(),
        ls.probability((best, 3), (worst, 4)): log_p[[best, 3]].exp().sum()
        - log_p[[worst, 4]].exp().sum(),
        ls.rank((best, 5)): (logits > logits[[best, 5]].max()).sum(),
        ls.kl_divergence(): (clean.exp() * (clean - log_p)).sum(),
    }
    for metric, number in expected.items():
        result = ls.activation_patching(llama, CLEAN, CORRUPTED, ls.resid_pre(1).at(6), metric)
        assert result.data["metric"].item() == pytest.approx(float(number), abs=1e-4), metric.name
        assert result.settings["metric"] == metric.name
    assert result.data["clean"].item() == pytest.approx(0, abs=1e-6)  # the divergence from itself


def test_answers_of_each_pair(llama):
    clean, corrupted = [CLEAN, families.prompt(5)], [CORRUPTED, families.prompt(5, seed=3)]
    best = [int(oracle.logits(llama, ids)[-1].argmax()) for ids in clean]
    worst = [int(oracle.logits(llama, ids)[-1].argmin()) for ids in clean]
    metric = ls.logit_difference(best, [(w, 3) for w in worst])
    result = ls.activation_patching(llama, clean, corrupted, ls.resid_pre(2).at(-1), metric)
    for n in range(2):
        alone = ls.logit_difference(best[n], (worst[n], 3))
        one = ls.activation_patching(llama, clean[n], corrupted[n], ls.resid_pre(2).at(-1), alone)
        for name in ("metric", "clean", "corrupted", "effect"):
            got, expected = result.data[name][n].item(), one.data[name][0].item()
            assert got == pytest.approx(expected, abs=1e-3)


def test_a_clean_run_that_does_not_prefer_its_answer_is_told(llama):
    logits = oracle.logits(llama, CLEAN)[-1]
    best, worst = int(logits.argmax()), int(logits.argmin())
    figure = f"{float(logits[worst] - logits[best]):.4g} in the clean run"
    with pytest.warns(UserWarning, match=re.escape(figure)) as caught:
        ls.activation_patching(
            llama, CLEAN, CORRUPTED, ls.resid_pre(1).at(6), ls.logit_difference(worst, best)
        )
    assert len(caught) == 1 and "in the corrupted one" in str(caught[0].message)
    metric = ls.logit_difference([best, worst, worst], [worst, best, best])
    with pytest.warns(UserWarning, match="In 2 of 3 pairs.*in pair 1"):
        ls.activation_patching(llama, [CLEAN] * 3, [CORRUPTED] * 3, ls.resid_pre(1).at(6), metric)
    with pytest.warns(UserWarning, match="does not prefer") as caught:
        ls.attribution_patching(
            llama,
            CLEAN,
            CORRUPTED,
            ls.resid_pre(1),
            ls.logit_difference(worst, best),
            verify=2,
            sample=1,
        )
    assert len(caught) == 1


# ------------------------------------------------------- results


def test_axes_have_names(llama):
    result = ls.activation_patching(llama, CLEAN, CORRUPTED, ls.resid_pre, difference)
    mean = result.data.sel(layer=2).mean("position")
    assert mean["effect"].dims == ("pair",)
    expected = result.data["effect"].values[0, 2].mean()
    assert mean["effect"].item() == pytest.approx(expected)
    assert result.axes == ("layer", "position")
    back = ls.activation_patching(
        llama, CLEAN, CORRUPTED, [ls.resid_pre(2), ls.resid_pre(0)], difference
    )
    assert back.data["layer"].values.tolist() == [0, 2]
    np.testing.assert_allclose(
        back.data["effect"], result.data["effect"].sel(layer=[0, 2]), atol=1e-4
    )
    assert ls.activation_patching(llama, CLEAN, CORRUPTED, ls.resid_pre(-1), difference).data[
        "layer"
    ].values.tolist() == [2]


def test_the_columns_of_frames(llama):
    frames = {
        "all": ls.activation_patching(
            llama, CLEAN, CORRUPTED, [ls.embed, ls.head_out, ls.resid_pre], difference
        ),
        "keys": ls.activation_patching(
            llama, CLEAN, CORRUPTED, ls.pattern(1), difference, keys=None
        ),
        "heads": ls.activation_patching(
            llama, CLEAN, CORRUPTED, ls.head_out, difference, positions=ls.ALL
        ),
        "one": ls.activation_patching(llama, CLEAN, CORRUPTED, ls.embed.at(2), difference),
    }
    for name, result in frames.items():
        frame = result.frame()
        more = ["key"] if name == "keys" else []
        assert frame.columns.tolist() == [*COLUMNS[:-2], *more, *COLUMNS[-2:]]
        assert len(frame) == int(result.data["metric"].notnull().sum())
        assert frame["effect"].notna().all() and (frame["pair"] == 0).all()
    every = frames["all"].frame()
    assert every.groupby("site", sort=False).size().to_dict() == {
        "embed": 7,
        "head_out": 84,
        "resid_pre": 21,
    }
    assert every[every["site"] == "embed"]["layer"].isna().all()
    assert every[every["site"] != "head_out"]["head"].isna().all()
    row = every[every["site"] == "head_out"].iloc[17]
    cell = frames["all"].data.sel(
        site="head_out", layer=row["layer"], head=row["head"], position=row["position"]
    )
    assert cell["metric"].item() == row["metric"] and cell["effect"].item() == row["effect"]
    labels = [f"w{a} / w{b}" for a, b in zip(CLEAN, CORRUPTED, strict=True)]
    assert every["token"].tolist()[:7] == labels
    assert frames["heads"].frame()["position"].unique().tolist() == ["all"]
    one = frames["one"].frame().iloc[0]
    assert (one["site"], one["layer"], one["head"], one["position"]) == ("embed", None, None, 2)


def test_the_mean_over_pairs_is_a_ratio_of_means(llama):
    lengths = (5, 7, 5, 6)
    clean = [families.prompt(n, seed=k) for k, n in enumerate(lengths)]
    corrupted = [families.prompt(n, seed=k + 20) for k, n in enumerate(lengths)]
    for direction in ("denoising", "noising"):
        result = ls.activation_patching(
            llama, clean, corrupted, ls.resid_pre, difference, direction
        )
        data, mean = result.data, result.mean(level=0.9, resamples=200, seed=3)
        assert mean["effect"].dims == ("layer", "position")
        ends = [data["corrupted"].values, data["clean"].values]
        base, source = ends if direction == "denoising" else ends[::-1]
        for layer, token in ((1, 2), (2, 4), (0, 5), (2, 6)):  # 5 and 6: not of every pair
            values = data["metric"].sel(layer=layer, position=token).values
            known = np.flatnonzero(~np.isnan(values))
            assert len(known) == sum(n > token for n in lengths)
            moved = np.where(np.isnan(values), 0, values - base)
            gap = np.where(np.isnan(values), 0, source - base)
            cell = mean.sel(layer=layer, position=token)
            assert cell["effect"].item() == pytest.approx(moved.sum() / gap.sum())
            assert cell["metric"].item() == pytest.approx(np.nanmean(values))
            edges = [cell["effect_low"].item(), cell["effect_high"].item()]
            if len(known) == 1:  # one pair does not say how far others would be
                assert np.isnan(edges).all()
                continue
            # percentiles of draws, further out as Student's quantile is, and Student's own
            drawn = np.random.default_rng(3).multinomial(4, np.full(4, 0.25), size=200)
            with np.errstate(invalid="ignore", divide="ignore"):
                each = (drawn @ moved) / (drawn @ gap)
            out = 100 * NormalDist().cdf(-np.sqrt(4 / 3) * 2.35336)
            low, high = np.percentile(each[np.isfinite(each)], [out, 100 - out])
            n, ratio = len(known), moved.sum() / gap.sum()
            apart = np.sum((moved - ratio * gap) ** 2) * n / (n - 1)
            half = {2: 6.31375, 3: 2.91999, 4: 2.35336}[n] * np.sqrt(apart) / abs(gap.sum())
            expected = [min(low, ratio - half), max(high, ratio + half)]
            assert edges == pytest.approx(expected, rel=1e-3)
    assert mean["effect"].sel(position=2).notnull().all()
    alone = ls.activation_patching(llama, clean[0], corrupted[0], ls.resid_pre, difference)
    mean = alone.mean()
    np.testing.assert_allclose(mean["effect"], alone.data["effect"][0], atol=1e-6)
    assert mean["effect_low"].isnull().all() and mean["effect_high"].isnull().all()
    with pytest.raises(ls.PatchError, match="between 0 and 1"):
        alone.mean(level=1.0)


def test_the_top_is_of_the_largest_effects_of_either_sign(llama):
    result = ls.activation_patching(llama, CLEAN, CORRUPTED, ls.head_out, difference)
    top = result.top(5)
    assert top.columns.tolist() == ["layer", "head", "position", "effect"]
    sizes = np.sort(np.abs(result.data["effect"].values.ravel()))[::-1]
    np.testing.assert_allclose(top["effect"].abs(), sizes[:5], rtol=1e-6)
    first = top.iloc[0]
    cell = result.data["effect"].sel(
        pair=0, layer=first["layer"], head=first["head"], position=first["position"]
    )
    assert cell.item() == pytest.approx(first["effect"])


@pytest.mark.parametrize("how", ["residual", "several", "keys", "heads", "one", "groups"])
def test_results_show_themselves(llama, tmp_path, how):
    ask = {
        "residual": {"sites": ls.resid_pre},
        "several": {"sites": [ls.embed, ls.head_out, ls.mlp_out]},
        "keys": {"sites": ls.pattern, "keys": None},
        "heads": {"sites": ls.head_out, "positions": ls.ALL},
        "one": {"sites": ls.mlp_out(1).at(3)},
        "groups": {"sites": ls.resid_post, "positions": {"<b>": slice(0, 3), "end": -1}},
    }[how]
    pairs = 3 if how == "residual" else 1
    clean = [families.prompt(n, seed=n) for n in range(4, 4 + pairs)]
    corrupted = [families.prompt(n, seed=n + 9) for n in range(4, 4 + pairs)]
    result = ls.activation_patching(llama, clean, corrupted, metric=difference, **ask)
    page = result.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert "<svg" in page and "difference" in page and "<b>:" not in page
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", page)
    assert not re.search(r"@import|url\(\s*['\"]?https?:", page)
    assert "<script" not in page
    picture = result.to_svg()
    assert picture.startswith("<svg") and picture.count("<rect") > 0
    held = json.loads(result.to_json(tmp_path / "all.json"))
    assert len(held["cells"]) == len(result.frame())
    assert held["settings"]["method"] == "activation patching"
    assert len(held["clean"]) == pairs
    assert held["provenance"]["model"] == llama.cfg.model_name
    shown = str(result)
    assert "Activation patching: difference" in shown and "effect 0: corrupted run" in shown
    assert "PatchingResult(Activation patching" in repr(result)
    assert len(result.plot().data) >= 1
    assert "<svg" in result._repr_html_()


# ------------------------------------------------------- checkpoints


class Interrupted(Exception):
    pass


def test_an_interrupted_sweep_goes_on(llama, tmp_path):
    clean = [families.prompt(5, seed=k) for k in range(4)]
    corrupted = [families.prompt(5, seed=k + 20) for k in range(4)]
    path = tmp_path / "sweep.safetensors"
    seen, limit = [], [10**6]

    def metric(logits):
        if len(seen) >= limit[0]:
            raise Interrupted
        seen.append(len(logits))
        return difference(logits)

    call = lambda **how: ls.activation_patching(
        llama, clean, corrupted, ls.mlp_out, metric, **({"checkpoint": path} | how)
    )
    whole = call(checkpoint=None)
    calls, limit[0] = len(seen), len(seen) + len(seen) // 2 + 1
    assert calls > 4
    with pytest.raises(Interrupted):
        call()
    assert path.exists()
    done = len(seen)
    limit[0] = 10**6
    result = call()
    assert 0 < len(seen) - done < calls
    for name in ("metric", "effect", "clean", "corrupted"):
        np.testing.assert_array_equal(result.data[name], whole.data[name])
    again = len(seen)
    np.testing.assert_array_equal(call().data["effect"], whole.data["effect"])
    assert len(seen) == again  # nothing is left to do
    for other in (
        {"direction": "noising"},
        {"positions": ls.ALL},
        {"positions": [1, 2]},
        {"window": 2},
        {"sites": ls.attn_out},
        {"sites": ls.mlp_out(1)},
        {"metric": ls.kl_divergence()},
        {"clean": corrupted, "corrupted": clean},
    ):
        asked = {"clean": clean, "corrupted": corrupted, "sites": ls.mlp_out, "metric": metric}
        with pytest.raises(ls.LensError, match="is of another activation patching"):
            ls.activation_patching(llama, checkpoint=path, **(asked | other))
    other = families.build(families.Case("llama", "bridge", "folded"))
    with pytest.raises(ls.LensError, match="weights"):
        ls.activation_patching(other, clean, corrupted, ls.mlp_out, metric, checkpoint=path)
    with pytest.raises(ls.LensError, match="attribution patching"):
        ls.attribution_patching(llama, clean, corrupted, ls.mlp_out, metric, checkpoint=path)


def test_a_checkpoint_knows_keys_and_answers(llama, tmp_path):
    clean, corrupted = [CLEAN, CLEAN[:5]], [CORRUPTED, CORRUPTED[:5]]
    path = tmp_path / "keys.safetensors"
    call = lambda **how: ls.activation_patching(
        llama, clean, corrupted, ls.pattern(1), difference, checkpoint=path, **how
    )
    call(positions=ls.ALL, keys={"one": 1})
    for keys in (None, ls.ALL, {"one": 2}):
        with pytest.raises(ls.LensError, match="keys"):
            call(positions=ls.ALL, keys=keys)
    path = tmp_path / "answers.safetensors"
    call = lambda answers: ls.activation_patching(
        llama, clean, corrupted, ls.mlp_out, ls.log_probability(answers), checkpoint=path
    )
    first = call([3, 4])
    with pytest.raises(ls.LensError, match="answers"):
        call([3, 5])
    np.testing.assert_array_equal(call([3, 4]).data["effect"], first.data["effect"])


def test_a_checkpoint_says_what_it_always_said_and_is_refused_as_one_of_patching(llama, tmp_path):
    path = tmp_path / "sweep.safetensors"
    call = lambda **how: ls.activation_patching(
        llama, CLEAN, CORRUPTED, ls.mlp_out, difference, checkpoint=path, **how
    )
    call()
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["lensscope"])
        assert sorted(file.keys()) == ["clean", "corrupted", "done", "values"]
    assert list(header) == ["format", "kind", "settings"]
    assert header["format"] == "lensscope-lens-1"
    assert header["kind"] == "activation patching"
    before = path.read_bytes()
    call()
    assert path.read_bytes() == before  # nothing was left to do
    with pytest.raises(ls.CheckpointError, match="direction: 'denoising'"):
        call(direction="noising")
    path.write_bytes(before[:-9])
    with pytest.raises(ls.CheckpointError, match="not whole"):
        call()
    path.unlink()
    path.mkdir()
    with pytest.raises(ls.CheckpointError):
        call()


# ------------------------------------------------------- TransformerLens' own


def test_transformer_lens_finds_the_same(demo, monkeypatch):
    from transformer_lens import patching

    monkeypatch.setattr(patching, "tqdm", lambda rows, **rest: rows)
    metric = ls.logit_difference(" Tokyo", " Rome")
    tokens = [demo.to_tokens(text) for text in (JAPAN, ITALY)]
    right, wrong = (demo.to_single_token(answer) for answer in (" Tokyo", " Rome"))
    measured = lambda logits: logits[0, -1, right] - logits[0, -1, wrong]
    layers = (3, 17, 29)
    width = tokens[0].shape[1]
    with torch.no_grad():
        _, cache = demo.run_with_cache(tokens[0])
        for site, theirs, axis, kept in (
            (ls.resid_pre, patching.get_act_patch_resid_pre, "pos", (2, 3, width - 1)),
            (ls.head_out, patching.get_act_patch_attn_head_out_all_pos, "head", (0, 4, 8)),
            (ls.pattern, patching.get_act_patch_attn_head_pattern_all_pos, "head", (0, 4, 8)),
        ):
            cells = pd.DataFrame([(n, k) for n in layers for k in kept], columns=["layer", axis])
            expected = theirs(
                demo, tokens[1], cache, measured, index_axis_names=None, index_df=cells
            )
            result = ls.activation_patching(
                demo,
                JAPAN,
                ITALY,
                [site(n) for n in layers],
                metric,
                positions=list(kept) if axis == "pos" else ls.ALL,
                heads=None if axis == "pos" else list(kept),
            )
            got = result.data["metric"].values.reshape(-1)
            np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)
            assert np.ptp(got) > 1e-2


# ------------------------------------------------------- circuits that are known


@pytest.fixture(scope="module")
def circuit(backend):
    """Two layers of two heads, worked out by hand; there are no MLPs.

    Token ``j`` is the unit vector ``a_j`` of a first part of the residual stream. Every head looks
    equally at all tokens up to its own (queries and keys are zero). Head (0, 0) copies ``a`` to a
    second part ``b``; head (1, 1) copies ``b`` to a third part ``c``; the others are silent. The
    unembedding reads ``c_j`` as token ``j``. Norms have so large an epsilon that they do nothing.

    Of the prompt ``[x, 3, 3]`` head (0, 0) writes the share 1, 1/2, 1/3 of ``b_x`` at the three
    tokens; head (1, 1) writes their mean at the last, ``(6 + 3 + 2)/18`` of ``c_x``. So the logit
    of 0 less that of 1 is 11/18 for ``x = 0`` and -11/18 for ``x = 1``.
    """
    config = transformers.LlamaConfig(
        vocab_size=4,
        hidden_size=12,
        head_dim=4,
        intermediate_size=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16,
        rms_norm_eps=1e12,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    a, b, c = (slice(4 * n, 4 * n + 4) for n in range(3))
    first, second = slice(0, 4), slice(4, 8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1e6 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[:, a] = torch.eye(4)
        model.lm_head.weight[:, c] = torch.eye(4)
        below, above = (layer.self_attn for layer in model.model.layers)
        below.v_proj.weight[first, a] = torch.eye(4)
        below.o_proj.weight[b, first] = torch.eye(4)
        above.v_proj.weight[second, b] = torch.eye(4)
        above.o_proj.weight[c, second] = torch.eye(4)
    return families.wrap(model, backend, vocab=4)


X, Y = [0, 3, 3], [1, 3, 3]
RIGHT = ls.logit_difference(0, 1)
BY_TOKEN = [6 / 11, 3 / 11, 2 / 11]


def same(got, expected):
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["activation_patching", "attribution_patching"])
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_a_circuit_worked_out_by_hand(circuit, method, direction):
    patching = getattr(ls, method)
    found = lambda site, **how: patching(circuit, X, Y, site, RIGHT, direction, **how)
    kinds = ("resid_pre", "resid_post", "attn_out", "v", "head_out", "q", "k", "pattern", "mlp_out")
    data = found([ls.Site(kind) for kind in kinds]).data.isel(pair=0)
    same(data["clean"], 11 / 18)
    same(data["corrupted"], -11 / 18)
    whole = data["effect"].sel(head=-1)
    same(whole.sel(site="resid_pre"), [[1, 0, 0], BY_TOKEN])
    same(whole.sel(site="resid_post"), [BY_TOKEN, [0, 0, 1]])
    same(whole.sel(site="attn_out"), [BY_TOKEN, [0, 0, 1]])
    same(whole.sel(site="mlp_out"), np.zeros((2, 3)))
    heads = data["effect"].sel(head=[0, 1])
    silent = [0, 0, 0]
    same(heads.sel(site="head_out"), [[BY_TOKEN, silent], [silent, [0, 0, 1]]])
    same(heads.sel(site="v"), [[[1, 0, 0], silent], [silent, BY_TOKEN]])
    for kind in ("q", "k", "pattern"):
        same(heads.sel(site=kind), np.zeros((2, 2, 3)))
    together = found(ls.head_out, positions=ls.ALL)
    same(together.data["effect"][0], [[1, 0], [0, 1]])
    assert together.top(2)[["layer", "head"]].values.tolist() == [[0, 0], [1, 1]]
    same(found(ls.resid_pre(1), positions={"both": slice(0, 2)}).data["effect"], [[[9 / 11]]])


def test_the_paths_of_the_circuit(circuit):
    receivers = [ls.q(1, 1), ls.k(1, 1), ls.v(1, 1), ls.head_out(1, 1), ls.v(1, 0), "logits"]
    sent = ls.path_patching(circuit, X, Y, ls.head_out(0), receivers, RIGHT)
    same(sent.data["effect"].isel(pair=0, layer=0), [[0, 0, 1, 1, 0, 0], [0] * 6])
    last = ls.path_patching(circuit, X, Y, ls.head_out(1), "logits", RIGHT)
    same(last.data["effect"].values.ravel(), [0, 1])
    each = ls.path_patching(
        circuit, X, Y, [ls.head_out(0, 0), ls.embed], ls.v(1, 1), RIGHT, positions=None
    )
    effects = each.data["effect"].isel(pair=0, receiver=0)
    same(effects.sel(site="head_out", head=0, layer=0), BY_TOKEN)
    same(effects.sel(site="embed", head=-1, layer=-1), [0, 0, 0])  # it says nothing of b
    at = ls.path_patching(
        circuit, X, Y, ls.head_out(0, 0), [ls.v(1, 1).at(0), ls.v(1, 1).at(2)], RIGHT
    )
    same(at.data["effect"].values.ravel(), [6 / 11, 2 / 11])


def test_the_circuit_without_what_it_looks_at(circuit):
    cut = lambda layer, **how: (
        ls.attention_knockout(circuit, X, 0, layers=[layer], metric=RIGHT, **how)
        .data["effect"]
        .item()
    )
    assert cut(1, renormalise=False) == pytest.approx(6 / 11, abs=1e-5)
    assert cut(0, renormalise=False) == pytest.approx(2 / 11, abs=1e-5)
    # Half of 1/2 and 1/3 is 5/12 of what was 11/18.
    assert cut(1) == pytest.approx(1 - 15 / 22, abs=1e-5)
    assert cut(1, to=1) == pytest.approx(0, abs=1e-5)
    heads = ls.attention_knockout(
        circuit, X, 0, layers=[1], metric=RIGHT, heads=None, renormalise=False
    )
    same(heads.data["effect"].values.ravel(), [0, 6 / 11])


def test_the_circuit_under_noise(circuit):
    """Everything is linear, so shares add up to 1 whatever the noise was."""
    traced = lambda site: ls.causal_trace(circuit, X, 0, site=site, samples=3, metric=RIGHT)
    states = traced(ls.resid_pre).data["effect"].isel(pair=0)
    same(states.sel(layer=0), [1, 0, 0])
    same(states.sel(layer=1).sum(), 1)
    same(traced(ls.head_out).data["effect"].sel(pair=0, layer=1, head=1), [0, 0, 1])


@pytest.mark.parametrize("head", [(0, 2), (1, 0), (2, 3)], ids=str)
def test_a_planted_head_is_found(head):
    """Of a random model whose other heads whisper."""
    inner = copy.deepcopy(families.hf_model("llama"))
    with torch.no_grad():
        for n, layer in enumerate(inner.model.layers):
            layer.mlp.down_proj.weight.mul_(0.05)
            for h in range(4):
                loud = 3.0 if (n, h) == head else 0.03
                layer.self_attn.o_proj.weight[:, 8 * h : 8 * h + 8] *= loud
    model = families.wrap(inner)
    shared = [*CLEAN[:6]], [*CORRUPTED[:6]]
    clean, corrupted = ([*ids, 11] for ids in shared)  # the last token is the same: heads tell
    for patching in (ls.activation_patching, ls.attribution_patching):
        result = patching(model, clean, corrupted, ls.head_out, difference, positions=ls.ALL)
        first = result.top(1).iloc[0]
        assert (first["layer"], first["head"]) == head, patching.__name__


def test_a_metric_is_a_function_too():
    assert as_metric(difference).name == "difference"
    metric = ls.kl_divergence()
    assert as_metric(metric) is metric


# ------------------------------------------------------- memory


def test_a_memory_budget_reaches_every_run(llama, monkeypatch):
    """Clean runs, sweeps, estimates, verification, what the model itself would answer."""
    from lensscope.engine import capture, generate, run, run_many
    from lensscope.engine.execution import execute

    clean, corrupted = ([families.prompt(5, seed=n) for n in some] for some in ((1, 2), (3, 4)))
    pair, how = (llama, clean, corrupted), {"memory_budget": 1 << 40}
    asks = {
        "activation": lambda **o: ls.activation_patching(*pair, ls.mlp_out, difference, **o),
        "attribution": lambda **o: ls.attribution_patching(
            *pair, [ls.q, ls.k], difference, ig_steps=2, verify=2, sample=2, **o
        ),
        "dropped": lambda **o: ls.attribution_patching(
            *pair, ls.mlp_out, difference, grad_drop=True, **o
        ),
        "paths": lambda **o: ls.path_patching(
            *pair, ls.head_out(0), [ls.q(2), "logits"], difference, **o
        ),
        "live": lambda **o: ls.path_patching(
            *pair, ls.head_out(0), "logits", difference, mlps="live", **o
        ),
        "tracing": lambda **o: ls.causal_trace(llama, clean, 1, samples=2, **o),
        "vocabulary": lambda **o: ls.causal_trace(llama, clean, 1, unit="vocabulary", **o),
        "knockout": lambda **o: ls.attention_knockout(llama, clean, 1, **o),
    }
    budgets = []

    def seen(*args, **more):
        budgets.append(more.get("memory_budget"))
        return execute(*args, **more)

    for name, ask in asks.items():
        whole = ask()
        budgets.clear()
        with monkeypatch.context() as patched:
            for module in (capture, generate, run, run_many):
                patched.setattr(module, "execute", seen)
            found = ask(**how)
        assert budgets, name
        assert set(budgets) == {1 << 40}, name
        np.testing.assert_array_equal(found.data["effect"], whole.data["effect"])
