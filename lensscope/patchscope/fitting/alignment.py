"""Where maps begin: states of each layer as they would be at the layer that is read best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.lenses.moments import Moments
from lensscope.values.transforms import Projection

_RIDGE: Final = 0.1
RAW: Final = (0.0, 0.25, 0.5, 0.75)
"""How much of a state as it is may be mixed with what a map makes of it."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """An affine map from the states of each layer to those of another, by ridge regression.

    A late layer's state is of another size and turned another way than what an early block is used
    to; the same item's state at a layer between is known, so that map needs no training.

    Attributes:
        matrices: ``[layer, d, d]``.
        biases: ``[layer, d]``.
    """

    matrices: Float[Tensor, "layer d d"]
    biases: Float[Tensor, "layer d"]

    @classmethod
    def none(cls, n: int, d: int) -> Alignment:
        """States as they are."""
        return cls(torch.eye(d).repeat(n, 1, 1), torch.zeros(n, d))

    @classmethod
    def of(
        cls, samples: Iterable[Mapping[int, Float[Tensor, "row d"]]], anchors: Mapping[int, int]
    ) -> Alignment:
        """Of states of the same items at each layer, some items at a time, and the layer that each
        is brought to."""
        sums: dict[int, Moments] = {}
        d = 0
        for states in samples:
            for layer, anchor in anchors.items():
                d = states[layer].shape[-1]
                if layer != anchor:
                    sums.setdefault(layer, Moments(d, d)).add(states[layer], states[anchor])
        found = cls.none(len(anchors), d)
        for n, layer in enumerate(anchors):
            if layer in sums:
                matrix, bias = sums[layer].solve(_RIDGE)
                found.matrices[n], found.biases[n] = matrix.float(), bias.float()
        return found

    def lean(self, n: int, raw: float) -> None:
        """Let the n-th map give ``raw`` times the states as they are, and the rest of what it gave.

        Early states are what an early block is used to.
        """
        self.matrices[n] *= 1 - raw
        self.matrices[n].diagonal().add_(raw)
        self.biases[n] *= 1 - raw

    def to(self, device: torch.device) -> Alignment:
        """The same on a device."""
        return Alignment(self.matrices.to(device), self.biases.to(device))


def composed(
    held: Mapping[str, Tensor],
    brought: tuple[Float[Tensor, "d d"], Float[Tensor, " d"]],
    typical: tuple[Float[Tensor, " d"], Float[Tensor, " d"]],
    keep: int | None,
    states: Float[Tensor, "row d"],
) -> Projection:
    """What was learnt for one layer, after what brings its states to where they are learnt on, as
    one map in the coordinates of the states.

    Args:
        held: ``scale`` and ``bias``, and ``matrix``, or ``down`` and ``up``; see `MapTrainer`.
        brought: the map that comes before.
        typical: the middle and the size of each entry, in which ``held`` counts.
        keep: give the nearest map of this rank, on these states.
        states: of the layer.
    """
    (first, shift), (middle, size) = brought, typical
    scale, bias = 1 + float(held["scale"]), size * held["bias"]
    plain = bool((first == torch.eye(len(bias))).all()) and not shift.any()
    rank = held["down"].shape[-1] if "down" in held else 0
    if plain and "matrix" not in held and (keep is None or keep >= rank):
        if not rank:
            return Projection(scale, bias=bias, normalize=False)
        down, up = held["down"] / size[:, None], held["up"] * size[:, None]
        bias = bias - up @ (down.mT @ middle)
        return Projection(scale, down=down, up=up, bias=bias, normalize=False)
    inner = held.get("matrix", torch.zeros_like(first))
    if rank:
        inner = held["up"] @ held["down"].mT
    own = size[:, None] * inner / size
    matrix = (own + scale * torch.eye(len(bias))) @ first
    bias = bias + scale * shift + own @ (shift - middle)
    if keep is not None:
        return of_rank(matrix, bias, keep, states, size)
    return Projection(None, matrix=matrix, bias=bias, normalize=False)


def of_rank(
    matrix: Float[Tensor, "d d"],
    bias: Float[Tensor, " d"],
    rank: int,
    states: Float[Tensor, "row d"],
    sizes: Float[Tensor, " d"],
) -> Projection:
    """The map ``s x + V Uᵀ x + b`` of a rank that is nearest to another one on some states.

    Args:
        matrix: of the other one.
        bias: of the other one.
        rank: of ``V Uᵀ``.
        states: what both are given.
        sizes: by which each entry of what they give is measured.
    """
    x = states.double().cpu()
    middle = x.mean(0)
    own, weights = matrix.double(), 1 / sizes.double()
    spread = (x - middle).mT @ (x - middle) / len(x)
    # the number that leaves least, with entries measured by their sizes
    square = weights[:, None] ** 2 * spread
    scale = float((square * own.mT).sum() / square.diagonal().sum())
    rest = weights[:, None] * (own - scale * torch.eye(len(own), dtype=own.dtype))
    values, vectors = torch.linalg.eigh(rest @ spread @ rest.mT)
    first = vectors[:, torch.argsort(values, descending=True)[:rank]]
    up, down = first / weights[:, None], rest.mT @ first
    shift = own @ middle + bias.double() - scale * middle - up @ (down.mT @ middle)
    return Projection(scale, down=down.float(), up=up.float(), bias=shift.float(), normalize=False)


def early(layers: Iterable[int], n_layers: int) -> list[int]:
    """Those of the first third of a model."""
    return [layer for layer in layers if layer < n_layers / 3]


def spread_over(layers: Sequence[int], n: int) -> list[int]:
    """At most so many of some layers, evenly spread, the first and the last among them."""
    if len(layers) <= n:
        return list(layers)
    return sorted({layers[round(i * (len(layers) - 1) / (n - 1))] for i in range(n)})
