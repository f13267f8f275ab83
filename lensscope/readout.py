"""Reading states by the model's own head."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lensscope.backend import Backend
from lensscope.engine import run_many
from lensscope.prompts import labels_of
from lensscope.sites import resid_post


def logit_lens_tokens(
    backend: Backend, states: Float[Tensor, "state d_model"]
) -> list[tuple[str, float]]:
    """The most probable token of each state by the model's own final norm and head, as text, and
    its probability.

    Writing into the last residual *is* the logit lens (nostalgebraist 2020), so that is how it is
    done: each state is written over the last layer of a dummy prompt, and the logits are read.
    """
    last = resid_post(backend.n_layers - 1)
    rows = [[last.set(state)] for state in states.to(backend.device, backend.dtype)]
    logits = run_many(backend.model, [0], rows).logits
    assert logits is not None
    best = logits[:, 0].float().softmax(-1).max(-1)
    labels = labels_of(backend, best.indices.tolist())
    return list(zip(labels, best.values.tolist(), strict=True))
