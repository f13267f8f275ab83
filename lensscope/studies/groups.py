"""Items in random groups, so that each has another one of its group for a control."""

from __future__ import annotations

import numpy as np

from lensscope.errors import StudyError


def groups(n: int, size: int, seed: int) -> list[list[int]]:
    """Numbers up to ``n`` in random order, cut into groups; none of them of one alone.

    The control of each is the one after it in its group; of the last one, the first.

    Raises:
        StudyError: fewer than two.

    Example:
        >>> from lensscope.studies.groups import groups
        >>> [len(group) for group in groups(9, 4, seed=0)]
        [4, 5]
    """
    if n < 2:
        raise StudyError(
            "The control with another text needs another text.",
            got=f"{n} to be read",
            expected="at least two",
            instead="more texts",
        )
    order = np.random.default_rng(seed).permutation(n).tolist()
    found = [order[first : first + size] for first in range(0, n, size)]
    if len(found[-1]) == 1:
        found[-2:] = [found[-2] + found[-1]]
    return found
