"""Jacobians of the last residual, of one piece of text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.lenses.corpus import Piece
from lensscope.model.backend import Backend
from lensscope.model.passing import Hook
from lensscope.values.sites import resid_post


def piece_jacobians(
    backend: Backend, piece: Piece, layers: Sequence[int], skip_first: int, rows: int
) -> Float[Tensor, "layer d_model d_model"]:
    """The Jacobians of one piece, at each layer.

    The piece is run as several rows alike, and each row is asked for the gradient of another entry
    of the last residual, summed over the tokens that count. What comes before a token does not
    depend on it, so the gradient at ``t`` is the sum over ``t' >= t``.
    """
    d = backend.d_model
    counted = slice(skip_first, len(piece) - 1)
    held: dict[int, Tensor] = {}

    def keep(layer: int) -> Hook:
        def hook(residual: Tensor) -> Tensor:
            if layer == layers[0]:
                residual = residual.detach().requires_grad_()
            held[layer] = residual
            return residual

        return hook

    last = backend.n_layers - 1
    points = {backend.hook_point(resid_post(n)): [keep(n)] for n in (*layers, last)}
    tokens = torch.tensor([list(piece)] * rows, device=backend.device)
    with torch.enable_grad(), backend.attached(points):
        backend.run(tokens)
    found = torch.zeros(len(layers), d, d, dtype=torch.float32)
    sources = [held[layer] for layer in layers]
    for first in range(0, d, rows):
        entries = torch.arange(first, min(first + rows, d))
        cotangent = torch.zeros_like(held[last])
        cotangent[torch.arange(len(entries)), counted, entries] = 1
        more = first + rows < d
        grads = torch.autograd.grad(held[last], sources, cotangent, retain_graph=more)
        for i, grad in enumerate(grads):
            found[i, entries] = grad[: len(entries), counted].float().mean(1).cpu()
    return found
