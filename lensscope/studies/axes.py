"""What the cells of a sweep are called, and what is written there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CONDITIONS: Final = ("state", "shuffled", "mean", "drawn", "random", "prior")
"""What is written: the item's state; and what `NULLS` says."""
NULLS: Final = {
    "shuffled": (
        "the state of another item",
        "of its kind: says what any such state gives, whoever's it is",
    ),
    "mean": (
        "the mean state of the layer",
        "of what all items share: near states, and nobody's",
    ),
    "drawn": (
        "a vector drawn with the states' own mean and covariance",
        "on the states' manifold: says what any vector gives that lies where states do",
    ),
    "random": (
        "a vector in a random direction, as long as a state",
        "off the states' manifold, and the weakest: says what any vector of this length gives",
    ),
    "prior": ("nothing", "no vector at all: says what the prompt gives by itself"),
}
"""The controls: what is written, and which kind of null that is."""


def controls() -> pd.DataFrame:
    """The controls, in words."""
    rows = [(name, written, null) for name, (written, null) in NULLS.items()]
    return pd.DataFrame(rows, columns=["control", "what is written", "null"])


@dataclass(frozen=True)
class Axes:
    """What the cells of a sweep are called.

    Attributes:
        metrics: what texts are scored by.
        items: how many.
        variants: ways in which an item is put.
        scopes: inspection prompts.
        sources: source layers.
        targets: target layers; ``None`` where it is the source layer.
        pooled: whether variants are samples of one kind, to be taken together.
    """

    metrics: tuple[str, ...]
    items: int
    variants: tuple[str, ...]
    scopes: tuple[str, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...] | None
    pooled: bool

    @property
    def n_targets(self) -> int:
        return 1 if self.targets is None else len(self.targets)


def axes_of(arguments: Mapping[str, Any], items: int) -> Axes:
    """The axes of a study with these arguments."""
    targets = arguments["target_layers"]
    return Axes(
        tuple(arguments["metrics"]),
        items,
        tuple(arguments["variants"]),
        tuple(scope["text"] for scope in arguments["inspection"]),
        tuple(arguments["source_layers"]),
        None if targets is None else tuple(targets),
        bool(arguments["pooled"]),
    )


def widened(cells: NDArray[Any]) -> NDArray[Any]:
    """Source by target layers with one more of each, which stands for some: an item's best there.

    Example:
        >>> import numpy as np
        >>> from lensscope.studies.axes import widened
        >>> widened(np.array([[0.0, 1.0], [0.0, 0.0]])).tolist()
        [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    """
    some = np.concatenate([cells, np.fmax.reduce(cells, -1, keepdims=True)], -1)
    return np.concatenate([some, np.fmax.reduce(some, -2, keepdims=True)], -2)
