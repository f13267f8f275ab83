"""What the parts of a study of readers say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lensscope.show.lines import Chart, Line
from lensscope.stats.intervals import Sums
from lensscope.studies.axes import CONDITIONS, controls
from lensscope.studies.experiments.reading_quality.descriptions import FIRST
from lensscope.studies.figures import layer_chart
from lensscope.studies.folder import Folder
from lensscope.studies.folds import Folds, best
from lensscope.studies.parts import READINGS
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import (
    LEVEL,
    chosen,
    few,
    named,
    numbers,
    places,
    unchosen,
    with_interval,
    with_lift,
)

METRICS: Final = ("rouge_l", "first_tokens", "first_word", "nats", "identified")
TITLES: Final[Mapping[str, str]] = {
    "rouge_l": "ROUGE-L with the model's own description",
    "first_tokens": f"share with the same first {FIRST} tokens",
    "first_word": "share with the same first word",
    "nats": "nats a token of the model's own description",
    "identified": "share of names identified",
}


_FIRST: Final = (
    "Of a prompt that goes on from entity to entity, or from sentence to sentence, the first one "
    "counts, of the reader's words and of the model's own."
)


class _ReadingSums:
    """The sums of names: part x condition x metric x reader x layer; and of differences between
    readers, pair x metric x layer."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.metrics = list(arguments["metrics"])
        self.readers = [reader["name"] for reader in arguments["readers"]]
        self.layers = sorted({n for reader in arguments["readers"] for n in reader["layers"]})
        self.names = len(arguments["entities"])
        self.counted = np.zeros(self.names, bool)
        self.shape = (len(CONDITIONS), len(self.metrics), len(self.readers), len(self.layers))
        self.folds = Folds.among(self.counted, 0)
        self.sums = Sums.empty(())
        self.apart = Sums.empty((len(self.pairs), *self.shape[1:2], *self.shape[3:]))
        self.over_layers = Sums.empty((len(self.pairs), len(self.metrics)))

    @property
    def pairs(self) -> list[str]:
        """Each reader beside the first."""
        return [f"{name} - {self.readers[0]}" for name in self.readers[1:]]

    def take(self, folder: Folder, seed: int) -> None:
        """Count the finished parts, the items of one group at a time."""
        for frame in READINGS.of(folder, ["item"]):
            self.counted[frame["item"].unique()] = True
        self.folds = Folds.among(self.counted, seed)
        self.sums = Sums.empty((self.folds.number, *self.shape))
        for frames in _by_group(folder):
            values: dict[int, NDArray[Any]] = {}
            for frame in frames:
                self._read(frame, values)
            for item, own in values.items():
                self.sums.add(int(self.folds.of[item]), own, 1.0, own[0])
                differences = (own[0, :, 1:] - own[0, :, :1]).swapaxes(0, 1)
                self.apart.add((), differences)
                known = np.isfinite(differences)
                self.over_layers.add((), np.nansum(differences, -1), known.sum(-1))

    def _read(self, frame: pd.DataFrame, values: dict[int, NDArray[Any]]) -> None:
        by = ["item", "condition", "reader", "source_layer"]
        means = frame.groupby(by, sort=False)[self.metrics].mean()
        for key, row in zip(means.index, means.to_numpy(float), strict=True):
            item, condition, reader, layer = cast("tuple[int, str, str, int]", key)
            own = values.setdefault(int(item), np.full(self.shape, np.nan))
            n, r = CONDITIONS.index(condition), self.readers.index(reader)
            own[n, :, r, self.layers.index(layer)] = row


def _by_group(folder: Folder) -> Iterator[list[pd.DataFrame]]:
    """The parts of one group of items after another, of all readers and layers."""
    keys = sorted(key for key in folder.done() if key.startswith(f"{READINGS.name}-"))
    for _, own in groupby(keys, key=lambda key: key.split("-")[1]):
        yield [folder.part(key) for key in own]


