"""Numbers of distributions over the vocabulary, for one batch of logits at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.lenses.checks import refuse_nan

MEASURES: Final = ("entropy", "kl", "next_token_rank", "next_token_log_probability")


@dataclass(frozen=True, eq=False)
class FinalDistribution:
    """The model's own final distribution at some tokens.

    Attributes:
        log_p: ``[row, d_vocab]``.
        next_token: the token that follows in the prompt; -1 where none does.
    """

    log_p: Float[Tensor, "row d_vocab"]
    next_token: Int[Tensor, " row"]


def entropy(log_q: Float[Tensor, "row d_vocab"]) -> Float[Tensor, " row"]:
    """``-sum q log q``, in nats."""
    return -torch.linalg.vecdot(log_q.exp(), log_q.clamp_min(_LOWEST))


def kl_divergence(
    log_p: Float[Tensor, "row d_vocab"], log_q: Float[Tensor, "row d_vocab"]
) -> Float[Tensor, " row"]:
    """``KL(p || q) = sum p (log p - log q)``, in nats."""
    return torch.linalg.vecdot(log_p.exp(), log_p.clamp_min(_LOWEST) - log_q.clamp_min(_LOWEST))


def rank_of(
    log_q: Float[Tensor, "row d_vocab"], token: Int[Tensor, "row some"]
) -> Int[Tensor, "row some"]:
    """How many tokens are more probable than this one: 0 is the most probable."""
    own = log_q.gather(1, token)
    return torch.stack([(log_q > own[:, n, None]).sum(-1) for n in range(own.shape[1])], 1)


def compared(
    logits: Float[Tensor, "row d_vocab"], final: FinalDistribution, what: str = "A lens"
) -> dict[str, Tensor]:
    """What a lens is compared by, one number a row.

    ``precision_at_1``: whether its most probable token is that of the model's final distribution;
    ``surprisal``: minus the log-probability that the final distribution gives to the lens' most
    probable token (Ghandeharioun et al. 2024, section 4.1); ``kl``: of the final distribution from
    the lens' (Belrose et al. 2023); ``entropy``; rank and log-probability of the next token, NaN
    where it is not known.

    Raises:
        LensError: logits that are not numbers, of what is called ``what``.
    """
    log_q = logits.float().log_softmax(-1)
    refuse_nan(log_q, what)
    return {
        **agreement(log_q.argmax(-1), final),
        "kl": kl_divergence(final.log_p, log_q),
        "entropy": entropy(log_q),
        **next_token(log_q, final.next_token),
    }


def agreement(best: Int[Tensor, " row"], final: FinalDistribution) -> dict[str, Tensor]:
    """``precision_at_1`` and ``surprisal``, as in `compared`, of most probable tokens."""
    return {
        "precision_at_1": (best == final.log_p.argmax(-1)).float(),
        "surprisal": -final.log_p.gather(1, best[:, None])[:, 0],
    }


def next_token(
    log_q: Float[Tensor, "row d_vocab"], token: Int[Tensor, " row"]
) -> dict[str, Tensor]:
    """Rank and log-probability of the token that follows; NaN where none does (-1)."""
    known, index = token >= 0, token.clamp_min(0)[:, None]
    found = {
        "next_token_rank": rank_of(log_q, index)[:, 0].float(),
        "next_token_log_probability": log_q.gather(1, index)[:, 0],
    }
    return {name: value.masked_fill(~known, torch.nan) for name, value in found.items()}


def read(
    logits: Float[Tensor, "row d_vocab"],
    top_k: int,
    measures: Sequence[str],
    targets: Int[Tensor, " target"],
    final: FinalDistribution | None,
    what: str = "A lens",
    *,
    full: bool = False,
) -> dict[str, Tensor]:
    """The most probable tokens, what is measured, and rank and log-probability of targets.

    Args:
        logits: of a lens.
        top_k: so many tokens are kept.
        measures: some of `MEASURES`.
        targets: token ids.
        final: needed for ``kl`` and what is said of the next token.
        what: what it is called where it gives no numbers.
        full: keep all log-probabilities.

    Raises:
        LensError: logits that are not numbers.
    """
    log_q = logits.float().log_softmax(-1)
    refuse_nan(log_q, what)
    best = log_q.topk(min(top_k, log_q.shape[-1]))
    found = {"token_id": best.indices, "log_probability": best.values}
    if "entropy" in measures:
        found["entropy"] = entropy(log_q)
    if final is not None:
        if "kl" in measures:
            found["kl"] = kl_divergence(final.log_p, log_q)
        after = next_token(log_q, final.next_token)
        found |= {name: value for name, value in after.items() if name in measures}
    if full:
        found["full_log_probability"] = log_q
    if len(targets):
        index = targets.to(log_q.device).expand(len(log_q), -1)
        found["target_rank"] = rank_of(log_q, index).float()
        found["target_log_probability"] = log_q.gather(1, index)
    return found


_LOWEST: Final = -1e4
"""In place of the logarithm of nothing, which would make NaN of ``0 log 0``."""
