"""What a component adds to the residual stream."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.engine.capture import capture
from lensscope.errors import LensError
from lensscope.model.backend import Backend
from lensscope.values.sites import Site, attn_out, head_out


def as_residual(
    backend: Backend, site: Site, states: Float[Tensor, "row width"]
) -> Float[Tensor, "row d_model"]:
    """States as vectors of the residual stream: a head's output goes through its part of ``W_O``.

    Raises:
        LensError: the model does not add the heads' outputs up as they are.
    """
    if site.kind != "head_out":
        return states
    check_heads(backend, site.layer)
    weight = backend.model.blocks[site.layer].attn.W_O[site.head]
    return states.to(weight) @ weight


_WRONG: weakref.WeakKeyDictionary[Any, dict[int, float]] = weakref.WeakKeyDictionary()


def check_heads(backend: Backend, layer: int | None) -> None:
    """Refuse to read heads where they do not add up to the attention's output; tried once.

    Raises:
        LensError: they do not, as where the sum is normalised (Gemma 2 and 3).
    """
    assert layer is not None
    known = _WRONG.setdefault(backend.model, {})
    if layer not in known:
        tokens = [n % backend.d_vocab for n in range(3)]
        with backend.alone():
            cache = capture(backend, tokens, [head_out(layer), attn_out(layer)])
        attention = backend.model.blocks[layer].attn
        heads = cache[head_out(layer)][0]
        weight, bias = attention.W_O, getattr(attention, "b_O", None)
        with torch.no_grad():
            total = torch.einsum("phd,hdm->pm", heads.to(weight), weight)
            total = total if bias is None else total + bias
        expected = cache[attn_out(layer)][0]
        size = float(expected.abs().max() + total.abs().max())
        error = float((total - expected).abs().max())
        known[layer] = error if error > 16 * torch.finfo(backend.dtype).eps * size else 0.0
    if known[layer]:
        raise LensError(
            f"Heads of layer {layer} are not what the attention adds to the residual stream.",
            got=f"a sum that differs from attn_out({layer}) by {known[layer]:.2g}, in "
            + backend.name,
            expected="heads that add up to the attention's output, without a norm after them",
            instead=f"ls.attn_out({layer})",
        )
