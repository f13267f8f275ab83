"""Colours of pictures: shades of values, and the text that can be read on them."""

from __future__ import annotations

from typing import Final

Colour = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""

SHADES: Final[tuple[Colour, ...]] = ((247, 251, 255), (107, 174, 214), (8, 48, 107))
# Red below zero, white at it, blue above; told apart also by those who do not tell red from green.
DIVERGING: Final[tuple[Colour, ...]] = ((178, 24, 43), (255, 255, 255), (33, 102, 172))
# Okabe and Ito 2008, likewise.
LINES: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")
TEXT: Final = "#1c2430"
PALE_TEXT: Final = "#5c677b"
NOTHING: Final[Colour] = (240, 242, 246)
"""What a cell without a value has."""
_READABLE: Final = 4.5


def luminance(colour: Colour) -> float:
    """The relative luminance of WCAG 2, from 0 (black) to 1 (white)."""
    parts = [c / 255 for c in colour]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    """The contrast of WCAG 2, from 1 to 21; text needs 4.5."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink(ground: Colour) -> str:
    """The colour of text on a ground: the usual one if it can be read, else white, else black,
    one of which always can."""
    for text in (TEXT, "#ffffff"):
        if contrast(ground, parsed(text)) >= _READABLE:
            return text
    return "#000000"


def mixed(value: float, shades: tuple[Colour, ...] = DIVERGING) -> Colour:
    """A colour between the first shade at 0, the second at 1/2, and the third at 1."""
    value = min(1.0, max(0.0, value))
    first, middle, last = shades
    low, high = (first, middle) if value < 0.5 else (middle, last)
    share = value * 2 % 1 if value < 1 else 1.0
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue


def parsed(text: str) -> Colour:
    """The colour that is written ``#rrggbb``."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def rgb(colour: Colour) -> str:
    """A colour as pages and pictures write it."""
    return "rgb({},{},{})".format(*colour)
