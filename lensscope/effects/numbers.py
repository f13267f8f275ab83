"""The numbers of all pairs as a data set with named axes, and the effects that they come to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from lensscope.effects.grid import NONE
from lensscope.effects.measuring import Direction
from lensscope.stats.intervals import ratio_interval


def dataset(
    values: Float[np.ndarray, "pair *axes"],
    clean: Float[np.ndarray, " pair"],
    corrupted: Float[np.ndarray, " pair"],
    *,
    coordinates: Mapping[str, tuple[Any, ...]],
    tokens: Any,
    used: Collection[str],
    direction: Direction,
) -> xr.Dataset:
    """The numbers of all pairs, with those axes that are used; the others are plain coordinates.

    Args:
        values: the metric of the patched runs, ``[pair, *axes]``; NaN where there is none.
        clean: that of the clean runs, ``[pair]``.
        corrupted: that of the corrupted runs, ``[pair]``.
        coordinates: of each axis.
        tokens: as text, ``[pair, position]``.
        used: the names of the axes that stay.
        direction: which of the two runs is patched.
    """
    ends = [end.reshape(-1, *[1] * (values.ndim - 1)) for end in (corrupted, clean)]
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = (values - ends[0]) / (ends[1] - ends[0])
    normalised[~np.isfinite(normalised)] = np.nan
    effect = 1 - normalised if direction == "noising" else normalised
    dims = ("pair", *coordinates)
    data = xr.Dataset(
        {
            "metric": (dims, values),
            "effect": (dims, effect),
            "normalised": (dims, normalised),
            "clean": ("pair", clean),
            "corrupted": ("pair", corrupted),
            "token": (("pair", "position"), tokens),
        },
        {"pair": np.arange(len(clean)), **{name: list(v) for name, v in coordinates.items()}},
    )
    unused = [name for name in coordinates if name not in used]
    data = data.squeeze([name for name in unused if data.sizes[name] == 1])
    nothing = [name for name in ("layer", "head") if name in unused and data[name].item() == NONE]
    return data.drop_vars([*nothing, *(["key"] if "key" in unused else [])])


def averaged(
    data: xr.Dataset, direction: Direction, level: float, resamples: int, seed: int
) -> xr.Dataset:
    """Effects over all pairs as ratios of means, with bootstrap intervals; ``exact`` too, where
    estimates were run.

    Raises:
        PatchError: no such interval.
    """
    metric, (effect, moved, gaps) = _ratios(data, direction)
    low, high = ratio_interval(moved, gaps, level, resamples, seed)
    values, dims = metric.values, metric.dims[1:]
    known = np.isfinite(values)
    counts = known.sum(0)
    mean = np.where(counts > 0, np.where(known, values, 0.0).sum(0), np.nan)
    mean = mean / np.maximum(counts, 1)
    named = {"effect": effect, "effect_low": low, "effect_high": high, "metric": mean}
    if "exact_metric" in data:
        named["exact"] = _ratios(data, direction, "exact_metric")[1][0]
    found = {name: (dims, value.reshape(effect.shape)) for name, value in named.items()}
    return xr.Dataset(found, _without_pairs(data))


def mean_effect(data: xr.Dataset, direction: Direction, of: str = "metric") -> xr.DataArray:
    """The same effects, without intervals; of ``"exact_metric"``, where estimates were run."""
    metric, (effect, _, _) = _ratios(data, direction, of)
    return xr.DataArray(effect, _without_pairs(data), metric.dims[1:])


def _ratios(
    data: xr.Dataset, direction: Direction, of: str = "metric"
) -> tuple[xr.DataArray, tuple[Any, Any, Any]]:
    metric = data[of].transpose("pair", ...)
    return metric, ratio_of_means(
        metric.values, data["clean"].values, data["corrupted"].values, direction
    )


def _without_pairs(data: xr.Dataset) -> dict[Any, xr.DataArray]:
    return {name: data.coords[name] for name in data.coords if name != "pair"}


def ratio_of_means(
    values: Float[np.ndarray, "pair *axes"],
    clean: Float[np.ndarray, " pair"],
    corrupted: Float[np.ndarray, " pair"],
    direction: Direction,
) -> tuple[
    Float[np.ndarray, "*axes"], Float[np.ndarray, "pair cell"], Float[np.ndarray, "pair cell"]
]:
    """Effects over all pairs, NaN where there are none, and what they are ratios of.

    Args:
        values: the metric of the patched runs, ``[pair, *axes]``; NaN where there is none.
        clean: that of the clean runs, ``[pair]``.
        corrupted: that of the corrupted runs, ``[pair]``.
        direction: which of the two runs is patched.

    Returns:
        The effects, ``[*axes]``, and of each pair how far the metric of a cell goes and how far
        it could go, ``[pair, cell]``.
    """
    base, source = (clean, corrupted) if direction == "noising" else (corrupted, clean)
    n, known = len(base), np.isfinite(values).reshape(len(base), -1)
    moved = np.where(known, values.reshape(n, -1) - base[:, None], 0.0)
    gaps = known * (source - base)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = moved.sum(0) / gaps.sum(0)
    effect = np.where(np.isfinite(effect), effect, np.nan)
    return effect.reshape(values.shape[1:]), moved, gaps
