"""What is written or scored in place of an item's own state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import StudyError


def mean_and_random(
    states: Iterable[Float[Tensor, "layer width"]], n: int, draws: int, seed: int
) -> tuple[Float[Tensor, "layer width"], Float[Tensor, "draw layer width"]]:
    """The mean of states that come one at a time, and random vectors as long as some of them.

    Args:
        states: of each item, at each layer.
        n: how many come.
        draws: how many random vectors a layer.
        seed: of their directions, and of whose lengths they have.
    """
    rng = np.random.default_rng(seed)
    lengths_of = rng.choice(n, draws, replace=draws > n).tolist()
    total = torch.zeros(1, 1, dtype=torch.float64)
    lengths: dict[int, Tensor] = {}
    for number, state in enumerate(states):
        own = state.double().cpu()
        total = total + own
        if number in lengths_of:
            lengths[number] = own.norm(dim=-1)
    mean = total / n
    noise = torch.randn(draws, *mean.shape, generator=torch.Generator().manual_seed(seed)).double()
    wanted = torch.stack([lengths[number] for number in lengths_of])
    random = noise * (wanted / noise.norm(dim=-1))[..., None]
    return mean.float(), random.float()


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


def as_long_as(
    states: Float[Tensor, "*rows width"], rng: np.random.Generator
) -> Float[Tensor, "*rows width"]:
    """Random vectors, each as long as one of the states."""
    noise = torch.from_numpy(rng.standard_normal(tuple(states.shape))).to(states)
    return noise * (states.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True))


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
