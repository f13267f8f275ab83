"""What the course of lensscope needs beside lensscope: answers that check themselves, and drawing.

Its units lie in the folder ``notebooks`` of the repository.

Example:
    >>> print(ls.course.check("1.1", ...))
    … 1.1 has no answer yet.
"""

from __future__ import annotations

from lensscope.course.checking import check, exercises
from lensscope.course.drawing import heatmap, lines, picture
from lensscope.course.verdict import Verdict

__all__ = ["Verdict", "check", "exercises", "heatmap", "lines", "picture"]


def __dir__() -> list[str]:
    return __all__
