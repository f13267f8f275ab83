"""Intervals of means by bootstrap: drawing again whole pairs, or whole prompts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lensscope.errors import PatchError

_AT_ONCE: Final = 1 << 24
"""So many ratios are held at a time."""


def ratio_interval(
    over: NDArray[Any],
    under: NDArray[Any],
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> NDArray[Any]:
    """The edges of an interval of a ratio of sums over the first axis.

    What the first axis counts is drawn again, as many as there are; the interval is that of the
    percentiles of the ratios so drawn. Draws without a ratio are left out; one alone has none.

    Args:
        over: ``[drawn, …]``.
        under: the same, or with axes that broadcast.
        level: of the interval.
        resamples: how often it is drawn.
        seed: of the draws.

    Returns:
        ``[2, …]``, NaN where there is no interval.

    Raises:
        PatchError: no such interval.
    """
    if not 0 < level < 1 or resamples < 1:
        raise PatchError(
            "There is no such interval.",
            got=f"level={level}, resamples={resamples}",
            expected="a level between 0 and 1, and at least one draw",
            instead="level=0.95, resamples=1000",
        )
    n, shape = len(over), np.shape(over)[1:]
    tops, bottoms = (np.broadcast_to(a, np.shape(over)).reshape(n, -1) for a in (over, under))
    found = np.full((2, tops.shape[1]), np.nan)
    if n > 1:
        draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
        drawn = draws.astype(float)
        edges = (50 * (1 - level), 100 - 50 * (1 - level))
        step = max(1, _AT_ONCE // resamples)
        for start in range(0, tops.shape[1], step):
            part = slice(start, start + step)
            with np.errstate(invalid="ignore", divide="ignore"):
                each = (drawn @ tops[:, part]) / (drawn @ bottoms[:, part])
            each[~np.isfinite(each)] = np.nan
            some = np.isfinite(each).any(0)
            if some.any():
                found[:, part][:, some] = np.nanpercentile(each[:, some], edges, axis=0)
    return found.reshape(2, *shape)
