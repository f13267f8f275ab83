"""Causal tracing: which state, given back, restores an answer that noise has taken away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.effects.answers import Answers, as_answers, most_probable
from lensscope.effects.measuring import Pairwise, place
from lensscope.effects.metrics import as_metric, probability
from lensscope.effects.pairing import GroupLike, PositionsLike, groups_of
from lensscope.engine.capture import SitesLike, capture
from lensscope.errors import PatchError
from lensscope.lenses.checks import number, whole_number
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.patching.activation import Asked, index_of, patches_of
from lensscope.patching.result import PatchingResult, result_of
from lensscope.values.positions import ALL, span
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Patch, embed, resid_post


@checks.door(PatchError, subject=checks.listed, answer=as_answers)
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
        noise: its standard deviation, in units of ``unit``.
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
        PatchError: noise, samples, a seed or a unit that are none.
        PositionError, SiteError, PlanError, ModelError: see there.

    Example:
        >>> trace = ls.causal_trace(
        ...     model, "The capital of Japan is the city of", "Japan", " Tokyo", samples=2
        ... )
        >>> trace.data.effect.sel(layer=0, position=3).item() > 0.5
        True
    """
    backend = backend_of(model)
    number(noise, "noise", 0, 3, PatchError)
    whole_number(samples, "samples", 1, 10, PatchError)
    whole_number(seed, "seed", 0, 0, PatchError)
    if isinstance(unit, str) and unit not in ("subjects", "vocabulary"):
        raise PatchError(
            "There is no such unit of noise.",
            got=f"unit={unit!r}",
            expected='"subjects", "vocabulary" or a number',
            instead='unit="subjects"',
        )
    if not isinstance(unit, str):
        unit = number(unit, "unit", 0, 0.1, PatchError)
    prompts = tokenize(backend, prompt, prepend_bos)
    if metric is not None and answer is not None:
        raise PatchError(
            "There are two things to measure.",
            got=f"answer={answer!r} and metric={metric!r}",
            expected="one of the two: an answer stands for its probability",
            instead=f"answer={answer!r}",
        )
    if metric is None:
        metric = probability(most_probable(backend, prompts) if answer is None else answer)
    asked = Asked.of(
        model,
        prompts,
        prompts,
        site,
        as_metric(metric),
        "denoising",
        positions,
        heads,
        ALL,
        window,
        prepend_bos,
        memory_budget,
    )
    blurred = [groups[0].clean for groups in groups_of(asked.pairs, {"subject": _whole(subject)})]
    settings = asked.settings(
        "causal tracing",
        runs=["blurred run", "clean run"],
        noise=noise,
        samples=samples,
        seed=seed,
        unit=unit,
        blurred=[list(b) for b in blurred],
    )
    work = Pairwise(len(asked.pairs), asked.shape)
    with torch.no_grad():
        subjects = _embeddings(asked, blurred)
        deviation = embedding_deviation(asked, subjects, unit)

    def measure(n: int, values: Tensor) -> tuple[float, float]:
        runs, cells = asked.runs(n), asked.cells(n)
        restored = [patches_of(runs, c, asked.groups[n], asked.keys[n]) for c in cells]
        total = torch.zeros(1 + len(cells))
        for draw in _noise(subjects[n], noise * deviation, samples, seed + n):
            blur = _blur(blurred[n], draw)
            total += runs.sweep([blur, *([*blur, *patches] for patches in restored)])
        total /= samples
        values[index_of(cells)] = total[1:]
        return runs.clean, float(total[0])

    with torch.no_grad():
        work.run("causal tracing", measure, checkpoint, settings | asked.identity())
    return result_of(asked, work, {**settings, "deviation": noise * deviation})


def _whole(subject: Any) -> Any:
    """A substring as all of its tokens."""
    if isinstance(subject, list):
        return [_whole(one) for one in subject]
    return span(subject) if isinstance(subject, str) else subject


def _embeddings(asked: Asked, tokens: Sequence[tuple[int, ...]]) -> list[Float[Tensor, "_ width"]]:
    """What some tokens of each prompt are embedded as; some models scale what they look up (Gemma),
    and some embed more narrowly than the residual stream is (OPT-350m)."""
    found = []
    for pair, some in zip(asked.pairs, tokens, strict=True):
        states = capture(asked.backend, pair.clean, embed)[embed][0]
        found.append(states[list(some)])
    return found


def embedding_deviation(
    asked: Asked, subjects: Sequence[Float[Tensor, "_ width"]], unit: str | float
) -> float:
    """The standard deviation that noise is measured by, of the embeddings as the model works with
    them.

    Args:
        asked: the model, and prompts.
        subjects: the embeddings that are blurred.
        unit: as in `causal_trace`.
    """
    if not isinstance(unit, str):
        return unit
    if unit == "subjects":
        return float(torch.cat([one.float() for one in subjects]).std())
    table = asked.backend.model.W_E.detach()
    prompt = asked.pairs[0].clean
    ids = torch.tensor(prompt.ids, device=table.device)
    given = capture(asked.backend, prompt, embed)[embed][0].float()
    scale = given.norm() / table[ids].float().norm().clamp_min(1e-30)
    return float(table.float().std() * scale.to(table.device))


def _noise(
    subject: Float[Tensor, "token width"], deviation: float, samples: int, seed: int
) -> list[Float[Tensor, "token width"]]:
    """Draws of noise for some tokens' embeddings."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(samples, *subject.shape, generator=generator)
    return list((draws * deviation).to(subject))


def _blur(tokens: tuple[int, ...], draw: Tensor) -> list[Patch]:
    places = place(embed, tokens)
    if len(places) == 1:
        return [places[0].add(draw)]
    return [one.add(value) for one, value in zip(places, draw, strict=True)]
