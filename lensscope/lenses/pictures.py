"""What lenses read, as pictures: lens tables, two of them side by side, lines over layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from lensscope.errors import LensError
from lensscope.show.heatmaps import Panel
from lensscope.show.lines import Chart, Line
from lensscope.signs import isolated, short, visible

_CELL = 9
_HOVERED = 10


def axis_of(data: xr.Dataset) -> str:
    """``"layer"``, or ``"site"`` where several sites share a layer."""
    return "site" if "site" in data.dims else "layer"


def slots_of(own: xr.Dataset) -> list[int]:
    """Which positions of a prompt were read; of a raw vector, which has none, the only one."""
    return [i for i, t in enumerate(own["token_index"].values) if t >= 0] or [0]


def lens_panels(data: xr.Dataset, title: str, value: str = "probability") -> list[Panel]:
    """A lens table for each prompt: layers upwards, tokens across.

    Args:
        data: of a `LensReading`.
        title: what was read, and by what.
        value: what colours the cells.

    Raises:
        LensError: the value was not measured.
    """
    axis = axis_of(data)
    colours = np.exp(data["log_probability"].isel(rank=0)) if value == "probability" else None
    if colours is None:
        colours = _measured(data, value)
    known = np.isfinite(colours.values)
    if not known.any():
        raise LensError(
            f"Of the {value.replace('_', ' ')} nothing is known.",
            got="the last token of each prompt, after which nothing follows",
            expected="tokens with a next one",
            instead="lens.read(model, prompt, positions=slice(0, -1), measures='all')",
        )
    high = 1.0 if value == "probability" else float(colours.values[known].max())
    low = min(0.0, float(colours.values[known].min()))
    if low < 0:
        high = min(0.0, high)  # logarithms: nothing is certain
    panels = []
    for n in range(data.sizes["prompt"]):
        own = data.isel(prompt=n)
        slots = slots_of(own)
        names = [str(label) for label in own[axis].values]
        shown = colours.isel(prompt=n).values
        panels.append(
            Panel(
                title=f"{title}: {short(str(own['prompt'].item()), 90)}",
                x=tuple(short(str(own["token"].values[i]), _CELL) for i in slots),
                y=tuple(names),
                x_title="token" if own["token_index"].values[slots[0]] >= 0 else "raw vector",
                y_title=axis,
                values=tuple(tuple(float(row[i]) for i in slots) for row in shown),
                texts=tuple(
                    tuple(short(str(row[i, 0]), _CELL) for i in slots)
                    for row in own["predicted"].values
                ),
                hovers=tuple(
                    tuple(_hover(own, k, i) for i in slots) for k in range(own.sizes[axis])
                ),
                cell_width=_CELL,
                high=high,
                low=low,
            )
        )
    return panels


def paired(first: Sequence[Panel], second: Sequence[Panel]) -> list[Panel]:
    """The panels of two readings of the same prompts, in turn.

    Raises:
        LensError: they are not of as many prompts.
    """
    if len(first) != len(second):
        raise LensError(
            "Two readings do not go side by side.",
            got=f"{len(first)} prompts and {len(second)}",
            expected="readings of the same prompts",
            instead="beside=other.read(model, prompts)",
        )
    return [panel for pair in zip(first, second, strict=True) for panel in pair]


def _hover(own: Any, layer: int, slot: int) -> str:
    """The most probable tokens of a cell, one a line."""
    words = own["predicted"].values[layer, slot][:_HOVERED]
    shares = np.exp(own["log_probability"].values[layer, slot][:_HOVERED])
    return "\n".join(f"{_quoted(w)} {p:.3f}" for w, p in zip(words, shares, strict=True))


def _quoted(token: Any) -> str:
    return isolated(f"'{visible(str(token))}'")


def _per_cell(data: xr.Dataset) -> list[str]:
    """What was measured of each cell."""
    cell = {"prompt", axis_of(data), "position"}
    return [str(name) for name, values in data.items() if set(values.dims) == cell]


def _measured(data: xr.Dataset, value: str) -> Any:
    known = _per_cell(data)
    if value not in known:
        raise LensError(
            "This was not measured.",
            got=repr(value),
            expected=", ".join(["probability", *known]),
            instead="plot_trajectories of what was read with targets="
            if value.startswith("target")
            else 'lens.read(model, prompt, measures="all")',
        )
    return data[value]


def trajectories(data: xr.Dataset, title: str, value: str | None, prompt: int = 0) -> Chart:
    """Lines over layers: one for each target, of the last token that was read; or one for each
    token.

    Raises:
        LensError: nothing of the kind was measured, or several sites share a layer.
    """
    of_targets = [n for n in ("target_log_probability", "target_rank") if n in data]
    chosen = value if value is not None else next(iter(of_targets), None)
    if chosen is None:
        chosen = next(iter(_per_cell(data)), "entropy")
    axis = axis_of(data)
    if axis == "site" or not 0 <= prompt < data.sizes["prompt"]:
        raise LensError(
            "There is no line over layers.",
            got=f"prompt {prompt} of {data.sizes['prompt']}, axis {axis}",
            expected="a prompt that was read, at one kind of site",
            instead="lens.read(model, prompt, sites=ls.resid_post)",
        )
    own = data.isel(prompt=prompt)
    slots = slots_of(own)
    layers = tuple(own["layer"].values.tolist())
    if chosen in of_targets:
        last = own[chosen].isel(position=slots[-1])
        lines = [
            Line(_quoted(name), layers, tuple(last.isel(target=n).values.tolist()))
            for n, name in enumerate(own["target"].values)
        ]
    else:
        values = _measured(data, chosen).isel(prompt=prompt)
        lines = [
            Line(
                f"{own['token_index'].values[i]} {short(str(own['token'].values[i]), 20)}",
                layers,
                tuple(values.isel(position=i).values.tolist()),
            )
            for i in slots
        ]
    what = chosen.replace("_", " ")
    title = f"{title}: {short(str(own['prompt'].item()), 30)}"
    if chosen in of_targets:
        title += f" [{short(str(own['token'].values[slots[-1]]), 10)}]"
    return Chart(title, "layer", what, tuple(lines))
