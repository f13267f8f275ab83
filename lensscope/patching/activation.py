"""Activation patching: what a run comes to if one of its states is that of another run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lensscope import checks
from lensscope.effects.grid import Cell, Grid, grid_of, position_of_sites
from lensscope.effects.measuring import (
    Both,
    Direction,
    Pairwise,
    both,
    check_direction,
    check_pairs,
    place,
    texts_hash,
    written,
)
from lensscope.effects.metrics import PairMetric, as_metric
from lensscope.effects.pairing import Group, Pair, PositionsLike, groups_of, pairs_of
from lensscope.engine.capture import SitesLike
from lensscope.errors import PatchError
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.patching.result import PatchingResult, result_of
from lensscope.values.positions import ALL, All
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Patch


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be patched in what, checked before anything runs.

    Attributes:
        backend: the model.
        pairs: the prompts.
        groups: of tokens, of each pair.
        keys: of tokens whose keys are cells of their own, of each pair.
        grid: of sites.
        metric: what is measured.
        direction: which run is patched.
        memory_budget: bytes that a sweep may take.
        unsure: pairs whose clean run does not prefer its answer, with the metric of both runs.
    """

    backend: Backend
    pairs: list[Pair]
    groups: list[list[Group]]
    keys: list[list[Group]]
    grid: Grid
    metric: PairMetric
    direction: Direction
    memory_budget: int | None
    unsure: list[tuple[int, float, float]] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        sites: SitesLike,
        metric: Any,
        direction: Direction,
        positions: PositionsLike,
        heads: Any,
        keys: Any,
        window: int,
        prepend_bos: bool | None,
        memory_budget: int | None,
    ) -> Asked:
        """What the arguments of `activation_patching` ask for."""
        backend = backend_of(model)
        check_direction(direction)
        found = as_metric(metric)
        pairs = pairs_of(backend, clean, corrupted, prepend_bos)
        positions = position_of_sites(sites, positions)
        whole = isinstance(keys, All)
        grid = grid_of(
            backend,
            sites,
            heads,
            window=window,
            keys=not whole,
            apart=not isinstance(positions, All),
        )
        if "pattern" in grid.kinds:
            groups_of(pairs, None)  # whose keys are tokens: refused unless these are aligned
        groups = groups_of(pairs, positions)
        by_key = [[Group("all", (), ())]] * len(pairs) if whole else groups_of(pairs, keys)
        check_pairs(pairs)
        return cls(backend, pairs, groups, by_key, grid, found, direction, memory_budget)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sites, layers, heads, groups of tokens, and groups of keys of a pair."""
        sizes = [len(names) for names in self.grid.coordinates.values()]
        return (*sizes, max(map(len, self.groups)), max(map(len, self.keys)))

    def cells(self, n: int) -> list[Cell]:
        """The cells of a pair."""
        return list(self.grid.cells(len(self.groups[n]), len(self.keys[n])))

    def runs(self, n: int) -> Both:
        """The two runs of a pair."""
        found = both(
            self.backend,
            self.pairs,
            n,
            self.metric,
            self.direction,
            self.grid.sites,
            self.memory_budget,
        )
        if found.preferred is False:
            self.unsure.append((n, found.clean, found.corrupted))
        return found

    def warn(self) -> None:
        """Say whose clean runs do not prefer their answers."""
        if not self.unsure:
            return
        n, clean, corrupted = self.unsure[0]
        warnings.warn(
            f"In {len(self.unsure)} of {len(self.pairs)} pairs the clean run does not prefer its "
            f"answer: in pair {n}, {self.metric.name} is {clean:.4g} in the clean run and "
            f"{corrupted:.4g} in the corrupted one ({self.pairs[n].clean.text!r}).",
            stacklevel=4,
        )

    def settings(self, method: str, **more: Any) -> dict[str, Any]:
        """How it is done, in words and numbers."""
        grid = self.grid
        return {
            "method": method,
            "direction": self.direction,
            "runs": ["clean run", "corrupted run"]
            if self.direction == "noising"
            else ["corrupted run", "clean run"],
            "metric": self.metric.name,
            "pairs": len(self.pairs),
            "sites": list(grid.kinds),
            "layers": [list(layers) for layers in grid.places],
            "heads": [[list(heads) for heads in layers.values()] for layers in grid.places],
            "window": grid.window,
            "groups": [str(group.label) for group in self.groups[0]],
            **more,
        }

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with a call."""
        return {
            "texts": texts_hash(self.pairs),
            "tokens": _tokens_of(self.groups),
            "keys": _tokens_of(self.keys),
            "answers": repr(self.metric.answers),
            "weights": self.backend.provenance().fingerprint,
        }


def _tokens_of(several: Sequence[Sequence[Group]]) -> str:
    return repr([[(group.clean, group.corrupted) for group in groups] for groups in several])


@checks.door(PatchError)
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
            position a cell; a mapping names groups of tokens, such as
            ``{"subject": ls.span("Eiffel Tower"), "last": -1}``: each a position that is meant in
            both prompts, a tuple of one in the clean and one in the corrupted prompt, or a list
            of these with one for each pair. Prompts that are not equally long need such groups.
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
        SiteError, PositionError, PatchError, ModelError: see there.

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
    asked = Asked.of(
        model,
        clean,
        corrupted,
        sites,
        metric,
        direction,
        positions,
        heads,
        keys,
        window,
        prepend_bos,
        memory_budget,
    )
    settings = asked.settings("activation patching")
    work = Pairwise(len(asked.pairs), asked.shape)

    def measure(n: int, values: Tensor) -> tuple[float, float]:
        runs, cells = asked.runs(n), asked.cells(n)
        found = runs.sweep([patches_of(runs, c, asked.groups[n], asked.keys[n]) for c in cells])
        values[index_of(cells)] = found
        return runs.clean, runs.corrupted

    with torch.no_grad():
        work.run("activation patching", measure, checkpoint, settings | asked.identity())
    return result_of(asked, work, settings)


def index_of(cells: Sequence[Cell]) -> tuple[Tensor, ...]:
    """Where the numbers of cells go."""
    return tuple(torch.tensor([cell.index for cell in cells]).T)


def patches_of(
    runs: Both, cell: Cell, groups: Sequence[Group], keys: Sequence[Group]
) -> list[Patch]:
    """What is written for a cell."""
    to, at = runs.tokens(groups[cell.group])
    patches = []
    for site in cell.sites:
        states = runs.source_states(site)[list(at)]
        if cell.key is None:
            patches += written(site, to, states)
        else:
            columns, read = map(list, runs.tokens(keys[cell.key]))
            patches += [
                one.map(_put(columns, value[..., read]))
                for one, value in zip(
                    place(site, to), [states] if len(place(site, to)) == 1 else states, strict=True
                )
            ]
    return patches


def _put(columns: list[int], value: Tensor) -> Any:
    """Write some keys of a pattern."""

    def put(pattern: Tensor) -> Tensor:
        pattern[..., columns] = value.expand_as(pattern[..., columns])
        return pattern

    return put
