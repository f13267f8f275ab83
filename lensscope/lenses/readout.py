"""Reading states by the model's own head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.model.backend import Backend
from lensscope.model.head import unembedded
from lensscope.model.token_texts import labels_of


def logit_lens_tokens(
    backend: Backend, states: Float[Tensor, "state d_model"]
) -> list[tuple[str, float]]:
    """The most probable token of each state by the model's own final norm and head, as text, and
    its probability (nostalgebraist 2020)."""
    found: list[tuple[str, float]] = []
    with torch.no_grad():
        for logits in unembedded(backend, states):
            best = logits.float().softmax(-1).max(-1)
            labels = labels_of(backend, best.indices.tolist())
            found += zip(labels, best.values.tolist(), strict=True)
    return found
