"""Going on to new tokens, one a step, with as few rows as there are different ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.engine.batch import Batch
from lensscope.engine.finite import check_finite
from lensscope.engine.hooks import hooks_for
from lensscope.engine.sampling import Sampling
from lensscope.model.backend import Backend
from lensscope.model.key_values import KeyValues
from lensscope.model.token_texts import labels_of, text_of
from lensscope.model.tokens import eos_ids


def decode(
    backend: Backend,
    batch: Batch,
    tokens: Int[Tensor, "row pos"],
    mask: Int[Tensor, "row pos"] | None,
    key_values: KeyValues | None,
    logits: Float[Tensor, "row d_vocab"],
    sampling: Sampling,
    *,
    merge: bool,
    step_done: Callable[[Sequence[tuple[int, int]]], Any],
) -> list[list[int]]:
    """Write on until every row has ended.

    Rows that have ended leave the batch, and so does, if ``merge``, a row that has become the same
    as another: the same logits, keys and values, to the last bit.

    Args:
        backend: the model.
        batch: the rows; it shrinks.
        tokens: what was run, padded on the left.
        mask: 0 where a token is padding.
        key_values: of those tokens; without, each step runs all of them again.
        logits: at the last token of each row.
        sampling: how tokens are chosen.
        merge: whether rows that have become the same are decoded once.
        step_done: told after each step which rows a token was found for, and which.

    Returns:
        the new tokens of each row, the one that ended it included.
    """
    eos = eos_ids(backend) if sampling.stop_at_eos else frozenset()
    twin = list(range(len(logits)))
    steered = any(w.when == "every_step" for row in batch.rows for w in row.all_writes)
    if merge and key_values is not None and not steered and sampling.max_new_tokens > 1:
        twin = _twins(logits, key_values)
    written: list[list[int]] = [[] for _ in twin]
    active = sorted(set(twin))
    generators = sampling.generators(active)

    def keep(rows: Sequence[int]) -> None:
        nonlocal tokens, mask
        tokens, mask = tokens[rows], None if mask is None else mask[rows]
        batch.keep(rows)
        if key_values is not None:
            key_values.select(rows)

    if len(active) < len(twin):
        keep(active)
        logits = logits[active]

    def ends(prompt: Sequence[int], new: Sequence[int]) -> bool:
        # most tokens cannot be the end of a stop, which is cheaper to see than to decode the text
        (label,) = labels_of(backend, new[-1:])
        may = any(s[-1] in label or not s[-1].isascii() for s in sampling.stop)
        return may and sampling.ended(text_of(backend, new, prompt))

    # Without a cache the prompt is run at every step, and patched each time.
    patched = steered or key_values is None
    with backend.attached(hooks_for(backend, batch)) if patched else nullcontext():
        for step in range(sampling.max_new_tokens):
            chosen = sampling.choose(logits, [generators[i] for i in active])
            for token, i in zip(chosen, active, strict=True):
                written[i].append(token)
            here = dict(zip(active, chosen, strict=True))
            step_done([(i, here[own]) for i, own in enumerate(twin) if own in here])
            going = [
                b
                for b, token in enumerate(chosen)
                if token not in eos and not ends(batch.rows[b].prompt.ids, written[active[b]])
            ]
            if not going or step + 1 == sampling.max_new_tokens:
                break
            if len(going) < len(active):
                active, chosen = [active[b] for b in going], [chosen[b] for b in going]
                keep(going)
            new = torch.tensor(chosen, device=tokens.device)[:, None]
            tokens = torch.cat([tokens, new], dim=1)
            if mask is not None:
                mask = torch.cat([mask, torch.ones_like(new)], dim=1)
            fed = tokens
            if key_values is not None:
                batch.start, fed = tokens.shape[1] - 1, new
            found = backend.run(fed, mask=mask, key_values=key_values, pick=lambda x: x[:, -1:])
            assert found is not None
            logits = found[:, 0]
            check_finite(backend, logits, batch.rows)
    return [written[i] for i in twin]


def _twins(logits: Tensor, key_values: KeyValues) -> list[int]:
    """For each row, the first one that is the same: in its logits, and in all keys and values."""
    alike: dict[bytes, list[int]] = {}
    tensors = key_values.tensors()
    twin = []
    heads = logits[:, :64].float().cpu().numpy()
    for i in range(len(logits)):
        before = alike.setdefault(heads[i].tobytes(), [])
        same = (
            j
            for j in before
            if torch.equal(logits[i], logits[j]) and all(torch.equal(t[i], t[j]) for t in tensors)
        )
        twin.append(next(same, i))
        if twin[-1] == i:
            before.append(i)
    return twin
