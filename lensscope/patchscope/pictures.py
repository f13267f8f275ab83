"""What a patchscope said, as pictures and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lensscope.show.heatmaps import Panel, short
from lensscope.show.pages import as_html, table
from lensscope.signs import escape


def patchscope_panels(frame: pd.DataFrame, *, crossed: bool) -> list[Panel]:
    """For each prompt, layers by tokens; for a grid, for each token source by target layers.

    Args:
        frame: a line a cell.
        crossed: whether it is a grid.
    """
    by = ["prompt_index", "position"] if crossed else ["prompt_index"]
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
        title = str(group["prompt"].iloc[0])
        brief = crossed and len(columns) > 6  # a whole text is too long for so many columns
        width = 6 if brief else max(24, min(78, 170 // len(columns)))
        shown = pivot["first_token" if brief else "text"]
        panels.append(
            Panel(
                title=f"{title} [{group['token'].iloc[0].strip()}]" if crossed else title,
                x=tuple(str(c) if crossed else f"{tokens[c].strip()}" for c in columns),
                y=tuple(str(v) for v in shown.index),
                x_title="target layer" if crossed else "token that is read",
                y_title=row.replace("_", " "),
                values=tuple(map(tuple, pivot["first_token_probability"].to_numpy(dtype=float))),
                texts=tuple(tuple(short(str(t), width) for t in r) for r in shown.to_numpy()),
                hovers=tuple(tuple(str(t) for t in r) for r in pivot["text"].to_numpy()),
                cell_width=width,
            )
        )
    return panels


def patchscope_section(
    frame: pd.DataFrame,
    *,
    inspection: str,
    placeholder: str,
    source: str,
    target: str,
    plan: str,
    notes: Sequence[str],
) -> str:
    """A heading, what was asked, and a table for each prompt and token.

    Args:
        frame: a line a cell.
        inspection: the inspection prompt.
        placeholder: what marks the places that were written.
        source, target: the names of the models.
        plan: what the sweep did, in words.
        notes: what must be known of the states.
    """
    parts = []
    by = ["prompt_index", *(["position"] if frame["position"].notna().any() else [])]
    for _, group in frame.groupby(by, sort=False, dropna=False):
        first = group.iloc[0]
        token = f" <span class='t'>[{escape(str(first['token']).strip())}]</span>"
        heading = escape(str(first["prompt"])) + (token if first["token"] else "")
        own_target = group["target_layer"].nunique() > 1 and group["source_layer"].nunique() > 1
        crossed = own_target and len(group) > group["source_layer"].nunique()
        body = _grid(group) if crossed else _rows(group)
        parts.append(f"<h2>{heading}</h2>{body}")
    return (
        f"<p>Inspection prompt, written to at <span class='q'>{escape(placeholder)}</span>: "
        f"<span class='q'>{escape(inspection)}</span><br>States of {escape(source)}, read by "
        f"{escape(target)}; {escape(plan)}. "
        f"Grey: the probability of the (first) token.</p>{as_html(notes)}{''.join(parts)}"
    )


def _rows(group: pd.DataFrame) -> str:
    """One line a layer: logit lens beside patchscope."""
    has_lens = "logit_lens" in group
    has_source = group["source_layer"].notna().any()
    same = has_source and (group["source_layer"] == group["target_layer"]).all()
    head = [("n", "layer")] if has_source else []
    head += [] if same else [("n", "written at")]
    head += [("", "logit lens")] if has_lens else []
    head += [("", "patchscope")]
    lines = []
    for _, row in group.iterrows():
        cells = [("n", str(row["source_layer"]))] if has_source else []
        cells += [] if same else [("n", str(row["target_layer"]))]
        if has_lens:
            cells.append(("", _token(row["logit_lens"], row["logit_lens_probability"])))
        said = f"<span class='t'>{escape(str(row['text']))}</span>"
        cells.append(("", f"{said} <span class='p'>{row['first_token_probability']:.2f}</span>"))
        lines.append("".join(f"<td class='{c}'>{v}</td>" for c, v in cells))
    return table("".join(f"<th class='{c}'>{v}</th>" for c, v in head), lines)


def _grid(group: pd.DataFrame) -> str:
    """Source layers down, target layers across, the first token in each cell."""
    targets = list(dict.fromkeys(group["target_layer"]))
    lines = []
    for source, rows in group.groupby("source_layer", sort=False):
        cells = [f"<td class='n'>{source}</td>"]
        for _, row in rows.iterrows():
            share = float(row["first_token_probability"])
            cells.append(
                f"<td style='background:rgba(46,134,222,{share:.2f})' "
                f"title='{escape(str(row['text']), quote=True)}'>"
                f"<span class='t'>{escape(str(row['first_token']).strip())}</span></td>"
            )
        lines.append("".join(cells))
    head = "<th class='n'>source ↓ target →</th>" + "".join(
        f"<th class='n'>{t}</th>" for t in targets
    )
    return table(head, lines, "grid")


def _token(token: Any, probability: Any) -> str:
    return (
        f"<span class='t'>{escape(str(token).strip() or repr(token))}</span> "
        f"<span class='p'>{float(probability):.2f}</span>"
    )
