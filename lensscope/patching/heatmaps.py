"""What patching found as heat maps and on a page, from its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from lensscope.effects.grid import NONE
from lensscope.show.heatmaps import Panel
from lensscope.signs import short

MOST = 12
"""So many maps at most, those of the largest effects."""


def panels(
    data: xr.Dataset, mean: xr.Dataset, settings: Mapping[str, Any], ends: tuple[float, float]
) -> list[Panel]:
    """For each site a map: layers upwards; tokens, heads or whatever else there is across.

    Further axes make several maps.

    Args:
        data: the effects of each pair.
        mean: those over all pairs, with their intervals.
        settings: how they were measured.
        ends: the metric at 0 and at 1.
    """
    found = []
    runs, dims = settings["runs"], mean["effect"].dims
    scale = f"{settings['metric']}; {runs[0]} {ends[0]:.3g} is 0, {runs[1]} {ends[1]:.3g} is 1"
    sites = data["site"].values.tolist() if "site" in dims else [None]
    for site in sites:
        own = mean if site is None else mean.sel(site=site)
        for axis in (name for name in dims if name != "site"):
            known = own.dropna(axis, how="all", subset=["effect"])  # layers and heads it lacks
            own = known if known.sizes[axis] else own
        axes = [str(a) for a in own["effect"].dims if own.sizes[a] > 1 or a == "layer"]
        one = own.squeeze([a for a in own["effect"].dims if a not in axes])
        name = str(site or data.coords["site"].item())
        down = "position" if {"position", "key"} <= set(axes) else "layer"
        down = down if down in axes else axes[0] if axes else ""
        across = next((a for a in _ACROSS if a in axes and a != down), "")
        for chosen in _products(one, [a for a in axes if a not in (down, across)]):
            label = ", ".join(f"{axis} {_name(data, axis, v)}" for axis, v in chosen.items())
            title = f"{name}, {label}" if label else name
            found.append(_panel(data, one.sel(chosen), f"{title}: {scale}", down, across))
    if len(found) > MOST:
        order = sorted(found, key=lambda panel: -np.nanmax(np.abs(panel.values), initial=0.0))
        kept = {id(panel) for panel in order[:MOST]}
        found = [panel for panel in found if id(panel) in kept]
    high = max(panel.high for panel in found)
    return [replace(panel, high=high, low=-high) for panel in found]


_ACROSS = ("key", "position", "head", "receiver", "to")


def _products(data: xr.Dataset, axes: list[str]) -> list[dict[str, Any]]:
    chosen: list[dict[str, Any]] = [{}]
    for axis in axes:
        chosen = [{**c, axis: v} for c in chosen for v in data[axis].values.tolist()]
    return chosen


def _panel(whole: xr.Dataset, data: xr.Dataset, title: str, down: str, across: str) -> Panel:
    if not down:
        data, down = data.expand_dims(cell=[""]), "cell"
    if not across:
        data, across = data.expand_dims(all=[""]), "all"
    several = whole.sizes["pair"] > 1
    effect = data["effect"].transpose(down, across).values.astype(float)
    metric = data["metric"].transpose(down, across).values.astype(float)
    low, high = (
        data[f"effect_{end}"].transpose(down, across).values.astype(float)
        for end in ("low", "high")
    )
    exact = data["exact"].transpose(down, across).values if "exact" in data else effect * np.nan
    x, y = ([_name(whole, a, v) for v in data[a].values.tolist()] for a in (across, down))
    hovers = [
        [
            f"{down} {y[i]}, {across} {x[j]}\neffect {effect[i, j]:.4f}"
            + (f" ({low[i, j]:.3f} to {high[i, j]:.3f})" if several else "")
            + ("" if np.isnan(exact[i, j]) else f"\nexact {exact[i, j]:.4f}")
            + f"\nmetric {metric[i, j]:.4f}"
            for j in range(len(x))
        ]
        for i in range(len(y))
    ]
    largest = float(np.nanmax(np.abs(effect), initial=0.0)) or 1.0
    texts = tuple(
        tuple("–" if np.isnan(v) else "0" if abs(v) < 0.005 else f"{v:.2f}" for v in row)
        for row in effect
    )
    return Panel(
        title=title,
        x=tuple(x),
        y=tuple(y),
        x_title="" if across == "all" else across,
        y_title=down,
        values=tuple(map(tuple, effect)),
        texts=texts,
        hovers=tuple(map(tuple, hovers)),
        cell_width=max(5, min(10, max(map(len, x), default=5))),
        high=largest,
        low=-largest,
        diverging=True,
        upwards=down == "layer",
    )


def _name(data: xr.Dataset, axis: str, value: Any) -> str:
    if axis == "position" or (axis == "key" and not isinstance(value, str)):
        return position_name(data, value)
    return "" if value == NONE else str(value)


def position_name(data: xr.Dataset, position: Any) -> str:
    """A position with its token, where all pairs have the same one."""
    known = data["position"].values.tolist() if "position" in data["token"].dims else []
    if isinstance(position, str) or position not in known:
        return short(str(position), 60)
    tokens = set(data["token"].sel(position=position).values.tolist())
    return f"{position} {short(tokens.pop(), 60)}" if len(tokens) == 1 else str(position)
