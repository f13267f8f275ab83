"""Intervals of proportions, of means, of differences and of ratios, that cover at their edges too.

A bootstrap by percentiles claims certainty where all values are equal, and at 20 items covers a
proportion of 0.98 in a third of all samples. So proportions have the interval of Clopper and
Pearson 1934, which covers at every size and every proportion, and is wider than it would need to
be. Means of scores between 0 and 1, and of items with several samples each, have the same interval
at an effective number of items, as Korn and Graubard 1998 have it for surveys; the rest has
Student's, joined with a bootstrap where the items are there to be drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from lensscope.stats.distributions import Numbers, beta_quantile, student
from lensscope.stats.ratios import ALIKE
from lensscope.stats.ratios import ratio_interval as ratio_interval

_ITEMS, _UNDER, _UNDER2, _OVER, _OVER2, _BOTH, _PAIRED = range(7)


def proportion(hits: Numbers, n: Numbers, level: float = 0.95) -> tuple[Numbers, Numbers]:
    """The edges of Clopper and Pearson's interval of a proportion; NaN where there is no item.

    Args:
        hits: how many of them; fractions are taken as they are.
        n: of how many.
        level: of the interval.

    Example:
        >>> from lensscope.stats.intervals import proportion
        >>> [round(float(edge), 3) for edge in proportion(20, 20)]
        [0.832, 1.0]
    """
    hit, of = (np.asarray(a, float) for a in np.broadcast_arrays(hits, n))
    pairs = np.stack([hit.reshape(-1), of.reshape(-1)]).round(9)
    each, back = np.unique(pairs, axis=1, return_inverse=True)
    x, m = each
    tail = (1 - level) / 2
    low, high = np.zeros(len(x)), np.ones(len(x))
    some, rest = x > 0, x < m
    low[some] = beta_quantile(x[some], m[some] - x[some] + 1, tail)
    high[rest] = beta_quantile(x[rest] + 1, m[rest] - x[rest], 1 - tail)
    for edge in (low, high):
        edge[~(m > 0)] = np.nan
    back = back.reshape(-1)
    return low[back].reshape(hit.shape), high[back].reshape(hit.shape)


@dataclass(frozen=True, eq=False)
class Sums:
    """What intervals need to know of items that came one at a time.

    An item is what is drawn independently: a subject with all its sentences, a text with all its
    tokens, a pair. It has a sum of values and the number that this is a sum of; the mean is the
    ratio of both, summed over items.

    Attributes:
        of: ``[7, …]``: how many items; the sums over them of numbers, of their squares, of values,
            of their squares, of values times numbers, and of values times those of the item's own
            state.
    """

    of: Numbers

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Sums:
        """Of no item yet."""
        return cls(np.zeros((7, *shape)))

    @classmethod
    def each(cls, over: Numbers, under: Numbers) -> Sums:
        """Of items that are all there, ``[item, …]`` each; those without a number do not count."""
        over, under = (np.asarray(a, float) for a in np.broadcast_arrays(over, under))
        found = cls.empty(over.shape[1:])
        for own, number in zip(over, under, strict=True):
            found.add((), own, number)
        return found

    def add(
        self,
        at: Any,
        values: Numbers,
        number: Numbers | float = 1.0,
        state: Numbers | float = 0.0,
    ) -> None:
        """Count one item in some cells.

        Args:
            at: an index of cells.
            values: its sums; NaN where it has none.
            number: what they are sums of.
            state: the sums of the item's own state, for differences from it.
        """
        values = np.asarray(values, float)
        known = np.isfinite(values) & (np.asarray(number) > 0)
        under = np.where(known, number, 0.0)
        over = np.where(known, values, 0.0)
        paired = over * np.nan_to_num(state)
        rows = (known, under, under**2, over, over**2, over * under, paired)
        cells = at if isinstance(at, tuple) else (at,)
        for row, own in enumerate(rows):
            index = (row, *cells)
            self.of[index] += own

    def sum(self, axis: int | tuple[int, ...]) -> Sums:
        """Of the items of several cells together; axes are counted without the first."""
        axes = axis if isinstance(axis, tuple) else (axis,)
        return Sums(self.of.sum(tuple(a + 1 if a >= 0 else a for a in axes)))

    def __getitem__(self, index: Any) -> Sums:
        """Of some cells."""
        cells = index if isinstance(index, tuple) else (index,)
        each = (slice(None), *cells)
        return Sums(self.of[each])

    # ---------------------------------------------------------------- means

    @property
    def items(self) -> Numbers:
        """How many items count."""
        found: Numbers = self.of[_ITEMS].astype(int)
        return found

    @property
    def hits(self) -> Numbers:
        """The sums of their values."""
        return self.of[_OVER]

    @property
    def known(self) -> Numbers:
        """Where any counts."""
        return self.of[_UNDER] > 0

    @property
    def means(self) -> Numbers:
        """NaN where no item counts."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Numbers = self.of[_OVER] / self.of[_UNDER]
        return found

    @property
    def _spread(self) -> Numbers:
        """The variance of the mean as it is in these items."""
        means = self.means
        squares = (
            self.of[_OVER2] - 2 * means * self.of[_BOTH] + means**2 * self.of[_UNDER2]
        ) / self.of[_UNDER] ** 2
        scale = (self.of[_OVER2] + means**2 * self.of[_UNDER2]) / self.of[_UNDER] ** 2
        found: Numbers = np.where(squares > ALIKE**2 * scale, squares, 0.0)
        return found

    @property
    def _even(self) -> Numbers:
        """How many items of one size tell as much (Kish)."""
        found: Numbers = self.of[_UNDER] ** 2 / self.of[_UNDER2]
        return found

    def interval(self, level: float = 0.95) -> tuple[Numbers, Numbers]:
        """The edges of the interval of means of values from 0 to 1.

        For hits and misses of items of one size it is Clopper and Pearson's. Where items scatter
        less than hits and misses would, as ROUGE-L does, it is theirs for as many hits and misses
        as would scatter so little, fewer by Student's allowance for what few items know of their
        scatter; and of items that are all alike, for as many as there are.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.clip(self.means, 0.0, 1.0)
            even = self._even
            count = self.of[_ITEMS]
            spread = self._spread
            binomial = means * (1 - means)
            # the scatter of few items is taken together with that of one more, a hit or a miss
            shrunk = (count * spread + binomial / even) / (count + 1)
            rest = np.maximum(count - 1, 1)
            allowed = (NormalDist().inv_cdf((1 + level) / 2) / student(rest, level)) ** 2
            as_many = np.where(spread > 0, binomial / shrunk * allowed, even)
            clustered = np.where(spread > 0, binomial / spread, even)
            number = np.minimum(clustered, np.maximum(even, as_many))
            number = np.where((binomial > 0) & (spread > 0), number, even)
        return proportion(means * number, number, level)

    def unbounded(self, level: float = 0.95) -> tuple[Numbers, Numbers]:
        """The edges of Student's interval of means of any values; NaN of one item, and of items
        that are all alike, which do not say how far others would be."""
        count = self.of[_ITEMS]
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = self._spread * count / (count - 1)
            half = student(np.maximum(count - 1, 1), level) * np.sqrt(spread)
            half = np.where((count > 1) & (spread > 0), half, np.nan)
            means = self.means
        return means - half, means + half

    def lift(self, axis: int = 0, level: float = 0.95) -> tuple[Numbers, Numbers, Numbers]:
        """How far the state's mean is above the largest of its controls', and the interval.

        The difference of two means of the same items has the interval that their own intervals
        and their correlation give (Newcombe 1998, method 10; Zou and Donner 2008). Which control
        is the largest is not certain, so it goes down as far as any of them allows, and up as far
        as any that may be the largest, whose own interval reaches the largest mean.

        Args:
            axis: the state first, then the controls; those without a mean do not count.
            level: of the interval.
        """
        moved = Sums(np.moveaxis(self.of, axis + 1, 1))
        state, controls = moved[:1], moved[1:]
        means, low, high = (np.moveaxis(a, axis, 0) for a in (self.means, *self.interval(level)))
        with np.errstate(invalid="ignore", divide="ignore"):
            rows, number = controls.of, controls._even
            together = (
                rows[_PAIRED]
                - state.means * rows[_BOTH]
                - controls.means * state.of[_BOTH]
                + state.means * controls.means * rows[_UNDER2]
            ) / rows[_UNDER] ** 2
            # less of it than these items show, as Newcombe's allowance for continuity has it
            sure = np.where(together > 0, np.maximum(together - 0.5 / number**2, 0), together)
            scale = np.sqrt(state._spread * controls._spread)
            alike = np.clip(np.where(scale > 0, sure / scale, 0.0), -1, 1)
            found = means[:1] - means[1:]
            down, up = (means - low), (high - means)
            below = found - _joined(down[:1], up[1:], alike)
            above = found + _joined(up[:1], down[1:], alike)
        known = np.isfinite(found)
        largest = np.where(known, found, np.inf).min(0)
        may = known & (high[1:] >= means[:1] - largest)
        return tuple(  # type: ignore[return-value]
            np.where(known.any(0), values, np.nan)
            for values in (
                largest,
                np.where(known, below, np.inf).min(0).clip(-1, 1),
                np.where(may, above, -np.inf).max(0).clip(-1, 1),
            )
        )


def _joined(one: Numbers, other: Numbers, alike: Numbers) -> Numbers:
    """The half-width of a difference."""
    found: Numbers = np.sqrt(np.maximum(one**2 - 2 * alike * one * other + other**2, 0))
    return found
