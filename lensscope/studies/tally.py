"""What the parts of a study sum up to: condition x metric x cells, over items."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool
from numpy.typing import NDArray

from lensscope.stats.intervals import Sums
from lensscope.studies.axes import CONDITIONS, Axes, widened
from lensscope.studies.folder import Folder
from lensscope.studies.folds import Folds
from lensscope.studies.items import Score
from lensscope.studies.parts import CELLS, CONTROLS, Kind

_SEEN = ("item", "variant", "scope", "condition", "place")


@dataclass(frozen=True, eq=False)
class Tally:
    """The sums of a sweep: condition x metric x variant x scope x source x target.

    The last source layer stands for "some source layer", the last target layer for "some target
    layer": the best of an item's own cells. An item counts once it is read with all its samples,
    so memory does not grow with the items.

    Attributes:
        axes: the cells.
        counted: which items count, by variant and inspection prompt.
        folds: on which of them cells are chosen.
        parts: the sums of each fold; of pooled variants, together.
        whole: the sums of all items, by variant.
    """

    axes: Axes
    counted: Bool[np.ndarray, "item variant scope"]
    folds: Folds
    parts: Sums
    _apart: Sums | None

    @classmethod
    def among(cls, axes: Axes, counted: Bool[np.ndarray, "item variant scope"], seed: int) -> Tally:
        """Of no item yet.

        Args:
            axes: the cells.
            counted: which items count.
            seed: of the folds.
        """
        folds = Folds.among(np.asarray(counted.any((1, 2))), seed)
        cells = (len(axes.scopes), len(axes.sources) + 1, axes.n_targets + 1)
        outer = (len(CONDITIONS), len(axes.metrics))
        n = len(axes.variants)
        parts = Sums.empty((folds.number, *outer, 1 if axes.pooled else n, *cells))
        apart = Sums.empty((*outer, n, *cells)) if axes.pooled else None
        return cls(axes, counted, folds, parts, apart)

    @property
    def whole(self) -> Sums:
        """All items, by variant."""
        return self.parts.sum(0) if self._apart is None else self._apart

    def nothing(self) -> NDArray[Any]:
        """The cells of an item, all of them unknown."""
        axes = self.axes
        outer = (len(CONDITIONS), len(axes.metrics), len(axes.variants), len(axes.scopes))
        return np.full((*outer, len(axes.sources) + 1, axes.n_targets + 1), np.nan)

    def add(self, item: int, values: NDArray[Any]) -> None:
        """Count an item.

        Args:
            item: its number.
            values: ``[condition, metric, variant, scope, source + 1, target + 1]``, NaN where it
                does not count.
        """
        fold = int(self.folds.of[item])
        if self._apart is not None:
            self._apart.add((), values, 1.0, values[0])
            known = np.isfinite(values).sum(2, keepdims=True)
            values = np.where(known > 0, np.nansum(values, 2, keepdims=True), np.nan)
            self.parts.add(fold, values, known, values[0])
        else:
            self.parts.add(fold, values, 1.0, values[0])

    def numbers(self) -> NDArray[Any]:
        """How many items count, ``[variant, scope]``."""
        found: NDArray[Any] = self.counted.sum(0)
        return found


def of_sweep(
    folder: Folder,
    axes: Axes,
    seed: int,
    score: Score,
    items: Collection[int] | None = None,
    scope: int | None = None,
) -> Tally:
    """The finished parts of a sweep, whose controls are parts of their own.

    Args:
        folder: where they are.
        axes: the cells.
        seed: of the folds.
        score: of what was generated with the controls.
        items: only these.
        scope: only this inspection prompt.
    """
    counted = np.zeros((axes.items, len(axes.variants), len(axes.scopes)), bool)
    for frame in CELLS.of(folder, (*_SEEN, axes.metrics[0])):
        own = _states(frame).dropna(subset=axes.metrics[0])  # of what has nothing to score it by
        counted[tuple(own[name].to_numpy(int) for name in _SEEN[:3])] = True
    if items is not None:
        counted[[n for n in range(axes.items) if n not in items]] = False
    if scope is not None:
        counted[:, :, [n for n in range(len(axes.scopes)) if n != scope]] = False
    tally = Tally.among(axes, counted, seed)
    controls = _controls(folder)
    waiting: dict[int, NDArray[Any]] = {}
    missing = counted.sum((1, 2))
    for frame in CELLS.of(folder):
        for of, own in _states(frame).groupby(["item", "variant", "scope"]):
            n, v, p = map(int, cast("tuple[int, int, int]", of))
            if not counted[n, v, p]:
                continue
            values = waiting.setdefault(n, tally.nothing())
            for c, ending in enumerate(("", "_shuffled")):
                names = [metric + ending for metric in axes.metrics]
                values[c, :, v, p] = _cells(axes, own[names].to_numpy(float).T)
            missing[n] -= 1
            if not missing[n]:
                done = waiting.pop(n)
                _control(tally, n, done, controls, score)
                tally.add(n, done)
    return tally


def _states(frame: pd.DataFrame) -> pd.DataFrame:
    """Lines of states of last tokens."""
    return frame[(frame["condition"] == "state") & (frame["place"] == 0)]


def _cells(axes: Axes, values: NDArray[Any]) -> NDArray[Any]:
    """Values ``[metric, cell]`` as source by target layers, with the best of each."""
    return widened(values.reshape(len(axes.metrics), len(axes.sources), axes.n_targets))


def _control(
    tally: Tally,
    item: int,
    values: NDArray[Any],
    controls: Mapping[tuple[str, int], list[list[tuple[str, int]]]],
    score: Score,
) -> None:
    """Score texts that are no item's for an item that counts."""
    axes = tally.axes
    for (condition, scope), draws in controls.items():
        own = tally.counted[item, :, scope]
        if own.any():
            each = []
            for texts in draws:
                said = texts
                if condition == "prior":
                    said = texts * (len(axes.sources) * axes.n_targets)
                scores = {one: score(one[0], item, one[1]) for one in dict.fromkeys(texts)}
                each.append(_cells(axes, np.array([scores[one] for one in said], float).T))
            mean = np.mean(each, 0)
            values[CONDITIONS.index(condition)][:, own, scope] = mean[:, None]


