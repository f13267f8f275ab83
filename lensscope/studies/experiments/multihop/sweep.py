"""What is written for a question in two steps, and what is generated then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from lensscope.engine.run_many import run_many
from lensscope.model.backend import Backend
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import resid_post

_ROWS: Final = 1024
"""Rows of a sweep that are run together."""


@dataclass(frozen=True)
class Written:
    """A state of a sweep and where it goes.

    Attributes:
        condition: what it is the state of.
        draw: which one, of several.
        source: its layer.
        target: where it is written.
        state: ``[d_model]``.
    """

    condition: str
    draw: int
    source: int
    target: int
    state: Tensor


def texts_after(
    backend: Backend,
    prompt: TokenizedPrompt,
    token: int,
    sweep: Sequence[Written],
    *,
    max_new_tokens: int,
    memory_budget: int,
) -> list[str]:
    """What is generated after a prompt as it is, then with each state written at a token."""
    sets: list[Any] = [[], *([resid_post(w.target).at(token).set(w.state)] for w in sweep)]
    found: list[str] = []
    for first in range(0, len(sets), _ROWS):
        runs = run_many(
            backend,
            prompt,
            sets[first : first + _ROWS],
            positions=None,
            max_new_tokens=max_new_tokens,
            memory_budget=memory_budget,
        )
        assert runs.generation is not None
        found += runs.generation.texts
    return found
