"""Which tokens of a prompt a position means.

A position is resolved on the unpadded tokens of each prompt, so padding never changes what it
means. It is one of

- an ``int`` (negative counts from the end),
- a ``slice``,
- a substring: the token that holds its last character,
- ``span("…")``: all tokens that hold a character of the substring,
- ``ALL``: every token.

A substring is looked for as a whole word first, and inside words only where it is none: of "Niger
borders Nigeria", ``"Niger"`` is the first word. There must be one match; ``occurrence=`` chooses
among all of them, those inside words too.
"""

from __future__ import annotations

import operator
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, SupportsIndex, TypeAlias

import numpy as np
from torch import Tensor

from lensscope import checks
from lensscope.errors import PositionError
from lensscope.values.prompts import TokenizedPrompt


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
    """Every token of the prompt; the one instance is ``ALL``."""

    def __repr__(self) -> str:
        return "ALL"


ALL: Final = All()
PositionLike: TypeAlias = SupportsIndex | str | slice | Span | All | Slice
Position: TypeAlias = int | str | Span | All | Slice


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
        PositionError: it is none of the five forms.
    """
    if type(position) is int:
        return position
    if isinstance(position, slice | Slice):
        parts = (position.start, position.stop, position.step)
        return Slice(*(None if part is None else _edge(part, position) for part in parts))
    if isinstance(position, str | All) or (
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
        position: any of the five forms.
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
    text = position.text if isinstance(position, Span) else position
    start, stop = _find(text, prompt, occurrence)
    holding = [
        index
        for index, (first, last) in enumerate(prompt.char_spans)
        if first < stop and start < last
    ]
    if not holding:
        raise PositionError(
            f"No token holds the substring {text!r}.",
            got=prompt.shown(),
            expected="a substring that is part of a token's text",
            instead="the token's index",
        )
    if isinstance(position, Span):
        return tuple(holding)
    holding_last = [i for i in holding if prompt.char_spans[i][1] >= stop]
    return (holding_last[-1] if holding_last else holding[-1],)


@dataclass(frozen=True)
class Match:
    """Where a substring occurs in a text.

    Attributes:
        start, stop: its characters.
        word: whether it is a word, or several, of its own, and no part of one.
    """

    start: int
    stop: int
    word: bool


def matches(text: str, whole: str) -> list[Match]:
    """Where a substring occurs in a whole text, overlapping matches too.

    Example:
        >>> from lensscope.values.positions import matches
        >>> matches("Niger", "Niger borders Nigeria")
        [Match(start=0, stop=5, word=True), Match(start=14, stop=19, word=False)]
    """
    found: list[Match] = []
    start = whole.find(text) if text else -1
    while start >= 0:
        stop = start + len(text)
        found.append(Match(start, stop, not (_joined(whole, start) or _joined(whole, stop))))
        start = whole.find(text, start + 1)
    return found


def meant(found: Sequence[Match], occurrence: int | None = None) -> Match | None:
    """The one match that is meant: the only whole word, or else the only match there is; ``None``
    where that does not say one."""
    if occurrence is not None:
        return found[occurrence] if -len(found) <= occurrence < len(found) else None
    words = [match for match in found if match.word] or list(found)
    return words[0] if len(words) == 1 else None


def inside_word(
    position: PositionLike, prompt: TokenizedPrompt, occurrence: int | None = None
) -> str:
    """The word that a substring is found in the middle of; empty where it is a word of its own."""
    text = position.text if isinstance(position, Span) else position
    match = meant(matches(text, prompt.text), occurrence) if isinstance(text, str) else None
    return "" if match is None or match.word else _word_around(prompt.text, match)


def _word_around(whole: str, match: Match) -> str:
    """The word that a match is a part of."""
    first, last = match.start, match.stop
    while _joined(whole, first):
        first -= 1
    while _joined(whole, last):
        last += 1
    return whole[first:last].strip()


def _joined(whole: str, at: int) -> bool:
    """Whether the characters on both sides of a place are of one word."""
    if not 0 < at < len(whole):
        return False
    before, after = whole[at - 1], whole[at]
    if unicodedata.category(after).startswith("M"):  # an accent or vowel sign of what it follows
        return True
    pair = (before, after)
    return all(map(_of_a_word, pair)) and not any(map(_without_spaces, pair))


def _of_a_word(character: str) -> bool:
    mark = unicodedata.category(character).startswith("M")
    return mark or character.isalnum() or character in _JOINERS


def _without_spaces(character: str) -> bool:
    """Whether it is of a script that does not set words apart by spaces, or that writes particles
    at their ends (Korean), so that a word may begin or end anywhere."""
    return unicodedata.name(character, "").split(" ", 1)[0] in _SPACELESS


_JOINERS: Final = "_\u200c\u200d"
_SPACELESS: Final = frozenset(
    (
        *("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HALFWIDTH"),
        *("BOPOMOFO", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "JAVANESE"),
    )
)


def _find(text: str, prompt: TokenizedPrompt, occurrence: int | None) -> tuple[int, int]:
    """Character range of the one match of ``text`` that is meant."""
    if not text:
        raise PositionError(
            "An empty substring names no token.",
            got="''",
            expected="a substring that occurs in the prompt",
            instead="site.at(-1) for the last token",
        )
    found = matches(text, prompt.text)
    match = meant(found, occurrence)
    if match is not None:
        return match.start, match.stop
    if not found:
        raise PositionError(
            f"The substring {text!r} does not occur in the prompt.",
            got=f"the prompt {prompt.text!r}, tokens {prompt.shown()}",
            expected="a substring that occurs exactly once (upper and lower case count)",
            instead="a substring of the prompt, or the token's index",
        )
    if occurrence is not None:
        raise PositionError(
            f"There is no occurrence {occurrence} of {text!r}.",
            got=f"{len(found)} occurrence(s) in {prompt.text!r}",
            expected=f"{-len(found)} to {len(found) - 1}",
            instead="an occurrence in that range",
        )
    words = sum(match.word for match in found)
    as_words = f", {words} of them as a word" if 0 < words < len(found) else ""
    shown = [_shown(n, match, prompt.text) for n, match in enumerate(found[:_LISTED])]
    more = [f"and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
    raise PositionError(
        f"The substring {text!r} occurs {len(found)} times{as_words}.",
        got=", ".join(shown + more),
        expected="exactly one occurrence, as a word or else inside one, or a choice among them",
        instead=f"site.at({text!r}, occurrence=0), or occurrence=-1 for the last",
    )


_LISTED: Final = 12


def _shown(number: int, match: Match, whole: str) -> str:
    around = whole[max(0, match.start - 12) : match.stop + 12]
    where = "" if match.word else f" (inside {_word_around(whole, match)!r})"
    return f"occurrence={number}: …{around!r}…{where}"
