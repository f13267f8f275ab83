"""What a check says of an answer."""

from __future__ import annotations

from dataclasses import dataclass

from lensscope.signs import escape

_SIGNS = {True: "✓", False: "✗", None: "…"}
# on white and on black, each at a contrast of at least 4.5 to its own ground
_GROUNDS = {True: "#dff3e4", False: "#fde7e4", None: "#e9edf3"}


@dataclass(frozen=True)
class Verdict:
    """What a check says of an answer: true where the answer is right.

    Args:
        number: of the exercise, such as ``"3.2"``.
        right: whether it is; None where there is no answer yet.
        says: why, without the answer.

    Example:
        >>> bool(ls.course.check("3.1", ...))
        False
        >>> print(ls.course.check("3.1", ...))
        … 3.1 has no answer yet.
    """

    number: str
    right: bool | None
    says: str

    def __bool__(self) -> bool:
        return self.right is True

    def __str__(self) -> str:
        return f"{_SIGNS[self.right]} {self.number} {self.says}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        ground = _GROUNDS[self.right]
        style = f"background:{ground};color:#1c2430;padding:.5em .8em;border-radius:6px"
        return (
            f"<p style='{style}'><b>{_SIGNS[self.right]} {self.number}</b> {escape(self.says)}</p>"
        )
