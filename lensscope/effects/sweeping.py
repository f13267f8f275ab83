"""The sweep over pairs: what is measured in what, and each pair's cells measured in turn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from lensscope.effects.answers import Case
from lensscope.effects.checkpoints import measured_each
from lensscope.effects.grid import AXES, NONE, Cell, Grid, grid_of, position_of_sites
from lensscope.effects.measuring import Both, Direction, both, written
from lensscope.effects.metrics import PairMetric, as_metric
from lensscope.effects.numbers import dataset
from lensscope.effects.pairing import (
    Pair,
    PositionsLike,
    TokenGroup,
    check_pairs,
    groups_of,
    pairs_of,
)
from lensscope.engine.capture import SitesLike
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.store.files import path_of
from lensscope.store.json_text import hash_of
from lensscope.values.positions import ALL, All
from lensscope.values.prompts import PromptsLike
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Patch, Site

MeasurePair: TypeAlias = Callable[[int, Both, list[Cell]], tuple[Tensor, float]]
"""Of the number of a pair, its two runs and its cells: the metric of each cell, ``[cell, …]``, and
the metric that stands for the corrupted run."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What a sweep has found.

    Attributes:
        data: with named axes.
        settings: how it was done.
        provenance: of the model.
        values: the metric of each patched run, ``[pair, *axes]``, NaN where there is none.
        clean, corrupted: the metric of the two runs of each pair.
    """

    data: xr.Dataset
    settings: dict[str, Any]
    provenance: Provenance
    values: Float[np.ndarray, "pair *axes"]
    clean: Float[np.ndarray, " pair"]
    corrupted: Float[np.ndarray, " pair"]


@dataclass(frozen=True, eq=False)
class How:
    """How pairs are swept: arguments that `activation_patching` and its kin have in common."""

    direction: Direction = "denoising"
    positions: PositionsLike = None
    heads: Any = None
    keys: Any = ALL
    window: int = 1
    prepend_bos: bool | None = None
    memory_budget: int | None = None


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is to be patched in what, checked before anything runs.

    Attributes:
        backend: the model.
        pairs: the prompts.
        groups: of tokens, of each pair.
        keys: of tokens whose keys are cells of their own, of each pair.
        grid: of sites.
        metric: what is measured.
        direction: which run is patched.
        memory_budget: bytes that a run of the model may take.
    """

    backend: Backend
    pairs: list[Pair]
    groups: list[list[TokenGroup]]
    keys: list[list[TokenGroup]]
    grid: Grid
    metric: PairMetric
    direction: Direction
    memory_budget: int | None

    @classmethod
    def of(
        cls,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        sites: SitesLike,
        metric: Any,
        how: How,
    ) -> Sweep:
        """What the arguments of `activation_patching` ask for."""
        backend = backend_of(model)
        found = as_metric(metric)
        pairs = pairs_of(backend, clean, corrupted, how.prepend_bos)
        positions = position_of_sites(backend, sites, how.positions)
        whole = isinstance(how.keys, All)
        grid = grid_of(
            backend,
            sites,
            how.heads,
            window=how.window,
            keys=not whole,
            apart=not isinstance(positions, All),
        )
        if "pattern" in grid.kinds:
            groups_of(pairs, None)  # whose keys are tokens: refused unless these are aligned
        groups = groups_of(pairs, positions)
        every = [[TokenGroup("all", (), ())]] * len(pairs)
        by_key = every if whole else groups_of(pairs, how.keys)
        check_pairs(pairs)
        for n, pair in enumerate(pairs):  # refused before anything runs
            found.bind(Case(backend, pair.clean, n, len(pairs), torch.zeros(backend.d_vocab)))
        return cls(backend, pairs, groups, by_key, grid, found, how.direction, how.memory_budget)

    def cells(self, n: int) -> list[Cell]:
        """The cells of a pair."""
        return list(self.grid.cells(len(self.groups[n]), len(self.keys[n])))

    def runs(self, n: int) -> Both:
        """The two runs of a pair."""
        return both(
            self.backend,
            self.pairs,
            n,
            self.metric,
            self.direction,
            self.grid.sites,
            self.memory_budget,
        )

    def patches(self, n: int, runs: Both, cell: Cell) -> list[Patch]:
        """What is written for a cell of a pair: the states of the other run."""
        to, at = runs.tokens(self.groups[n][cell.group])
        found = []
        for site in cell.sites:
            states = runs.source_states(site)[list(at)]
            if cell.key is None:
                found += written(site, to, states)
                continue
            columns, read = map(list, runs.tokens(self.keys[n][cell.key]))
            found += written(site, to, states[..., read], partial(_put, columns))
        return found

    def measured(
        self,
        method: str,
        measure: MeasurePair,
        checkpoint: str | Path | None = None,
        axes: dict[str, tuple[Any, ...]] | None = None,
        **settings: Any,
    ) -> Measured:
        """Measure all pairs, and hold nothing of them but the numbers.

        Args:
            method: what it is called, for the bar and the checkpoint too.
            measure: measures one pair.
            checkpoint: a file to keep what is measured in; what is in it is not measured again.
            axes: those besides the axes of the grid, with their coordinates.
            settings: how it is done, besides what the sweep knows.

        Warns:
            UserWarning: the clean run does not prefer its answer, with both figures.
        """
        coordinates = self._coordinates | (axes or {})
        shape = tuple(map(len, coordinates.values()))
        unsure: list[tuple[int, Both]] = []

        def one(n: int) -> tuple[Tensor, float, float]:
            runs, cells = self.runs(n), self.cells(n)
            if runs.preferred is False:
                unsure.append((n, runs))
            found, corrupted = measure(n, runs, cells)
            values = torch.full(shape, torch.nan)
            values[tuple(torch.tensor([cell.index for cell in cells]).T)] = found
            return values, runs.clean, corrupted

        told = self._settings(method, settings)
        path = None if checkpoint is None else path_of(checkpoint)
        with torch.no_grad():
            held = measured_each(len(self.pairs), shape, one, method, path, told | self._identity)
        if unsure:
            n, runs = unsure[0]
            warnings.warn(
                f"In {len(unsure)} of {len(self.pairs)} pairs the clean run does not prefer its "
                f"answer: in pair {n}, {self.metric.name} is {runs.clean:.4g} in the clean run and "
                f"{runs.corrupted:.4g} in the corrupted one ({self.pairs[n].clean.text!r}).",
                stacklevel=4,
            )
        numbers = {name: held[name].double().numpy() for name in ("values", "clean", "corrupted")}
        known = self.backend.provenance([p.clean.ids for p in self.pairs])
        told["measure"] = self.metric.measure  # of no matter to a checkpoint
        return Measured(self.dataset(axes=axes, **numbers), told, known, **numbers)

    def dataset(
        self,
        values: Float[np.ndarray, "pair *axes"],
        clean: Float[np.ndarray, " pair"],
        corrupted: Float[np.ndarray, " pair"],
        axes: dict[str, tuple[Any, ...]] | None = None,
    ) -> xr.Dataset:
        """The numbers of all pairs, with the axes that the sweep has; see `measured`."""
        coordinates = self._coordinates | (axes or {})
        tokens = np.full((len(self.pairs), len(coordinates["position"])), "", dtype=object)
        for n, groups in enumerate(self.groups):
            tokens[n, : len(groups)] = [group.token for group in groups]
        used = {"layer", *(axes or {}), *(name for name in AXES if len(coordinates[name]) > 1)}
        if self.grid.apart:
            used.add("position")
        if self.grid.keys:
            used.add("key")
        if coordinates["layer"] == (NONE,):
            used.discard("layer")
        if coordinates["head"] != (NONE,):
            used.add("head")
        return dataset(
            values,
            clean,
            corrupted,
            coordinates=coordinates,
            tokens=tokens,
            used=used,
            direction=self.direction,
        )

    @property
    def _coordinates(self) -> dict[str, tuple[Any, ...]]:
        """Sites, layers, heads, and the labels of the pair that has most of them."""
        position, key = (max(several, key=len) for several in (self.groups, self.keys))
        return {
            **self.grid.coordinates,
            "position": tuple(group.label for group in position),
            "key": tuple(group.label for group in key),
        }

    def _settings(self, method: str, more: Mapping[str, Any]) -> dict[str, Any]:
        """How it is done, in words and numbers."""
        grid, runs = self.grid, ["corrupted run", "clean run"]
        return {
            "method": method,
            "direction": self.direction,
            "runs": runs[::-1] if self.direction == "noising" else runs,
            "metric": self.metric.name,
            "pairs": len(self.pairs),
            "sites": list(grid.kinds),
            "layers": [list(layers) for layers in grid.places],
            "heads": [[list(heads) for heads in layers.values()] for layers in grid.places],
            "window": grid.window,
            "groups": [str(group.label) for group in self.groups[0]],
            **more,
        }

    @property
    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with a call, besides the settings."""
        texts = [(pair.clean.ids, pair.corrupted.ids) for pair in self.pairs]
        return {
            "texts": hash_of(texts),
            "tokens": _tokens_of(self.groups),
            "keys": _tokens_of(self.keys),
            "answers": repr(self.metric.answers),
            "weights": self.backend.provenance().fingerprint,
        }


def _tokens_of(several: Sequence[Sequence[TokenGroup]]) -> str:
    return repr([[(group.clean, group.corrupted) for group in groups] for groups in several])


def _put(columns: list[int], site: Site, value: Tensor) -> Patch:
    """Write some keys of a pattern."""

    def put(pattern: Tensor) -> Tensor:
        pattern[..., columns] = value.expand_as(pattern[..., columns])
        return pattern

    return site.map(put)
