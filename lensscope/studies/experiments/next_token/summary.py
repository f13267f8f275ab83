"""What the parts of a next-token study say together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
import pandas as pd
import xarray as xr

from lensscope.lenses.comparison import TITLES
from lensscope.stats.intervals import Sums
from lensscope.studies.axes import CONDITIONS, controls
from lensscope.studies.figures import layer_chart
from lensscope.studies.folder import Folder
from lensscope.studies.folds import Folds, best
from lensscope.studies.parts import TEXTS
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import (
    LEVEL,
    chosen,
    few,
    named,
    numbers,
    unchosen,
    with_interval,
    with_lift,
)

METRICS: Final = ("precision_at_1", "surprisal")


class _TextSums:
    """The sums of texts: part x condition x metric x lens x layer."""

    def __init__(self, texts: int, lenses: list[str], layers: list[int], below: list[int]) -> None:
        self.lenses, self.layers, self.below = lenses, layers, below
        self.counted = np.zeros(texts, bool)
        self.folds = Folds.among(self.counted, 0)
        self.sums = Sums.empty(())
        self.over_layers = Sums.empty((len(CONDITIONS), len(lenses)))

    def take(self, folder: Folder, seed: int) -> None:
        """Count the finished parts; each token of a text counts as much as any other."""
        for frame in TEXTS.of(folder, ["item"]):
            self.counted[frame["item"].unique()] = True
        self.folds = Folds.among(self.counted, seed)
        shape = (len(CONDITIONS), len(METRICS), len(self.lenses), len(self.layers))
        self.sums = Sums.empty((self.folds.number, *shape))
        by = ["condition", "lens", "layer", "position"]
        for frame in TEXTS.of(folder):
            for text, own in frame.groupby("item"):
                values, number = np.full(shape, np.nan), np.zeros(shape)
                means = own.groupby(by, sort=False)[list(METRICS)].mean()
                for key, tokens in means.groupby(level=by[:3], sort=False):
                    condition, lens, layer = cast("tuple[str, str, int]", key)
                    n, m = CONDITIONS.index(condition), self.lenses.index(lens)
                    at = (n, slice(None), m, self.layers.index(layer))
                    values[at] = tokens.to_numpy(float).sum(0)
                    number[at] = len(tokens)
                fold = int(self.folds.of[cast(int, text)])
                self.sums.add(fold, values, number, values[0])
                of_all = np.nansum(values[:, 0][..., self.below], -1)
                self.over_layers.add((), of_all, number[:, 0][..., self.below].sum(-1), of_all[0])


def next_token_result(folder: Folder) -> StudyResult:
    """The result of a next-token study, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    lenses = [name for name, _ in arguments["lenses"]]
    layers = list(arguments["layers"])
    last = int(manifest["models"]["model"]["n_layers"]) - 1
    below = [n for n, layer in enumerate(layers) if layer != last] or [0]
    tally = _TextSums(len(arguments["texts"]), lenses, layers, below)
    tally.take(folder, arguments["seed"])
    data = _dataset(tally)
    charts = []
    for name in METRICS:
        for lens in lenses:
            own = data.sel(lens=lens).dropna("layer", how="all", subset=[name])
            title = f"{lens}: {TITLES[name]}"
            charts.append(layer_chart(title, own.rename(layer="source_layer"), name, TITLES[name]))
    tables = {
        "surprisal at that layer (nats)": _headline(tally, 1),
        "precision@1, mean of the layers below the last": _over_layers(tally),
        "controls": controls(),
    }
    head = _headline(tally, 0)
    notes = (
        *few(int(head["texts"].max()), "texts"),
        f"The best fixed layer is {tally.folds.said.replace('items', 'texts')}. The last layer is "
        "left out, where lenses are the model's own head.",
        "The prior is what a patchscope's inspection prompt says with nothing written into it; "
        "other lenses have none. The lift is over the largest of the controls.",
        *_first_token(arguments),
        *unchosen(head),
    )
    return StudyResult(data, head, tables, tuple(charts), (), notes, manifest, folder)


def _first_token(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What is said of the first token of texts, which attention rests on."""
    read = int(arguments["first_tokens_read"])
    if read:
        return (
            f"WARNING: of {read} texts the first token is read, which is an attention sink: its "
            "state is hardly the text's.",
        )
    return ("The first token of a text is not read: it is an attention sink.",)


def _dataset(tally: _TextSums) -> xr.Dataset:
    """Every cell by condition, with its interval, over all texts."""
    sums = tally.sums.sum(0)
    variables: dict[str, Any] = {}
    for n, metric in enumerate(METRICS):
        for name, values in named(metric, numbers(sums[:, n], metric)).items():
            variables[name] = (("condition", "lens", "layer"), values)
    for name, values in named("lift", sums[:, 0].lift(0, LEVEL)).items():
        variables[name] = (("lens", "layer"), values)
    coords = {"condition": list(CONDITIONS), "lens": tally.lenses, "layer": tally.layers}
    return xr.Dataset(variables, coords).assign(texts=int(tally.counted.sum()))


def _headline(tally: _TextSums, metric: int) -> pd.DataFrame:
    """A line for each lens, at the layer of the largest precision@1 where it is not scored."""
    lines = []
    for n, lens in enumerate(tally.lenses):
        sums = tally.sums[:, :, :, n, tally.below]

        def choose(own: Sums) -> tuple[Any, ...] | None:
            at = best(own.means[0, 0], own.known[0, 0])
            return None if at is None else (slice(None), *at)

        held, at = tally.folds.crossed(sums, choose)
        if at is None:
            held = Sums.empty((len(CONDITIONS), len(METRICS)))
        own = held[:, metric]
        line = {
            "lens": lens,
            "layer": pd.NA if at is None else tally.layers[tally.below[at[-1]]],
            "chosen": chosen(at is not None, tally.folds),
            "texts": int(own.items[0]),
            **with_interval(own, CONDITIONS, METRICS[metric]),
        }
        lines.append(line | with_lift(own) if metric == 0 else line)
    return pd.DataFrame(lines)


def _over_layers(tally: _TextSums) -> pd.DataFrame:
    """A line for each lens: precision@1 of all layers that it reads together, all texts."""
    lines = []
    for n, lens in enumerate(tally.lenses):
        own = tally.over_layers[:, n]
        lines.append(
            {
                "lens": lens,
                "layers": len(tally.below),
                "texts": int(own.items[0]),
                **with_interval(own, CONDITIONS),
            }
        )
    return pd.DataFrame(lines)