def quality_result(folder: Folder) -> StudyResult:
    """The result of a study of readers, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    tally = _ReadingSums(arguments)
    tally.take(folder, arguments["seed"])
    data = _dataset(tally)
    heads = {metric: _headline(tally, n) for n, metric in enumerate(tally.metrics)}
    head = heads.pop("rouge_l")
    tables = {TITLES[metric]: table for metric, table in heads.items()}
    if tally.pairs:
        tables["differences between readers"] = _differences(tally)
    tables["controls"] = controls()
    notes = (
        *few(int(head["items"].max()), "names"),
        f"The best fixed layer is {tally.folds.said.replace('items', 'names')}; of nats, the layer "
        "with the fewest.",
        "The judge is what the model itself says where the name stands in the reader's prompt as "
        f"text. Names are read in {arguments['template']!r}.",
        *(() if arguments["whole"] else (_FIRST,)),
        *_identification(arguments),
        *places(arguments),
        *(
            f"{reader['name']}: {note}"
            for reader in arguments["readers"]
            for note in reader["notes"]
        ),
        *unchosen(head),
    )
    return StudyResult(data, head, tables, _charts(tally, data), (), notes, manifest, folder)


def _identification(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    number = arguments["n_candidates"]
    if number is None:
        return ()
    return (
        f"A name is identified among {number}, by chance {1 / number:.2f} of the time: what the "
        "reader says is more probable after the prompt with this name in it than with any other.",
    )


def _dataset(tally: _ReadingSums) -> xr.Dataset:
    """Every cell by condition, with its interval, over all names; and the differences."""
    sums = tally.sums.sum(0)
    variables: dict[str, Any] = {}
    for n, metric in enumerate(tally.metrics):
        for name, values in named(metric, numbers(sums[:, n], metric)).items():
            variables[name] = (("condition", "reader", "layer"), values)
        if tally.pairs:
            own = tally.apart[:, n]
            found = named(f"{metric}_difference", (own.means, *own.unbounded(LEVEL)))
            variables |= {name: (("pair", "layer"), values) for name, values in found.items()}
    for name, values in named("lift", sums[:, 0].lift(0, LEVEL)).items():
        variables[name] = (("reader", "layer"), values)
    coords = {"condition": list(CONDITIONS), "reader": tally.readers, "layer": tally.layers}
    if tally.pairs:
        coords["pair"] = tally.pairs
    return xr.Dataset(variables, coords).assign(items=int(tally.counted.sum()))


def _headline(tally: _ReadingSums, metric: int) -> pd.DataFrame:
    """A line for each reader, at the layer that is best by a metric, where it is not scored."""
    lines, name = [], tally.metrics[metric]
    for n, reader in enumerate(tally.readers):

        def choose(own: Sums) -> tuple[Any, ...] | None:
            means, known = own.means[0, metric], own.known[0, metric]
            at: tuple[int, ...] | None
            if name == "nats":
                at = (int(np.nanargmin(means)),) if known.any() else None
            else:
                at = best(means, known)
            return None if at is None else (slice(None), *at)

        held, at = tally.folds.crossed(tally.sums[:, :, :, n], choose)
        if at is None:
            held = Sums.empty((len(CONDITIONS), len(tally.metrics)))
        own = held[:, metric]
        line = {
            "reader": reader,
            "layer": pd.NA if at is None else tally.layers[at[-1]],
            "chosen": chosen(at is not None, tally.folds),
            "items": int(own.items[0]),
            **with_interval(own, CONDITIONS, name),
        }
        lines.append(line if name == "nats" else line | with_lift(own))
    return pd.DataFrame(lines)


def _differences(tally: _ReadingSums) -> pd.DataFrame:
    """Each reader beside the first, of the same names: at each layer, and at all together."""
    lines = []
    for n, pair in enumerate(tally.pairs):
        for at, layer in enumerate([*tally.layers, "all"]):
            own = tally.over_layers[n] if layer == "all" else tally.apart[n, :, at]
            if own.known.any():
                line: dict[str, Any] = {"readers": pair, "layer": layer}
                low, high = own.unbounded(LEVEL)
                for m, metric in enumerate(tally.metrics):
                    line |= named(metric, [float(own.means[m]), float(low[m]), float(high[m])])
                lines.append(line | {"items": int(own.items.max())})
    return pd.DataFrame(lines)


def _charts(tally: _ReadingSums, data: xr.Dataset) -> tuple[Chart, ...]:
    """The readers beside each other by each metric, then each with its controls."""
    found = []
    for metric in tally.metrics:
        state = data.sel(condition="state").rename(layer="source_layer")
        lines = [_line(state.sel(reader=reader), metric, reader) for reader in tally.readers]
        if len(lines) > 1:
            title = TITLES[metric]
            found.append(Chart(f"Readers: {title}", "source layer", title, tuple(lines), top=0.5))
    for metric in tally.metrics:
        for reader in tally.readers:
            own = data.sel(reader=reader).dropna("layer", how="all", subset=[metric])
            own = own.rename(layer="source_layer")
            title = TITLES[metric]
            found.append(layer_chart(f"{reader}: {title}", own, metric, title))
    return tuple(found)


def _line(values: xr.Dataset, metric: str, name: str) -> Line:
    own = values.dropna("source_layer", subset=[metric])
    edges: Sequence[Any] = [
        tuple(own[metric + end].values.tolist()) for end in ("", "_low", "_high")
    ]
    return Line(name, tuple(own["source_layer"].values.tolist()), *edges)
