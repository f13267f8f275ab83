"""Pieces of SVG that needs neither script nor browser."""

from __future__ import annotations

from lensscope.show.colours import TEXT
from lensscope.signs import escape, width

_LEAST = 0.7
"""How small a picture in a page may become before the page scrolls it."""


def drawing(wide: float, tall: float, inner: str) -> str:
    """A whole picture, on a ground of its own, made smaller where there is no room for it."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{wide:.0f}' height='{tall:.0f}' "
        f"viewBox='0 0 {wide:.0f} {tall:.0f}' direction='ltr' "
        f"style='--least:{_LEAST * wide:.0f}px;max-width:100%;height:auto'>"
        f"<rect width='100%' height='100%' fill='white'/>{inner}</svg>\n"
    )


def svg_text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    weight: int = 400,
    anchor: str = "start",
    fill: str = TEXT,
    mono: bool = False,
) -> str:
    """A piece of text of a picture."""
    family = "ui-monospace, Menlo, monospace" if mono else "system-ui, sans-serif"
    size = size - 1 if mono else size
    return (
        f"<text x='{x:.0f}' y='{y:.0f}' font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}' fill='{fill}' font-family='{family}' "
        f"xml:space='preserve'>{escape(text)}</text>"
    )


def room(text: str, size: int = 12) -> float:
    """About how wide a text is drawn."""
    return width(text) * size * 0.6
