"""States written into prompts, so many at a time, and what is generated then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from torch import Tensor

from lensscope.engine.calls import run_many
from lensscope.engine.runs import Generation, Runs
from lensscope.model.backend import Backend
from lensscope.patchscope.scope import Patchscope
from lensscope.values.patches import Patch
from lensscope.values.prompts import TokenizedPrompt

_ROWS: Final = 1024
"""Rows that are run together."""


class Said(NamedTuple):
    """What was generated, and its first token; -1 where there is none."""

    text: str
    first: int


def said(generation: Generation) -> list[Said]:
    """What was generated of each row."""
    rows = zip(generation.texts, generation.token_ids, strict=True)
    return [Said(text, ids[0] if ids else -1) for text, ids in rows]


def into_placeholder(scope: Patchscope, target: Backend, layer: int, value: Tensor) -> list[Patch]:
    """A value written over each placeholder of a patchscope's prompt, at a layer."""
    kind = scope.write.whole(layer)
    return [scope.patch(kind.at(place), value) for place in scope.inspection.placed(target)]


def runs_of(
    backend: Backend, prompt: TokenizedPrompt, writes: Iterable[list[Patch]], **asked: Any
) -> Iterator[Runs]:
    """One prompt under many lists of patches, which are made as they are needed.

    Args:
        backend: the model.
        prompt: what is run.
        writes: the patches of each row.
        **asked: as in `run_many`.
    """
    rest = iter(writes)
    while some := list(islice(rest, _ROWS)):
        yield run_many(backend.model, prompt, some, **asked)


def said_after(
    backend: Backend,
    prompt: TokenizedPrompt,
    writes: Iterable[list[Patch]],
    max_new_tokens: int,
    memory_budget: int,
) -> list[Said]:
    """What a model says after a prompt with each list of patches."""
    asked = {"positions": None, "max_new_tokens": max_new_tokens, "memory_budget": memory_budget}
    found: list[Said] = []
    for runs in runs_of(backend, prompt, writes, **asked):
        assert runs.generation is not None
        found += said(runs.generation)
    return found
