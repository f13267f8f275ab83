"""Intervals of ratios of sums: a bootstrap, joined with Student's."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from lensscope.errors import PatchError
from lensscope.stats.distributions import Numbers, student

_AT_ONCE: Final = 1 << 24
"""So many ratios are held at a time."""
ALIKE: Final = 1e-6
"""Items that differ by less than this share of what they are differ by rounding."""


def ratio_interval(
    over: Numbers,
    under: Numbers,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Numbers:
    """The edges of an interval of a ratio of sums over the first axis.

    What the first axis counts is drawn again, as many as there are. The interval is that of the
    percentiles of the ratios so drawn, which are taken further out where they are few (Hesterberg
    2015, section 5.3), joined with Student's: the lower of both to the higher of both. Draws
    without a ratio are left out. One alone has no interval, and neither have ratios that are all
    the same, which do not say how far others would be.

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
    tops, bottoms = (
        np.asarray(np.broadcast_to(a, np.shape(over)), float).reshape(n, -1) for a in (over, under)
    )
    found = np.full((2, tops.shape[1]), np.nan)
    if n > 1:
        found = _students(tops, bottoms, level)
        draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
        drawn = draws.astype(float)
        out = NormalDist().cdf(-math.sqrt(n / (n - 1)) * float(student(np.array(n - 1.0), level)))
        edges = (100 * out, 100 - 100 * out)
        step = max(1, _AT_ONCE // resamples)
        for start in range(0, tops.shape[1], step):
            part = slice(start, start + step)
            with np.errstate(invalid="ignore", divide="ignore"):
                each = (drawn @ tops[:, part]) / (drawn @ bottoms[:, part])
            each[~np.isfinite(each)] = np.nan
            some = np.isfinite(each).any(0) & np.isfinite(found[0, part])
            if some.any():
                low, high = np.nanpercentile(each[:, some], edges, axis=0)
                own = found[:, part]
                own[0, some] = np.minimum(own[0, some], low)
                own[1, some] = np.maximum(own[1, some], high)
    return found.reshape(2, *shape)


def _students(over: Numbers, under: Numbers, level: float) -> Numbers:
    """Student's interval of ratios of sums, ``[2, …]``; NaN of one, and of those all alike.

    What is 0 over 0 does not count; what is under may be negative.
    """
    count = ((over != 0) | (under != 0)).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = over.sum(0) / under.sum(0)
        squares = ((over - ratio * under) ** 2).sum(0)
        apart = squares > ALIKE**2 * (over**2 + (ratio * under) ** 2).sum(0)
        spread = squares / under.sum(0) ** 2 * count / (count - 1)
        half = student(np.maximum(count - 1, 1), level) * np.sqrt(spread)
        half = np.where((count > 1) & apart, half, np.nan)
    return np.stack([ratio - half, ratio + half])
