"""Heat maps of what patching found, from results alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lensscope.effects.grid import NONE
from lensscope.show.heatmaps import Panel

if TYPE_CHECKING:
    import xarray as xr

    from lensscope.patching.result import PatchingResult

MOST = 12
"""So many maps at most, those of the largest effects."""


def panels(result: PatchingResult) -> list[Panel]:
    """For each site a map: layers down; tokens, heads or whatever else there is across.

    Further axes make several maps.
    """
    mean = result.mean()
    found = []
    sites = result.data["site"].values.tolist() if "site" in result.axes else [None]
    for site in sites:
        own = mean if site is None else mean.sel(site=site)
        for axis in (name for name in result.axes if name != "site"):
            known = own.dropna(axis, how="all", subset=["effect"])  # layers and heads it lacks
            own = known if known.sizes[axis] else own
        axes = [str(a) for a in own["effect"].dims if own.sizes[a] > 1 or a == "layer"]
        one = own.squeeze([a for a in own["effect"].dims if a not in axes])
        name = str(site or result.data.coords["site"].item())
        down = "position" if {"position", "key"} <= set(axes) else "layer"
        down = down if down in axes else axes[0] if axes else ""
        across = next((a for a in _ACROSS if a in axes and a != down), "")
        for chosen in _products(one, [a for a in axes if a not in (down, across)]):
            label = ", ".join(f"{axis} {_name(result, axis, v)}" for axis, v in chosen.items())
            title = f"{name}, {label}" if label else name
            found.append(_panel(result, one.sel(chosen), title, down, across))
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


def _panel(result: PatchingResult, data: xr.Dataset, name: str, down: str, across: str) -> Panel:
    if not down:
        data, down = data.expand_dims(cell=[""]), "cell"
    if not across:
        data, across = data.expand_dims(all=[""]), "all"
    several = result.data.sizes["pair"] > 1
    effect = data["effect"].transpose(down, across).values.astype(float)
    metric = data["metric"].transpose(down, across).values.astype(float)
    low, high = (
        data[f"effect_{end}"].transpose(down, across).values.astype(float)
        for end in ("low", "high")
    )
    x, y = ([_name(result, a, v) for v in data[a].values.tolist()] for a in (across, down))
    base, source = result.baselines
    runs = result.settings["runs"]
    hovers = [
        [
            f"{down} {y[i]}, {across} {x[j]}\neffect {effect[i, j]:.4f}"
            + (f" ({low[i, j]:.3f} to {high[i, j]:.3f})" if several else "")
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
        title=f"{name}: {result.settings['metric']}; {runs[0]} {base:.3g} is 0, "
        f"{runs[1]} {source:.3g} is 1",
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


def _name(result: PatchingResult, axis: str, value: Any) -> str:
    if axis == "position" or (axis == "key" and not isinstance(value, str)):
        return result.position_name(value)
    return "" if value == NONE else str(value)
