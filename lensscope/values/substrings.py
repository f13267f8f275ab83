"""Where a substring occurs in a text, as a word or inside one, and which occurrence is meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lensscope.errors import PositionError
from lensscope.values.prompts import TokenizedPrompt


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
        >>> from lensscope.values.substrings import matches
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


def word_around(whole: str, match: Match) -> str:
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


def found(text: str, prompt: TokenizedPrompt, occurrence: int | None = None) -> Match:
    """The one match of a substring in a prompt that is meant.

    Raises:
        PositionError: it does not occur, or does not say which occurrence is meant.
    """
    if not text:
        raise PositionError(
            "An empty substring names no token.",
            got="''",
            expected="a substring that occurs in the prompt",
            instead="site.at(-1) for the last token",
        )
    every = matches(text, prompt.text)
    match = meant(every, occurrence)
    if match is not None:
        return match
    if not every:
        raise PositionError(
            f"The substring {text!r} does not occur in the prompt.",
            got=f"the prompt {prompt.text!r}, tokens {prompt.shown()}",
            expected="a substring that occurs exactly once (upper and lower case count)",
            instead=f"{_SAID[said]}: in quotes, a position is a part of the prompt"
            if (said := text.strip().lower()) in _SAID
            else "a substring of the prompt, or the token's index",
        )
    if occurrence is not None:
        raise PositionError(
            f"There is no occurrence {occurrence} of {text!r}.",
            got=f"{len(every)} occurrence(s) in {prompt.text!r}",
            expected=f"{-len(every)} to {len(every) - 1}",
            instead="an occurrence in that range",
        )
    words = sum(match.word for match in every)
    as_words = f", {words} of them as a word" if 0 < words < len(every) else ""
    shown = [_shown(n, match, prompt.text) for n, match in enumerate(every[:_LISTED])]
    more = [f"and {len(every) - _LISTED} more"] if len(every) > _LISTED else []
    raise PositionError(
        f"The substring {text!r} occurs {len(every)} times{as_words}.",
        got=", ".join(shown + more),
        expected="exactly one occurrence, as a word or else inside one, or a choice among them",
        instead=f"site.at({text!r}, occurrence=0), or occurrence=-1 for the last",
    )


_LISTED: Final = 12
_SAID: Final = {
    "all": "ls.ALL for every token",
    "last": "-1 for the last",
    "first": "0 for the first",
}


def _shown(number: int, match: Match, whole: str) -> str:
    around = whole[max(0, match.start - 12) : match.stop + 12]
    where = "" if match.word else f" (inside {word_around(whole, match)!r})"
    return f"occurrence={number}: …{around!r}…{where}"
