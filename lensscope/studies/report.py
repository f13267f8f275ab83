"""The page of a study: its table, its pictures with their controls, its texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lensscope.show.heatmaps import Panel
from lensscope.show.heatmaps import to_svg as panels_svg
from lensscope.show.lines import Chart, names_of, to_svg
from lensscope.show.tables import shown
from lensscope.signs import escape

_ACROSS = 3


def study_section(
    caption: str,
    headline: pd.DataFrame,
    notes: Sequence[str],
    charts: Sequence[Chart],
    panels: Sequence[Panel],
    tables: Mapping[str, pd.DataFrame],
    manifest: Mapping[str, Any],
) -> str:
    """What a study found, as a piece of HTML: the fields of its result, one after another."""
    parts = [f"<p>{escape(caption)}</p>", _table(headline)]
    parts.append("<p>" + "<br>".join(map(escape, notes)) + "</p>")
    names = names_of(charts)
    for first in range(0, len(charts), _ACROSS - 1):
        drawn = to_svg(*charts[first : first + _ACROSS - 1], names=names)
        parts.append(f"<div class='wide'>{drawn}</div>")
    maps = [panel for panel in panels if panel.cell_width <= 6]
    texts = [panel for panel in panels if panel.cell_width > 6]
    for group, across, value in ((maps, 2, "accuracy"), (texts, 1, "score")):
        if group:
            parts.append(f"<div class='wide'>{panels_svg(group, value, across)}</div>")
    for name, table in tables.items():
        if len(table):
            parts.append(f"<h2>{escape(name.capitalize())}</h2>{_table(table)}")
    parts.append(f"<h2>How it was run</h2>{_manifest(manifest)}")
    return "".join(parts)


def _table(frame: pd.DataFrame) -> str:
    found = shown(frame)
    head = "".join(f"<th>{escape(str(name))}</th>" for name in found.columns)
    body = "".join(
        "<tr>" + "".join(f"<td><bdi>{_cell(str(value))}</bdi></td>" for value in row) + "</tr>"
        for row in found.itertuples(index=False)
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='wide'>{table}</div>"


def _cell(text: str) -> str:
    """A number with its interval below it."""
    value, bracket, edges = text.removesuffix("]").partition(" [")
    if not bracket or not text.endswith("]"):
        return escape(text)
    return f"{escape(value)}<br><span class='p'>{escape(edges.replace(', ', ' to '))}</span>"


def _manifest(manifest: Mapping[str, Any]) -> str:
    """Arguments, models and sessions, briefly."""
    rows = []
    for name, value in {**manifest["arguments"], **manifest["models"]}.items():
        text = str(value)
        brief = text if len(text) <= 300 else text[:297] + "…"
        rows.append({"what": name, "value": brief})
    for session in manifest["sessions"]:
        versions = ", ".join(f"{name} {v}" for name, v in session["versions"].items())
        ran = f"{session['executor']}; {versions}; git {session['git'] or 'none'}"
        rows.append({"what": f"run of {session['started']}", "value": ran})
    return _table(pd.DataFrame(rows))
