"""Attribution patching: all effects of activation patching at once, to first order."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lensscope import checks
from lensscope.effects.estimates import Estimate
from lensscope.effects.grid import Cell
from lensscope.effects.measuring import Both, Direction
from lensscope.effects.pairing import PositionsLike
from lensscope.effects.sweeping import How, Sweep
from lensscope.engine.capture import SitesLike
from lensscope.errors import PlanError, SweepError
from lensscope.patching.result import PatchingResult, result_of
from lensscope.patching.verification import verified
from lensscope.values.positions import ALL
from lensscope.values.prompts import PromptsLike


@checks.door(SweepError)
def attribution_patching(
    model: Any,
    clean: PromptsLike,
    corrupted: PromptsLike,
    sites: SitesLike,
    metric: Any,
    direction: Direction = "denoising",
    positions: PositionsLike = None,
    heads: Any = None,
    *,
    keys: Any = ALL,
    window: int = 1,
    ig_steps: int = 1,
    qk_fix: bool = True,
    grad_drop: bool = False,
    verify: int = 0,
    sample: int = 20,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> PatchingResult:
    """Estimate what `activation_patching` would find, whatever the number of cells, from two
    forwards and one backward.

    The estimate of a cell is the gradient of the metric in the run that is patched, times the
    difference of the states (Nanda 2023; Syed et al. 2023, arXiv:2310.10348). It is exact where the
    metric is linear in the states. Arguments not named here are those of `activation_patching`.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        clean: a prompt, or a list of prompts, one for each pair.
        corrupted: as many.
        sites: one or several; without a layer, every layer, without a head, every head.
        metric: one that has a gradient.
        direction: ``"denoising"`` or ``"noising"``.
        positions: as in `activation_patching`.
        heads: as there.
        keys: as there.
        window: as there; the estimates of its layers add up.
        ig_steps: above 1, gradients are averaged over so many runs whose embeddings lie between
            those of the two prompts, at the middles of as many equal steps (integrated gradients;
            Hanna et al. 2024, arXiv:2403.17806, take the steps' ends). As many forwards and
            backwards.
        qk_fix: at ``q`` and ``k``, take the change of the attention pattern as it is, and only what
            follows to first order (AtP*; Kramár et al. 2024, arXiv:2403.00745): one more forward
            for queries, two for keys.
        grad_drop: average the size of the estimate over runs in which no gradient flows through one
            block each, so that effects that cancel are not missed (AtP*, GradDrop): as many
            backwards as blocks. Effects are then sizes, without sign, of each pair by itself.
        verify: run so many of the cells of the largest estimates exactly, and say in
            ``result.settings["verified"]`` how well the estimates agree.
        sample: with ``verify``, so many other cells, drawn at random, to find what was missed.
        seed: of these draws.
        checkpoint: as in `activation_patching`.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a run may take.

    Returns:
        A `PatchingResult` of the estimates. With ``verify``, ``data`` also holds ``exact``: the
        effects that were run, NaN elsewhere.

    Raises:
        PlanError: a metric without a gradient.
        PromptError, SiteError, PositionError, SweepError, ModelError: see `activation_patching`.

    Example:
        >>> effect = ls.attribution_patching(
        ...     model,
        ...     "The capital of Japan is the city of",
        ...     "The capital of Italy is the city of",
        ...     ls.mlp_out,
        ...     ls.logit_difference(" Tokyo", " Rome"),
        ... )
        >>> effect.data.effect.sizes
        Frozen({'pair': 1, 'layer': 30, 'position': 8})
    """
    how = How(direction, positions, heads, keys, window, prepend_bos, memory_budget)
    sweep = Sweep.of(model, clean, corrupted, sites, metric, how)
    checks.gradients_flow("attribution_patching", PlanError)
    fixed = {"q", "k"} & set(sweep.grid.kinds) if qk_fix else set()
    blocks = range(sweep.backend.n_layers) if grad_drop else [None]

    def measure(n: int, runs: Both, cells: list[Cell]) -> tuple[Tensor, float]:
        estimate = Estimate(sweep.backend, runs, sweep.groups[n], sweep.keys[n], fixed, ig_steps)
        found = torch.zeros(len(cells))
        towards = math.copysign(1, runs.source_value - runs.base_value)  # where effects are above 0
        for block in blocks:
            part = estimate.of(cells, sweep.grid.sites, block)
            found += towards * part.abs() / max(1, len(blocks) - 1) if grad_drop else part
        return runs.base_value + found, runs.corrupted

    found = sweep.measured(
        "attribution patching",
        measure,
        checkpoint,
        ig_steps=ig_steps,
        qk_fix=sorted(fixed),
        grad_drop=grad_drop,
    )
    return result_of(verified(sweep, found, verify, sample, seed) if verify else found)
