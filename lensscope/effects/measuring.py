"""One pair of prompts as it is measured: its two runs, and the sweep over patched ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.effects.answers import Subject
from lensscope.effects.metrics import Measure, PairMetric, checked
from lensscope.effects.pairing import Group, Pair
from lensscope.engine.run_many import run_many
from lensscope.errors import PatchError, PromptError
from lensscope.lenses.files import resume, save
from lensscope.model.backend import Backend
from lensscope.progress import one_bar, progress
from lensscope.store.files import path_of
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

    def tokens(self, group: Group) -> tuple[tuple[int, ...], tuple[int, ...]]:
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
    subject = Subject(backend, pair.clean, n, len(pairs), out.logits[0, 0])
    measure = checked(metric.bind(subject), metric.name)
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
        metric.preference(subject),
    )


def place(site: Site, tokens: Sequence[int]) -> list[Site]:
    """A site at some tokens: one site if they follow each other, else one for each."""
    first, n = tokens[0], len(tokens)
    if list(tokens) == list(range(first, first + n)):
        return [site.at(slice(first, first + n))]
    return [site.at(token) for token in tokens]


def written(site: Site, tokens: Sequence[int], values: Tensor) -> list[Patch]:
    """The patches that write a value at each of some tokens."""
    places = place(site, tokens)
    if len(places) == 1:
        return [places[0].set(values)]
    return [one.set(value) for one, value in zip(places, values, strict=True)]


def check_direction(direction: str) -> None:
    """Refuse a direction that is none.

    Raises:
        PatchError: with the two that there are.
    """
    if direction not in ("denoising", "noising"):
        raise PatchError(
            "There is no such direction of patching.",
            got=repr(direction),
            expected='"denoising" (clean states into the corrupted run) or "noising" (the other '
            "way round)",
            instead='direction="denoising"',
        )


# ------------------------------------------------------- many pairs


@dataclass(eq=False)
class Pairwise:
    """Measures pair after pair, and holds nothing of them but the numbers.

    Attributes:
        shape: of the numbers of a pair.
        clean, corrupted: the metric of the two runs of each pair.
        values: the metric of each patched run, NaN where there is none.
    """

    pairs: int
    shape: tuple[int, ...]
    values: Float[Tensor, "pair *cells"] = field(init=False)
    clean: Float[Tensor, " pair"] = field(init=False)
    corrupted: Float[Tensor, " pair"] = field(init=False)
    done: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.values = torch.full((self.pairs, *self.shape), torch.nan)
        self.clean = torch.full((self.pairs,), torch.nan)
        self.corrupted = torch.full((self.pairs,), torch.nan)
        self.done = torch.zeros(self.pairs, dtype=torch.bool)

    def run(
        self,
        what: str,
        measure: Callable[[int, Tensor], tuple[float, float]],
        checkpoint: str | Path | None,
        settings: Mapping[str, Any],
    ) -> None:
        """Measure the pairs that are not measured yet.

        Args:
            what: what is done, for the bar and the checkpoint.
            measure: given the number of a pair and where its numbers go; gives the metric of its
                clean and its corrupted run.
            checkpoint: a file to keep what is measured in.
            settings: what must be the same for it to be gone on with.
        """
        path = None if checkpoint is None else path_of(checkpoint)
        found = resume(path, what, settings, what, self._held())
        if found is not None:
            held = found[1]
            self.values, self.done = held["values"], held["done"]
            self.clean, self.corrupted = held["clean"], held["corrupted"]
        left = [n for n in range(self.pairs) if not self.done[n]]
        if self.pairs == 1 and left:
            self._one(0, measure)
        elif left:
            before = self.pairs - len(left)
            with progress(self.pairs, what, "pair", initial=before) as bar, one_bar():
                for n in left:
                    self._one(n, measure)
                    self._save(path, what, settings)
                    bar.update(1)
        self._save(path, what, settings)

    def _one(self, n: int, measure: Callable[[int, Tensor], tuple[float, float]]) -> None:
        self.clean[n], self.corrupted[n] = measure(n, self.values[n])
        self.done[n] = True

    def _save(self, path: Path | None, what: str, settings: Mapping[str, Any]) -> None:
        if path is not None:
            save(path, {"kind": what, "settings": dict(settings)}, self._held())

    def _held(self) -> dict[str, Tensor]:
        held = {"values": self.values, "done": self.done}
        return held | {"clean": self.clean, "corrupted": self.corrupted}


def texts_hash(pairs: Sequence[Pair]) -> str:
    """A hash of the tokens of pairs, by which a checkpoint knows them again."""
    text = repr([(pair.clean.ids, pair.corrupted.ids) for pair in pairs])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Refuse to go on without pairs.

    Raises:
        PromptError: no pairs.
    """
    if not pairs:
        raise PromptError(
            "There are no pairs.",
            got="empty lists",
            expected="at least one clean and one corrupted prompt",
            instead='clean="… France …", corrupted="… Japan …"',
        )
