"""What a model says of states that are written into a prompt, text by text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from torch import Tensor

from lensscope.engine.runs import Generation
from lensscope.model.backend import Backend
from lensscope.patchscope.writing import write_and_decode
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Patch, Site

ROWS: Final = 1024
"""Rows that are run together."""
Write: TypeAlias = "tuple[Site, Tensor] | None"
"""A site and what is written there; ``None`` for nothing."""


class Said(NamedTuple):
    """What was generated, and its first token; -1 where there is none."""

    text: str
    first: int


def said(generation: Generation) -> list[Said]:
    """What was generated of each row."""
    rows = zip(generation.texts, generation.token_ids, strict=True)
    return [Said(text, ids[0] if ids else -1) for text, ids in rows]


def said_after(
    target: Backend,
    prompt: TokenizedPrompt,
    places: Sequence[int],
    writes: Iterable[Write],
    max_new_tokens: int,
    memory_budget: int,
    patch: Callable[[Site, Tensor], Patch] = Site.set,
) -> list[Said]:
    """What a model says after a prompt with each write, as `write_and_decode` has them."""
    found: list[Said] = []
    for runs in write_and_decode(
        target,
        prompt,
        places,
        writes,
        patch=patch,
        max_new_tokens=max_new_tokens,
        at_once=ROWS,
        memory_budget=memory_budget,
    ):
        assert runs.generation is not None
        found += said(runs.generation)
    return found
