"""What patching found, with named axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from lensscope import checks
from lensscope.effects.grid import AXES, NONE
from lensscope.errors import PatchError
from lensscope.show.pages import rendered
from lensscope.show.showing import Shown
from lensscope.signs import short, without_control
from lensscope.stats.intervals import ratio_interval
from lensscope.store.json_text import json_text, records
from lensscope.values.provenance import Provenance

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from rich.table import Table

    from lensscope.circuits.circuit import Circuit
    from lensscope.effects.measuring import Pairwise
    from lensscope.patching.activation import Asked

COLUMNS: Final = ("pair", "site", "layer", "position", "token", "head", "metric", "effect")


@dataclass(frozen=True, eq=False)
class PatchingResult(Shown):
    """What each cell of a sweep does to a metric.

    Attributes:
        data: axes ``pair``, and of ``site``, ``layer``, ``head``, ``position`` and ``key`` those
            that the sweep has; ``metric`` is that of the patched run, ``effect`` is 0 for what the
            run that is patched gives and 1 for the run that is patched in, ``normalised`` is 0 for
            the corrupted run and 1 for the clean run (the same, when denoising); ``clean`` and
            ``corrupted`` are the metric of the two runs, ``token`` the tokens. Where a site has no
            such layer, head or position, there is NaN; its own layer or head is -1.
        provenance: of the model.
        settings: how it was done.
    """

    data: xr.Dataset
    provenance: Provenance
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The method, and what was measured."""
        return f"{self.settings['method'].capitalize()}: {self.settings['metric']}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the sweep, without that of the pairs."""
        return tuple(str(name) for name in self.data["effect"].dims if name != "pair")

    @property
    def baselines(self) -> tuple[float, float]:
        """The metric of the run that is patched, and of the one patched in, averaged over pairs."""
        ends = self.data["corrupted"].mean().item(), self.data["clean"].mean().item()
        return (ends[1], ends[0]) if self.settings["direction"] == "noising" else ends

    def frame(self) -> pd.DataFrame:
        """One line a pair and cell: where, the metric of the patched run, and its effect."""
        named = [c for c in COLUMNS if c not in self.axes or c in ("pair",)]
        flat = self.data[["metric", "effect"]].stack(cell=("pair", *self.axes))
        frame = flat.to_dataframe()[["metric", "effect"]].reset_index()
        frame = frame[frame["metric"].notna()].reset_index(drop=True)
        for name in named:
            if name not in frame and name != "token":
                frame[name] = self.data.coords[name].item() if name in self.data.coords else None
        frame["token"] = self._tokens(frame)
        for name in ("layer", "head"):
            if frame[name].eq(NONE).any():
                frame[name] = frame[name].astype(object).where(frame[name].ne(NONE), None)
        more = [axis for axis in self.axes if axis not in COLUMNS]
        return frame[[*COLUMNS[:-2], *more, *COLUMNS[-2:]]]

    def _tokens(self, frame: pd.DataFrame) -> list[str]:
        tokens = self.data["token"]
        if "position" not in tokens.dims:
            return [""] * len(frame)
        table = tokens.transpose("pair", "position").values
        at = {value: n for n, value in enumerate(self.data["position"].values.tolist())}
        pairs = self.data["pair"].values.tolist()
        rows = {value: n for n, value in enumerate(pairs)}
        places = zip(frame["pair"], frame["position"], strict=True)
        return [str(table[rows[pair], at[where]]) for pair, where in places]

    @checks.door(PatchError)
    def mean(self, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> xr.Dataset:
        """The effect over all pairs, with an interval over pairs (`lensscope.stats.intervals`).

        The effect of a data set is the ratio of means: how far the mean metric goes from that of
        the runs that are patched to that of the runs patched in. (A mean of ratios is drowned by
        the few pairs whose two runs hardly differ; those are in ``data.effect``.)

        Args:
            level: of the interval.
            resamples: how often pairs are drawn again.
            seed: of these draws.

        Returns:
            ``effect``, ``effect_low``, ``effect_high`` (NaN for one pair, and where pairs are all
            alike) and ``metric``.
        """
        return averaged(self.data, self.settings["direction"], level, resamples, seed)

    @checks.door(PatchError, k=checks.whole(1, instead=10))
    def top(self, k: int = 10) -> pd.DataFrame:
        """The cells of the largest effects, of either sign, over all pairs."""
        frame = self.mean()["effect"].to_dataframe()[["effect"]].reset_index().dropna()
        order = frame["effect"].abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order[:k]].reset_index(drop=True)

    @checks.door(PatchError)
    def circuit(self, top: int | None = None, threshold: float | None = None) -> Circuit:
        """The components of the largest effects, of either sign, as a circuit.

        Of path patching, the paths of the largest effects, with what they join.

        Args:
            top: so many of them.
            threshold: or all of at least this size.

        Raises:
            PatchError: both or neither, or nothing that is left.

        Example:
            >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
            >>> metric = ls.logit_difference(" Tokyo", " Rome")
            >>> found = ls.activation_patching(model, *pair, ls.mlp_out, metric, positions=ls.ALL)
            >>> found.circuit(top=2)
            Circuit(2 nodes, 0 edges: mlp_out(0), mlp_out(23))
        """
        from lensscope.circuits.from_effects import circuit_of

        return circuit_of(self, top, threshold)

    def plot(self) -> go.Figure:
        """A plotly heat map for each site: what helps is blue, what hurts red, nothing white."""
        from lensscope.patching.heatmaps import panels
        from lensscope.show.heatmaps import to_plotly

        return to_plotly(panels(self), "effect")

    @checks.door(PatchError, k=checks.whole(1, instead=12))
    def table(self, k: int = 12) -> Table:
        """The cells of the largest effects, and both baselines."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        base, source = self.baselines
        runs = self.settings["runs"]
        pairs = self.data.sizes["pair"]
        table = Table(
            title=Text(without_control(self.title)),
            caption=Text(
                f"effect 0: {runs[0]}, {base:.4g}; 1: {runs[1]}, {source:.4g}; "
                f"{pairs} pair{'s' * (pairs > 1)}, {self.provenance.model}"
            ),
            box=box.SIMPLE_HEAD,
            min_width=72,
        )
        found = self._named(self.top(k))
        for column in found.columns:
            table.add_column(column, justify="right" if column == "effect" else "left")
        for row in found.itertuples(index=False):
            table.add_row(*(Text(without_control(str(value))) for value in row))
        return table

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Cells with their tokens, as text."""
        found = pd.DataFrame(index=frame.index)
        found["site"] = frame["site"] if "site" in frame else self.data.coords["site"].item()
        for name in self.axes:
            if name in ("layer", "head"):
                found[name] = ["" if v == NONE else str(v) for v in frame[name]]
            elif name in ("position", "key"):
                found[name] = [self.position_name(v) for v in frame[name]]
            elif name != "site":
                found[name] = frame[name].astype(str)
        found["effect"] = [f"{value:+.3f}" for value in frame["effect"]]
        return found

    def position_name(self, position: Any) -> str:
        """A position with its token, where all pairs have the same one."""
        if isinstance(position, str) or "position" not in self.data["token"].dims:
            return str(position)
        known = self.data["position"].values.tolist()
        if position not in known:
            return str(position)
        tokens = set(self.data["token"].sel(position=position).values.tolist())
        return f"{position} {short(tokens.pop(), 60)}" if len(tokens) == 1 else str(position)

    def section(self) -> str:
        """What it says, as a piece of HTML: heat maps, and the largest effects."""
        mean = self.mean()
        return rendered(
            "patching.html",
            settings=self.settings,
            model=self.provenance.model,
            baselines=self.baselines,
            pairs=self.data.sizes["pair"],
            width=float((mean["effect_high"] - mean["effect_low"]).mean()),
            largest=self._named(self.top(20)),
            picture=self._svg(),
        )

    def _svg(self) -> str:
        from lensscope.patching.heatmaps import panels
        from lensscope.show.heatmaps import to_svg

        return to_svg(panels(self), "effect")

    def _json(self) -> str:
        return json_text(
            {
                "settings": dict(self.settings),
                "provenance": {**asdict(self.provenance), "tokens": []},
                "clean": self.data["clean"].values.tolist(),
                "corrupted": self.data["corrupted"].values.tolist(),
                "cells": records(self.frame()),
            },
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self.data["effect"].sizes.items())
        return f"PatchingResult({self.title}; {sizes}; {self.provenance.model})"


