"""The page of a study: its table, its pictures with their controls, its texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lensscope.show.heatmaps import Panel
from lensscope.show.heatmaps import to_svg as panels_svg
from lensscope.show.lines import Chart, names_of, to_svg
from lensscope.show.pages import rendered
from lensscope.show.tables import shown

_BESIDE = 2
"""Charts that stand side by side."""


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
    names = names_of(charts)
    beside = [charts[n : n + _BESIDE] for n in range(0, len(charts), _BESIDE)]
    pictures = [to_svg(*some, names=names) for some in beside]
    maps = [panel for panel in panels if panel.cell_width <= 6]
    texts = [panel for panel in panels if panel.cell_width > 6]
    for group, across, value in ((maps, 2, "accuracy"), (texts, 1, "score")):
        if group:
            pictures.append(panels_svg(group, value, across))
    named = {name.capitalize(): table for name, table in tables.items() if len(table)}
    named["How it was run"] = _manifest(manifest)
    return rendered(
        "study.html",
        caption=caption,
        headline=shown(headline),
        notes=notes,
        pictures=pictures,
        tables={name: shown(table) for name, table in named.items()},
    )


def _manifest(manifest: Mapping[str, Any]) -> pd.DataFrame:
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
    return pd.DataFrame(rows)
