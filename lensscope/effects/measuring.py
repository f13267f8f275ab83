"""One pair of prompts as it is measured: its two runs, and patched ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

from lensscope.effects.answers import Case
from lensscope.effects.metrics import Measure, PairMetric, checked
from lensscope.effects.pairing import Pair, TokenGroup
from lensscope.engine.run_many import run_many
from lensscope.model.backend import Backend
from lensscope.values.cache import Cache
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Patch, Site

Direction: TypeAlias = Literal["denoising", "noising"]


@dataclass(frozen=True, eq=False)
class Both:
    """The two runs of a pair, and how a patched one is measured.

    Attributes:
        backend: the model.
        pair: the prompts.
        direction: which of them is patched.
        measure: of logits ``[row, 1, d_vocab]``, a number a row.
        clean, corrupted: what it gives for the two runs.
        cache: what both held where it was asked for, the clean run first.
        memory_budget: bytes that a sweep may take.
        preferred: whether the clean run prefers the right answer, as far as there is one.
    """

    backend: Backend
    pair: Pair
    direction: Direction
    measure: Measure
    clean: float
    corrupted: float
    cache: Cache
    memory_budget: int | None = None
    preferred: bool | None = None

    @property
    def noising(self) -> bool:
        return self.direction == "noising"

    @property
    def base(self) -> TokenizedPrompt:
        """The prompt whose run is patched."""
        return self.pair.clean if self.noising else self.pair.corrupted

    @property
    def base_value(self) -> float:
        """The metric of the run that is patched."""
        return self.clean if self.noising else self.corrupted

    @property
    def source_value(self) -> float:
        """The metric of the run that is patched in."""
        return self.corrupted if self.noising else self.clean

    def tokens(self, group: TokenGroup) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The tokens that are written, and those that are read for them."""
        found = (group.clean, group.corrupted)
        return found if self.noising else (found[1], found[0])

    def source_states(self, site: Site) -> Float[Tensor, "position *axes"]:
        """What the run that is patched in held, over all tokens."""
        return self._states(site, int(self.noising))

    def base_states(self, site: Site) -> Float[Tensor, "position *axes"]:
        """What the run that is patched held, over all tokens."""
        return self._states(site, int(not self.noising))

    def _states(self, site: Site, row: int) -> Tensor:
        width = len(self.pair.corrupted if row else self.pair.clean)
        states = self.cache[site][row, :width]
        return states[..., :width] if site.kind == "pattern" else states

    def sweep(self, patchsets: Sequence[Sequence[Patch]]) -> Float[Tensor, " row"]:
        """The metric of the base run under each list of patches."""
        out = run_many(
            self.backend,
            self.base,
            patchsets,
            metric=self.measure,
            memory_budget=self.memory_budget,
        )
        assert out.metric is not None
        return out.metric.detach().float().cpu()


def both(
    backend: Backend,
    pairs: Sequence[Pair],
    n: int,
    metric: PairMetric,
    direction: Direction,
    sites: Sequence[Site],
    memory_budget: int | None = None,
) -> Both:
    """Run a pair's two prompts, and bind the metric to them.

    Raises:
        PlanError: a metric that is not one finite number a run.
    """
    pair = pairs[n]
    prompts = [pair.clean, pair.corrupted]
    out = run_many(backend, prompts, [[], []], keep=list(sites), memory_budget=memory_budget)
    assert out.logits is not None
    case = Case(backend, pair.clean, n, len(pairs), out.logits[0, 0])
    measure = checked(metric.bind(case), metric.name)
    clean, corrupted = measure(out.logits).tolist()
    return Both(
        backend,
        pair,
        direction,
        measure,
        clean,
        corrupted,
        out.cache,
        memory_budget,
        metric.preference(case),
    )


def place(site: Site, tokens: Sequence[int]) -> list[Site]:
    """A site at some tokens: one site if they follow each other, else one for each."""
    first, n = tokens[0], len(tokens)
    if list(tokens) == list(range(first, first + n)):
        return [site.at(slice(first, first + n))]
    return [site.at(token) for token in tokens]


def written(
    site: Site,
    tokens: Sequence[int],
    values: Tensor,
    verb: Callable[[Site, Tensor], Patch] = Site.set,
) -> list[Patch]:
    """The patches that write a value at each of some tokens."""
    places = place(site, tokens)
    each = [values] if len(places) == 1 else values
    return [verb(one, value) for one, value in zip(places, each, strict=True)]
