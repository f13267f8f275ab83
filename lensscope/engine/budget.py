"""Cutting rows into batches that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from lensscope.engine.states import KeptStates
from lensscope.errors import BudgetError
from lensscope.model.backend import Backend


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


def result_bytes(backend: Backend, states: KeptStates, logits: int) -> int:
    """What results take: vectors as long as the vocabulary, and what is read."""
    longest = max(map(len, states.prompts))
    numbers = logits * backend.d_vocab
    for site, positions in states.sites.items():
        numbers += sum(map(len, positions)) * math.prod(backend.shape(site, 1, longest))
    return int(numbers * backend.dtype.itemsize)


def check_budget(budget: int, results: int, most: int) -> None:
    """Refuse a budget that does not hold the results and a single row.

    Raises:
        BudgetError: with the least that would do.
    """
    least = results + 2 * most  # the unpatched row comes along
    if least > budget:
        raise BudgetError(
            "The memory budget does not hold the results and a single row.",
            got=f"{budget:,} bytes",
            expected=f"at least {least:,} bytes",
            instead=f"memory_budget={least}",
        )


def chunks(rows: Sequence[int], needed: Callable[[int], int], room: int) -> Iterator[list[int]]:
    """Rows in batches.

    Args:
        rows: in the order in which they are to run; by length, if they have prompts of their own:
            then the newest is the longest, and the others are padded to it.
        needed: the bytes that a row takes.
        room: the bytes that a batch may take; the unpatched row comes along.
    """
    chunk: list[int] = []
    for row in rows:
        if chunk and (len(chunk) + 2) * needed(row) > room:
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk
