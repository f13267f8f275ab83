"""Cutting rows into batches that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from lensscope.backend import Backend
from lensscope.errors import BudgetError
from lensscope.hooks import Reader


def default_budget(device: torch.device) -> int:
    """Bytes that a batch may take: a quarter of what is free, at most 2 GiB on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    import psutil

    return min(2 << 30, int(psutil.virtual_memory().available) // 4)


def row_bytes(backend: Backend, width: int, columns: int, new: int, logits: int) -> int:
    """An upper estimate of what a row of a batch takes.

    Args:
        backend: the model.
        width: tokens of its prompt.
        columns: those of them that are run.
        new: tokens that will come.
        logits: how often its batch holds a vector as long as the vocabulary.
    """
    b = backend
    d_mlp = int(getattr(b.model.cfg, "d_mlp", None) or 4 * b.d_model)
    # To decode, keys and values of all layers are held. A layer at work has its own, and those
    # again for each head.
    held = 2 * b.n_layers * b.n_kv_heads * b.d_head * (width + new) if new > 1 else 0
    keys = 2 * (2 * b.n_kv_heads + b.n_heads) * b.d_head * width
    # Besides there are the residual, a norm, and either an MLP or the scores of one attention.
    working = columns * (8 * b.d_model + 4 * d_mlp + 4 * b.n_heads * width)
    return int((held + keys + working + logits * b.d_vocab) * b.dtype.itemsize)


def result_bytes(backend: Backend, reader: Reader, logits: int) -> int:
    """What results take: vectors as long as the vocabulary, and what is read."""
    longest = max(map(len, reader.prompts))
    numbers = logits * backend.d_vocab
    for site, positions in reader.sites.items():
        numbers += sum(map(len, positions)) * math.prod(backend.shape(site, 1, longest))
    return int(numbers * backend.dtype.itemsize)


def chunks(
    rows: Sequence[int],
    needed: Callable[[int], int],
    *,
    budget: int | None,
    results: int,
    device: torch.device,
) -> Iterator[list[int]]:
    """Rows in batches under the budget.

    Args:
        rows: in the order in which they are to run; by length, if they have prompts of their own.
        needed: the bytes that a row takes.
        budget: for all the sweep; without one, each batch keeps to `default_budget`.
        results: the bytes that the results of the sweep take.
        device: where it runs.

    Raises:
        BudgetError: the budget does not hold the results and a single row.
    """
    if not rows:
        return
    # The longest comes last, and others are padded to it. The unpatched row comes along.
    most = max(map(needed, rows))
    least = results + 2 * most
    if budget is not None and least > budget:
        raise BudgetError(
            "The memory budget does not hold the results and a single row.",
            got=f"{budget:,} bytes",
            expected=f"at least {least:,} bytes",
            instead=f"memory_budget={least}",
        )
    room = default_budget(device) if budget is None else budget - results
    chunk: list[int] = []
    for row in rows:
        if chunk and (len(chunk) + 2) * needed(row) > room:
            yield chunk
            chunk = []
        chunk.append(row)
    yield chunk
