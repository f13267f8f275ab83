"""Whether a TransformerLens model computes what the Hugging Face model does.

TransformerLens takes a model apart and puts it together again, by a description of its architecture
that may lack a switch of its configuration. So each model that is loaded is tried on a few tokens,
against the logits that the Hugging Face model gave before TransformerLens touched it.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.errors import ModelError

_TOKENS: Final = 8
# What two orders of the same sums may differ by, in standard deviations of the log-probabilities.
# A switch that is lost costs 0.07 to 0.4 on small models. Rounding costs the demo model 3e-6 in
# float32, 0.005 in float16 and 0.027 in bfloat16, and more once weights are folded.
_TOLERANCE: Final = {torch.float16: 0.02, torch.bfloat16: 0.06}
_TOLERANCE_FLOAT32: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Expected:
    """What the Hugging Face model says about a few tokens.

    Attributes:
        tokens: what was run.
        logits: the answer.
        dtype: of the weights.
    """

    tokens: Int[Tensor, "1 pos"]
    logits: Float[Tensor, "pos d_vocab"]
    dtype: torch.dtype


def expected_of(hf_model: Any, title: str) -> Expected:
    """Run the Hugging Face model, before anything is done to it.

    Raises:
        ModelError: it does not run.
    """
    try:
        tokens = _tokens(hf_model)
        with torch.no_grad():
            logits = hf_model(input_ids=tokens, use_cache=False).logits[0].float()
    except Exception as error:  # each architecture fails in its own way
        raise ModelError(
            f"Hugging Face's own model of {title} does not run.",
            got=f"{type(hf_model).__name__}: {type(error).__name__}: {str(error)[:200]}",
            expected="logits for a few tokens",
            instead="another model, or the packages that this one needs",
        ) from error
    return Expected(tokens, logits, hf_model.dtype)


def _tokens(hf_model: Any) -> Int[Tensor, "1 pos"]:
    """Ordinary tokens from all over the vocabulary, the same ones each time."""
    size = int(hf_model.get_input_embeddings().weight.shape[0])
    special: set[int] = set()
    for config in (hf_model.config, hf_model.config.get_text_config()):
        for name, value in vars(config).items():
            if name.endswith(("_token_id", "_token_index")):
                special |= set(value if isinstance(value, list) else [value])
    step = 4099 if size % 4099 else 4111  # primes, so that no token comes twice
    candidates = (n * step % size for n in range(1, size + 1))
    found = [token for token, _ in zip(candidates, range(4 * _TOKENS), strict=False)]
    ordinary = [token for token in found if token not in special][:_TOKENS]
    return torch.tensor([ordinary or found], device=hf_model.device)


def check_agreement(
    model: Any, expected: Expected, title: str, *, folded: bool = False, **options: Any
) -> None:
    """Refuse a model that does not say what the Hugging Face model did.

    Log-probabilities are compared: folding shifts all logits of a token.

    Args:
        model: a `TransformerBridge` or `HookedTransformer`.
        expected: from `expected_of`.
        title: what the model is called.
        folded: whether its weights were folded, which rounds them once more.
        options: for its forward, in place of those that a bridge takes.

    Raises:
        ModelError: it does not run, or says something else; how far off is told.
    """
    tolerance = _TOLERANCE.get(expected.dtype, _TOLERANCE_FLOAT32) * (2 if folded else 1)
    off, failure = float("inf"), None
    # Without a cache, as some models keep theirs; with one where only that is right.
    for way in [options] if options else [{"use_cache": False}, {}]:
        try:
            with torch.no_grad():
                got = model(expected.tokens, return_type="logits", **way)[0].float()
            off = min(off, _distance(got, expected.logits))
        except Exception as error:  # each architecture fails in its own way
            failure = error
        if off <= tolerance:
            break
    if failure is not None and off == float("inf"):
        raise ModelError(
            f"TransformerLens' model of {title} does not run.",
            got=f"{type(failure).__name__}: {str(failure)[:200]}",
            expected="logits for a few tokens",
            instead="another model, or another version of TransformerLens",
        ) from failure
    _DISTANCES[model] = off
    if not off <= tolerance:
        raise ModelError(
            f"TransformerLens' model of {title} does not compute what Hugging Face's does.",
            got=f"log-probabilities that are {off:.2g} of their standard deviation apart, in "
            f"{str(expected.dtype).removeprefix('torch.')}{', folded' if folded else ''}",
            expected=f"at most {tolerance:g}",
            instead='processing="raw"'
            if folded
            else "another model, or another version of TransformerLens: this one leaves out "
            "something that the configuration asks for",
        )


_DISTANCES: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()


def distance_of(model: Any) -> float | None:
    """How far a model was from Hugging Face's when it was loaded, in standard deviations of the
    log-probabilities; ``None`` for one that was loaded by other means."""
    return _DISTANCES.get(model)


def _distance(got: Float[Tensor, "pos d_vocab"], expected: Float[Tensor, "pos d_vocab"]) -> float:
    """The root mean square difference of log-probabilities, in standard deviations."""
    if got.shape != expected.shape:
        return float("inf")
    # A token at which the model itself overflows says nothing; that is a matter of its dtype.
    finite = expected.isfinite().all(-1)
    if not bool(finite.any()):
        return 0.0
    one, other = (t[finite].log_softmax(-1) for t in (got, expected))
    return float((one - other).square().mean().sqrt() / other.std().clamp_min(1e-6))
