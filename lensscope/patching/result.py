"""What patching found, with named axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pandas as pd
import xarray as xr

from lensscope import checks
from lensscope.circuits.circuit import Circuit
from lensscope.circuits.from_effects import circuit_of
from lensscope.effects.grid import NONE
from lensscope.effects.numbers import averaged, mean_effect
from lensscope.effects.sweeping import Measured
from lensscope.errors import CircuitError, SweepError
from lensscope.patching.heatmaps import panels, position_name
from lensscope.show.heatmaps import Panel, to_plotly, to_svg
from lensscope.show.pages import rendered
from lensscope.show.showing import Shown
from lensscope.show.terminal import table_of
from lensscope.signs import without_control
from lensscope.store.json_text import json_text, records
from lensscope.store.lasting import Lasting
from lensscope.values.provenance import Provenance
from lensscope.values.together import agree, joined, of_one_kind, one_provenance

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from rich.table import Table
    from typing_extensions import Self

COLUMNS: Final = ("pair", "site", "layer", "position", "token", "head", "metric", "effect")
_OF_PAIRS: Final = ("pairs", "groups", "blurred", "metric")
"""What settings say of the pairs, not of how they are measured."""
_OF: Final = {"effect": "metric", "exact": "exact_metric"}


@dataclass(frozen=True, eq=False)
class PatchingResult(Shown, Lasting):
    """What each cell of a sweep does to a metric.

    Attributes:
        data: axes ``pair``, and of ``site``, ``layer``, ``head``, ``position`` and ``key`` those
            that the sweep has; ``metric`` is that of the patched run, ``effect`` is 0 for what the
            run that is patched gives and 1 for the run that is patched in, ``normalised`` is 0 for
            the corrupted run and 1 for the clean run (the same, when denoising); ``clean`` and
            ``corrupted`` are the metric of the two runs, ``token`` the tokens. Where estimates were
            run, ``exact`` and ``exact_metric`` are what that gave. Where a site has no such layer,
            head or position, there is NaN; its own layer or head is -1. Where the two runs do not
            differ, there is no gap to be a share of: ``effect`` and ``normalised`` are NaN.
        provenance: of the model.
        settings: how it was done.

    Example:
        >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
        >>> metric = ls.logit_difference(" Tokyo", " Rome")
        >>> effect = ls.activation_patching(model, *pair, ls.resid_pre(12), metric)
        >>> int(effect.data.effect.squeeze().idxmax("position"))
        3
    """

    made_of: ClassVar = (Provenance,)

    data: xr.Dataset
    provenance: Provenance
    settings: Mapping[str, Any]

    @classmethod
    @checks.door(SweepError, results=checks.listed)
    def together(cls, results: Sequence[Self]) -> Self:
        """One result of several, with the pairs of all; `mean` is over all of them.

        Args:
            results: measured in the same way at the same places of one model, each with its own
                answers. Where each token is a cell, prompts may be of different lengths.

        Raises:
            SweepError: other methods, metrics, settings or axes.
            BasisError: other models.

        Example:
            >>> told = "The capital of {} is the city of"
            >>> metric = ls.logit_difference(" Tokyo", " Rome")
            >>> pair = told.format("Japan"), told.format("Italy")
            >>> found = ls.activation_patching(model, *pair, ls.mlp_out, metric, positions=ls.ALL)
            >>> ls.PatchingResult.together([found, found]).data.sizes["pair"]
            2
        """
        found = of_one_kind(results, cls, SweepError)
        told = [
            {"measure": one.settings["metric"]}  # of a file from before there was this
            | {name: v for name, v in one.settings.items() if name not in _OF_PAIRS}
            for one in found
        ]
        for other in told:
            agree(told[0], other, "settings", SweepError)
        tokens = [range(max(map(len, one.provenance.tokens))) for one in found]
        for axis in ("position", "key"):
            labels = [one.data[axis].values.tolist() for one in found if axis in one.data.dims]
            if labels != [list(every) for every in tokens]:  # not each token of each prompt
                for own in labels:
                    agree(labels[0], own, f"labels of {axis}", SweepError)
        data = joined([one.data for one in found], "pair", SweepError, ("position", "key"))
        settings = {**found[0].settings, "pairs": data.sizes["pair"]}
        if len({one.settings["metric"] for one in found}) > 1:
            settings["metric"] = told[0]["measure"]
        if "blurred" in settings:
            settings["blurred"] = [own for one in found for own in one.settings["blurred"]]
        return cls(data, one_provenance([one.provenance for one in found]), settings)

    @property
    def title(self) -> str:
        """The method, what was measured, and what was patched."""
        told = self.settings
        sites = ", ".join(told["sites"])
        return f"{told['method'].capitalize()}: {told['metric']}; {sites} patched"

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the sweep, without that of the pairs."""
        return tuple(str(name) for name in self.data["effect"].dims if name != "pair")

    @property
    def baselines(self) -> tuple[float, float]:
        """The metric of the run that is patched, and of the one patched in, averaged over pairs."""
        ends = self.data["corrupted"].mean().item(), self.data["clean"].mean().item()
        return (ends[1], ends[0]) if self.settings["direction"] == "noising" else ends

    @property
    def _measured(self) -> list[str]:
        """The effects that cells have: also ``exact``, where estimates were run."""
        return ["effect", *(["exact"] if "exact_metric" in self.data else [])]

    def frame(self) -> pd.DataFrame:
        """One line a pair and cell: where, the metric of the patched run, and its effect; then
        ``exact``, where estimates were run."""
        values = ["metric", *self._measured]
        named = [c for c in COLUMNS if c not in self.axes or c in ("pair",)]
        flat = self.data[values].stack(cell=("pair", *self.axes))
        frame = flat.to_dataframe()[values].reset_index()
        frame = frame[frame["metric"].notna()].reset_index(drop=True)
        for name in named:
            if name not in frame and name != "token":
                frame[name] = self.data.coords[name].item() if name in self.data.coords else None
        frame["token"] = self._tokens(frame)
        for name in ("layer", "head"):
            if frame[name].eq(NONE).any():
                frame[name] = frame[name].astype(object).where(frame[name].ne(NONE), None)
        more = [axis for axis in self.axes if axis not in COLUMNS]
        return frame[[*COLUMNS[:-2], *more, *values]]

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

    @checks.door(SweepError)
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

    @checks.door(SweepError, k=checks.whole(1, instead=10))
    def top(self, k: int = 10) -> pd.DataFrame:
        """The cells of the largest effects, of either sign, over all pairs; by what is exact, where
        estimates were run."""
        return self._largest().head(k).reset_index(drop=True)

    def _largest(self) -> pd.DataFrame:
        """All cells with an effect over all pairs, the largest first."""
        direction = self.settings["direction"]
        found = {n: mean_effect(self.data, direction, _OF[n]) for n in self._measured}
        frame = xr.Dataset(found).to_dataframe()[self._measured].reset_index()
        frame = frame.dropna(subset="effect")
        order = _best_known(frame).abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order]

    @checks.door(CircuitError)
    def circuit(self, top: int | None = None, threshold: float | None = None) -> Circuit:
        """The components of the largest effects, of either sign, as a circuit.

        Of path patching, the paths of the largest effects, with what they join. Where estimates
        were run, the exact effect counts; nodes of which there is an estimate alone are
        ``estimated``.

        Args:
            top: so many of them.
            threshold: or all of at least this size.

        Raises:
            CircuitError: both or neither, or nothing that is left.

        Example:
            >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
            >>> metric = ls.logit_difference(" Tokyo", " Rome")
            >>> found = ls.activation_patching(model, *pair, ls.mlp_out, metric, positions=ls.ALL)
            >>> found.circuit(top=2)
            Circuit(2 nodes, 0 edges: mlp_out(0), mlp_out(23))
        """
        site = self.data.coords["site"].values
        effects = self._largest()
        if self.settings["method"] == "attribution patching":
            rest = effects["exact"].isna() if "exact" in effects else True
            effects = effects.assign(effect=_best_known(effects), estimated=rest)
        if "site" not in self.axes:
            effects = effects.assign(site=site.item())
        return circuit_of(effects, self.settings, self.provenance, top, threshold)

    def plot(self) -> go.Figure:
        """A plotly heat map for each site: what helps is blue, what hurts red, nothing white."""
        return to_plotly(self._panels(), "effect")

    def _panels(self) -> list[Panel]:
        return panels(self.data, self.mean(), self.settings, self.baselines)

    @checks.door(SweepError, k=checks.whole(1, instead=12))
    def table(self, k: int = 12) -> Table:
        """The cells of the largest effects, and both baselines."""
        base, source = self.baselines
        runs, pairs = self.settings["runs"], self.data.sizes["pair"]
        found = self._named(self.top(k))
        return table_of(
            without_control(self.title),
            list(found.columns),
            [[without_control(str(v)) for v in row] for row in found.itertuples(index=False)],
            caption=f"effect 0: {runs[0]}, {base:.4g}; 1: {runs[1]}, {source:.4g}; "
            f"{pairs} pair{'s' * (pairs > 1)}, {self.provenance.model}"
            + "; effect: an estimate, exact: run"
            * ("exact" in self._measured),
            numbers=[n for n, name in enumerate(found.columns) if name in self._measured],
            min_width=72,
        )

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
        for name in self._measured:
            found[name] = ["–" if pd.isna(value) else f"{value:+.3f}" for value in frame[name]]
        return found

    def position_name(self, position: Any) -> str:
        """A position with its token, where all pairs have the same one."""
        return position_name(self.data, position)

    def section(self) -> str:
        """What it says, as a piece of HTML: heat maps, and the largest effects."""
        mean = self.mean()
        return rendered(
            "patching.html",
            settings=self.settings,
            exact="exact" in self._measured,
            model=self.provenance.model,
            baselines=self.baselines,
            pairs=self.data.sizes["pair"],
            width=float((mean["effect_high"] - mean["effect_low"]).mean()),
            largest=self._named(self.top(20)),
            picture=self._svg(),
        )

    def _svg(self) -> str:
        return to_svg(self._panels(), "effect")

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


def _best_known(frame: pd.DataFrame) -> pd.Series:
    """What is exact, where it is known; else the effect."""
    return frame["exact"].fillna(frame["effect"]) if "exact" in frame else frame["effect"]


def result_of(found: Measured) -> PatchingResult:
    """What a sweep has measured, as a result."""
    return PatchingResult(found.data, found.provenance, found.settings)
