"""The affine maps of a lens, one a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import LensError
from lensscope.values.sites import Site, resid_pre
from lensscope.values.transforms import Affine


@dataclass(frozen=True, eq=False)
class Translator:
    """``x -> A x + b``, or ``x -> x + A x + b``.

    Attributes:
        matrix: ``A``.
        bias: ``b``, if there is one.
        residual: whether ``x`` itself is added.
    """

    matrix: Float[Tensor, "d_out d_in"]
    bias: Float[Tensor, " d_out"] | None = None
    residual: bool = False

    def __call__(self, x: Float[Tensor, "*rows d_in"]) -> Float[Tensor, "*rows d_out"]:
        matrix = self.matrix.to(x.device)
        x = x.to(matrix.dtype)
        out = x @ matrix.mT
        if self.bias is not None:
            out = out + self.bias.to(x.device)
        return x + out if self.residual else out

    def as_affine(self) -> Affine:
        """The same as a transform."""
        matrix = self.matrix
        if self.residual:
            matrix = matrix + torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        bias = torch.zeros_like(matrix[:, 0]) if self.bias is None else self.bias
        return Affine(matrix, bias)


def check_translators(translators: Mapping[Site, Translator], what: str) -> None:
    """Refuse maps that are none.

    Raises:
        LensError: with the first that has no shape of a map, another width, or NaN.
    """
    widths = {tuple(t.matrix.shape) for t in translators.values()}
    for site, translator in translators.items():
        matrix, bias = translator.matrix, translator.bias
        shaped = matrix.ndim == 2 and len(widths) == 1
        shaped = shaped and (bias is None or bias.shape == matrix.shape[:1])
        shaped = shaped and (not translator.residual or matrix.shape[0] == matrix.shape[1])
        finite = bool(matrix.isfinite().all()) and (bias is None or bool(bias.isfinite().all()))
        if not shaped or not finite:
            raise LensError(
                f"{what} does not give a map at {site!r}.",
                got=f"shapes {sorted(widths)}" if not shaped else "NaN or infinity",
                expected="finite matrices of one shape, with biases to match",
                instead="another file, or another fit",
            )


def as_input(site: Site, n_layers: int) -> Site:
    """Block ``l``'s output as block ``l + 1``'s input, which it is."""
    if site.kind == "resid_post" and site.layer is not None and site.layer < n_layers - 1:
        return resid_pre(site.layer + 1)
    return site
