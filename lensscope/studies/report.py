"""The page of a study: its table, its pictures with their controls, its texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from lensscope.show.heatmaps import to_svg as panels_svg
from lensscope.show.lines import names_of, to_svg
from lensscope.show.tables import shown
from lensscope.signs import escape

if TYPE_CHECKING:
    from lensscope.studies.result import StudyResult

_ACROSS = 3


def study_section(result: StudyResult) -> str:
    """What a study found, as a piece of HTML."""
    parts = [f"<p>{escape(result.caption)}</p>", _table(result.headline)]
    parts.append("<p>" + "<br>".join(map(escape, result.notes)) + "</p>")
    names = names_of(result.charts)
    for first in range(0, len(result.charts), _ACROSS - 1):
        drawn = to_svg(*result.charts[first : first + _ACROSS - 1], names=names)
        parts.append(f"<div class='wide'>{drawn}</div>")
    maps = [panel for panel in result.panels if panel.cell_width <= 6]
    texts = [panel for panel in result.panels if panel.cell_width > 6]
    for group, across, value in ((maps, 2, "accuracy"), (texts, 1, "score")):
        if group:
            parts.append(f"<div class='wide'>{panels_svg(group, value, across)}</div>")
    for name, table in result.tables.items():
        if len(table):
            parts.append(f"<h2>{escape(name.capitalize())}</h2>{_table(table)}")
    parts.append(f"<h2>How it was run</h2>{_manifest(result)}")
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


def _manifest(result: StudyResult) -> str:
    """Arguments, models and sessions, briefly."""
    rows = []
    for name, value in {**result.manifest["arguments"], **result.manifest["models"]}.items():
        text = str(value)
        brief = text if len(text) <= 300 else text[:297] + "…"
        rows.append({"what": name, "value": brief})
    for session in result.manifest["sessions"]:
        versions = ", ".join(f"{name} {v}" for name, v in session["versions"].items())
        ran = f"{session['executor']}; {versions}; git {session['git'] or 'none'}"
        rows.append({"what": f"run of {session['started']}", "value": ran})
    return _table(pd.DataFrame(rows))
