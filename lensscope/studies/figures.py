"""Pictures of sweeps, from numbers alone: accuracy over layers, heat maps, texts; with controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from lensscope.show.heatmaps import Panel
from lensscope.show.lines import Chart, Line
from lensscope.signs import short, visible
from lensscope.studies.folder import Folder
from lensscope.studies.parts import CELLS, CONTROLS
from lensscope.studies.tally import Tally

TITLES: Final = {
    "state": "state of the item",
    "shuffled": "state of another item",
    "mean": "mean state of the layer",
    "drawn": "drawn as states are spread",
    "random": "random vector",
    "prior": "nothing written",
}
_SHOWN: Final = 30
"""Texts are shown in so many characters."""


def layer_chart(title: str, values: xr.Dataset, name: str, y_title: str) -> Chart:
    """A line for each condition over source layers, with its interval.

    Args:
        title: above the chart.
        values: with the axes ``condition`` and ``source_layer`` alone.
        name: the value.
        y_title: what it is.
    """
    lines = []
    for condition in values["condition"].values.tolist():
        own = values.sel(condition=condition)
        if not np.isfinite(own[name]).any():
            continue
        lines.append(Line.of(TITLES.get(condition, condition), own, "source_layer", name))
    return Chart(title, "source layer", y_title, tuple(lines), top=0.5)


def heat_maps(values: xr.Dataset, name: str, title: str) -> list[Panel]:
    """A heat map of source by target layers for the state and for each control."""
    panels: list[Panel] = []
    high = max(float(values[name].max()), 1e-9)
    for condition in values["condition"].values.tolist():
        own = values[name].sel(condition=condition)
        if condition == "prior" or not np.isfinite(own).any():
            continue
        sources, targets = own["source_layer"].values, own["target_layer"].values
        low, top = (values[name + end].sel(condition=condition) for end in ("_low", "_high"))
        panels.append(
            Panel(
                title=f"{TITLES[condition]}" if panels else f"{title}: {TITLES[condition]}",
                x=tuple(map(str, targets)),
                y=tuple(map(str, sources)),
                x_title="target layer",
                y_title="source layer",
                values=tuple(map(tuple, own.values.astype(float))),
                texts=tuple(
                    tuple("–" if np.isnan(v) else f"{v:.2f}" for v in row) for row in own.values
                ),
                hovers=tuple(
                    tuple(
                        f"{s} to {t}: {own.values[i, j]:.2f} "
                        f"[{low.values[i, j]:.2f}, {top.values[i, j]:.2f}]"
                        for j, t in enumerate(targets)
                    )
                    for i, s in enumerate(sources)
                ),
                cell_width=4,
                high=high,
            )
        )
    return panels


@dataclass(frozen=True)
class Shown:
    """The cells of a panel of texts.

    Attributes:
        scope: the number of the inspection prompt.
        variant: the number of the way in which the item is put.
        name: that way in words; empty where there is one alone.
        source: the source layer of the best fixed cell; ``None`` where none is chosen.
        target: the target layer; ``None`` where it follows from the source layer.
        follows: which one it then is.
    """

    scope: int
    variant: int
    name: str
    source: int | None
    target: int | None
    follows: str = "the same layer"

    @property
    def said(self) -> str:
        """Which cells these are."""
        put = f"{self.name}, " if self.name else ""
        where = self.follows if self.target is None else f"layer {self.target}"
        fixed = "layer" if self.target is None else "cell"
        best = "no cell chosen" if self.source is None else f"*: the best fixed {fixed}"
        return f"{put}by source layer, written to {where} ({best})"


def shown(tally: Tally, row: Mapping[Any, Any]) -> Shown:
    """The cells of a line of a headline; of pooled variants, the one that is best there.

    Where no cell is chosen: the first inspection prompt, the middle target layer.
    """
    axes = tally.axes
    none = pd.isna(row["source_layer"])
    scope = 0 if none else axes.scopes.index(row["inspection"])
    t = axes.n_targets // 2 if none or axes.targets is None else None
    if t is None and axes.targets is not None:
        t = axes.targets.index(int(row["target_layer"]))
    s = -1 if none else axes.sources.index(int(row["source_layer"]))
    if axes.pooled:
        hits = tally.whole.hits[0, 0, :, scope, s, 0 if axes.targets is None else t]
        variant = int(hits.argmax())
    else:
        variant = axes.variants.index(row["variant"])
    return Shown(
        scope,
        variant,
        axes.variants[variant] if len(axes.variants) > 1 else "",
        None if none else int(row["source_layer"]),
        None if axes.targets is None else axes.targets[int(t or 0)],
    )


def text_panel(
    folder: Folder,
    names: Sequence[str],
    metric: str,
    title: str,
    shown: Shown,
) -> list[Panel]:
    """What some items' states gave by layer, beside what the layer's mean state gave.

    Args:
        folder: where the parts are.
        names: which items.
        metric: the colour of a cell.
        title: above the panel, before what is shown.
        shown: which cells.
    """
    scope, target = shown.scope, shown.target
    columns: list[tuple[str, dict[int, tuple[str | None, float]]]] = []
    for part in CELLS.of(folder):
        if len(columns) == len(names):
            break
        for name, own in part[part["variant"] == shown.variant].groupby("name", sort=False):
            found = _column(own, "state", scope, target, metric)
            if found and name in names and len(columns) < len(names):
                columns.append((str(name), found))
    if not columns:
        return []
    control = CONTROLS.part(scope, 0).key
    if control in folder.done():
        columns.append((TITLES["mean"], _column(folder.part(control), "mean", scope, target, None)))
    layers = sorted(columns[0][1])
    empty = (None, float("nan"))
    cells = [[column.get(layer, empty) for _, column in columns] for layer in layers]
    return [
        Panel(
            title=f"{title}: {shown.said}",
            x=tuple(short(name, _SHOWN) for name, _ in columns),
            y=tuple(f"{layer} *" if layer == shown.source else f"{layer}" for layer in layers),
            x_title="item",
            y_title="source layer",
            values=tuple(tuple(value for _, value in row) for row in cells),
            texts=tuple(
                tuple("–" if text is None else short(text, _SHOWN) for text, _ in row)
                for row in cells
            ),
            hovers=tuple(tuple(visible(text or "") for text, _ in row) for row in cells),
            cell_width=_SHOWN,
        )
    ]


def _column(
    part: Any, condition: str, scope: int, target: int | None, metric: str | None
) -> dict[int, tuple[str | None, float]]:
    """Texts and values by source layer."""
    own = part[(part["condition"] == condition) & (part["scope"] == scope)]
    if target is not None:
        own = own[own["target_layer"] == target]
    if condition == "state":
        own = own[own["place"] == 0]
    values = own[metric] if metric is not None else [0.0] * len(own)
    rows = zip(own["source_layer"], own["text"], values, strict=True)
    return {int(layer): (str(text), float(value)) for layer, text, value in rows}
