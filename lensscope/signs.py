"""Text as a terminal, a page and an error message may show it."""

from __future__ import annotations

import html
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


def visible(text: str) -> str:
    """Line breaks and other control characters as signs, so that a cell stays on one line."""
    shown = without_control(text.replace("\n", "⏎").replace("\t", "⇥"))
    return shown if shown.strip() or not shown else "␣" * len(shown)


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
