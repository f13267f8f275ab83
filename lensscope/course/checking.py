"""Exercises of the course, and `check`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Final

from lensscope.course.judges import Judge
from lensscope.course.verdict import Verdict
from lensscope.errors import CourseError

_UNITS: Final = 12


@cache
def _judges() -> dict[str, Judge]:
    every: dict[str, Judge] = {}
    for n in range(1, _UNITS + 1):
        every |= import_module(f"lensscope.course.units.unit_{n:02d}").JUDGES
    return every


def exercises() -> list[str]:
    """The numbers of all exercises, in order.

    Example:
        >>> ls.course.exercises()[:3]
        ['1.1', '1.2', '1.3']
    """
    return list(_judges())


def check(number: str, answer: Any) -> Verdict:
    """Whether an answer to an exercise of the course is right, or what is off about it.

    Works offline. It never says the answer: that is in ``notebooks/solutions``.

    Args:
        number: of the exercise, such as ``"3.2"``; a number is taken for its text.
        answer: what the exercise asks for. ``...`` is no answer yet.

    Returns:
        True where it is right, as a `Verdict`, which says why where it is not.

    Raises:
        CourseError: there is no such exercise.

    Example:
        >>> print(ls.course.check("1.1", "a cat"))
        ✗ 1.1 The answer is a list of numbers, not a text.
    """
    judges = _judges()
    name = str(number).strip()
    if name not in judges:
        raise CourseError(
            "The course has no such exercise.",
            got=repr(number),
            expected="the number of a unit and of one of its exercises: 1.1 to "
            f"{_UNITS}.{sum(each.startswith(f'{_UNITS}.') for each in judges)}",
            instead='ls.course.check("3.2", answer)',
        )
    if answer is None or answer is ...:
        return Verdict(name, None, "has no answer yet.")
    try:
        remark = judges[name](name, answer)
    except Exception as error:  # of whatever the answer is
        remark = f"This cannot be read as an answer ({type(error).__name__}: {str(error)[:200]})."
    return Verdict(name, remark is None, remark or "That is right.")
