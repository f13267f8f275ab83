"""The sums of studies whose parts hold each item's controls beside its state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool
from numpy.typing import NDArray

from lensscope.studies.folder import Folder
from lensscope.studies.summary import CONDITIONS, Axes, SweepTally


class CellTally(SweepTally):
    """As a `SweepTally`, of lines that say condition, draw and layers themselves.

    Args:
        axes: the cells.
        seed: of the halves and the draws.
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
        cells = np.ones(shape, bool) if possible is None else possible
        some = np.concatenate([cells, cells.any(2, keepdims=True)], 2)
        some = np.concatenate([some, some.any(1, keepdims=True)], 1)
        self.possible: NDArray[Any] = some[:, None]

    def take_parts(self, folder: Folder, prefix: str) -> None:
        """Count the finished parts whose names begin so."""
        for frame in folder.read(prefix):
            self.take_part(frame)

    def take_part(self, frame: pd.DataFrame) -> None:
        """Count lines with the columns ``item, variant, condition, draw, source_layer,
        target_layer`` and the metrics. Of what is written nowhere there is one line."""
        axes = self.axes
        source_at = {layer: n for n, layer in enumerate(axes.sources)}
        target_at = {layer: n for n, layer in enumerate(axes.targets or ())}
        written = frame[frame["condition"].isin(CONDITIONS)]
        for (item, variant, condition, _), own in written.groupby(
            ["item", "variant", "condition", "draw"]
        ):
            numbers = own[list(axes.metrics)].to_numpy(float).T
            values = np.zeros((len(axes.metrics), len(axes.sources), axes.n_targets))
            if condition == "prior":
                values[:] = numbers[:, :1, None]
            else:
                s = [source_at[layer] for layer in own["source_layer"]]
                t = [target_at[layer] if target_at else 0 for layer in own["target_layer"]]
                values[:, s, t] = numbers
            flat = values.reshape(len(axes.metrics), -1)
            self.counted[int(item), int(variant), 0] = True
            self._add(int(item), int(variant), 0, CONDITIONS.index(str(condition)), flat)

    def means(self, split: int | None = None, *, pooled: bool = False) -> NDArray[Any]:
        """As of a `SweepTally`; NaN where there is no cell."""
        found = super().means(split, pooled=pooled)
        return np.where(self.possible, found, np.nan)
