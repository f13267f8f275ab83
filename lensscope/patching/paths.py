"""Path patching: what one component says to another, with everything else as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lensscope import checks
from lensscope.effects.measuring import Direction
from lensscope.effects.pairing import PositionsLike
from lensscope.effects.paths import measured_paths
from lensscope.effects.receivers import ReceiversLike
from lensscope.effects.sweeping import How
from lensscope.engine.capture import SitesLike
from lensscope.errors import SweepError
from lensscope.patching.result import PatchingResult, result_of
from lensscope.values.positions import ALL
from lensscope.values.prompts import PromptsLike


@checks.door(SweepError)
def path_patching(
    model: Any,
    clean: PromptsLike,
    corrupted: PromptsLike,
    senders: SitesLike,
    receivers: ReceiversLike,
    metric: Any,
    direction: Direction = "denoising",
    positions: PositionsLike = ALL,
    heads: Any = None,
    *,
    mlps: Literal["frozen", "live"] = "frozen",
    checkpoint: str | Path | None = None,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> PatchingResult:
    """Let a receiver alone see a sender as it is in the other run, and measure what that does.

    The sender's output is that of the other run on the paths that lead straight to the receiver;
    on all others it is what it was, and so is every other component on the way. What the receiver
    then gives goes on to the logits with nothing held (Goldowsky-Dill et al. 2023,
    arXiv:2304.05969). Wang et al. (2022, arXiv:2211.00593, section 3.1) hold heads but let MLPs on
    the way answer: that is ``mlps="live"``. It is exact: the residual stream is a sum, so what the
    receiver takes in changes by what the sender writes.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        clean: a prompt, or a list of prompts, one for each pair.
        corrupted: as many, each as long as its partner.
        senders: ``head_out``, ``attn_out``, ``mlp_out`` or ``embed``; each a cell, as in
            `activation_patching`.
        receivers: ``q``, ``k``, ``v`` of heads (with grouped queries, ``k`` and ``v`` are those of
            a whole group), ``head_out`` for a head by all three, ``mlp_out`` for what an MLP takes
            in, ``"logits"``; with a position, only there. A list makes each a cell; a mapping names
            receivers that see the sender together: what some of them write then reaches the others
            too, as it does in the model. Without a layer or head, each is meant.
        metric: as in `activation_patching`.
        direction: ``"denoising"`` or ``"noising"``.
        positions: of the senders, as in `activation_patching`.
        heads: of the senders, as there.
        mlps: ``"frozen"`` as everything else, or ``"live"``: paths may lead through MLPs between
            sender and receiver, as in Wang et al.
        checkpoint: as in `activation_patching`.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a sweep may take.

    Returns:
        A `PatchingResult` with an axis ``receiver``; NaN where a sender comes after the receiver.

    Raises:
        SweepError: a receiver that no sender comes before.
        SiteError: sites that neither send nor receive.
        PromptError, PlanError, PositionError, ModelError: see `activation_patching`.

    Example:
        >>> effect = ls.path_patching(
        ...     model,
        ...     "The capital of Japan is the city of",
        ...     "The capital of Italy is the city of",
        ...     ls.mlp_out(0),
        ...     [ls.mlp_out(1), "logits"],
        ...     ls.logit_difference(" Tokyo", " Rome"),
        ... )
        >>> effect.data.effect.sizes
        Frozen({'pair': 1, 'layer': 1, 'receiver': 2})
    """
    how = How(direction, positions, heads, ALL, 1, prepend_bos, memory_budget)
    found = measured_paths(
        model, clean, corrupted, senders, receivers, metric, how, mlps, checkpoint
    )
    return result_of(found)
