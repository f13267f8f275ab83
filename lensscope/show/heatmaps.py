"""Heat maps, of panels alone: plotly figures, and SVG that needs neither script nor browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from lensscope.show.colours import (
    DIVERGING,
    NOTHING,
    PALE_TEXT,
    SHADES,
    Colour,
    ink,
    mixed,
    rgb,
)
from lensscope.show.svg import drawing, room, svg_text
from lensscope.signs import escape, isolated

if TYPE_CHECKING:
    import plotly.graph_objects as go


_TALL = 24
"""From so many rows on, columns are labelled at both ends."""
_BROAD = 1100
"""Columns that need more room than this are drawn in several parts, one below the other."""


@dataclass(frozen=True)
class Panel:
    """One heat map: values from 0 to 1 with a text in each cell.

    Attributes:
        title: above the map.
        x, y: labels of columns and rows.
        x_title, y_title: what columns and rows are.
        values: one row of numbers for each of ``y``; NaN where there is nothing.
        texts: what stands in the cells.
        hovers: what a cell says when pointed at.
        cell_width: in characters.
        high, low: the values of the darkest and the palest cell.
        diverging: whether the middle is pale and both ends are dark, each in its colour.
        upwards: whether the first row is the lowest, as layers are stacked.
    """

    title: str
    x: tuple[str, ...]
    y: tuple[str, ...]
    x_title: str
    y_title: str
    values: tuple[tuple[float, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    hovers: tuple[tuple[str, ...], ...]
    cell_width: int
    high: float = 1.0
    low: float = 0.0
    diverging: bool = False
    upwards: bool = True

    @property
    def drawn(self) -> Sequence[int]:
        """The numbers of the rows from the top of the picture."""
        return range(len(self.y))[:: -1 if self.upwards else 1]

    @property
    def shades(self) -> tuple[Colour, ...]:
        """The colours of the least, the middle and the greatest value."""
        return DIVERGING if self.diverging else SHADES

    @property
    def step(self) -> float:
        """The width of a column in a picture."""
        return self.cell_width * 7.0 + 8

    def parts(self, broad: float) -> list[Panel]:
        """Panels of some of the columns, none of them broader than this."""
        number = max(1, math.ceil(len(self.x) * self.step / broad))
        most = max(1, math.ceil(len(self.x) / number))
        return [
            replace(
                self,
                title=self.title if n == 0 else f"… {self.title}",
                x=self.x[n : n + most],
                values=tuple(row[n : n + most] for row in self.values),
                texts=tuple(row[n : n + most] for row in self.texts),
                hovers=tuple(row[n : n + most] for row in self.hovers),
            )
            for n in range(0, max(1, len(self.x)), most)
        ]

    def colours(self, value: float, low: float, high: float) -> tuple[str, str]:
        """The ground and the text of a cell.

        Args:
            value: what the cell stands for; NaN where there is nothing.
            low, high: the values of the first and the last shade.
        """
        if math.isnan(value):
            return rgb(NOTHING), ink(NOTHING)
        ground = mixed((value - low) / max(high - low, 1e-12), self.shades)
        return rgb(ground), ink(ground)


def to_plotly(panels: Sequence[Panel], value_title: str, across: int = 1) -> go.Figure:
    """One plotly heat map for each panel, so many side by side, one row below the other."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    lines = [panels[n : n + across] for n in range(0, len(panels), across)]
    rows = [max(len(p.y) for p in line) + 5 for line in lines]
    figure = make_subplots(
        rows=len(lines),
        cols=across,
        subplot_titles=[_html(p.title) for p in panels],
        row_heights=rows,
        vertical_spacing=min(0.08, 0.8 / max(1, len(lines) - 1)) if len(lines) > 1 else 0,
        horizontal_spacing=0.06,
    )
    high, low = max(p.high for p in panels), min(p.low for p in panels)
    for n, panel in enumerate(panels):
        at = {"row": n // across + 1, "col": n % across + 1}
        figure.add_trace(
            go.Heatmap(
                z=panel.values,
                x=list(range(len(panel.x))),
                y=list(range(len(panel.y))),
                text=_readable(panel, low, high),
                customdata=[[_html(t).replace("\n", "<br>") for t in r] for r in panel.hovers],
                texttemplate="%{text}",
                textfont={"size": 11},
                hovertemplate=f"{value_title} %{{z:.3f}}<br>%{{customdata}}<extra></extra>",
                colorscale=[[i / 2, f"rgb{shade}"] for i, shade in enumerate(panel.shades)],
                zmin=low,
                zmax=high,
                showscale=n == 0,
                colorbar={"title": {"text": value_title}},
            ),
            **at,
        )
        figure.update_yaxes(
            title_text=panel.y_title,
            tickvals=list(range(len(panel.y))),
            ticktext=[_html(y) for y in panel.y],
            autorange=True if panel.upwards else "reversed",
            **at,
        )
        figure.update_xaxes(
            title_text=panel.x_title,
            tickvals=list(range(len(panel.x))),
            ticktext=[_html(x) for x in panel.x],
            **at,
        )
    figure.update_layout(
        height=80 + 22 * sum(rows),
        width=max(700, 220 + across * max(len(p.x) * p.cell_width for p in panels) * 7),
        template="plotly_white",
        plot_bgcolor=rgb(NOTHING),  # where a cell has no value
        margin={"t": 60, "b": 60, "l": 80, "r": 20},
    )
    return figure


def to_svg(panels: Sequence[Panel], value_title: str, across: int = 1) -> str:
    """The same as one SVG picture, readable wherever a picture is."""
    parts, top, width = [], 10, 0.0
    high, low = max(p.high for p in panels), min(p.low for p in panels)
    beside = (panels[n : n + across] for n in range(0, len(panels), across))
    for row in (r for own in beside for r in zip_longest(*(p.parts(_BROAD) for p in own))):
        left, tallest = 0.0, 0
        for panel in filter(None, row):
            drawn, wide, tall = _panel_svg(panel, value_title, left, top, low, high)
            parts.append(drawn)
            left, tallest = left + wide + 20, max(tallest, tall)
        width, top = max(width, left - 20), top + tallest
    return drawing(width, top, "".join(parts))


def _panel_svg(
    panel: Panel, value_title: str, x0: float, top: int, low: float, high: float
) -> tuple[str, float, int]:
    """One panel, its width and its height."""
    step, first = 20, top
    left = x0 + max(70.0, max(map(room, panel.y), default=0) + 16)
    cell = panel.step
    right, bottom = left + cell * len(panel.x), top + 28 + len(panel.y) * step
    tall = len(panel.y) > _TALL
    across = f"{panel.x_title} across, " if panel.x_title else ""
    caption = (
        f"{across}{panel.y_title} {'up' if panel.upwards else 'down'}; "
        f"colour: {value_title}, {low:.3g} to {high:.3g}"
    )
    parts = [svg_text(left, top + 16, panel.title, size=15, weight=600)]
    top, bottom = top + 28 + step * tall, bottom + step * tall
    for n, i in enumerate(panel.drawn):
        y = top + n * step
        parts.append(svg_text(left - 8, y + 14, panel.y[i], anchor="end"))
        for j, (value, text) in enumerate(zip(panel.values[i], panel.texts[i], strict=True)):
            x = left + j * cell
            ground, text_fill = panel.colours(value, low, high)
            said = "" if math.isnan(value) else f" ({value:.3f})"
            parts.append(
                f"<g><title>{escape(isolated(panel.hovers[i][j]))}{said}</title>"
                f"<rect x='{x:.0f}' y='{y}' width='{cell - 1:.0f}' height='{step - 1}' "
                f"fill='{ground}'/>{svg_text(x + 4, y + 14, text, fill=text_fill, mono=True)}</g>"
            )
    for j, label in enumerate(panel.x):
        for y in (bottom + 15, *([top - 7] if tall else [])):
            parts.append(svg_text(left + (j + 0.5) * cell, y, label, anchor="middle"))
    parts.append(svg_text(left, bottom + 34, caption, fill=PALE_TEXT))
    inner = max(right - left, room(panel.title, 15), room(caption)) + 10
    return "".join(parts), left - x0 + inner, bottom + 56 - first


def _readable(panel: Panel, low: float, high: float) -> list[list[str]]:
    """The texts of the cells, each in the colour that can be read on its own: by itself plotly
    takes less care."""
    return [
        [
            f"<span style='color:{panel.colours(value, low, high)[1]}'>{_html(text)}</span>"
            for value, text in zip(values, texts, strict=True)
        ]
        for values, texts in zip(panel.values, panel.texts, strict=True)
    ]


def _html(text: str) -> str:
    """A text for plotly, which knows tags and no names of quotation marks."""
    return escape(text, quote=False)
