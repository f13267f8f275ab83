"""How well estimates agree with what is run exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from lensscope.effects.grid import AXES
from lensscope.effects.measuring import Pairwise
from lensscope.patching.activation import Asked, patches_of
from lensscope.patching.result import PatchingResult, dataset, ratio_of_means


def verified(
    asked: Asked, work: Pairwise, result: PatchingResult, top: int, sample: int, seed: int
) -> PatchingResult:
    """The same result, with the effects of some cells as they are when run.

    Args:
        asked: what was asked for.
        work: the estimates.
        result: made of them.
        top: so many cells of the largest estimates are run.
        sample: and so many of the others, drawn at random.
        seed: of this draw.

    Returns:
        The result with ``exact`` in its data; its settings say in ``verified`` how many were run,
        their rank correlation (Spearman's), how many of the ``top`` largest of all exact effects
        that were run are among the ``top`` largest estimates, and how many cells of the sample
        were missed: whose exact effect is larger than that of some cell of the top.
    """
    cells = asked.cells(max(range(len(asked.groups)), key=lambda n: len(asked.groups[n])))
    estimates = _effects(asked, work)
    sizes = np.array([abs(estimates[cell.index]) for cell in cells])
    order = np.argsort(-np.nan_to_num(sizes, nan=-1.0), kind="stable")
    first = order[:top].tolist()
    rest = order[top:]
    drawn = np.random.default_rng(seed).permutation(len(rest))[:sample]
    chosen = [cells[n] for n in [*first, *rest[drawn].tolist()]]
    exact = Pairwise(work.pairs, work.shape)
    for n in range(work.pairs):
        runs = asked.runs(n)
        mine = [c for c in chosen if c.group < len(asked.groups[n])]
        with torch.no_grad():
            found = runs.sweep([patches_of(runs, c, asked.groups[n], asked.keys[n]) for c in mine])
        for cell, value in zip(mine, found, strict=True):
            exact.values[n][cell.index] = value
        exact.clean[n], exact.corrupted[n] = runs.clean, runs.corrupted
    true = _effects(asked, exact)
    data = dataset(
        exact,
        {name: tuple(range(size)) for name, size in zip(AXES, work.shape, strict=True)},
        np.full((work.pairs, work.shape[3]), "", dtype=object),
        set(AXES),
        asked.direction,
    )
    shape = tuple(result.data["effect"].sizes[name] for name in result.data["effect"].dims)
    values = data["effect"].transpose("pair", *AXES).values.reshape(shape)
    filled = result.data.assign(exact=(result.data["effect"].dims, values))
    own, other = ([float(numbers[c.index]) for c in chosen] for numbers in (estimates, true))
    if result.settings["grad_drop"]:  # whose estimates are sizes
        other = [abs(value) for value in other]
    report = agreement(own, other, top)
    return replace(result, data=filled, settings={**result.settings, "verified": report})


def _effects(asked: Asked, work: Pairwise) -> Any:
    """Effects over all pairs, ``[site, layer, head, position, key]``, as ratios of means."""
    ends = (work.corrupted.double(), work.clean.double())
    base, source = ends[::-1] if asked.direction == "noising" else ends
    return ratio_of_means(work.values.double().numpy(), base.numpy(), source.numpy())[0]


def agreement(estimates: list[float], exact: list[float], top: int) -> dict[str, Any]:
    """How estimates compare with exact effects; the first ``top`` are those of the largest
    estimates, the others were drawn at random."""
    sizes = np.abs(exact)
    top = min(top, len(sizes))
    largest = set(np.argsort(-sizes, kind="stable")[:top].tolist())
    least = sizes[:top].min()
    ranks = pd.Series(estimates).rank(), pd.Series(exact).rank()
    return {
        "run": len(exact),
        "rank_correlation": float(ranks[0].corr(ranks[1])),
        "overlap": len(largest & set(range(top))) / top,
        "false_negatives": int((sizes[top:] > least).sum()),
        "sample": len(exact) - top,
        "largest_error": float(np.abs(np.array(estimates) - np.array(exact)).max()),
    }
