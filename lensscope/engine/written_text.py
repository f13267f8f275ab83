"""Prompts with what was written after them, as rows: to read the states of new tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch.nn.functional import pad

from lensscope.engine.batch import Row, Write
from lensscope.model.backend import Backend
from lensscope.model.tokens import tokenize


def with_text(backend: Backend, rows: Sequence[Row], new: Sequence[Sequence[int]]) -> list[Row]:
    """Rows whose prompts go on with their new tokens, patched as those were when they were made."""
    return [
        Row(
            tokenize(backend, [*row.prompt.ids, *ids])[0],
            tuple(_reaching(w, len(row.prompt), len(ids)) for w in row.all_writes),
        )
        for row, ids in zip(rows, new, strict=True)
    ]


def _reaching(write: Write, length: int, more: int) -> Write:
    """A write as it was while a prompt of this length went on by so many tokens."""
    if write.when == "every_step":
        return replace(write, tokens=(*write.tokens, *range(length, length + more)))
    held = getattr(write.operation, "value", None)
    if "key" not in write.site.axes or held is None:
        return write
    # a number for each key of the prompt; none of its tokens sees the new ones
    operation = replace(write.operation, value=pad(held, (0, more)))  # type: ignore[type-var]
    return replace(write, operation=operation)
