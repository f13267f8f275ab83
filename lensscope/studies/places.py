"""Where a name stands in a text: as whole words if it can, and never at the first token.

The first token of a text is an attention sink: whatever it is, its state is nearly that of any
other first token, in norm a hundred times that of the rest. A beginning-of-sequence token takes
that place where the model's tokenizer adds one; where it adds none, a name that would be read there
is put behind other words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lensscope.errors import StudyError
from lensscope.model.backend import Backend
from lensscope.model.tokens import tokenize
from lensscope.values.prompts import TokenizedPrompt

LEAD_IN: Final = "They were talking about "
"""What is put before a text whose first token would be read."""
# scripts that put no space between words, where every match is as good as a whole word
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_LETTER: Final = rf"(?:(?![{_UNSPACED}])\w)"


def whole(words: str) -> str:
    """A pattern of words that no letter stands beside.

    Args:
        words: a pattern of their own.
    """
    first = rf"(?<![^\W{_UNSPACED}])"
    return rf"{first}{words}(?!{_LETTER})"


@dataclass(frozen=True)
class Found:
    """Where a name stands in a text.

    Attributes:
        start, stop: its characters.
        inside: whether it stands only within other words, so that this may be another name.
    """

    start: int
    stop: int
    inside: bool


def find(name: str, text: str, occurrence: int | None = None) -> Found:
    """Where a name stands in a text: as whole words, and within a word only where it must.

    Args:
        name: as it is written there.
        text: what it stands in.
        occurrence: which of several is meant, 0 the first, -1 the last; by default the last, which
            has read most.

    Raises:
        StudyError: it does not occur, or not so often.

    Example:
        >>> from lensscope.studies.places import find
        >>> find("Niger", "Niger borders Nigeria").start, find("Niger", "all of Nigeria").inside
        (0, True)
    """
    own = re.escape(name)
    found = [m.start() for m in re.finditer(rf"(?={whole(own)})", text)]
    inside = not found
    if inside:
        found = [m.start() for m in re.finditer(f"(?={own})", text)]
    at = -1 if occurrence is None else occurrence
    if not -len(found) <= at < len(found):
        raise StudyError(
            f"There is no such occurrence of {name!r}." if found else "A name is not in its text.",
            got=f"occurrence {at} of {len(found)} in {text!r}" if found else repr(text),
            expected=f"the name {name!r}, upper and lower case as it is"
            + (f", and {-len(found)} to {len(found) - 1}" if found else ""),
            instead="a text that has the name as whole words",
        )
    return Found(found[at], found[at] + len(name), inside)


@dataclass(frozen=True)
class Placed:
    """A name in a prompt.

    Attributes:
        prompt: the prompt.
        tokens: those of the name.
        inside: whether it stands only within other words.
        led: whether words were put before the text.
    """

    prompt: TokenizedPrompt
    tokens: tuple[int, ...]
    inside: bool
    led: bool


def placed(
    backend: Backend,
    text: str,
    name: str,
    occurrence: int | None = None,
    *,
    every: bool = False,
) -> Placed:
    """A name in a text as tokens, behind `LEAD_IN` where a token that is read would be the first.

    Args:
        backend: the model.
        text: what the name stands in.
        name: as it is written there.
        occurrence: which of several.
        every: whether all its tokens are read, and not the last alone.

    Raises:
        StudyError: it is not there.
    """
    found = find(name, text, occurrence)
    prompt, tokens = _tokens(backend, text, found.start, found.stop)
    led = 0 in (tokens if every else tokens[-1:])
    if led:
        before = LEAD_IN.rstrip() if text[:1].isspace() else LEAD_IN
        start, stop = found.start + len(before), found.stop + len(before)
        prompt, tokens = _tokens(backend, before + text, start, stop)
    return Placed(prompt, tokens, found.inside, led)


def _tokens(
    backend: Backend, text: str, start: int, stop: int
) -> tuple[TokenizedPrompt, tuple[int, ...]]:
    """A text, and the tokens that hold some of its characters."""
    (prompt,) = tokenize(backend, text, None)
    return prompt, tuple(prompt.holding(start, stop))