def _controls(folder: Folder) -> dict[tuple[str, int], list[list[tuple[str, int]]]]:
    """The texts that are no item's, with their first tokens: draws of cells."""
    found: dict[tuple[str, int], list[list[tuple[str, int]]]] = {}
    for frame in CONTROLS.of(folder):
        for of, own in frame.groupby(["condition", "scope", "draw"]):
            condition, scope, _ = cast("tuple[Any, ...]", of)
            firsts = own["first_token_id"].astype(int).tolist()
            texts = list(zip(own["text"].tolist(), firsts, strict=True))
            found.setdefault((str(condition), int(scope)), []).append(texts)
    return found


def of_cells(
    folder: Folder,
    kind: Kind,
    axes: Axes,
    seed: int,
    items: Collection[int] | None = None,
    possible: Bool[np.ndarray, "variant source target"] | None = None,
) -> Tally:
    """Finished parts that hold each item's controls beside its state, all lines of it in one part.

    Args:
        folder: where they are.
        kind: which parts.
        axes: the cells, of one inspection prompt.
        seed: of the folds.
        items: only these.
        possible: which cells there are, for each variant; all by default. The others are NaN.
    """
    n = len(axes.variants)
    counted = np.zeros((axes.items, n, len(axes.scopes)), bool)
    for frame in kind.of(folder, ["item"]):
        found = frame["item"].unique().tolist()
        counted[[n for n in found if items is None or n in items]] = True
    tally = Tally.among(axes, counted, seed)
    if possible is None:
        possible = np.ones((n, len(axes.sources), axes.n_targets), bool)
    for frame in kind.of(folder):
        for of, own in frame[frame["condition"].isin(CONDITIONS)].groupby("item"):
            item = cast(int, of)
            if counted[item].any():
                tally.add(int(item), _of_lines(tally, own, possible))
    return tally


def _of_lines(
    tally: Tally, frame: pd.DataFrame, possible: Bool[np.ndarray, "variant source target"]
) -> NDArray[Any]:
    """The cells of an item's lines, with the columns ``variant, condition, draw, source_layer,
    target_layer`` and the metrics. Of what is written nowhere there is one line."""
    axes = tally.axes
    source_at = {layer: n for n, layer in enumerate(axes.sources)}
    target_at = {layer: n for n, layer in enumerate(axes.targets or ())}
    values = tally.nothing()
    for of, lines in frame.groupby(["variant", "condition"]):
        variant, condition = cast("tuple[int, str]", of)
        each = []
        for _, own in lines.groupby("draw"):
            numbers = own[list(axes.metrics)].to_numpy(float).T
            cells = np.full((len(axes.metrics), len(axes.sources), axes.n_targets), np.nan)
            if condition == "prior":
                cells[:] = np.where(possible[int(variant)], numbers[:, :1, None], np.nan)
            else:
                s = [source_at[layer] for layer in own["source_layer"]]
                t = [target_at[layer] if target_at else 0 for layer in own["target_layer"]]
                cells[:, s, t] = numbers
            each.append(widened(cells))
        values[CONDITIONS.index(str(condition)), :, int(variant), 0] = np.mean(each, 0)
    return values