def result_of(
    asked: Asked,
    work: Pairwise,
    settings: Mapping[str, Any],
    more: Mapping[str, tuple[Any, ...]] | None = None,
) -> PatchingResult:
    """A result of the numbers of all pairs.

    Args:
        asked: what was asked for.
        work: the numbers.
        settings: how it was done.
        more: axes besides those of the grid.
    """
    asked.warn()
    grid, groups = asked.grid, asked.groups
    widest = max(range(len(groups)), key=lambda n: len(groups[n]))
    keyed = max(range(len(asked.keys)), key=lambda n: len(asked.keys[n]))
    coordinates = {
        **grid.coordinates,
        "position": tuple(group.label for group in groups[widest]),
        "key": tuple(group.label for group in asked.keys[keyed]),
        **(more or {}),
    }
    tokens = np.full((len(groups), len(groups[widest])), "", dtype=object)
    for n, of_pair in enumerate(groups):
        tokens[n, : len(of_pair)] = [group.token for group in of_pair]
    used = {"layer", *(more or {}), *(name for name in AXES if len(coordinates[name]) > 1)}
    if grid.apart:
        used.add("position")
    if grid.keys:
        used.add("key")
    if coordinates["layer"] == (NONE,):
        used.discard("layer")
    if coordinates["head"] != (NONE,):
        used.add("head")
    data = dataset(work, coordinates, tokens, used, settings["direction"])
    return PatchingResult(
        data, asked.backend.provenance([p.clean.ids for p in asked.pairs]), dict(settings)
    )


