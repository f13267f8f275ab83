"""Small drawing for notebooks: lines and heat maps of what one has worked out oneself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lensscope.course.plain import plain
from lensscope.errors import CourseError
from lensscope.show import heatmaps
from lensscope.show import lines as charts
from lensscope.show.picture import Picture

if TYPE_CHECKING:
    import pandas as pd


def picture(svg: str, says: str = "a picture") -> Picture:
    """An SVG as a picture of a notebook, with its PNG beside it.

    Args:
        svg: what one of the methods that end in ``_svg`` gave.
        says: what it shows, in words.

    Example:
        >>> reading = ls.LogitLens().read(model, "Paris", measures=["entropy"])
        >>> print(ls.course.picture(reading.trajectories_svg("entropy"), "entropy over layers"))
        entropy over layers
    """
    return Picture(svg, says)


def lines(
    values: Mapping[str, Any],
    *,
    title: str,
    x: str,
    y: str,
    at: Sequence[float] | None = None,
) -> Picture:
    """Lines over one axis, with a legend.

    Args:
        values: for each name its values, by name: a list, an array, a series (whose index is the
            axis), or a dict of numbers by numbers.
        title: above it.
        x: what the axis is.
        y: what the values are.
        at: where along the axis the values of lists are; from 0 if not given.

    Raises:
        CourseError: a list is not as long as the axis, or there is something else than numbers.

    Example:
        >>> print(ls.course.lines({"a": [1, 2, 3]}, title="Three", x="layer", y="height"))
        Three: height by layer; a
    """
    drawn = []
    for name, given in values.items():
        try:
            places, heights = _placed(given, at)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _no_numbers(f"{name!r}: {error}") from None
        if len(places) != len(heights):
            raise CourseError(
                "A line has another number of values than its axis.",
                got=f"{len(heights)} values of {name!r}",
                expected=f"{len(places)}",
                instead="at=range(len(values))",
            )
        drawn.append(charts.Line(str(name), tuple(places), tuple(heights)))
    chart = charts.Chart(title, x, y, tuple(drawn))
    return Picture(charts.to_svg(chart), f"{title}: {y} by {x}; {', '.join(map(str, values))}")


def heatmap(frame: pd.DataFrame, *, title: str, x: str, y: str, value: str) -> Picture:
    """A frame of numbers as a heat map, red below zero and blue above.

    Args:
        frame: rows and columns, with their labels.
        title: above it.
        x: what the columns are.
        y: what the rows are; the first row is the lowest, as layers are stacked.
        value: what the numbers are.

    Raises:
        CourseError: it is no frame of numbers.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame([[0.5, 1.0], [0.0, -1.0]], index=["low", "high"])
        >>> print(ls.course.heatmap(frame, title="Four", x="head", y="layer", value="score"))
        Four: score by layer and head
    """
    try:
        values = [[float(v) for v in row] for row in frame.to_numpy().tolist()]
    except (AttributeError, TypeError, ValueError) as error:
        raise _no_numbers(str(error)) from None
    finite = [v for row in values for v in row if math.isfinite(v)]
    top = max(map(abs, finite), default=1.0) or 1.0
    diverging = min(finite, default=0.0) < 0
    texts = tuple(tuple("" if math.isnan(v) else f"{v:.2f}" for v in row) for row in values)
    panel = heatmaps.Panel(
        title,
        tuple(map(str, frame.columns)),
        tuple(map(str, frame.index)),
        x,
        y,
        tuple(map(tuple, values)),
        texts,
        texts,
        cell_width=5,
        high=top,
        low=-top if diverging else 0.0,
        diverging=diverging,
    )
    return Picture(heatmaps.to_svg([panel], value), f"{title}: {value} by {y} and {x}")


def _placed(given: Any, at: Sequence[float] | None) -> tuple[list[float], list[float]]:
    """Where values are along the axis, and the values."""
    if isinstance(given, Mapping):
        return [float(x) for x in given], [float(v) for v in given.values()]
    heights = [float(v) for v in plain(given)]
    if at is not None:
        return [float(x) for x in at], heights
    index = getattr(given, "index", None)
    places = range(len(heights)) if index is None or callable(index) else index
    return [float(x) for x in places], heights


def _no_numbers(got: str) -> CourseError:
    return CourseError(
        "Only numbers can be drawn.",
        got=got,
        expected="numbers by name, or a frame of numbers",
        instead='ls.course.lines({"loss": [2.0, 1.5]}, title="Loss", x="step", y="nats")',
    )
