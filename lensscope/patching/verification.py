"""How well estimates agree with what is run exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from lensscope.effects.numbers import ratio_of_means
from lensscope.effects.sweeping import Measured, Sweep


@torch.no_grad()
def verified(sweep: Sweep, found: Measured, top: int, sample: int, seed: int) -> Measured:
    """The same numbers, with the effects of some cells as they are when run.

    Args:
        sweep: what was asked for.
        found: the estimates.
        top: so many cells of the largest estimates are run.
        sample: and so many of the others, drawn at random.
        seed: of this draw.

    Returns:
        The estimates with ``exact`` and ``exact_metric`` in their data, the effect and the metric
        of what was run; their settings say in ``verified`` how many were run, their rank
        correlation (Spearman's), how many of the ``top`` largest of all exact
        effects that were run are among the ``top`` largest estimates, and how many cells of the
        sample were missed: whose exact effect is larger than that of some cell of the top.
    """
    ends = found.clean, found.corrupted
    estimates = ratio_of_means(found.values, *ends, sweep.direction)[0]
    cells = sweep.cells(max(range(len(sweep.groups)), key=lambda n: len(sweep.groups[n])))
    sizes = np.array([abs(estimates[cell.index]) for cell in cells])
    order = np.argsort(-np.nan_to_num(sizes, nan=-1.0), kind="stable")
    first, rest = order[:top].tolist(), order[top:]
    drawn = np.random.default_rng(seed).permutation(len(rest))[:sample]
    chosen = [cells[n] for n in [*first, *rest[drawn].tolist()]]
    values = np.full_like(found.values, np.nan)
    for n, groups in enumerate(sweep.groups):
        runs = sweep.runs(n)
        mine = [cell for cell in chosen if cell.group < len(groups)]
        measured = runs.sweep([sweep.patches(n, runs, cell) for cell in mine])
        for cell, value in zip(mine, measured.tolist(), strict=True):
            values[n][cell.index] = value
    exact = ratio_of_means(values, *ends, sweep.direction)[0]
    run = sweep.dataset(values, *ends)
    data = found.data.assign(exact=run["effect"], exact_metric=run["metric"])
    own, other = ([float(effects[c.index]) for c in chosen] for effects in (estimates, exact))
    if found.settings["grad_drop"]:  # whose estimates are sizes
        other = [abs(value) for value in other]
    report = compared(own, other, top)
    return replace(found, data=data, settings={**found.settings, "verified": report})


def compared(estimates: list[float], exact: list[float], top: int) -> dict[str, Any]:
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
