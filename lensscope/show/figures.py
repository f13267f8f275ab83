"""Pictures as PNG and PDF, of the SVG that a result draws.

By vl-convert, which needs no browser and no library of the system, brings a font of each kind, and
takes other scripts from the fonts of the machine; letters that none of them has become boxes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
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
    return _tight(found)


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


def _tight(picture: bytes) -> bytes:
    """The same PNG, packed as tightly as it can be: what draws it packs in haste, which makes a
    notebook of some pictures several times as large."""
    chunks = list(_chunks(picture))
    packed = b"".join(data for kind, data in chunks if kind == b"IDAT")
    first = next(n for n, (kind, _) in enumerate(chunks) if kind == b"IDAT")
    kept = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    kept.insert(first, (b"IDAT", zlib.compress(zlib.decompress(packed), 9)))
    return picture[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in kept
    )


def _chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pieces of a PNG: what each is, and its bytes."""
    at = 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        yield picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        at += 12 + length
