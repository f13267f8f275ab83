"""The sums of studies whose parts hold each item's controls beside its state."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Bool

from lensscope.studies.axes import CONDITIONS, Axes, widened
from lensscope.studies.folder import Folder
from lensscope.studies.summary import SweepTally


class CellTally(SweepTally):
    """As a `SweepTally`, of lines that say condition, draw and layers themselves.

    Args:
        axes: the cells, of one inspection prompt.
        seed: of the folds.
        possible: which cells there are, for each variant; all by default. The others are NaN.
    """

    def __init__(
        self,
        axes: Axes,
        seed: int,
        possible: Bool[np.ndarray, "variant source target"] | None = None,
    ) -> None:
        super().__init__(axes, seed)
        shape = (len(axes.variants), len(axes.sources), axes.n_targets)
        self.possible = np.ones(shape, bool) if possible is None else possible

    def take_parts(self, folder: Folder, prefix: str, items: Collection[int] | None = None) -> None:
        """Count the finished parts whose names begin so; each has all lines of its items.

        Args:
            folder: where they are.
            prefix: of their names.
            items: only these.
        """
        for frame in folder.read(prefix, ["item"]):
            found = frame["item"].unique().tolist()
            self.counted[[n for n in found if items is None or n in items]] = True
        self._begin()
        for frame in folder.read(prefix):
            for of, own in frame[frame["condition"].isin(CONDITIONS)].groupby("item"):
                item = cast(int, of)
                if self.counted[item].any():
                    self._take(int(item), own)

    def _take(self, item: int, frame: pd.DataFrame) -> None:
        """Count the lines of an item, with the columns ``variant, condition, draw, source_layer,
        target_layer`` and the metrics. Of what is written nowhere there is one line."""
        axes = self.axes
        source_at = {layer: n for n, layer in enumerate(axes.sources)}
        target_at = {layer: n for n, layer in enumerate(axes.targets or ())}
        values = self._nothing()
        for of, lines in frame.groupby(["variant", "condition"]):
            variant, condition = cast("tuple[int, str]", of)
            each = []
            for _, own in lines.groupby("draw"):
                numbers = own[list(axes.metrics)].to_numpy(float).T
                cells = np.full((len(axes.metrics), len(axes.sources), axes.n_targets), np.nan)
                if condition == "prior":
                    cells[:] = np.where(self.possible[int(variant)], numbers[:, :1, None], np.nan)
                else:
                    s = [source_at[layer] for layer in own["source_layer"]]
                    t = [target_at[layer] if target_at else 0 for layer in own["target_layer"]]
                    cells[:, s, t] = numbers
                each.append(widened(cells))
            values[CONDITIONS.index(str(condition)), :, int(variant), 0] = np.mean(each, 0)
        self.add(item, values)
