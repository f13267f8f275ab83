"""Which items a cell is chosen on, and which ones it is then scored on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Int

from lensscope.stats.intervals import Sums

HALVES: Final = 20
"""From so many items on, one half chooses and the other is scored."""
FOLDS: Final = 10
"""With fewer, each of so many parts is scored once, at what the others choose."""
FEW: Final = 10
"""Below so many that are scored, a result is none."""


@dataclass(frozen=True, eq=False)
class Folds:
    """A split of the items that count.

    Attributes:
        of: the part that each item is in; -1 for those that do not count.
        number: how many parts.
        halves: whether the first chooses once for all, and only the second is scored.
    """

    of: Int[np.ndarray, " item"]
    number: int
    halves: bool

    @classmethod
    def among(cls, counted: Bool[np.ndarray, " item"], seed: int) -> Folds:
        """Draw a split.

        Args:
            counted: the items that count.
            seed: of which is where.
        """
        order = np.random.default_rng(seed).permutation(len(counted))
        ranked = order[counted[order]]
        halves = len(ranked) >= HALVES
        number = 2 if halves else max(min(len(ranked), FOLDS), 1)
        of = np.full(len(counted), -1)
        of[ranked] = np.arange(len(ranked)) * number // max(len(ranked), 1)
        return cls(of, number, halves)

    @property
    def held(self) -> range:
        """The parts that are scored."""
        return range(1, 2) if self.halves else range(self.number)

    def scored(self, item: int) -> bool:
        """Whether an item is."""
        return int(self.of[item]) in self.held

    def crossed(self, sums: Sums, choose: Callable[[Sums], Any | None]) -> tuple[Sums, Any | None]:
        """What is scored at a cell that other items choose, and which cell that is.

        Args:
            sums: of each part, ``[part, condition, …]``.
            choose: a cell, by what sums without the first axis say; ``None`` where they say
                nothing.

        Returns:
            Sums by condition, and the cell: that of the first half, or, where each part is scored
            once, that of all items.
        """
        total = sums.sum(0).of
        found: Any = None
        for part in self.held:
            at = choose(Sums(total - sums.of[:, part]))
            if at is not None:
                index = (slice(None), part, slice(None), *at)
                own = sums.of[index]
                found = own if found is None else found + own
        held = Sums.empty(sums.of.shape[2:3]) if found is None else Sums(found)
        return held, choose(Sums(sums.of[:, 0]) if self.halves else Sums(total))

    @property
    def said(self) -> str:
        """What was done, in words, to be put behind "cells are"."""
        if self.halves:
            return (
                "chosen on one half of the items, the first of equally good ones, and scored on "
                "the other"
            )
        return (
            f"chosen anew for each of {self.number} parts of the items, on the others, the first "
            "of equally good ones, so that each item is scored once where it did not choose; the "
            "layers named are those that all items choose"
        )


def best(values: Any, known: Any) -> tuple[int, ...] | None:
    """Where values are largest, the first of equal ones; ``None`` where there is nothing to choose
    by, for all of several are 0 or none is known.

    Args:
        values: of cells that may be chosen.
        known: which of them there are.

    Example:
        >>> import numpy as np
        >>> from lensscope.studies.folds import best
        >>> best(np.array([0, 2, 1]), np.ones(3, bool)), best(np.zeros(3), np.ones(3, bool))
        ((1,), None)
    """
    some = values[known]
    if not some.size or (some.size > 1 and some.max() <= 0):
        return None
    masked = np.where(known, values, -np.inf)
    return tuple(int(n) for n in np.unravel_index(int(masked.argmax()), masked.shape))
