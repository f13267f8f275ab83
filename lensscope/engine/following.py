"""How probable texts are after a prompt: rows of one prompt, which share all that stands before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.engine.capture import capture
from lensscope.engine.run_many import run_many
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import embed

_HELD: Final = 128 << 20
"""Bytes of logits that are held at a time."""
_WASTED: Final = 128
"""Tokens behind the ends of shorter texts that cost about as much as the prompt once more."""


def log_probabilities(
    model: Any,
    prompt: TokenizedPrompt,
    texts: Sequence[Sequence[int]],
    memory_budget: int | None = None,
) -> Float[Tensor, " text"]:
    """The log-probability (nats) of each of some texts after one prompt.

    A text is a row of the prompt with as many tokens behind it as the longest text has, into which
    its own embeddings are written: so the engine runs the prompt once for all of them. What stands
    behind the end of a shorter text changes nothing before it. Equal texts are run once.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: what they follow.
        texts: token ids; of one without any the log-probability is 0.
        memory_budget: bytes that a run may take, results included.

    Raises:
        PromptError: prompt and text do not fit into the context.
        BudgetError: the budget does not hold the results and a single row.

    Example:
        >>> from lensscope.engine.following import log_probabilities
        >>> prompt = ls.run(model, "The capital of Japan is the city of").cache.prompts[0]
        >>> ids = model.tokenizer([" Tokyo", " Lima"], add_special_tokens=False)["input_ids"]
        >>> likely, unlikely = log_probabilities(model, prompt, ids).tolist()
        >>> likely > unlikely
        True
    """
    backend = backend_of(model)
    each = sorted({tuple(text) for text in texts if len(text)}, key=lambda t: (len(t), t))
    found: dict[tuple[int, ...], float] = {(): 0.0}
    for some in _together(backend, each):
        values = _followed(backend, prompt, some, memory_budget)
        found.update(zip(some, values.tolist(), strict=True))
    return torch.tensor([found[tuple(text)] for text in texts])


def _together(
    backend: Backend, texts: Sequence[tuple[int, ...]]
) -> Iterator[Sequence[tuple[int, ...]]]:
    """Texts that are run together, of those that come in order of length: as many as may be held,
    and of about one length."""
    some: list[tuple[int, ...]] = []
    for text in texts:
        held = (len(some) + 1) * len(text) * backend.d_vocab * 4
        wasted = sum(len(text) - len(other) for other in some)
        if some and (held > _HELD or wasted > _WASTED):
            yield some
            some = []
        some.append(text)
    if some:
        yield some


def _followed(
    backend: Backend,
    prompt: TokenizedPrompt,
    texts: Sequence[tuple[int, ...]],
    memory_budget: int | None,
) -> Float[Tensor, " text"]:
    """Log-probabilities of texts of about one length."""
    n, longest = len(prompt), max(texts, key=len)
    whole = tokenize(backend, [*prompt.ids, *longest[:-1]])[0]
    given = capture(
        backend, [list(text) for text in texts], [embed], prepend_bos=False, padding_side="right"
    )[embed]
    rows = [
        [embed.at(n + at).set(given[row, at]) for at in range(len(text) - 1)]
        for row, text in enumerate(texts)
    ]
    at = slice(n - 1, n - 1 + len(longest))
    out = run_many(backend, whole, rows, positions=at, memory_budget=memory_budget)
    assert out.logits is not None
    log_p = out.logits.float().log_softmax(-1)
    width = len(longest)
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts])
    own = log_p.gather(-1, ids.to(log_p.device)[..., None])[..., 0]
    known = torch.tensor([[at < len(text) for at in range(width)] for text in texts])
    return own.masked_fill(~known.to(own.device), 0.0).sum(-1).cpu()
