"""Causal tracing: which state, given back, restores an answer that noise has taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.checks import number
from lensscope.effects.answers import Answers, as_answers, most_probable
from lensscope.effects.grid import Cell
from lensscope.effects.measuring import Both, written
from lensscope.effects.metrics import probability
from lensscope.effects.pairing import GroupLike, PositionsLike, groups_of
from lensscope.effects.sweeping import How, Sweep
from lensscope.engine.capture import SitesLike, capture
from lensscope.errors import SweepError
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.patching.result import PatchingResult, result_of
from lensscope.values.positions import ALL, span
from lensscope.values.prompts import PromptsLike, TokenizedPrompt
from lensscope.values.sites import Site, embed, resid_post


@checks.door(SweepError, subject=checks.listed, answer=as_answers)
def causal_trace(
    model: Any,
    prompt: PromptsLike,
    subject: GroupLike,
    answer: Answers | None = None,
    noise: float = 3.0,
    samples: int = 10,
    window: int = 1,
    site: SitesLike = resid_post,
    *,
    metric: Any = None,
    positions: PositionsLike = None,
    heads: Any = None,
    seed: int = 0,
    unit: Literal["subjects", "vocabulary"] | float = "subjects",
    checkpoint: str | Path | None = None,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> PatchingResult:
    """Blur the subject, give one state at a time back, and see where the answer comes back.

    The embeddings of the subject's tokens get normal noise; each cell then writes the state of the
    unblurred run (Meng et al. 2022, arXiv:2202.05262, section 2). Each cell is run with the same
    draws of noise, and the metric is averaged over them. As in their code, the noise is measured by
    one standard deviation over the embeddings of all subjects' tokens; these are taken as they
    stand in the prompts (their code tokenizes each subject by itself). The paper's indirect effect
    is ``metric - corrupted``; ``effect`` is its share of the total effect.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: a prompt, or a list of prompts.
        subject: what is blurred: a substring (all tokens of it), or another position; for several
            prompts a list with one for each.
        answer: whose probability is measured; by default the token that the model finds most
            probable. For several prompts one for all, or a list.
        noise: its standard deviation, in units of ``unit``; 0 blurs nothing, and every effect is
            NaN.
        samples: draws of noise.
        window: so many layers around each are given back together (Meng et al.: 10 for
            ``attn_out`` and ``mlp_out``).
        site: what is given back; one or several.
        metric: another metric than the answer's probability.
        positions: as in `activation_patching`; every token is a cell by default.
        heads: as there.
        seed: of the noise.
        unit: ``"subjects"``, the standard deviation over all entries of the embeddings of the
            tokens that are blurred, in all prompts of the call; ``"vocabulary"``, of all tokens
            that there are; or a number, such as that of a data set (1 makes ``noise`` absolute).
        checkpoint: as there, of several prompts.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a sweep may take.

    Returns:
        A `PatchingResult`: effect 0 is the blurred run (its mean over the draws), 1 the run as it
        is; ``corrupted`` is the blurred run's metric.

    Raises:
        PromptError: an answer of several tokens.
        SweepError: noise, samples, a seed or a unit that are none.
        PositionError, SiteError, PlanError, ModelError: see there.

    Example:
        >>> trace = ls.causal_trace(
        ...     model, "The capital of Japan is the city of", "Japan", " Tokyo", samples=2
        ... )
        >>> trace.data.effect.sel(layer=0, position=3).item() > 0.5
        True
    """
    backend = backend_of(model)
    if isinstance(unit, str) and unit not in ("subjects", "vocabulary"):
        raise SweepError(
            "There is no such unit of noise.",
            got=f"unit={unit!r}",
            expected='"subjects", "vocabulary" or a number',
            instead='unit="subjects"',
        )
    if not isinstance(unit, str):
        unit = number(unit, "unit", 0, 0.1, SweepError)
    prompts = tokenize(backend, prompt, prepend_bos)
    if metric is not None and answer is not None:
        raise SweepError(
            "There are two things to measure.",
            got=f"answer={answer!r} and metric={metric!r}",
            expected="one of the two: an answer stands for its probability",
            instead=f"answer={answer!r}",
        )
    if metric is None:
        metric = probability(
            most_probable(backend, prompts, memory_budget) if answer is None else answer
        )
    how = How("denoising", positions, heads, ALL, window, prepend_bos, memory_budget)
    sweep = Sweep.of(model, prompts, prompts, site, metric, how)
    blurred = [groups[0].clean for groups in groups_of(sweep.pairs, {"subject": _whole(subject)})]
    with torch.no_grad():
        subjects = _embeddings(sweep, blurred)
        deviation = noise * embedding_deviation(sweep, subjects, unit)

    def measure(n: int, runs: Both, cells: list[Cell]) -> tuple[Tensor, float]:
        restored = [sweep.patches(n, runs, cell) for cell in cells]
        total = torch.zeros(1 + len(cells))
        for draw in _noise(subjects[n], deviation, samples, seed + n):
            blur = written(embed, blurred[n], draw, Site.add)
            total += runs.sweep([blur, *([*blur, *patches] for patches in restored)])
        total /= samples
        return total[1:], float(total[0])

    found = sweep.measured(
        "causal tracing",
        measure,
        checkpoint,
        runs=["blurred run", "clean run"],
        noise=noise,
        samples=samples,
        seed=seed,
        unit=unit,
        blurred=[list(tokens) for tokens in blurred],
    )
    return result_of(replace(found, settings={**found.settings, "deviation": deviation}))


def _whole(subject: Any) -> Any:
    """A substring as all of its tokens."""
    if isinstance(subject, list):
        return [_whole(one) for one in subject]
    return span(subject) if isinstance(subject, str) else subject


def _embeddings(sweep: Sweep, tokens: Sequence[tuple[int, ...]]) -> list[Float[Tensor, "_ width"]]:
    """What some tokens of each prompt are embedded as; some models scale what they look up (Gemma),
    and some embed more narrowly than the residual stream is (OPT-350m)."""
    each = zip(sweep.pairs, tokens, strict=True)
    return [_embedded(sweep, pair.clean)[list(some)] for pair, some in each]


def _embedded(sweep: Sweep, prompt: TokenizedPrompt) -> Float[Tensor, "token width"]:
    model, budget = sweep.backend.model, sweep.memory_budget
    return capture(model, prompt, embed, memory_budget=budget)[embed][0]


def embedding_deviation(
    sweep: Sweep, subjects: Sequence[Float[Tensor, "_ width"]], unit: str | float
) -> float:
    """The standard deviation that noise is measured by, of the embeddings as the model works with
    them.

    Args:
        sweep: the model, and prompts.
        subjects: the embeddings that are blurred.
        unit: as in `causal_trace`.
    """
    if not isinstance(unit, str):
        return unit
    if unit == "subjects":
        return float(torch.cat([one.float() for one in subjects]).std())
    table = sweep.backend.model.W_E.detach()
    prompt = sweep.pairs[0].clean
    ids = torch.tensor(prompt.ids, device=table.device)
    given = _embedded(sweep, prompt).float()
    scale = given.norm() / table[ids].float().norm().clamp_min(1e-30)
    return float(table.float().std() * scale.to(table.device))


def _noise(
    subject: Float[Tensor, "token width"], deviation: float, samples: int, seed: int
) -> list[Float[Tensor, "token width"]]:
    """Draws of noise for some tokens' embeddings."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(samples, *subject.shape, generator=generator)
    return list((draws * deviation).to(subject))
