"""Attention knockout: what a run comes to if some tokens may not look at others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.checks import Layers
from lensscope.effects.answers import most_probable
from lensscope.effects.grid import Cell
from lensscope.effects.measuring import Both, place
from lensscope.effects.metrics import probability
from lensscope.effects.pairing import GroupLike, groups_of, label_of
from lensscope.effects.sweeping import How, Sweep
from lensscope.errors import SweepError
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.patching.result import PatchingResult, result_of
from lensscope.values.operations import Map
from lensscope.values.positions import ALL, PositionLike
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Patch, Site, pattern


@checks.door(SweepError, from_=checks.listed, to=checks.listed)
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
    renormalise: bool = True,
    checkpoint: str | Path | None = None,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> PatchingResult:
    """Keep some tokens from looking at others, some layers at a time, and measure what is lost.

    The tokens ``to`` (queries) do not see the tokens ``from_`` (keys), from which information would
    flow: the keys are masked before the softmax, so their weight goes to what else a query sees,
    an attention sink too (Geva et al. 2023, arXiv:2304.14767, section 5). A query that sees nothing
    else takes in nothing.

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
        renormalise: ``False`` departs from the paper: the weights of the keys become zero after
            the softmax, and those of the others stay as they are.
        checkpoint: as in `activation_patching`, of several prompts.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a sweep may take.

    Returns:
        A `PatchingResult` with ``from_`` along ``position``. The effect is the share of the
        metric that is lost: 0 is the run as it is, 1 a metric of zero.

    Raises:
        SweepError: a token that cannot look at any of the others, which come after it; a query
            whose weights are all on the keys, so that in this precision nothing is left of the
            others' to tell them by.
        PositionError, SiteError, PlanError, PromptError, ModelError: see there.

    Example:
        >>> knocked = ls.attention_knockout(
        ...     model, "The capital of Japan is the city of", "Japan", window=30, layers=[15]
        ... )
        >>> round(knocked.data.effect.item(), 2)
        0.17
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    if metric is None:
        metric = probability(most_probable(backend, prompts, memory_budget))
    numbers = [None] if layers is None else Layers(layers).among(backend.n_layers)
    positions = from_ if isinstance(from_, Mapping) else {str(label_of(from_)): from_}
    how = How("noising", positions, heads, ALL, window, prepend_bos, memory_budget)
    sweep = Sweep.of(model, prompts, prompts, [pattern(n) for n in numbers], metric, how)
    queries = [groups[0].clean for groups in groups_of(sweep.pairs, {"to": to})]
    for n, groups in enumerate(sweep.groups):
        for group in groups:
            if min(group.clean) > max(queries[n]):
                raise SweepError(
                    f"The tokens of prompt {n} cannot look at what comes after them.",
                    got=f"to={list(queries[n])}, from_={list(group.clean)} ({group.label!r})",
                    expected="at least one token in from_ that is not after those in to",
                    instead="attention_knockout(model, prompt, from_=subject, to=-1)",
                )

    def measure(n: int, runs: Both, cells: list[Cell]) -> tuple[Tensor, float]:
        def cut(site: Site, keys: tuple[int, ...]) -> list[Patch]:
            if not renormalise:
                return [one.map(_zeroed(keys)) for one in place(site, queries[n])]
            sink = _has_sink(runs.base_states(site.whole))
            return [site.at(q).map(_masked(site, q, keys, sink=sink)) for q in queries[n]]

        rows = [
            [p for site in cell.sites for p in cut(site, sweep.groups[n][cell.group].clean)]
            for cell in cells
        ]
        return runs.sweep(rows), 0.0

    found = sweep.measured(
        "attention knockout",
        measure,
        checkpoint,
        runs=["clean run", "nothing"],
        renormalise=renormalise,
        to=[list(tokens) for tokens in queries],
    )
    return result_of(found)


def _zeroed(keys: tuple[int, ...]) -> Map:
    """A pattern without some keys, and nothing in their place."""

    def knocked(weights: Tensor) -> Tensor:
        weights[..., list(keys)] = 0
        return weights

    return knocked


def _has_sink(pattern: Float[Tensor, "position head key"]) -> bool:
    """Whether weights of a layer go where there is no token, so that the others do not add up to 1
    (GPT-OSS)."""
    missing = 1 - pattern.float().sum(-1)
    return bool((missing > 8 * torch.finfo(pattern.dtype).eps).any())


def _masked(site: Site, query: int, keys: tuple[int, ...], *, sink: bool) -> Map:
    """A query's weights as they are with some keys masked before the softmax.

    What is left is divided by its own sum, which keeps its precision where next to nothing is left
    (1 less what goes would not), and by what a sink takes.
    """
    others = set(range(query + 1)) - set(keys)

    def knocked(weights: Tensor) -> Tensor:
        limits = torch.finfo(weights.dtype)
        found = weights.float()
        taken = (1 - found.sum(-1, keepdim=True)).clamp_min(0) if sink else 0.0
        found[..., list(keys)] = 0
        left = found.sum(-1, keepdim=True) + taken
        least = 4 * limits.eps if sink else limits.tiny
        lost = left < least
        if others and bool(lost.any()):
            raise SweepError(
                f"All that token {query} looks at in {site!r} is knocked out.",
                got=f"weights of {float(left.min()):.1e} in all on what else it sees, in "
                f"{str(weights.dtype).removeprefix('torch.')}",
                expected=f"at least {least:.1e}, from which those without the keys can be told",
                instead="renormalise=False, fewer keys, or a model in float32",
            )
        return torch.where(lost, found, found / left.clamp_min(least)).to(weights.dtype)

    return knocked
