"""Path patching: what one component says to another, with everything else as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from lensscope import checks
from lensscope.effects.measuring import Direction, Pairwise
from lensscope.effects.pairing import PositionsLike, groups_of
from lensscope.effects.receivers import ReceiversLike, check_order, precedes, receivers_of
from lensscope.effects.sending import Paths
from lensscope.engine.capture import SitesLike
from lensscope.errors import PatchError, SiteError
from lensscope.patching.activation import Asked
from lensscope.patching.result import PatchingResult, result_of
from lensscope.values.positions import ALL
from lensscope.values.prompts import PromptsLike

_SENDERS: Final = ("embed", "head_out", "attn_out", "mlp_out")
_AT_ONCE: Final = 1 << 26
"""So many numbers of what senders write are held at a time."""


@checks.door(PatchError)
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
        PatchError: a receiver that no sender comes before.
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
    asked = Asked.of(
        model,
        clean,
        corrupted,
        senders,
        metric,
        direction,
        positions,
        heads,
        ALL,
        1,
        prepend_bos,
        memory_budget,
    )
    groups_of(asked.pairs, None)  # which refuses prompts of different lengths
    if mlps not in ("frozen", "live"):
        raise PatchError(
            "MLPs on the way are frozen or live.",
            got=f"mlps={mlps!r}",
            expected='"frozen" or "live"',
            instead='mlps="frozen"',
        )
    wrong = [kind for kind in asked.grid.kinds if kind not in _SENDERS]
    if wrong:
        raise SiteError(
            "These sites do not send.",
            got=", ".join(wrong),
            expected="what is written into the residual stream: " + ", ".join(_SENDERS),
            instead="senders=[ls.head_out, ls.mlp_out]",
        )
    named = receivers_of(asked.backend, receivers)
    check_order(asked.backend, list(asked.grid.cells(1, 1)), receivers)
    settings = asked.settings(
        "path patching",
        mlps=mlps,
        receivers={label: [str(r) for r in some] for label, some in named.items()},
    )
    work = Pairwise(len(asked.pairs), (*asked.shape, len(named)))

    def measure(n: int, values: Tensor) -> tuple[float, float]:
        runs = asked.runs(n)
        paths = Paths(asked.backend, runs, live=mlps == "live")
        sent = [
            (cell, r)
            for cell in asked.cells(n)
            for r, some in enumerate(named.values())
            if any(precedes(asked.backend, cell.sites[0], one) for one in some)
        ]
        step = max(1, _AT_ONCE // (len(runs.base) * asked.backend.d_model))
        several = list(named.values())
        for first in range(0, len(sent), step):
            part = sent[first : first + step]
            found = paths.measure(
                [(c.sites[0], asked.groups[n][c.group], several[r]) for c, r in part]
            )
            for (cell, r), value in zip(part, found, strict=True):
                values[cell.index][r] = value
        return runs.clean, runs.corrupted

    with torch.no_grad():
        work.run("path patching", measure, checkpoint, settings | asked.identity())
    return result_of(asked, work, settings, {"receiver": tuple(named)})
