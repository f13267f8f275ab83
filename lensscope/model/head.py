"""A model's own way from the last residual to logits: final norm, unembedding, caps and scales."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.model.backend import Backend
from lensscope.model.trials import whole
from lensscope.model.trying import Trial, once, verdict
from lensscope.model.weights import weights_hash

_AT_ONCE: Final = 24 << 20
"""Bytes of logits at a time; more than the allocator's threshold would be mapped anew each time."""


def unembed(
    backend: Backend, states: Float[Tensor, "*rows d_model"]
) -> Float[Tensor, "*rows d_vocab"]:
    """The logits that the model would give if each state were its last residual.

    The final norm is recomputed on each state, and caps and scales of logits are the model's own.
    Gradients flow. Hooks of the user's own do not act meanwhile: they would be given states of many
    prompts in place of one prompt's positions. Where final norm, unembedding and the logits'
    transform that TransformerLens tells of do not give what the model gives, which is tried once a
    model, the states go through the model's own forward, over the last block's output of dummy
    tokens.
    """
    flat = states.reshape(-1, states.shape[-1]).to(_device(backend), backend.dtype)
    way = _direct if _is_direct(backend) else _through_model
    with backend.alone():
        found = way(backend, flat)
    return found.reshape(*states.shape[:-1], backend.d_vocab)


def rows_at_once(backend: Backend) -> int:
    """How many states are best unembedded together: few enough to stay in fast memory."""
    if backend.device.type != "cpu":
        return 1024
    return max(1, _AT_ONCE // (4 * backend.d_vocab))


def unembedded(
    backend: Backend, states: Float[Tensor, "row d_model"]
) -> Iterator[Float[Tensor, "some d_vocab"]]:
    """The logits of many states, some at a time."""
    for chunk in torch.split(states, rows_at_once(backend)):
        yield unembed(backend, chunk)


def head_hash(backend: Backend) -> str:
    """A hash of the final norm and the unembedding."""
    parts = [(n, getattr(backend.model, n, None)) for n in ("ln_final", "unembed")]
    named = {
        f"{name}.{inner}": parameter
        for name, part in parts
        if part is not None
        for inner, parameter in part.named_parameters()
    }
    return weights_hash(sorted(named.items()))


def _device(backend: Backend) -> torch.device:
    """Where a model that is spread over devices has its unembedding."""
    parameter = next(iter(backend.model.unembed.parameters()), None)
    return backend.device if parameter is None else parameter.device


def _direct(backend: Backend, flat: Tensor) -> Tensor:
    return backend.passage(lambda: _normed_and_unembedded(backend.model, flat))


def _normed_and_unembedded(model: Any, flat: Tensor) -> Tensor:
    norm = getattr(model, "ln_final", None)
    hidden = flat[None] if norm is None else norm(flat[None])
    logits: Tensor = model.unembed(hidden)[0]
    transform = getattr(getattr(model, "adapter", None), "apply_output_logits_transform", None)
    if transform is not None:
        return transform(logits)
    cap = getattr(model.cfg, "output_logits_soft_cap", None)
    return cap * torch.tanh(logits / cap) if cap is not None and cap > 0 else logits


def _through_model(backend: Backend, flat: Tensor) -> Tensor:
    def enter(layer: int, residual: Tensor) -> Tensor:
        return flat[:, None].to(residual.device) if layer == backend.n_layers else residual

    # As many dummy tokens as there are states: what follows the last block may count on it.
    tokens = torch.zeros(len(flat), 1, dtype=torch.long, device=backend.device)
    logits = backend.run(tokens, enter=enter, pick=lambda residual: residual)
    assert logits is not None
    return logits[:, 0]


def head(backend: Backend) -> Trial:
    """Whether final norm, unembedding and the logits' transform make of the last block's output
    what the model does."""

    def find() -> Trial:
        def both() -> tuple[Tensor, Tensor]:
            seen = whole(backend)
            if seen.last is None:
                raise ValueError("what the last block gives cannot be seen")
            return _direct(backend, seen.last.to(_device(backend))), seen.logits[0]

        return verdict("norm and unembedding", both, 16 * torch.finfo(backend.dtype).eps)

    return once(backend, "head", find)


def _is_direct(backend: Backend) -> bool:
    return head(backend).holds
