"""What is written or scored in place of an item's own state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import StudyError


class Spread:
    """The mean of states that come some at a time, and vectors drawn as they are spread.

    A drawn vector is the mean and a random combination of how far each state is from it: normal,
    with the states' own mean and covariance, so it lies where states do and is no item's.

    Args:
        draws: how many vectors.
        seed: of them.
    """

    def __init__(self, draws: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._n, self._draws = 0, draws
        self._total = torch.zeros(1, dtype=torch.float64)
        self._mixed = torch.zeros(1, dtype=torch.float64)
        self._weight = torch.zeros(draws, dtype=torch.float64)

    def add(self, states: Float[Tensor, "row *cell"]) -> None:
        """Count some states."""
        own = states.double().cpu()
        weights = torch.from_numpy(self._rng.standard_normal((len(own), self._draws)))
        self._total = self._total + own.sum(0)
        self._mixed = self._mixed + torch.tensordot(weights.T, own, 1)
        self._weight += weights.sum(0)
        self._n += len(own)

    def mean(self) -> Float[Tensor, "*cell"]:
        """The mean state."""
        return (self._total / self._n).float()

    def drawn(self) -> Float[Tensor, "draw *cell"]:
        """The vectors; of one state alone they are that state."""
        mean = self._total / self._n
        apart = self._mixed - self._weight.reshape(-1, *[1] * mean.ndim) * mean
        return (mean + apart / max(self._n - 1, 1) ** 0.5).float()


def of_no_item(
    states: Iterable[Float[Tensor, "layer width"]], n: int, draws: int, seed: int
) -> dict[str, Tensor]:
    """What is written of states that come one at a time, and is none of theirs.

    Args:
        states: of each item, at each layer.
        n: how many come.
        draws: how many vectors a layer are drawn.
        seed: of what is drawn.

    Returns:
        ``mean``, of each layer; ``drawn``, as the states are spread; ``random``, in any direction,
        each as long as one of the states.
    """
    rng = np.random.default_rng(seed)
    lengths_of = rng.choice(n, draws, replace=draws > n).tolist()
    spread = Spread(draws, seed)
    lengths: dict[int, Tensor] = {}
    for number, state in enumerate(states):
        spread.add(state[None])
        if number in lengths_of:
            lengths[number] = state.double().cpu().norm(dim=-1)
    mean = spread.mean()
    noise = torch.randn(draws, *mean.shape, generator=torch.Generator().manual_seed(seed)).double()
    wanted = torch.stack([lengths[number] for number in lengths_of])
    random = noise * (wanted / noise.norm(dim=-1))[..., None]
    return {"mean": mean, "drawn": spread.drawn(), "random": random.float()}


def derangement(answers: Sequence[Sequence[str]], seed: int) -> list[int]:
    """For each item another one that has none of its answers, each about as often.

    Raises:
        StudyError: some item has no such other.
    """
    order = np.random.default_rng(seed).permutation(len(answers)).tolist()
    own = [{answer.casefold() for answer in of_item} for of_item in answers]
    found = [0] * len(answers)
    for n, item in enumerate(order):
        rest = (order[(n + step) % len(order)] for step in range(1, len(order)))
        other = next((o for o in rest if not own[item] & own[o]), None)
        if other is None:
            raise StudyError(
                "The control with another item needs items of different answers.",
                got=f"item {item} and {len(answers) - 1} others, all answered "
                f"{', '.join(answers[item])!r}",
                expected="at least two items that differ in what is right",
                instead="more items",
            )
        found[item] = other
    return found


def groups(n: int, size: int, seed: int) -> list[list[int]]:
    """Numbers up to ``n`` in random order, cut into groups; none of them of one alone.

    The control of each is the one after it in its group; of the last one, the first.

    Raises:
        StudyError: fewer than two.

    Example:
        >>> from lensscope.studies.controls import groups
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
