"""What is right in unit 6."""

from __future__ import annotations

import math
from typing import Any, Final

from lensscope.course.judges import Function, Holds, Judge, Number

# ---------------------------------------------------------------- 6.1


def _states(names: int, width: int) -> Any:
    """Some states that hang together, and lie away from zero."""
    import torch

    mixing = torch.Generator().manual_seed(7)
    mixed = torch.randn(names, width, generator=mixing) @ torch.randn(
        width, width, generator=mixing
    )
    return mixed + 9.0


def _one_vector(answer: Any) -> bool:
    return tuple(answer(_states(40, 6), 0).shape) == (6,)


def _repeats(answer: Any) -> bool:
    states = _states(40, 6)
    return bool((answer(states, 3) == answer(states, 3)).all())


def _draws(answer: Any) -> Any:
    import torch

    states = _states(40, 6)
    return torch.stack([answer(states, seed).float() for seed in range(1500)])


def _is_none_of_them(answer: Any) -> bool:
    import torch

    states = _states(40, 6)
    return all(
        float(torch.cdist(answer(states, n)[None].float(), states).min()) > 1e-3 for n in range(5)
    )


def _mean(answer: Any) -> bool:
    states = _states(40, 6)
    away = _draws(answer).mean(0) - states.mean(0)
    return float(away.norm()) < 0.2 * float(states.std(0).norm())


def _length(answer: Any) -> bool:
    wanted = float(_states(40, 6).var(0).sum())
    return 0.8 < float(_draws(answer).var(0).sum()) / wanted < 1.25


def _covariance(answer: Any) -> bool:
    wanted = _states(40, 6).T.cov()
    return float((_draws(answer).T.cov() - wanted).norm()) < 0.25 * float(wanted.norm())


def _of_few(answer: Any) -> bool:
    """A vector of few states of great width lies in the space that these span."""
    import torch

    states = _states(5, 60)
    apart = (states - states.mean(0)).double()
    drawn = (answer(states, 0) - states.mean(0)).double()
    within = torch.linalg.lstsq(apart.T, drawn[:, None], driver="gelsd").solution
    return float((apart.T @ within - drawn[:, None]).norm()) < 0.02 * float(drawn.norm())


# ---------------------------------------------------------------- 6.3


def _hits(items: int, cells: int, seed: int) -> Any:
    import numpy as np

    return (np.random.default_rng(seed).random((items, cells)) < 0.4).astype(int)


def _held_out(hits: Any) -> tuple[int, float]:
    half = len(hits) // 2
    sums = hits[:half].sum(0).tolist()
    cell = sums.index(max(sums))
    return cell, float(hits[half:, cell].mean())


def _held_out_cases() -> list[tuple[tuple[Any, ...], Any]]:
    import numpy as np

    chosen_by_half = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [0, 0]])
    equal = np.array([[0, 1, 1], [1, 1, 1], [0, 1, 0], [0, 0, 1]])
    other = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 1], [1, 0, 1]])
    many = [_hits(20, 900, 1), _hits(12, 30, 2), _hits(30, 4, 3)]
    return [((hits,), _held_out(hits)) for hits in (chosen_by_half, equal, other, *many)]


# ---------------------------------------------------------------- 6.4


def _at_least(k: int, n: int, p: float) -> float:
    return sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))


def _low(hits: int, n: int) -> float:
    """The share at which so many hits or more have the probability 0.025."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _at_least(hits, n, middle) > 0.025 else (middle, high)
    return low


def _interval(hits: int, n: int) -> tuple[float, float]:
    return (_low(hits, n) if hits else 0.0, 1 - _low(n - hits, n) if hits < n else 1.0)


_COUNTS: Final = ((7, 20), (1, 20), (20, 20), (0, 15), (2, 15), (50, 60))


def _interval_cases() -> list[tuple[tuple[Any, ...], Any]]:
    return [(count, _interval(*count)) for count in _COUNTS]


# ---------------------------------------------------------------- 6.5


def _ranks(scores: Any) -> list[int]:
    rows = scores.tolist()
    return [sum(other >= row[n] for other in row) for n, row in enumerate(rows)]


def _ranks_cases() -> list[tuple[tuple[Any, ...], Any]]:
    import numpy as np

    clear = np.array([[3.0, 1.0, 2.0], [0.5, 0.2, 0.4], [9.0, 1.0, 5.0]])
    tied = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0], [4.0, 4.0, 4.0]])
    drawn = np.random.default_rng(5).normal(size=(12, 12)) - 20
    return [((scores,), _ranks(scores)) for scores in (clear, tied, np.zeros((5, 5)), drawn)]


JUDGES: Final[dict[str, Judge]] = {
    "6.1": Holds(
        (
            (callable, "The answer is the function itself: give it without calling it."),
            (_one_vector, "It should give one vector, as wide as a state."),
            (_repeats, "The same seed should give the same vector again."),
            (_is_none_of_them, "What it gives is one of the states that it was given."),
            (_mean, "The mean of many draws is not the states' mean."),
            (_length, "Draws are not spread as widely as the states are."),
            (
                _covariance,
                "Each number is spread as it should be, but numbers that go together in the states "
                "do not go together in the draws.",
            ),
            (
                _of_few,
                "Of few states of great width, a draw should be a mixture of how far each state is "
                "from their mean, and is not.",
            ),
        )
    ),
    "6.2": Number(
        "uF1CL4U=",
        within=0.01,
        known={
            "uF1A": "That is what a cell gives on average; the best one gives more.",
            "uF1DLIIs": "That is the best of 30.",
        },
        unit="a share of names",
    ),
    "6.3": Function(
        _held_out_cases,
        within=1e-6,
        said=(
            "six items, whose halves choose differently",
            "two cells that are equally good on the first half",
            "a cell that is best on the first half and worst on the second",
            "20 items and 900 cells",
            "12 items and 30 cells",
            "30 items and 4 cells",
        ),
    ),
    "6.4": Function(
        _interval_cases, within=0.002, said=tuple(f"{hits} of {n}" for hits, n in _COUNTS)
    ),
    "6.5": Function(
        _ranks_cases,
        said=(
            "three names without ties",
            "three names with ties",
            "five names whose scores are all 0",
            "twelve names with negative scores",
        ),
    ),
}
