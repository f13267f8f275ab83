"""What a comparison of lenses found, by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pandas as pd
import xarray as xr

from lensscope import checks
from lensscope.errors import LensError
from lensscope.show.lines import Chart, Line, to_plotly, to_svg
from lensscope.show.pages import rendered
from lensscope.show.showing import Shown, written
from lensscope.show.terminal import table_of
from lensscope.stats.intervals import Sums, ratio_interval
from lensscope.store.json_text import json_text, records
from lensscope.store.lasting import Lasting
from lensscope.values.provenance import Provenance
from lensscope.values.together import agree, distinct, joined, of_one_kind, one_provenance

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from rich.table import Table
    from typing_extensions import Self

VALUES: Final = (
    "precision_at_1",
    "surprisal",
    "kl",
    "entropy",
    "next_token_rank",
    "next_token_log_probability",
)
TITLES: Final = {
    "precision_at_1": "precision@1",
    "surprisal": "surprisal (nats)",
    "kl": "KL from the final distribution (nats)",
    "entropy": "entropy (nats)",
    "next_token_rank": "rank of the next token",
    "next_token_log_probability": "log-probability of the next token (nats)",
}


@dataclass(frozen=True, eq=False)
class LensComparison(Shown, Lasting):
    """How lenses compare by layer, over prompts.

    Attributes:
        data: axes ``lens``, ``layer``; for each of `VALUES` its mean over all tokens that were
            read, and ``…_low`` and ``…_high``, an interval of the mean over prompts
            (`lensscope.stats.intervals`). A lens that cannot read a layer has NaN there.
        values: axes ``lens``, ``layer``, ``read``: the same for each token that was read, with
            the number of its prompt, and its position.
        level: of the intervals.
        provenance: of the model.
        settings: how it was done.
        notes: what must be known of the tokens to read it right.

    Example:
        >>> prompts = ["The capital of Japan is the city of", "Two and two make"]
        >>> report = ls.compare(model, prompts, ls.LogitLens(), layers=[10, 29])
        >>> report.data.precision_at_1.sel(lens="logit lens", layer=29).item()
        1.0
    """

    made_of: ClassVar = (Provenance,)

    data: xr.Dataset
    values: xr.Dataset
    level: float
    provenance: Provenance
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Which lenses are compared."""
        names = ", ".join(map(str, self.data["lens"].values))
        return f"{names[:1].upper()}{names[1:]}, by layer"

    @classmethod
    @checks.door(LensError, results=checks.listed)
    def together(cls, results: Sequence[Self], *, resamples: int = 1000, seed: int = 0) -> Self:
        """One comparison of several, of the prompts of all; means and intervals are made anew.

        Args:
            results: of the same lenses, layers, level and model.
            resamples: how often prompts are drawn for the intervals.
            seed: of these draws.

        Raises:
            LensError: other lenses, layers or levels.
            BasisError: other models.

        Example:
            >>> each = [ls.compare(model, [text], ls.LogitLens()) for text in ("Paris is", "Rome")]
            >>> ls.LensComparison.together(each)
            LensComparison(lens: 1, layer: 30, read: 2; SmolLM2-135M-Instruct)
        """
        found = of_one_kind(results, cls, LensError, ("level",))
        told = [dict(one.settings) for one in found]
        prompts = sum(one.pop("prompts") for one in told)
        texts = ", ".join(distinct([[one.pop("texts")] for one in told]))
        known = one_provenance([one.provenance for one in found])
        for other in told:
            agree(told[0], other, "settings", LensError)
        values = joined([one.values for one in found], "read", LensError)
        return replace(
            found[0],
            data=summarised(values, found[0].level, resamples, seed),
            values=values,
            provenance=known,
            settings={**found[0].settings, "prompts": prompts, "texts": texts},
            notes=distinct([one.notes for one in found]),
        )

    def frame(self) -> pd.DataFrame:
        """One line a lens and layer: means, each with its interval."""
        known = [name for name in VALUES if name in self.data]
        columns = [c for name in known for c in (name, f"{name}_low", f"{name}_high")]
        frame = self.data[columns].to_dataframe().reset_index()
        frame = frame[frame["entropy"].notna()].reset_index(drop=True)
        return frame[["lens", "layer", *columns]]

    @checks.door(LensError, value=checks.text)
    def plot(self, value: str = "precision_at_1") -> go.Figure:
        """A plotly figure: a line for each lens over layers, with the interval as a band.

        Raises:
            LensError: not one of `VALUES`, or a next token that is not known.
        """
        return to_plotly(self._chart(value))

    @checks.door(LensError)
    def to_svg(self, path: str | Path | None = None, *values: str) -> str:
        """Such lines as SVG, one chart beside the other: precision@1 and surprisal unless told
        otherwise; written to ``path`` if there is one."""
        return written(to_svg(*map(self._chart, values or ("precision_at_1", "surprisal"))), path)

    def _svg(self) -> str:
        return self.to_svg()

    def _chart(self, value: str) -> Chart:
        if value not in self.data:
            raise LensError(
                "This was not measured.",
                got=repr(value),
                expected=", ".join(name for name in VALUES if name in self.data),
                instead='plot("precision_at_1")',
            )
        lines = []
        for lens in self.data["lens"].values:
            own = self.data.sel(lens=lens).dropna("layer", subset=["entropy"])
            lines.append(Line.of(str(lens), own, "layer", value))
        return Chart(TITLES[value], "layer", TITLES[value], tuple(lines))

    @checks.door(LensError, every=checks.whole(1, instead=2))
    def table(self, every: int | None = None) -> Table:
        """A table as for a paper: precision@1 and surprisal of each lens, with their intervals.

        Args:
            every: leave out all but every so many layers (and the last).
        """
        layers = self.data["layer"].values.tolist()
        step = every or max(1, round(len(layers) / 12))
        shown = [n for i, n in enumerate(layers) if i % step == 0 or n == layers[-1]]
        lenses = self.data["lens"].values
        rows = []
        for layer in shown:
            cells = [str(layer)]
            for lens in lenses:
                own = self.data.sel(lens=lens, layer=layer)
                found = [
                    f"{own[v].item():.{n}f}{_half(own, v, n)}"
                    for v, n in (("precision_at_1", 2), ("surprisal", 1))
                ]
                cells.append("–" if np.isnan(own["entropy"].item()) else " ".join(found))
            rows.append(cells)
        return table_of(
            "precision@1, surprisal (nats)",
            ["layer", *map(str, lenses)],
            rows,
            caption=f"{self.settings['prompts']} prompts, {self.values.sizes['read']} tokens, "
            f"{self.provenance.model}; ± is half of a {self.level:.0%} interval",
            notes=self.notes,
            numbers=[0],
        )

    def section(self) -> str:
        """What it says, as a piece of HTML: charts and the whole table."""
        pairs = (("precision_at_1", "surprisal"), ("kl", "entropy"))
        return rendered(
            "comparison.html",
            prompts=self.settings["prompts"],
            tokens=self.values.sizes["read"],
            model=self.provenance.model,
            level=self.level,
            notes=self.notes,
            charts=[self.to_svg(None, *pair) for pair in pairs],
            values=[name for name in VALUES if name in self.data],
            rows=self.frame().to_dict("records"),
        )

    def _json(self) -> str:
        return json_text(
            {
                "settings": dict(self.settings),
                "level": self.level,
                "notes": self.notes,
                "provenance": {**asdict(self.provenance), "tokens": []},
                "layers": records(self.frame()),
            },
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self.values.sizes.items())
        return f"LensComparison({sizes}; {self.provenance.model})"


