"""Questions answered, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from lensscope.explorer import mattering, moving, reading, saying
from lensscope.explorer.lab import Lab
from lensscope.explorer.python import python_of
from lensscope.explorer.questions import Question

Tell = Callable[[dict[str, Any]], None]

_ANSWERS: Final[dict[str, Any]] = {
    "tokens": reading.tokens,
    "grid": reading.grid,
    "cell": reading.cell,
    "controls": saying.controls,
    "step": saying.step,
    "matters": mattering.matters,
    "circuit": mattering.circuit,
}

# Those that tell what comes while it comes.
_TOLD: Final[dict[str, Any]] = {"words": saying.words, "patch": moving.patch}

_GROWING: Final = ("rows", "lenses", "said", "layers", "results", "exact")
"""Lists of an answer that come a few at a time."""


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The parts of an answer as one."""
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            grows = isinstance(value, list) and name in _GROWING
            found[name] = [*found.get(name, []), *value] if grows else value
    return found


def answered(lab: Lab, question: Question, tell: Tell) -> Iterator[dict[str, Any]]:
    """The parts of an answer.

    Args:
        lab: the model, with its lenses and readers.
        question: what is asked.
        tell: told what comes between parts, while one is still being made; a later part says it
            again.

    Raises:
        LensscopeError: what cannot be answered.
    """
    if question.kind in _TOLD:
        yield from _TOLD[question.kind](lab, question, tell)
    else:
        yield from _ANSWERS[question.kind](lab, question)
    if question.kind != "controls":
        yield {"python": python_of(lab, question)}
