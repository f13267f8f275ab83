"""What the parts of a next-token study say together."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lensscope.lenses.comparison import TITLES
from lensscope.studies.figures import layer_chart
from lensscope.studies.folder import Folder
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import CONDITIONS, LEVEL, RESAMPLES, with_interval
from lensscope.studies.tally import Tally, interval

METRICS: Final = ("precision_at_1", "surprisal")
_CHOICE, _HELD = 0, 1


class _Sums:
    """Sums over texts: half x condition x metric x lens x layer."""

    def __init__(self, texts: int, lenses: list[str], layers: list[int], seed: int) -> None:
        self.lenses, self.layers = lenses, layers
        cells = (len(lenses), len(layers))
        outer = (2, len(CONDITIONS))
        self.tally = Tally((*outer, len(METRICS), *cells), (*outer, 1, *cells), RESAMPLES, seed)
        order = np.random.default_rng(seed).permutation(texts)
        self.half = np.empty(texts, int)
        self.half[order] = np.arange(texts) * 2 // max(texts, 1)
        self.counted = np.zeros(texts, bool)

    def take(self, frame: pd.DataFrame) -> None:
        """Count the lines of some texts; each token counts as much as any other."""
        by = ["condition", "lens", "layer", "position"]
        for text, own in frame.groupby("item"):
            item = cast(int, text)
            sums = np.zeros((len(CONDITIONS), len(METRICS), len(self.lenses), len(self.layers)))
            number = np.zeros_like(sums[:, :1])
            means = own.groupby(by, sort=False)[list(METRICS)].mean()
            for key, tokens in means.groupby(level=by[:3], sort=False):
                condition, lens, layer = cast("tuple[str, str, int]", key)
                n, m = CONDITIONS.index(condition), self.lenses.index(lens)
                at = self.layers.index(layer)
                sums[n, :, m, at] = tokens.to_numpy(float).sum(0)
                number[n, 0, m, at] = len(tokens)
            weights = self.tally.weights(item).reshape(-1, 1, 1, 1, 1)
            half = int(self.half[item])
            self.tally.over[:, half] += weights * sums
            self.tally.under[:, half] += weights * number
            self.counted[item] = True

    def means(self, half: int | None = None) -> NDArray[Any]:
        """``[1 + draws, condition, metric, lens, layer]``."""
        over, under = self.tally.over, self.tally.under
        over, under = (a.sum(1) if half is None else a[:, half] for a in (over, under))
        with np.errstate(invalid="ignore", divide="ignore"):
            found: NDArray[Any] = over / under
        if self.number(half) < 2:
            found[1:] = np.nan  # of one text there is no interval
        return found

    def number(self, half: int | None = None) -> int:
        """How many texts count."""
        return int(self.counted[slice(None) if half is None else self.half == half].sum())


def _lift(means: NDArray[Any]) -> NDArray[Any]:
    """Precision@1 of the state above the largest control's; not all lenses have a prior."""
    controls = means[:, 1:, 0]
    largest = np.where(np.isnan(controls), -np.inf, controls).max(1)
    found: NDArray[Any] = means[:, 0, 0] - np.where(np.isinf(largest), np.nan, largest)
    return found


def next_token_result(folder: Folder) -> StudyResult:
    """The result of a next-token study, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    lenses = [name for name, _ in arguments["lenses"]]
    layers = list(arguments["layers"])
    sums = _Sums(len(arguments["texts"]), lenses, layers, arguments["seed"])
    for part in folder.read("cells-"):
        sums.take(part)
    last = int(manifest["models"]["model"]["n_layers"]) - 1
    below = [n for n, layer in enumerate(layers) if layer != last] or [0]
    data = _dataset(sums)
    charts = []
    for name in METRICS:
        for lens in lenses:
            own = data.sel(lens=lens).dropna("layer", how="all", subset=[name])
            title = f"{lens}: {TITLES[name]}"
            charts.append(layer_chart(title, own.rename(layer="source_layer"), name, TITLES[name]))
    notes = (
        "The best fixed layer is chosen on one half of the texts and scored on the other. The last "
        "layer is left out, where lenses are the model's own head.",
        "The prior is what a patchscope's inspection prompt says with nothing written into it; "
        "other lenses have none. The lift is over the largest of the controls.",
    )
    tables = {
        "surprisal at that layer (nats)": _headline(sums, below, 1),
        "precision@1, mean of the layers below the last": _over_layers(sums, below),
    }
    head = _headline(sums, below, 0)
    return StudyResult(data, head, tables, tuple(charts), (), notes, manifest, folder)


def _dataset(sums: _Sums) -> xr.Dataset:
    """Every cell by condition, with its interval, over all texts."""
    means = sums.means()
    variables: dict[str, Any] = {}
    found = {
        name: (means[:, :, n], ("condition", "lens", "layer")) for n, name in enumerate(METRICS)
    }
    for name, (of, dims) in {**found, "lift": (_lift(means), ("lens", "layer"))}.items():
        low, high = interval(of, LEVEL)
        for ending, values in (("", of[0]), ("_low", low), ("_high", high)):
            variables[name + ending] = (dims, values)
    coords = {"condition": list(CONDITIONS), "lens": sums.lenses, "layer": sums.layers}
    return xr.Dataset(variables, coords).assign(texts=sums.number())


def _headline(sums: _Sums, below: list[int], metric: int) -> pd.DataFrame:
    """A line for each lens, at the layer of the largest precision@1 of one half."""
    chosen = np.nan_to_num(sums.means(_CHOICE)[0, 0, 0][:, below], nan=-1.0).argmax(-1)
    held = sums.means(_HELD)
    lifts = _lift(held)
    lines = []
    for n, lens in enumerate(sums.lenses):
        at = below[int(chosen[n])]
        line = {
            "lens": lens,
            "layer": sums.layers[at],
            "texts": sums.number(_HELD),
            **with_interval(held[:, :, metric, n, at], CONDITIONS),
        }
        if metric == 0:
            line |= with_interval(lifts[:, n, at, None], ("lift",))
        lines.append(line)
    return pd.DataFrame(lines)


def _over_layers(sums: _Sums, below: list[int]) -> pd.DataFrame:
    """A line for each lens: precision@1 averaged over the layers that it reads, all texts."""
    means = sums.means()[:, :, 0][..., below]
    known = np.isfinite(means)
    with np.errstate(invalid="ignore", divide="ignore"):
        averaged = np.where(known, means, 0).sum(-1) / known.sum(-1)
    return pd.DataFrame(
        [
            {"lens": lens, "layers": len(below), **with_interval(averaged[:, :, n], CONDITIONS)}
            for n, lens in enumerate(sums.lenses)
        ]
    )