def dataset(
    work: Pairwise,
    coordinates: Mapping[str, tuple[Any, ...]],
    tokens: Any,
    used: set[str],
    direction: str,
) -> xr.Dataset:
    """The numbers of all pairs, with those axes that are used; the others are plain coordinates."""
    clean, corrupted = (t.double().numpy() for t in (work.clean, work.corrupted))
    values = work.values.double().numpy()
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
    data: xr.Dataset, direction: str, level: float, resamples: int, seed: int
) -> xr.Dataset:
    """Effects over all pairs as ratios of means, with bootstrap intervals.

    Raises:
        PatchError: no such interval.
    """
    first, last = ("clean", "corrupted") if direction == "noising" else ("corrupted", "clean")
    metric = data["metric"].transpose("pair", ...)
    values = metric.values
    effect, moved, gaps = ratio_of_means(values, data[first].values, data[last].values)
    low, high = ratio_interval(moved, gaps, level, resamples, seed)
    known = np.isfinite(values)
    counts = known.sum(0)
    mean = np.where(counts > 0, np.where(known, values, 0.0).sum(0), np.nan)
    mean = mean / np.maximum(counts, 1)
    dims, shape = metric.dims[1:], values.shape[1:]
    named = {"effect": effect, "effect_low": low, "effect_high": high, "metric": mean}
    coords = {name: data.coords[name] for name in data.coords if name != "pair"}
    return xr.Dataset({k: (dims, v.reshape(shape)) for k, v in named.items()}, coords)


def ratio_of_means(values: Any, base: Any, source: Any) -> tuple[Any, Any, Any]:
    """Effects over all pairs, NaN where there are none, and what they are ratios of.

    Args:
        values: the metric of the patched runs, ``[pair, *cells]``; NaN where there is none.
        base: that of the runs that are patched, ``[pair]``.
        source: that of the runs that are patched in, ``[pair]``.

    Returns:
        The effects, ``[*cells]``, and of each pair how far the metric of a cell goes and how far
        it could go, ``[pair, cell]``.
    """
    n, known = len(base), np.isfinite(values).reshape(len(base), -1)
    moved = np.where(known, values.reshape(n, -1) - base[:, None], 0.0)
    gaps = known * (source - base)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = moved.sum(0) / gaps.sum(0)
    effect = np.where(np.isfinite(effect), effect, np.nan)
    return effect.reshape(values.shape[1:]), moved, gaps
