"""What a patchscope said, as pictures and as a page."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lensscope.show.heatmaps import Panel
from lensscope.show.pages import rendered
from lensscope.signs import short, visible

_TITLE = 100
"""Columns of a prompt above a picture."""


def patchscope_panels(frame: pd.DataFrame, *, crossed: bool) -> list[Panel]:
    """For each prompt, layers by tokens; for a grid, for each token source by target layers.

    Args:
        frame: a line a cell.
        crossed: whether it is a grid.
    """
    by = ["prompt_index", *(["position"] if crossed else []), *_samples(frame)]
    row = "source_layer" if frame["source_layer"].notna().any() else "target_layer"
    panels = []
    for _, group in frame.groupby(by, sort=False, dropna=False):
        group = group.assign(column=group["target_layer" if crossed else "position"].fillna(0))
        pivot = {
            name: group.pivot(index=row, columns="column", values=name)
            for name in ("first_token_probability", "first_token", "text")
        }
        tokens = group.drop_duplicates("column").set_index("column")["token"]
        columns = list(pivot["text"].columns)
        title = _sampled(str(group["prompt"].iloc[0]), group)
        brief = crossed and len(columns) > 6  # a whole text is too long for so many columns
        width = 6 if brief else max(24, min(78, 170 // len(columns)))
        shown = pivot["first_token" if brief else "text"].fillna("–")
        panels.append(
            Panel(
                title=_titled(title, group["token"].iloc[0]) if crossed else short(title, _TITLE),
                x=tuple(str(c) if crossed else _token(tokens[c], width) for c in columns),
                y=tuple(str(v) for v in shown.index),
                x_title="target layer" if crossed else "token that is read",
                y_title=row.replace("_", " "),
                values=tuple(map(tuple, pivot["first_token_probability"].to_numpy(dtype=float))),
                texts=tuple(tuple(short(str(t), width) for t in r) for r in shown.to_numpy()),
                hovers=tuple(tuple(visible(str(t)) for t in r) for r in pivot["text"].to_numpy()),
                cell_width=width,
            )
        )
    return panels


def patchscope_section(frame: pd.DataFrame, **about: Any) -> str:
    """What was asked, and for each prompt and token a table of what was said.

    Args:
        frame: a line a cell.
        **about: ``inspection`` and ``placeholder``, the prompt that was written into; ``source``
            and ``target``, the models; ``plan``, ``notes``.
    """
    layered = frame["source_layer"].notna().any()
    columns = ["layer"] if layered else []
    if not layered or (frame["source_layer"] != frame["target_layer"]).any():
        columns.append("written at")
    if "logit_lens" in frame:
        columns.append("logit lens")
    parts = []
    by = ["prompt_index", *(["position"] if frame["position"].notna().any() else [])]
    by += _samples(frame)
    for _, group in frame.groupby(by, sort=False, dropna=False):
        sources, targets = (group[f"{name}_layer"].nunique() for name in ("source", "target"))
        panel = _grid(group) if targets > 1 and 1 < sources < len(group) else None
        token = str(group["token"].iloc[0])
        prompt = _sampled(str(group["prompt"].iloc[0]), group)
        parts.append((prompt, token, panel, group.to_dict("records")))
    return rendered("patchscope.html", parts=parts, columns=columns, **about)


def _samples(frame: pd.DataFrame) -> list[str]:
    return ["sample"] if "sample" in frame else []


def _sampled(prompt: str, group: pd.DataFrame) -> str:
    """A prompt, with the number of the sample where there are several."""
    return f"{prompt} (sample {group['sample'].iloc[0]})" if "sample" in group else prompt


def _titled(prompt: str, token: str) -> str:
    """A prompt, with the token that is read if it is one."""
    return short(prompt, _TITLE) + (f" [{_token(token, 40)}]" if token else "")


def _token(token: str, limit: int) -> str:
    """The token that is read; nothing where vectors are."""
    return short(token, limit) if token else ""


def _grid(group: pd.DataFrame) -> Panel:
    """Source layers upwards, target layers across, the first token in each cell."""
    rows = [rows for _, rows in group.groupby("source_layer", sort=False)]
    return Panel(
        title="",
        x=tuple(map(str, rows[0]["target_layer"])),
        y=tuple(str(row["source_layer"].iloc[0]) for row in rows),
        x_title="",
        y_title="source ↑ target →",
        values=tuple(tuple(row["first_token_probability"]) for row in rows),
        texts=tuple(tuple(short(str(token), 40) for token in row["first_token"]) for row in rows),
        hovers=tuple(tuple(visible(str(text)) for text in row["text"]) for row in rows),
        cell_width=0,
    )
