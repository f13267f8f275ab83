"""Tables for a paper: numbers with their intervals, in Markdown and LaTeX."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from lensscope.signs import visible, without_control

_WIDEST: Final = 48
"""Characters of a cell; of a longer text, its beginning and its end are shown."""
_LATEX: Final = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        # the signs of `visible`, in fonts that lack them
        "⏎": r"$\hookleftarrow$",
        "⇥": r"$\mapsto$",
        "␣": r"\textvisiblespace{}",
        "∅": r"$\emptyset$",
    }
)
_MARKDOWN: Final = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "|`*_~$[]\\"},
        # Markdown is HTML wherever it looks like it
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
    }
)


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table as people read it: ``0.62 [0.41, 0.80]`` in place of three columns."""
    found: dict[str, list[str]] = {}
    edges = {f"{name}{end}" for name in frame.columns for end in ("_low", "_high")}
    for name in frame.columns:
        if name in edges:
            continue
        title = visible(str(name).replace("_", " "))
        if f"{name}_low" in frame.columns:
            rows = zip(frame[name], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
            found[title] = [_number(*row) for row in rows]
        else:
            found[title] = ["–" if pd.isna(value) else _plain(value) for value in frame[name]]
    return pd.DataFrame(found)


_CONTROLS: Final = ("shuffled", "mean", "drawn", "random", "prior")


def brief(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the largest control in place of all, and the layers in one column."""
    numbers = [name.removesuffix("_low") for name in frame.columns if name.endswith("_low")]
    hidden = {f"{name}{end}" for name in numbers for end in ("", "_low", "_high")}
    hidden |= {"inspection", "source_layer", "target_layer", "chosen"}
    named = [name for name in frame.columns if name not in hidden]
    lines = []
    for row in frame.to_dict("records"):
        line = {name: "–" if pd.isna(row[name]) else _plain(row[name]) for name in named}
        if "source_layer" in row:
            layers = [row["source_layer"], row.get("target_layer", row["source_layer"])]
            own = ["some" if pd.isna(layer) else str(int(layer)) for layer in layers]
            line["layer"] = own[0] if own[0] == own[1] else " to ".join(own)
            if str(row.get("chosen", "")).startswith("no "):
                line["layer"] = row["chosen"]
        known = [name for name in _CONTROLS if name in row and not pd.isna(row[name])]
        largest = max(known, key=lambda name: float(row[name]), default=None)
        for title, name in (("state", "state"), ("largest control", largest), ("lift", "lift")):
            line[title] = "–"
            if name is not None and not pd.isna(row.get(name)):
                own_number = _number(row[name], row[f"{name}_low"], row[f"{name}_high"])
                line[title] = own_number + (f" {name}" if title == "largest control" else "")
        lines.append(line)
    return pd.DataFrame(lines)


def _number(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.2f}" + ("" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]")


def _plain(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3g}"
    text = str(int(value)) if isinstance(value, float) else visible(str(value))
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 20]}… {text[-18:]}"


def markdown(frame: pd.DataFrame) -> str:
    """A table of Markdown."""
    found = shown(frame)
    rows = [list(found.columns), ["---"] * len(found.columns), *found.to_numpy().tolist()]
    return "".join(
        "| " + " | ".join(without_control(c).translate(_MARKDOWN) for c in row) + " |\n"
        for row in rows
    )


def latex(frame: pd.DataFrame, caption: str = "") -> str:
    """A ``tabular`` with the rules of booktabs, and the caption, if any, as a comment above it."""
    found = shown(frame).map(_in_latex).rename(columns=_in_latex)
    comment = " ".join(without_control(caption).split())
    # pandas leaves < and > as they are, and a space behind what it spells out
    table = found.to_latex(index=False, escape=False, column_format="l" * len(found.columns))
    return f"% {comment}\n{table}" if comment else table


def _in_latex(cell: str) -> str:
    return without_control(cell).translate(_LATEX)
