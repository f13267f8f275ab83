"""Pictures as PNG and PDF, of the SVG that a result draws.

By vl-convert, which needs no browser and no library of the system, brings a font of each kind, and
takes other scripts from the fonts of the machine; letters that none of them has become boxes.
"""

from __future__ import annotations

from typing import Any

from lensscope import checks
from lensscope.errors import FileError


def png(svg: str, scale: float = 2) -> bytes:
    """A picture as PNG.

    Args:
        svg: the picture.
        scale: dots for each of its units.

    Raises:
        FileError: the extra ``figures`` is not installed.
    """
    found: bytes = _converter().svg_to_png(svg, scale=scale)
    return found


def pdf(svg: str) -> bytes:
    """A picture as a page of PDF, as large as the picture; texts stay texts.

    Raises:
        FileError: the extra ``figures`` is not installed.
    """
    found: bytes = _converter().svg_to_pdf(svg)
    return found


def _converter() -> Any:
    what, expected = "There is nothing here that draws PNG and PDF.", "vl-convert-python"
    with checks.needing("figures", what, expected, FileError, "result.to_svg(path)"):
        import vl_convert
    return vl_convert
