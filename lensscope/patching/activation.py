"""Activation patching: what a run comes to if one of its states is that of another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from lensscope import checks
from lensscope.effects.grid import Cell
from lensscope.effects.measuring import Both, Direction
from lensscope.effects.pairing import PositionsLike
from lensscope.effects.sweeping import How, Sweep
from lensscope.engine.capture import SitesLike
from lensscope.errors import SweepError
from lensscope.patching.result import PatchingResult, result_of
from lensscope.values.positions import ALL
from lensscope.values.prompts import PromptsLike


@checks.door(SweepError)
def activation_patching(
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
    checkpoint: str | Path | None = None,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> PatchingResult:
    """Put states of one run into another, one cell at a time, and measure what that does.

    *Denoising* writes states of the clean run into the corrupted one: what suffices to bring the
    answer back. *Noising* writes states of the corrupted run into the clean one: what it takes to
    lose it (Heimersheim and Nanda 2024, arXiv:2404.15255).

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        clean: a prompt, or a list of prompts, one for each pair.
        corrupted: as many.
        sites: one or several; without a layer, every layer is a cell, without a head, every head.
        metric: `logit_difference`, `log_probability`, `probability`, `kl_divergence` or `rank` with
            its answers, or a function of the last token's logits, ``[row, 1, d_vocab]`` to
            ``[row]``.
        direction: ``"denoising"`` or ``"noising"``.
        positions: ``None`` makes every token a cell; ``ALL`` patches all at once; a list makes each
            position a cell, and a list of lists has one for each pair; a mapping names groups of
            tokens, such as ``{"subject": ls.span("Eiffel Tower"), "last": -1}``: each a position
            that is meant in both prompts, a tuple of one in the clean and one in the corrupted
            prompt, or a list of these with one for each pair. Prompts that are not equally long
            need such groups.
        heads: ``None`` makes every head a cell; ``ALL`` patches all at once; or a list of heads.
        keys: of patterns: ``ALL`` patches a query's whole row, ``None`` makes every key a cell.
        window: so many layers around each are patched together.
        checkpoint: a file to keep what is measured in, pair by pair; the same call again does only
            the rest.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a sweep may take.

    Returns:
        A `PatchingResult`: the metric of each patched run, and its effect, 0 for what the run that
        is patched gives, 1 for the run that is patched in.

    Raises:
        PromptError: prompts that do not make pairs, or are not aligned; an answer of several
            tokens.
        PlanError: a metric that is not one finite number a run.
        SiteError, PositionError, SweepError, ModelError: see there.
        CheckpointError: a checkpoint that cannot be gone on from.

    Warns:
        UserWarning: the clean run does not prefer its answer, with both figures.

    Example:
        >>> effect = ls.activation_patching(
        ...     model,
        ...     "The capital of Japan is the city of",
        ...     "The capital of Italy is the city of",
        ...     ls.resid_pre(12),
        ...     ls.logit_difference(" Tokyo", " Rome"),
        ... )
        >>> effect.data.effect.sel(position=3).item() > 0.5
        True
    """
    how = How(direction, positions, heads, keys, window, prepend_bos, memory_budget)
    sweep = Sweep.of(model, clean, corrupted, sites, metric, how)

    def measure(n: int, runs: Both, cells: list[Cell]) -> tuple[Tensor, float]:
        return runs.sweep([sweep.patches(n, runs, cell) for cell in cells]), runs.corrupted

    return result_of(sweep.measured("activation patching", measure, checkpoint))
