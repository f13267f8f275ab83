"""Lines over layers, of numbers alone: plotly figures, and SVG that needs no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lensscope.show.colours import LINES as COLOURS
from lensscope.show.colours import PALE_TEXT
from lensscope.show.svg import drawing, room, svg_text
from lensscope.signs import escape

if TYPE_CHECKING:
    import plotly.graph_objects as go

# ... and in print: as many as have no factor in common with the colours.
_DASHES: Final = ("", "9 4", "2 3", "10 3 2 3", "16 4", "10 3 2 3 2 3")


@dataclass(frozen=True)
class Line:
    """One line: its name, where its points are, and the edges of its band, if it has one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @classmethod
    def of(cls, name: str, data: Any, x: str, value: str) -> Line:
        """A variable of a data set by a coordinate, with its interval."""
        columns = (data[one].values.tolist() for one in (x, value, f"{value}_low", f"{value}_high"))
        return cls(name, *map(tuple, columns))


@dataclass(frozen=True)
class Chart:
    """Lines over one axis; ``top`` is shown at least."""

    title: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    top: float = 1e-9


def names_of(charts: Sequence[Chart]) -> list[str]:
    """The names of all lines, each of which has one colour and one dash."""
    return list(dict.fromkeys(line.name for chart in charts for line in chart.lines))


def to_plotly(chart: Chart, names: Sequence[str] = ()) -> go.Figure:
    """A plotly figure of the lines with their bands.

    Args:
        chart: the lines.
        names: of the lines of all figures that this one stands beside.
    """
    import plotly.graph_objects as go

    names = list(dict.fromkeys([*names, *names_of([chart])]))
    figure = go.Figure()
    for line in chart.lines:
        n = names.index(line.name)
        colour = COLOURS[n % len(COLOURS)]
        name = escape(line.name, quote=False)
        if line.low:
            figure.add_trace(
                go.Scatter(
                    x=[*line.x, *reversed(line.x)],
                    y=[*line.high, *reversed(line.low)],
                    fill="toself",
                    fillcolor=colour,
                    opacity=0.15,
                    line={"width": 0},
                    hoverinfo="skip",
                    showlegend=False,
                    legendgroup=name,
                )
            )
        dash = ",".join(f"{part}px" for part in _DASHES[n % len(_DASHES)].split()) or "solid"
        figure.add_trace(
            go.Scatter(
                x=line.x,
                y=line.y,
                name=name,
                legendgroup=name,
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                marker={"size": 4},
            )
        )
    figure.update_layout(
        title=escape(chart.title, quote=False),
        xaxis_title=chart.x_title,
        yaxis_title=chart.y_title,
        template="plotly_white",
        width=760,
        height=460,
        margin={"t": 60, "b": 60, "l": 80, "r": 20},
    )
    return figure


def to_svg(*charts: Chart, names: Sequence[str] = ()) -> str:
    """The same as one SVG picture, charts side by side, with the legend below.

    Args:
        *charts: the lines.
        names: of the lines of all pictures that this one stands beside.
    """
    width, height, top, left, gap = 400, 260, 40, 64, 90
    last = left + (len(charts) - 1) * (width + gap)
    title = room(charts[-1].title, 14) if charts else 0
    total = round(last + max(width, title) + 24)
    parts = []
    # one colour a name, in all charts and in the legend that they share
    names = list(dict.fromkeys([*names, *names_of(charts)]))
    for n, chart in enumerate(charts):
        x0 = left + n * (width + gap)
        parts.append(_axes(chart, names, x0, top, width, height))
    x, y = left, top + height + 62
    for name in names_of(charts):
        n = names.index(name)
        needed = 66 + room(name)
        if x + needed > total and x > left:
            x, y = left, y + 20
        parts.append(f"<path d='M{x:.0f},{y}h44' {_stroke(n)}/>")
        parts.append(svg_text(x + 50, y + 4, name))
        x += round(needed)
    bottom = y + 16
    return drawing(total, bottom, "".join(parts))


def _axes(chart: Chart, names: Sequence[str], x0: int, top: int, width: int, height: int) -> str:
    """One chart: its frame, its ticks, its lines, in the colours of their names."""
    lines = chart.lines
    xs = [v for line in lines for v in line.x]
    ys = [v for line in lines for v in (*line.y, *line.low, *line.high) if math.isfinite(v)]
    x_low, x_high = (min(xs), max(xs)) if xs else (0, 1)
    y_ticks = _ticks(min([0.0, *ys]), max([*ys, chart.top]))
    y_low, y_high = min(y_ticks[0], min([0.0, *ys])), y_ticks[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / max(x_high - x_low, 1e-9)
        up = (y - y_low) / max(y_high - y_low, 1e-9)
        return x0 + across * width, top + (1 - up) * height

    parts = [svg_text(x0, top - 16, chart.title, size=14, weight=600)]
    if chart.y_title != chart.title:
        parts[0] = svg_text(x0, top - 22, chart.title, size=14, weight=600)
        parts.append(svg_text(x0, top - 7, chart.y_title, fill=PALE_TEXT))
    for tick in y_ticks:
        _, y = at(x_low, tick)
        parts.append(f"<path d='M{x0},{y:.1f}h{width}' stroke='#e3e7ee'/>")
        parts.append(svg_text(x0 - 8, y + 4, f"{tick:g}", anchor="end", fill=PALE_TEXT))
    whole = [tick for tick in _ticks(x_low, x_high) if x_low <= tick <= x_high]
    for tick in whole:
        x, _ = at(tick, y_low)
        parts.append(svg_text(x, top + height + 18, f"{tick:g}", anchor="middle", fill=PALE_TEXT))
    middle = x0 + width / 2
    parts.append(svg_text(middle, top + height + 38, chart.x_title, anchor="middle"))
    for line in lines:
        n = names.index(line.name)
        if line.low:
            band = [b for b in zip(line.x, line.low, line.high, strict=True) if b[1] <= b[2]]
            edge = [(x, high) for x, _, high in band]
            edge += [(x, low) for x, low, _ in reversed(band)]  # none where there is no interval
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in edge))
            fill = COLOURS[n % len(COLOURS)]
            parts.append(f"<polygon points='{points}' fill='{fill}' opacity='0.15'/>")
    for line in lines:
        places = [(p, at(*p)) for p in zip(line.x, line.y, strict=True) if math.isfinite(p[1])]
        points = " ".join(f"{x:.1f},{y:.1f}" for _, (x, y) in places)
        n = names.index(line.name)
        parts.append(f"<polyline points='{points}' fill='none' {_stroke(n)}/>")
        for (layer, value), (x, y) in places:
            label = f"{line.name}, {chart.x_title} {layer:g}: {value:.4g}"
            parts.append(
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.4' fill='{COLOURS[n % len(COLOURS)]}'>"
                f"<title>{escape(label)}</title></circle>"
            )
    return "".join(parts)


def _stroke(n: int) -> str:
    dash = _DASHES[n % len(_DASHES)]
    dashes = f" stroke-dasharray='{dash}'" if dash else ""
    return f"stroke='{COLOURS[n % len(COLOURS)]}' stroke-width='2'{dashes}"


def _ticks(low: float, high: float) -> Sequence[float]:
    """About five round numbers from at most ``low`` to at least ``high``."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]
