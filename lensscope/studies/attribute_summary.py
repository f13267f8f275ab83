"""What the parts of an attribute-extraction study say together, beside probes and lenses."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensscope.charts import Chart, Line
from lensscope.studies.figures import TITLES, heat_maps, layer_chart, text_panel
from lensscope.studies.folder import Folder
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import (
    CONDITIONS,
    LEVEL,
    RESAMPLES,
    Score,
    SweepTally,
    axes_of,
    dataset,
    fixed_targets,
    headline,
)
from lensscope.studies.tally import Tally, interval

_SHOWN = 3
_PROBE = {"probe": "probe", "shuffled": "shuffled labels", "majority": "commonest object"}
_LENS = {name: TITLES[name] for name in ("state", "shuffled", "mean", "random")}


def attribute_result(folder: Folder, score: Score) -> StudyResult:
    """The result of an attribute-extraction study, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    subjects = arguments["relation"]["subjects"]
    axes = axes_of(arguments, len(subjects))
    tally = SweepTally(axes, arguments["seed"])
    tally.take(folder, score)
    data, head = dataset(tally), headline(tally)
    best = head.iloc[0]
    scope = axes.scopes.index(best["inspection"])
    pooled = tally.pooled_cells(scope)
    charts = [
        layer_chart(
            "Patchscope, best target layer (held-out half)",
            fixed_targets(tally, scope),
            "correct",
            "accuracy",
        )
    ]
    panels = []
    if axes.targets is not None:
        charts.append(
            layer_chart("Patchscope, some target layer", pooled, "correct_some_target", "accuracy")
        )
        panels += heat_maps(pooled, "correct", "Correct")
    others = _others(folder, tally, scope)
    charts += [_chart(name, found) for name, found in others.items()]
    panels += text_panel(
        folder,
        _known(subjects, tally, scope)[:_SHOWN],
        "correct",
        scope=scope,
        target=None if axes.targets is None else int(best["target_layer"]),
        title="What is generated, by source layer (dark: correct)",
    )
    known = tally.counted[:, :, scope].any(1).sum()
    folds = arguments["probe_folds"]
    notes = [
        f"Of {len(subjects)} subjects the model, asked by name with the best inspection prompt, "
        f"answers {int(known)} rightly; only these count."
        if arguments["only_known"]
        else f"All {len(subjects)} subjects count, whether the model knows the answer or not.",
        "Fixed cells are chosen on one half of the subjects and scored on the other; where some "
        "cell is enough, the controls have as many tries.",
        {
            None: "No probes: fewer than two objects have three samples, or they were not asked "
            "for.",
            "subjects": "Probes are tested on subjects that they were not trained on; only objects "
            "with three subjects or more count.",
            "sentences": "Probes are tested on the same subjects in other sentences, for each "
            "object has too few subjects: a probe may know the subject again. See the shuffled "
            "labels.",
        }[folds],
    ]
    tables = {"methods (layer chosen on one half, scored on the other)": _methods(head, others)}
    return StudyResult(
        data, head, tables, tuple(charts), tuple(panels), tuple(notes), manifest, folder
    )


def _known(subjects: list[str], tally: SweepTally, scope: int) -> list[str]:
    return [subjects[n] for n in np.flatnonzero(tally.counted[:, :, scope].any(1))]


class _Method:
    """Sums of one method: half x condition x source layer."""

    def __init__(self, titles: dict[str, str], layers: tuple[int, ...], seed: int) -> None:
        self.titles, self.layers = titles, layers
        shape = (2, len(titles), len(layers))
        self.tally = Tally(shape, shape, RESAMPLES, seed)

    def take(self, item: int, half: int, layer: int, lines: pd.DataFrame) -> None:
        """Count an item's samples at a layer."""
        at = self.layers.index(layer)
        values = lines[list(self.titles)].to_numpy(float).mean(0)
        self.tally.add(item, (half, slice(None), at), values)
        self.tally.count(item, (half, slice(None), at))

    def means(self, half: int | None = None) -> NDArray[Any]:
        over, under = (
            sums.sum(1) if half is None else sums[:, half]
            for sums in (self.tally.over, self.tally.under)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            found: NDArray[Any] = over / under
        return found


def _others(folder: Folder, tally: SweepTally, scope: int) -> dict[str, _Method]:
    """Probes and lenses, over the subjects that count."""
    layers, seed = tally.axes.sources, tally.tally.seed
    counted: NDArray[Any] = np.asarray(tally.counted[:, :, scope].any(1))
    found: dict[str, _Method] = {}
    for prefix, titles in (("probe-", _PROBE), ("lens-", _LENS)):
        for part in folder.read(prefix):
            keep = part[counted[part["item"].to_numpy(int)]] if len(part) else part
            by = ["item", "source_layer", *(["lens"] if prefix == "lens-" else [])]
            for of, lines in keep.groupby(by):
                item, layer, *lens = cast("tuple[Any, ...]", of)
                name = str(lens[0]) if lens else "probe"
                method = found.setdefault(name, _Method(titles, layers, seed))
                method.take(int(item), int(tally.half[item]), int(layer), lines)
    return found


def _chart(name: str, method: _Method) -> Chart:
    means = method.means()
    low, high = interval(means, LEVEL)
    lines = []
    for n, title in enumerate(method.titles.values()):
        known = np.isfinite(means[0, n])
        pick = [tuple(np.asarray(a)[known].tolist()) for a in (means[0, n], low[n], high[n])]
        layers = tuple(np.array(method.layers)[known].tolist())
        if layers:
            lines.append(Line(title, layers, *pick))
    return Chart(
        f"The {name} on the same states", "source layer", "accuracy", tuple(lines), top=0.5
    )


def _methods(head: pd.DataFrame, others: dict[str, _Method]) -> pd.DataFrame:
    """Each way to read the object, at the layer that is best on one half, scored on the other."""
    lines = []
    for row in head.to_dict("records"):
        largest = max(CONDITIONS[1:], key=lambda name: np.nan_to_num(row[name], nan=-1))
        lines.append(
            {
                "method": f"patchscope, {row['way']}",
                "source_layer": row["source_layer"],
                **{f"accuracy{e}": row[f"state{e}"] for e in ("", "_low", "_high")},
                **{f"control{e}": row[f"{largest}{e}"] for e in ("", "_low", "_high")},
                "which control": TITLES[largest],
            }
        )
    for name, method in others.items():
        chosen, held = method.means(0)[0, 0], method.means(1)
        if not np.isfinite(chosen).any():
            continue
        at = int(np.nanargmax(chosen))
        low, high = interval(held[:, :, at], LEVEL)
        worst = 1 + int(np.nan_to_num(held[0, 1:, at], nan=-1).argmax())
        titles = list(method.titles.values())
        lines.append(
            {
                "method": name,
                "source_layer": method.layers[at],
                "accuracy": held[0, 0, at],
                "accuracy_low": low[0],
                "accuracy_high": high[0],
                "control": held[0, worst, at],
                "control_low": low[worst],
                "control_high": high[worst],
                "which control": titles[worst],
            }
        )
    return pd.DataFrame(lines)
