"""Heat maps, of panels alone: plotly figures, and SVG that needs neither script nor browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lensscope.signs import escape, without_control

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SHADES: Final = ((247, 251, 255), (107, 174, 214), (8, 48, 107))
# Red below zero, white at it, blue above; told apart also by those who do not tell red from green.
_DIVERGING: Final = ((178, 24, 43), (255, 255, 255), (33, 102, 172))


@dataclass(frozen=True)
class Panel:
    """One heat map: values from 0 to 1 with a text in each cell.

    Attributes:
        title: above the map.
        x, y: labels of columns and rows.
        x_title, y_title: what columns and rows are.
        values: one row of numbers for each of ``y``; NaN is an empty cell.
        texts: what stands in the cells.
        hovers: what a cell says when pointed at.
        cell_width: in characters.
        high, low: the values of the darkest and the palest cell.
        diverging: whether the middle is pale and both ends are dark, each in its colour.
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

    @property
    def shades(self) -> tuple[tuple[int, int, int], ...]:
        """Red, green and blue of the least, the middle and the greatest value."""
        return _DIVERGING if self.diverging else _SHADES


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
        row, column = n // across + 1, n % across + 1
        figure.add_trace(
            go.Heatmap(
                z=panel.values,
                x=list(range(len(panel.x))),
                y=list(range(len(panel.y))),
                text=[[_html(t) for t in r] for r in panel.texts],
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
            row=row,
            col=column,
        )
        figure.update_yaxes(
            title_text=panel.y_title,
            tickvals=list(range(len(panel.y))),
            ticktext=[_html(y) for y in panel.y],
            autorange="reversed",
            row=row,
            col=column,
        )
        figure.update_xaxes(
            title_text=panel.x_title,
            tickvals=list(range(len(panel.x))),
            ticktext=[_html(x) for x in panel.x],
            row=row,
            col=column,
        )
    figure.update_layout(
        height=80 + 22 * sum(rows),
        width=max(700, 220 + across * max(len(p.x) * p.cell_width for p in panels) * 7),
        template="plotly_white",
        margin={"t": 60, "b": 60, "l": 80, "r": 20},
    )
    return figure


def to_svg(panels: Sequence[Panel], value_title: str, across: int = 1) -> str:
    """The same as one SVG picture, readable wherever a picture is."""
    parts, top, width = [], 10, 0.0
    high, low = max(p.high for p in panels), min(p.low for p in panels)
    for n in range(0, len(panels), across):
        left, tallest = 0.0, 0
        for panel in panels[n : n + across]:
            drawn, wide, tall = _panel_svg(panel, value_title, left, top, low, high)
            parts.append(drawn)
            left, tallest = left + wide + 20, max(tallest, tall)
        width, top = max(width, left - 20), top + tallest
    # What stands side by side is made smaller rather than cut off.
    fit = " style='max-width:100%;height:auto'" if across > 1 else ""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{top}'{fit} "
        f"viewBox='0 0 {width:.0f} {top}'><rect width='100%' height='100%' fill='white'/>"
        + "".join(parts)
        + "</svg>\n"
    )


def _panel_svg(
    panel: Panel, value_title: str, x0: float, top: int, low: float, high: float
) -> tuple[str, float, int]:
    """One panel, its width and its height."""
    step, char, first = 20, 7.0, top
    left = x0 + max(70.0, 7.0 * max(map(len, panel.y), default=0) + 16)
    cell = panel.cell_width * char + 8
    caption = (
        f"{panel.x_title} across, {panel.y_title} down; colour: {value_title}, "
        f"{low:.3g} to {high:.3g}"
    )
    parts = [svg_text(left, top + 16, panel.title, size=15, weight=600)]
    top += 28
    for i, label in enumerate(panel.y):
        y = top + i * step
        parts.append(svg_text(left - 8, y + 14, label, anchor="end"))
        for j, (value, text) in enumerate(zip(panel.values[i], panel.texts[i], strict=True)):
            if math.isnan(value):
                continue
            x = left + j * cell
            fill, ink = _shade((value - low) / max(high - low, 1e-12), panel)
            parts.append(
                f"<g><title>{escape(panel.hovers[i][j])} ({value:.3f})</title>"
                f"<rect x='{x:.0f}' y='{y}' width='{cell - 1:.0f}' height='{step - 1}' "
                f"fill='{fill}'/>{svg_text(x + 4, y + 14, text, fill=ink, mono=True)}</g>"
            )
    top += len(panel.y) * step
    for j, label in enumerate(panel.x):
        parts.append(svg_text(left + (j + 0.5) * cell, top + 15, label, anchor="middle"))
    parts.append(svg_text(left, top + 34, caption, fill="#68748a"))
    inner = max(cell * len(panel.x) + 10, len(panel.title) * 8, len(caption) * 7)
    return "".join(parts), left - x0 + inner, top + 56 - first


def _html(text: str) -> str:
    """A text for plotly, which knows tags and no names of quotation marks."""
    return escape(text, quote=False)


def svg_text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    weight: int = 400,
    anchor: str = "start",
    fill: str = "#1c2430",
    mono: bool = False,
) -> str:
    """A piece of text of an SVG picture."""
    family = "ui-monospace, Menlo, monospace" if mono else "system-ui, sans-serif"
    size = size - 1 if mono else size
    return (
        f"<text x='{x:.0f}' y='{y:.0f}' font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}' fill='{fill}' font-family='{family}' "
        f"xml:space='preserve'>{escape(text)}</text>"
    )


def diverging(value: float) -> str:
    """The colour of a value from 0 (red) over 1/2 (white) to 1 (blue)."""
    return _mixed(value, _DIVERGING)


def _shade(value: float, panel: Panel) -> tuple[str, str]:
    """Background and ink of a cell."""
    dark = abs(value - 0.5) > 0.3 if panel.diverging else value > 0.6
    return _mixed(value, panel.shades), "#ffffff" if dark else "#1c2430"


def _mixed(value: float, shades: tuple[tuple[int, int, int], ...]) -> str:
    """A colour between the first shade, the second at 1/2, and the third."""
    value = min(1.0, max(0.0, value))
    first, middle, last = shades
    low, high = (first, middle) if value < 0.5 else (middle, last)
    share = value * 2 % 1 if value < 1 else 1.0
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return f"rgb({red},{green},{blue})"


def short(text: str, limit: int) -> str:
    """A text on one line, of at most so many characters."""
    text = without_control(text.replace("\n", "⏎").replace("\t", "⇥"))
    text = text.strip() or ("␣" if text else "")
    return text if len(text) <= limit else text[: limit - 1] + "…"
