"""Which tokens of a prompt a position means.

A position is resolved on the unpadded tokens of each prompt, so padding never changes what it
means. It is one of

- an ``int`` (negative counts from the end),
- a ``slice``,
- a substring: the token that holds its last character,
- ``span("…")``: all tokens that hold a character of the substring,
- ``ALL``: every token,
- ``chat.message(1)``: of a chat, all tokens of a message, or of a substring in it.

Where several are taken, a list of these is meant of every prompt, and a list of lists has one for
each prompt.

A substring is looked for as a whole word first, and inside words only where it is none: of "Niger
borders Nigeria", ``"Niger"`` is the first word. There must be one match; ``occurrence=`` chooses
among all of them, those inside words too.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, SupportsIndex, TypeAlias

import numpy as np
from torch import Tensor

from lensscope import checks
from lensscope.errors import PositionError
from lensscope.values.chats import InMessage
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.substrings import Match, found, matches, meant, word_around


@dataclass(frozen=True)
class Span:
    """All the tokens that hold a character of ``text``.

    Example:
        >>> ls.span("Wales")
        span('Wales')
    """

    text: str

    def __repr__(self) -> str:
        return f"span({self.text!r})"


@dataclass(frozen=True)
class Slice:
    """A slice that can be hashed (Python's own cannot before 3.12)."""

    start: int | None
    stop: int | None
    step: int | None

    def __repr__(self) -> str:
        parts = [self.start, self.stop] + ([self.step] if self.step is not None else [])
        return ":".join("" if part is None else str(part) for part in parts)


@dataclass(frozen=True)
class All:
    """Every token of the prompt; the one instance is ``ALL``.

    Example:
        >>> state = ls.capture(model, "The Eiffel Tower", ls.resid_post(3).at(ls.ALL))
        >>> state.tokens
        (('The', ' E', 'iffel', ' Tower'),)
    """

    def __repr__(self) -> str:
        return "ALL"


ALL: Final = All()
PositionLike: TypeAlias = SupportsIndex | str | slice | Span | All | Slice | InMessage
PositionsLike: TypeAlias = PositionLike | Sequence[PositionLike | Sequence[PositionLike]]
"""One position or a list of them, for every prompt; or a list of lists, one for each prompt."""
Position: TypeAlias = int | str | Span | All | Slice | InMessage
FORMS: Final = (Span, Slice, All, InMessage)
"""The classes that positions are made of, beside numbers and texts."""


@checks.door(PositionError)
def span(text: str) -> Span:
    """All tokens that hold a character of ``text``, which must occur once in the prompt, as a whole
    word or, if it is none there, inside a word.

    Example:
        >>> ls.resid_post(3).at(ls.span("Princess of Wales"))
        resid_post(3).at(span('Princess of Wales'))
    """
    return Span(text)


def as_position(position: PositionLike) -> Position:
    """A hashable position from anything that a user may write for one.

    Raises:
        PositionError: it is none of these forms.
    """
    if type(position) is int:
        return position
    if isinstance(position, slice | Slice):
        parts = (position.start, position.stop, position.step)
        return Slice(*(None if part is None else _edge(part, position) for part in parts))
    if isinstance(position, str | All | InMessage) or (
        isinstance(position, Span) and isinstance(position.text, str)
    ):
        return position
    found = checks.plain(position)
    try:
        if isinstance(found, bool | np.ndarray | Tensor):
            raise TypeError
        return operator.index(found)
    except TypeError:
        raise PositionError(
            "This is not a position.",
            got=checks.seen(position),
            expected='one whole number, a slice, a substring, span("…") or ALL',
            instead='-1, slice(0, 4), "Wales", ls.ALL; a list of them where several are taken',
        ) from None


def _edge(part: Any, position: Any) -> int:
    """An edge, or the step, of a slice."""
    edge = checks.whole_number(part, "An edge of a slice", -sys.maxsize, 4, PositionError)
    if edge == 0 and part is position.step:
        raise PositionError(
            "A slice of step 0 goes nowhere.",
            got=checks.seen(position),
            expected="a step that is not 0",
            instead="slice(0, 4)",
        )
    return edge


def resolve(
    position: PositionLike, prompt: TokenizedPrompt, occurrence: int | None = None
) -> tuple[int, ...]:
    """The token indices, counted on the unpadded prompt, that a position names.

    Args:
        position: any of the forms above.
        prompt: the tokenized prompt.
        occurrence: which match of a substring is meant when there are several (0 is the first,
            -1 the last); all count, those inside words too.

    Raises:
        PositionError: out of range, not found, ambiguous, or naming no token.
    """
    position = as_position(position)
    length = len(prompt.ids)
    if isinstance(position, All):
        return tuple(range(length))
    if isinstance(position, int):
        if not -length <= position < length:
            raise PositionError(
                f"Position {position} is out of range.",
                got=f"{position} in a prompt of {length} tokens: {prompt.shown()}",
                expected=f"{-length} to {length - 1}",
                instead="a position in that range, or a substring of the prompt",
            )
        return (position % length,)
    if isinstance(position, Slice):
        chosen = tuple(range(length)[slice(position.start, position.stop, position.step)])
        if not chosen:
            raise PositionError(
                f"The slice {position!r} names no token.",
                got=f"a prompt of {length} tokens: {prompt.shown()}",
                expected="at least one token",
                instead=f"a slice within 0:{length}",
            )
        return chosen
    text = position if isinstance(position, str) else position.text
    window = _window(position, prompt)
    match = Match(*window, True) if text is None else found(text, prompt, occurrence, window)
    holding = prompt.holding(match.start, match.stop)
    if not holding:
        raise PositionError(
            f"No token holds the substring {text!r}.",
            got=prompt.shown(),
            expected="a substring that is part of a token's text",
            instead="the token's index",
        )
    if isinstance(position, Span) or text is None or getattr(position, "whole", False):
        return tuple(holding)
    holding_last = [i for i in holding if prompt.char_spans[i][1] >= match.stop]
    return (holding_last[-1] if holding_last else holding[-1],)


def each_position(positions: PositionsLike, prompts: int) -> list[list[Position]]:
    """What is asked for of each of so many prompts: the same of all, or, of a list of lists, its
    own of each.

    Raises:
        PositionError: nothing, or not one list for each prompt.

    Example:
        >>> from lensscope.values.positions import each_position
        >>> each_position([["Diana", -1], ["Paris"]], 2)
        [['Diana', -1], ['Paris']]
    """
    given: Any = positions.tolist() if isinstance(positions, np.ndarray | Tensor) else positions
    if not isinstance(given, list | tuple | range):
        return [[as_position(given)]] * prompts
    own = [isinstance(one, list | tuple | range) for one in given]
    rows = list(given) if own and all(own) else [given] * prompts
    some = all(map(len, rows))
    if not some or len(rows) != prompts or any(own) != all(own):
        raise PositionError(
            "There is not one list of positions for each prompt."
            if some
            else "No token of a prompt is meant.",
            got=f"{checks.seen(positions)}, for {prompts} prompt(s)",
            expected="at least one position, for all prompts; or a list of lists, one for each",
            instead="[-1, 'Paris'] for every prompt, [['Diana'], ['Paris']] for two",
        )
    return [[as_position(one) for one in row] for row in rows]


def resolve_each(
    positions: PositionsLike, prompts: Sequence[TokenizedPrompt], occurrence: int | None = None
) -> list[tuple[int, ...]]:
    """The tokens of each prompt that are asked for, in that order, each once; see `resolve`."""
    each = zip(prompts, each_position(positions, len(prompts)), strict=True)
    return [
        tuple(dict.fromkeys(token for one in row for token in resolve(one, prompt, occurrence)))
        for prompt, row in each
    ]


def _window(position: Any, prompt: TokenizedPrompt) -> tuple[int, int]:
    """The characters that a position is looked for in: of a message of a chat, or all.

    Raises:
        PositionError: the prompt has no such message, or its template does not show it as it is.
    """
    if not isinstance(position, InMessage):
        return 0, len(prompt.text)
    n = position.number
    start, stop = prompt.messages[n] if n < len(prompt.messages) else (0, 0)
    if start == stop:
        raise PositionError(
            f"Message {n} does not stand in the prompt.",
            got=f"{len(prompt.messages)} messages, in the prompt {prompt.text[:200]!r}",
            expected="a message that the chat template writes as it is",
            instead="a substring of the prompt, or the token's index",
        )
    return start, stop


def inside_word(
    position: PositionLike, prompt: TokenizedPrompt, occurrence: int | None = None
) -> str:
    """The word that a substring is found in the middle of; empty where it is a word of its own."""
    text = getattr(position, "text", position)
    if not isinstance(text, str):
        return ""
    match = meant(matches(text, prompt.text, _window(position, prompt)), occurrence)
    return "" if match is None or match.word else word_around(prompt.text, match)
