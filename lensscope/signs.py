"""Text as a terminal, a page and an error message may show it."""

from __future__ import annotations

import html
import unicodedata
from typing import Final

_PICTURES: Final[dict[int, str]] = {
    **{n: chr(0x2400 + n) for n in range(0x20) if chr(n) not in "\n\t"},
    **dict.fromkeys(range(0x7F, 0xA0), "␡"),
    # no encoding has a half of a character, and no XML these two
    **dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "�"),
}


def without_control(text: str) -> str:
    """A text with a picture in place of each control character but line breaks and tabs: they are
    no XML, and a terminal would obey them."""
    return text.translate(_PICTURES)


EMPTY: Final = "∅"


def visible(text: str) -> str:
    """A text in one line: line breaks, tabs and other control characters as signs, a sign for each
    space where there is nothing else, and one for no text at all.

    Example:
        >>> from lensscope.signs import visible
        >>> [visible(text) for text in ("a\\n", "  ", "")]
        ['a⏎', '␣␣', '∅']
    """
    shown = without_control(text.replace("\n", "⏎").replace("\t", "⇥"))
    return shown if shown.strip() else "␣" * len(shown) or EMPTY


def short(text: str, limit: int) -> str:
    """What is visible of a text, without spaces at its ends, so many columns wide at most.

    Text that runs from right to left is set apart from what stands beside it.
    """
    text = visible(text).strip()
    if width(text) > limit:
        while width(text) > limit - 1:
            text = text[:-1]
        text += "…"
    return isolated(text)


def isolated(text: str) -> str:
    """A text whose lines keep to themselves: what runs from right to left does not turn around the
    numbers beside it."""
    if all(unicodedata.bidirectional(c) not in _TURNING for c in text):
        return text
    return "\n".join(f"\u2068{line}\u2069" for line in text.split("\n"))


_TURNING: Final = ("R", "AL", "AN", "RLE", "RLO", "LRE", "LRO", "PDF", "RLI", "LRI", "FSI")


def width(text: str) -> int:
    """The columns of a text in a monospaced font."""
    return sum(
        0
        if unicodedata.combining(c) or unicodedata.category(c) == "Cf"
        else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def escape(text: str, quote: bool = True) -> str:
    """A text as it stands in SVG, HTML and XML, whatever is in it."""
    return html.escape(without_control(text), quote)


def cut(text: str, limit: int) -> str:
    """A text of at most about ``limit`` characters: its start and its end.

    Example:
        >>> from lensscope.signs import cut
        >>> cut("a" * 1000, 20)
        'aaaaaaaaaaaaa … (1,000 characters) … aaaaaaa'
    """
    if len(text) <= limit:
        return text
    end = limit // 3
    return f"{text[: limit - end - 1]} … ({len(text):,} characters) … {text[-end - 1 :]}"
