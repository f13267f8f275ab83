"""Attention knockout: what a run comes to if some tokens may not look at others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lensscope import checks
from lensscope.answers import most_probable
from lensscope.backends import backend_of
from lensscope.errors import PatchError
from lensscope.metrics import as_metric, probability
from lensscope.operations import Map
from lensscope.patching.activation import Asked, index_of
from lensscope.patching.measuring import Pairwise, place
from lensscope.patching.pairing import GroupLike, groups_of
from lensscope.patching.result import PatchingResult, result_of
from lensscope.positions import ALL, PositionLike, as_position
from lensscope.prompts import PromptsLike, tokenize
from lensscope.sites import pattern


@checks.door(PatchError, from_=checks.listed, to=checks.listed)
def attention_knockout(
    model: Any,
    prompt: PromptsLike,
    from_: PositionLike | Mapping[str, GroupLike],
    to: GroupLike = -1,
    layers: Any = None,
    *,
    metric: Any = None,
    window: int = 1,
    heads: Any = ALL,
    renormalise: bool = False,
    checkpoint: str | Path | None = None,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> PatchingResult:
    """Keep some tokens from looking at others, some layers at a time, and measure what is lost.

    The pattern's entries from the tokens ``to`` (queries) to the tokens ``from_`` (keys), from
    which information would flow, become zero. Geva et al. (2023, arXiv:2304.14767, section 5) mask
    them before the softmax, which gives their weight to the other keys: that is
    ``renormalise=True``.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: a prompt, or a list of prompts.
        from_: the tokens that are not looked at: a position, or a mapping of names to positions,
            each a cell.
        to: the tokens that do not look: a position.
        layers: the middles of the windows; all by default.
        metric: what is measured; by default the probability of the token that the model finds most
            probable.
        window: so many layers around each are knocked out together.
        heads: ``ALL`` together, ``None`` for each by itself, or a list of heads.
        renormalise: let the weights that are left add up to what they did before.
        checkpoint: as in `activation_patching`, of several prompts.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a sweep may take.

    Returns:
        A `PatchingResult` with ``from_`` along ``position``. The effect is the share of the
        metric that is lost: 0 is the run as it is, 1 a metric of zero.

    Raises:
        PatchError: a token that cannot look at any of the others, which come after it.
        PositionError, SiteError, PlanError, PromptError, ModelError: see there.

    Example:
        >>> knocked = ls.attention_knockout(
        ...     model, "The capital of Japan is the city of", "Japan", window=30, layers=[15]
        ... )
        >>> round(knocked.data.effect.item(), 2)
        0.13
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    if metric is None:
        metric = probability(most_probable(backend, prompts))
    numbers = [None] if layers is None else list(layers) if _several(layers) else [layers]
    asked = Asked.of(
        model,
        prompts,
        prompts,
        [pattern(n) for n in numbers],
        as_metric(metric),
        "noising",
        from_ if isinstance(from_, Mapping) else {_label(from_): from_},
        heads,
        ALL,
        window,
        prepend_bos,
        memory_budget,
    )
    queries = [groups[0].clean for groups in groups_of(asked.pairs, {"to": to})]
    for n, groups in enumerate(asked.groups):
        for group in groups:
            if min(group.clean) > max(queries[n]):
                raise PatchError(
                    f"The tokens of prompt {n} cannot look at what comes after them.",
                    got=f"to={list(queries[n])}, from_={list(group.clean)} ({group.label!r})",
                    expected="at least one token in from_ that is not after those in to",
                    instead="attention_knockout(model, prompt, from_=subject, to=-1)",
                )
    settings = asked.settings(
        "attention knockout",
        runs=["clean run", "nothing"],
        renormalise=renormalise,
        to=[list(tokens) for tokens in queries],
    )
    work = Pairwise(len(asked.pairs), asked.shape)

    def measure(n: int, values: Tensor) -> tuple[float, float]:
        runs, cells = asked.runs(n), asked.cells(n)
        found = runs.sweep(
            [
                [
                    one.map(_without(asked.groups[n][cell.group].clean, renormalise=renormalise))
                    for site in cell.sites
                    for one in place(site, queries[n])
                ]
                for cell in cells
            ]
        )
        values[index_of(cells)] = found
        return runs.clean, 0.0

    with torch.no_grad():
        work.run("attention knockout", measure, checkpoint, settings | asked.identity())
    return result_of(asked, work, settings)


def _label(where: Any) -> str:
    found = as_position(where)
    return found if isinstance(found, str) else getattr(found, "text", repr(found))


def _several(layers: Any) -> bool:
    return isinstance(layers, list | tuple | range)


def _without(keys: tuple[int, ...], *, renormalise: bool) -> Map:
    """A pattern without some keys."""
    columns = list(keys)

    def knocked(weights: Tensor) -> Tensor:
        left = weights.clone()
        left[..., columns] = 0
        if renormalise:
            share = left.sum(-1, keepdim=True)
            whole = weights.sum(-1, keepdim=True)
            left = torch.where(share > 0, left * (whole / share.clamp_min(1e-30)), left)
        return left

    return knocked