def _half(own: xr.Dataset, value: str, digits: int) -> str:
    """Half of an interval; nothing where there is none."""
    half = (own[f"{value}_high"] - own[f"{value}_low"]).item() / 2
    return "" if np.isnan(half) else f"±{half:.{digits}f}"


def summarised(values: xr.Dataset, level: float, resamples: int, seed: int) -> xr.Dataset:
    """Means over all tokens that were read, with intervals over prompts.

    Tokens of one prompt are not independent, so whole prompts are what is drawn. Precision@1 is a
    proportion, and has Clopper and Pearson's interval at an effective number of prompts; the rest
    has a bootstrap joined with Student's. Of one prompt there is none.
    """
    prompts = values["prompt_index"].values
    n = int(prompts.max()) + 1
    starts = np.searchsorted(prompts, np.arange(n))
    found: dict[str, Any] = {}
    for name in VALUES:
        array = values[name].values
        known = np.isfinite(array)
        if not known.any():
            continue
        # by prompt: [lens, layer, prompt]
        sums = np.add.reduceat(np.where(known, array, 0.0), starts, axis=-1, dtype=float)
        counts = np.add.reduceat(known.astype(float), starts, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums.sum(-1) / counts.sum(-1)
        over, under = np.moveaxis(sums, -1, 0), np.moveaxis(counts, -1, 0)
        if name == "precision_at_1" and n > 1:
            low, high = Sums.each(over, under).interval(level)
        else:
            low, high = ratio_interval(over, under, level, resamples, seed)
        dims = ("lens", "layer")
        found |= {
            name: (dims, means),
            f"{name}_low": (dims, low),
            f"{name}_high": (dims, high),
        }
    return xr.Dataset(found, {"lens": values["lens"].values, "layer": values["layer"].values})
