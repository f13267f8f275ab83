"""Least squares from sums of products, without the data."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(eq=False)
class Moments:
    """Sums of a regression ``y = A x + b``, in float64, one batch at a time.

    Attributes:
        n: rows so far.
        x, y: sums.
        xx, xy: sums of products.
    """

    d_in: int
    d_out: int
    n: int = 0
    x: Tensor = field(init=False)
    y: Tensor = field(init=False)
    xx: Tensor = field(init=False)
    xy: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.x = torch.zeros(self.d_in, dtype=torch.float64)
        self.y = torch.zeros(self.d_out, dtype=torch.float64)
        self.xx = torch.zeros(self.d_in, self.d_in, dtype=torch.float64)
        self.xy = torch.zeros(self.d_in, self.d_out, dtype=torch.float64)

    def add(self, x: Float[Tensor, "row d_in"], y: Float[Tensor, "row d_out"]) -> None:
        """Take in rows."""
        x, y = x.double().cpu(), y.double().cpu()
        self.n += len(x)
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.xx += x.mT @ x
        self.xy += x.mT @ y

    def solve(self, ridge: float) -> tuple[Float[Tensor, "d_out d_in"], Float[Tensor, " d_out"]]:
        """``A`` and ``b`` with the least ``mean |y - A x - b|^2 + ridge * sum_i var(x_i) |A_i|^2``.

        The penalty is relative to the variance of each entry of ``x``, so it does not depend on
        their units, and ``b`` is not penalised. Entries that do not vary get no weight.
        """
        mean_x, mean_y = self.x / self.n, self.y / self.n
        xx = self.xx / self.n - mean_x[:, None] * mean_x
        xy = self.xy / self.n - mean_x[:, None] * mean_y
        size = xx.diagonal().clamp_min(0).sqrt()
        still = size <= 1e-9 * (mean_x.abs() + size.max())
        inverse = torch.where(still, 0.0, 1 / size.masked_fill(still, 1.0))
        scaled = inverse[:, None] * xx * inverse
        scaled += torch.diag(ridge + still.double())
        matrix = (inverse[:, None] * torch.linalg.solve(scaled, inverse[:, None] * xy)).mT
        return matrix, mean_y - matrix @ mean_x
