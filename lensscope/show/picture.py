"""A picture that a notebook shows wherever it is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from lensscope.errors import FileError
from lensscope.show.figures import png

PAGE: Final = 934
"""How wide a notebook's page is, in units of SVG: what is wider would be made smaller, or cut."""


@dataclass(frozen=True)
class Picture:
    """An SVG with its PNG beside it, since a notebook that is not trusted shows no SVG.

    Args:
        svg: the picture.
        says: what it shows, for where no picture can be shown.
    """

    svg: str
    says: str = "a picture"

    @property
    def width(self) -> int:
        """How wide it is, in units of SVG."""
        found = re.search(r"<svg[^>]*?\bwidth=['\"]([\d.]+)", self.svg)
        return round(float(found[1])) if found else PAGE

    def __str__(self) -> str:
        return self.says

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a notebook keeps: SVG, PNG where the extra ``figures`` is there, and words."""
        shown: dict[str, Any] = {"image/svg+xml": self.svg, "text/plain": self.says}
        try:
            shown["image/png"] = png(self.svg)
        except FileError:
            return shown, {}
        return shown, {"image/png": {"width": min(self.width, PAGE)}}
