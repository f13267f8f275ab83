"""Reading states by the model's own head."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lensscope.backend import Backend
from lensscope.engine import run
from lensscope.prompts import labels_of
from lensscope.sites import resid_post

_AT_A_TIME = 64


def logit_lens_tokens(
    backend: Backend, states: Float[Tensor, "state d_model"]
) -> list[tuple[str, float]]:
    """The most probable token of each state by the model's own final norm and head, as text, and
    its probability.

    Writing into the last residual *is* the logit lens (nostalgebraist 2020), so that is how it is
    done: the states are written over the last layer of a dummy prompt, and the logits are read.
    """
    last = resid_post(backend.n_layers - 1)
    tokens: list[int] = []
    probabilities: list[float] = []
    states = states.to(backend.device, backend.dtype)
    size = min(_AT_A_TIME, backend.n_ctx or _AT_A_TIME)
    for start in range(0, len(states), size):
        part = states[start : start + size]
        logits = run(backend.model, [0] * len(part), [last.set(part)]).logits[0]
        best = logits.float().softmax(-1).max(-1)
        tokens += best.indices.tolist()
        probabilities += best.values.tolist()
    return list(zip(labels_of(backend, tokens), probabilities, strict=True))
