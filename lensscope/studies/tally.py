"""Means with bootstrap intervals over items that come one at a time, in memory of fixed size."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray


class Tally:
    """Means of many cells over items, and the same means over items drawn again.

    The Poisson bootstrap: in each of ``resamples`` draws, an item counts as often as a Poisson
    variable of mean 1 says (Hanley and MacGibbon 2006; for data that stream, Chamandy et al. 2012).
    An item's counts follow from the seed and its number alone, so it does not matter when it comes,
    all its samples count alike, and differences between cells are of the same draws.

    Attributes:
        over: sums of values, ``[1 + resamples, *cells]``, the items as they are first.
        under: how many they are sums of, with axes that broadcast.
    """

    def __init__(
        self, shape: tuple[int, ...], counted: tuple[int, ...], resamples: int, seed: int
    ) -> None:
        self.resamples, self.seed = resamples, seed
        self.over: NDArray[Any] = np.zeros((1 + resamples, *shape), np.float32)
        self.under: NDArray[Any] = np.zeros((1 + resamples, *counted), np.float32)

    def weights(self, item: int) -> Float[np.ndarray, " drawn"]:
        """How often an item counts in each draw, after the once that it counts as it is."""
        draws = np.random.default_rng([self.seed, item]).poisson(1.0, self.resamples)
        return np.concatenate([[1.0], draws]).astype(np.float32)

    def add(self, item: int, at: tuple[Any, ...], values: NDArray[Any]) -> None:
        """Count an item in some cells.

        Args:
            item: its number.
            at: an index of cells; what it leaves of the axes is the shape of ``values``.
            values: what is counted.
        """
        weights = self.weights(item)
        own = weights.reshape(-1, *[1] * np.ndim(values))
        places = (slice(None), *at)
        self.over[places] += own * np.asarray(values, np.float32)

    def count(self, item: int, at: tuple[Any, ...]) -> None:
        """Take an item into the number of items, in some of the cells of ``under``."""
        weights = self.weights(item)
        index = (slice(None), *at)
        places = self.under[index]
        places += weights.reshape(-1, *[1] * (places.ndim - 1))

    def ratios(self) -> NDArray[Any]:
        """The means, ``[1 + resamples, *cells]``, NaN where nothing was counted."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: NDArray[Any] = self.over / self.under
        return found


def interval(drawn: NDArray[Any], level: float = 0.95) -> tuple[NDArray[Any], NDArray[Any]]:
    """The edges of the interval of means so drawn, by percentiles; NaN where there is none.

    Args:
        drawn: ``[1 + resamples, …]``; the first is the mean itself.
        level: of the interval.
    """
    edges = (50 * (1 - level), 100 - 50 * (1 - level))
    shape = drawn.shape[1:]
    flat = drawn[1:].reshape(len(drawn) - 1, -1)
    found = np.full((2, flat.shape[1]), np.nan)
    some = np.isfinite(flat).any(0) & np.isfinite(drawn[0].reshape(-1))
    if some.any():
        found[:, some] = np.nanpercentile(flat[:, some], edges, axis=0)
    low, high = found.reshape(2, *shape)
    return low, high
