"""The prompts of a question in two steps: where its state is read, and where it is written."""

from __future__ import annotations

from typing import Final, TypeAlias

from lensscope.errors import StudyError
from lensscope.model.backend import Backend
from lensscope.model.tokens import tokenize
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.studies.places import LEAD_IN
from lensscope.studies.questions import Question
from lensscope.values.prompts import TokenizedPrompt

WAYS: Final = ("chain of thought", "back-patching")
CHAIN, BACK = range(len(WAYS))
Place: TypeAlias = "tuple[TokenizedPrompt, int]"
"""A prompt and one of its tokens."""


def read(backend: Backend, question: Question, way: int) -> Place:
    """The prompt that a question's state is read from, and its token."""
    if way == CHAIN:
        text, start = question.first, 0
    else:
        text, start = question.text, question.second.index("{}")
    stop = start + len(question.first)
    prompt, token = _token(backend, text, stop)
    if token == 0:  # an attention sink
        prompt, token = _token(backend, LEAD_IN + text, len(LEAD_IN) + stop)
    return prompt, token


def _token(backend: Backend, text: str, stop: int) -> Place:
    """A text, and the token that holds the character before a place."""
    (prompt,) = tokenize(backend, text)
    holding = [n for n, (a, b) in enumerate(prompt.char_spans) if a < stop <= b]
    return prompt, holding[-1]


def written(backend: Backend, question: Question, way: int, placeholder: str) -> Place:
    """The prompt that it is written into, and the token.

    Raises:
        StudyError: a placeholder that occurs elsewhere in the second step.
        PromptError: one that is not a token of its own.
    """
    if way == BACK:
        return read(backend, question, way)
    asked = question.asked(placeholder)
    inspection = InspectionPrompt(asked, placeholder)
    places = inspection.placed(backend)
    if len(places) != 1:
        raise StudyError(
            "The placeholder of a second step is not the only one.",
            got=f"{placeholder!r} {len(places)} times in {asked!r}",
            expected="a word that does not occur in the second step",
            instead='placeholder="?"',
        )
    return inspection.tokenized(backend), places[0]
