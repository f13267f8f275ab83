"""What is right in unit 8."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from lensscope.course.judges import Function, Holds, Judge, Number, Numbers
from lensscope.course.plain import plain


def _lists(answer: Any) -> tuple[list[float], list[float]]:
    before, after = plain(answer)
    return before, after


def _eight_logits(answer: Any) -> bool:
    """Whether these are twice four finite numbers."""
    found = plain(answer)
    return (
        isinstance(found, list)
        and len(found) == 2
        and all(isinstance(four, list) and len(four) == 4 for four in found)
        and all(isinstance(v, int | float) and math.isfinite(v) for four in found for v in four)
    )


def _difference(logits: Sequence[float]) -> float:
    return logits[0] - logits[1]


def _probability(logits: Sequence[float]) -> float:
    top = max(logits)
    return math.exp(logits[0] - top) / sum(math.exp(v - top) for v in logits)


def _difference_rises(answer: Any) -> bool:
    before, after = _lists(answer)
    return _difference(after) - _difference(before) >= 2 - 1e-6


def _probability_falls(answer: Any) -> bool:
    before, after = _lists(answer)
    return _probability(after) < 0.5 * _probability(before)


def _toys() -> list[tuple[tuple[Any, ...], Any]]:
    """Metrics of two nodes, and the effects of the first one by denoising and by noising."""
    toys: list[tuple[Callable[[int, int], float], list[float]]] = [
        (min, [0.0, 1.0]),
        (max, [1.0, 0.0]),
        (lambda a, b: 0.3 * a + 0.7 * b, [0.3, 0.3]),
        (lambda a, b: 5.0 - 2.0 * a * b, [0.0, 1.0]),
        (lambda a, b: -5.0 + 8.0 * max(a, b) + 2.0 * a, [1.0, 0.2]),
        (lambda a, b: b + 2.0 * a * b - 0.5 * a, [-0.2, 0.6]),
    ]
    return [((metric,), effects) for metric, effects in toys]


def _metrics() -> list[tuple[tuple[Any, ...], Any]]:
    """Metrics of a state, and the effects that the gradient of the corrupted run estimates."""
    import torch

    weights = torch.tensor([1.0, -2.0, 0.5])
    clean, corrupted = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([-1.0, 2.0, 3.0])
    moved = float(weights @ (clean - corrupted))

    def linear(state: Any) -> Any:
        return weights @ state + 3

    def curved(state: Any) -> Any:
        return (weights @ state) ** 2

    def saturating(state: Any) -> Any:
        return torch.sigmoid(2 * weights @ state)

    start, end = float(weights @ corrupted), float(weights @ clean)
    low, high = (1 / (1 + math.exp(-2 * v)) for v in (start, end))
    return [
        ((linear, clean, corrupted), 1.0),
        ((curved, clean, corrupted), 2 * start * moved / (end**2 - start**2)),
        ((saturating, clean, corrupted), 2 * low * (1 - low) * moved / (high - low)),
    ]


JUDGES: Final[dict[str, Judge]] = {
    "8.1": Number(
        "TLbSxYHJ",
        within=0.01,
        known={
            "TLbXwIjN": "You measured from the clean run: 0 should be the corrupted one.",
            "UanPwo_H": "That is the logit difference. Which share of the way is it?",
            "TLbYw4HJ": "That is another block than the one that was asked for.",
            "TLbSx43G": "That is another block than the one that was asked for.",
            "TLbUy4DI": "You wrote the corrupted state into the clean run.",
            "TLbVwonK": "You wrote the corrupted state into the clean run.",
        },
        unit="an effect",
    ),
    "8.2": Holds(
        [
            (_eight_logits, "The answer is a pair of lists, each of four finite numbers."),
            (_difference_rises, "The logit difference does not rise by 2 from before to after."),
            (
                _probability_falls,
                "The difference rises, but the right answer's probability does not fall to less "
                "than half. The softmax is over all four.",
            ),
        ]
    ),
    "8.3": Function(
        _toys,
        said=(
            "and",
            "or",
            "a weighted sum",
            "and, with a metric that falls",
            "or, with a part that node a does alone",
            "a node that hurts alone",
        ),
    ),
    "8.4": Function(
        _metrics,
        within=1e-3,
        said=("a linear metric", "a curved metric", "a metric that saturates"),
    ),
    "8.5": Numbers(
        "o5Ola2ZNJ1A6CvUFCcHUjodVlywFIiKdbhLEM3SdvXE1NQhrgpwEYJ85a67vZo36YPjXNLZpLv94rPYs4aTMYRl21_s=",
        within=0.015,
        known={
            "o5Ola2ZNJ1A6CvUFCcHUjoNXni0FIiKdbhLEM3SdvXE1NQhrgpwEYJ84bKvuZo36YPjXNLZpLv94rPYs4aTMZx9zmA"
            "==": "That is another block than the one that was asked for.",
            "o5Ola2ZNJ1A6CvUFCcHUjo5QnigFIiKdbhLEM3SdvXE1NQhrgpwEYJ84bqvvZo36YPjXNLZpLv94rPYs4aTMZBxz3fs"
            "=": "You measured from the corrupted run; by noising, 0 is the clean run.",
            "o5Ola2ZNJ1A6CvUFCcHUjoJXmzMLcj-eZwSXdmmGtng6PApqxIQOfoA9a6r2aM71YePLOaE7eupqtL8067raYhp2mA"
            "==": "You wrote into the corrupted run: noising begins with the clean one.",
            "o5Ola2ZNJ1A6CvUFCcHRjoFRmygFIiKdbhLEM3SdvXE1NQhrgpwEYJ87ZK3pZo36YPjXNLZpLv94rPYs4aXMax5x3Ps"
            "=": "Those are logit differences. Which share is lost?",
        },
    ),
}
