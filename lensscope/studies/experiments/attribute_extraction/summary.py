"""What the parts of an attribute-extraction study say together, beside probes and lenses."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, cast

import numpy as np
import pandas as pd

from lensscope.show.lines import Chart, Line
from lensscope.stats.intervals import Sums
from lensscope.studies.axes import NULLS, axes_of, controls
from lensscope.studies.figures import TITLES, heat_maps, layer_chart, shown, text_panel
from lensscope.studies.folder import Folder
from lensscope.studies.folds import Folds, best
from lensscope.studies.items import Score
from lensscope.studies.parts import LENSES, PROBES
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import (
    LEVEL,
    chosen,
    dataset,
    few,
    fixed_targets,
    headline,
    named,
    places,
    pooled_cells,
    unchosen,
    with_interval,
    with_lift,
)
from lensscope.studies.tally import Tally, of_sweep

_SHOWN: Final = 3
_PROBE: Final = {"probe": "probe", "shuffled": "control task", "majority": "commonest object"}
_LENS: Final = {name: TITLES[name] for name in ("state", "shuffled", "mean", "drawn", "random")}
_FOLDS: Final = {
    None: "No probes: fewer than two objects have three samples, or they were not asked for.",
    "subjects": "Probes are tested on subjects that they were not trained on; only objects with "
    "three subjects or more count. There is no selectivity: the control task of Hewitt and Liang "
    "2019 gives each subject a class of its own, which cannot be learnt of subjects that are not "
    "seen.",
    "sentences": "Probes are tested on the same subjects in other sentences, for each object has "
    "too few subjects: a probe may know the subject again. How far it does is what the control "
    "task says, in which each subject has a class drawn for it; selectivity is the accuracy above "
    "it (Hewitt and Liang 2019).",
}


def attribute_result(folder: Folder, score: Score) -> StudyResult:
    """The result of an attribute-extraction study, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    subjects = arguments["relation"]["subjects"]
    axes = axes_of(arguments, len(subjects))
    seed = arguments["seed"]
    tally = of_sweep(folder, axes, seed, score)
    data, head = dataset(tally), headline(tally)
    cells = shown(tally, head.iloc[0].to_dict())
    pooled = pooled_cells(tally, cells.scope)
    charts = [
        layer_chart(
            "Patchscope, best target layer (held out)",
            fixed_targets(tally, cells.scope),
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
    others = _others(folder, tally.folds, axes.sources, _counting(tally, cells.scope))
    charts += [method.chart() for method in others]
    known = _counting(tally, cells.scope)
    panels += text_panel(
        folder,
        [subjects[n] for n in known[:_SHOWN]],
        "correct",
        "What is generated (dark: correct)",
        cells,
    )
    notes = [
        *few(int(head["items"].max()), "subjects"),
        f"Of {len(subjects)} subjects the model, asked by name with the best inspection prompt, "
        f"answers {len(known)} rightly; only these count."
        if arguments["only_known"]
        else f"All {len(subjects)} subjects count, whether the model knows the answer or not.",
        f"Fixed cells are {tally.folds.said}; where some cell is enough, the controls have as many "
        "tries.",
        _MATCH[arguments["match"]],
        *places(arguments),
        *unchosen(head),
        _FOLDS[arguments["probe_folds"]],
    ]
    return StudyResult(
        data,
        head,
        _tables(folder, score, tally, seed, cells.scope, others),
        tuple(charts),
        tuple(panels),
        tuple(notes),
        manifest,
        folder,
    )


_MATCH: Final = {
    "words": "Correct is what has the object in it as whole words, upper or lower case; the test "
    "of the paper, that it occurs anywhere as it is written, is match='substring'.",
    "substring": "Correct is what has the object in it as it is written, also within a word.",
}


def _counting(tally: Tally, scope: int) -> list[int]:
    """The items that count for an inspection prompt."""
    found: list[int] = np.flatnonzero(tally.counted[:, :, scope].any(1)).tolist()
    return found


def _tables(
    folder: Folder, score: Score, tally: Tally, seed: int, scope: int, others: list[_Method]
) -> dict[str, pd.DataFrame]:
    """Methods beside each other, on the subjects that all have; and each on all of its own."""
    own = [*_lines(tally), *(method.line() for method in others)]
    all_of_them = set(_counting(tally, scope))
    common = all_of_them.intersection(*(method.items for method in others))
    found = {}
    if common and common != all_of_them:
        same = of_sweep(folder, tally.axes, seed, score, common, scope)
        again = _others(folder, same.folds, tally.axes.sources, common)
        found[f"methods, on the {len(common)} subjects that all have"] = pd.DataFrame(
            [*_lines(same), *(method.line() for method in again)]
        )
        found["methods, each on all of its own subjects"] = pd.DataFrame(own)
    else:
        found["methods"] = pd.DataFrame(own)
    if len(tally.axes.scopes) > 1:
        found |= _prompts(folder, score, tally, seed)
    return {**found, "controls": controls()}


def _prompts(folder: Folder, score: Score, tally: Tally, seed: int) -> dict[str, pd.DataFrame]:
    """Inspection prompts beside each other, on the subjects that count for all of them."""
    common = np.flatnonzero(np.asarray(tally.counted.any(1)).all(1)).tolist()
    lines = []
    for scope, text in enumerate(tally.axes.scopes):
        line = {"inspection": text, "known": len(_counting(tally, scope))}
        if common:
            same = of_sweep(folder, tally.axes, seed, score, common, scope)
            line |= next(iter(_lines(same)))
        lines.append(line)
    name = f"inspection prompts, on the {len(common)} subjects that the model knows with all"
    return {name: pd.DataFrame(lines).drop(columns="method", errors="ignore")}


def _lines(tally: Tally) -> Iterator[dict[str, Any]]:
    """The patchscope among the methods: where it mentions the object, and where it begins so."""
    for metric, means in enumerate(("any mention", "first token")):
        for row in headline(tally, metric).to_dict("records"):
            names = [name for name in NULLS if np.isfinite(row[name])]
            largest = max(names, key=lambda name: float(row[name]), default="prior")
            yield {
                "method": f"patchscope, {row['way']}",
                "scored by": means,
                "source_layer": row["source_layer"],
                "chosen": row["chosen"],
                "items": row["items"],
                **named("accuracy", [row[name] for name in named("state", range(3))]),
                **named("control", [row[name] for name in named(largest, range(3))]),
                "which control": TITLES[largest],
                **named("selectivity", [np.nan] * 3),
            }


class _Method:
    """Sums of a probe or a lens: part x condition x source layer."""

    def __init__(
        self, name: str, titles: dict[str, str], layers: tuple[int, ...], folds: Folds
    ) -> None:
        self.name, self.titles, self.layers, self.folds = name, titles, layers, folds
        self.sums = Sums.empty((folds.number, len(titles), len(layers)))
        self.items: set[int] = set()

    def take(self, item: int, layer: int, lines: pd.DataFrame) -> None:
        """Count an item's samples at a layer."""
        values = lines[list(self.titles)].to_numpy(float).sum(0)
        at = (int(self.folds.of[item]), slice(None), self.layers.index(layer))
        self.sums.add(at, values, float(len(lines)), values[0])
        self.items.add(item)

    def chart(self) -> Chart:
        """Accuracy over layers, of all items."""
        sums = self.sums.sum(0)
        low, high = sums.interval(LEVEL)
        lines = []
        for n, title in enumerate(self.titles.values()):
            known = np.isfinite(sums.means[n])
            pick = [tuple(a[n][known].tolist()) for a in (sums.means, low, high)]
            layers = tuple(np.array(self.layers)[known].tolist())
            if layers:
                lines.append(Line(title, layers, *pick))
        title = f"The {self.name} on the same states"
        return Chart(title, "source layer", "accuracy", tuple(lines), top=0.5)

    def line(self) -> dict[str, Any]:
        """At the layer that is best on some items, scored on others."""
        held, at = self.folds.crossed(
            self.sums[:, :, None], lambda own: best(own.hits[0], own.known[0])
        )
        if at is None:
            held = Sums.empty((len(self.titles),))
        had = self.sums.sum(0).known.any(-1)[1:]
        means = np.where(had, np.nan_to_num(held.means[1:], nan=-1.0), -2.0)
        worst = 1 + int(means.argmax())
        titles = list(self.titles.values())
        above = with_lift(held[:2]).values() if self.titles is _PROBE else [np.nan] * 3
        return {
            "method": self.name,
            "scored by": "class" if self.titles is _PROBE else "first token",
            "source_layer": pd.NA if at is None else self.layers[at[-1]],
            "chosen": chosen(at is not None, self.folds),
            "items": int(held.items[0]),
            **with_interval(held[:1], ("accuracy",)),
            **with_interval(held[worst : worst + 1], ("control",)),
            "which control": titles[worst],
            **named("selectivity", [*above]),
        }


def _others(
    folder: Folder, folds: Folds, layers: tuple[int, ...], items: Collection[int]
) -> list[_Method]:
    """Probes and lenses, over some of the items."""
    found: dict[str, _Method] = {}
    for kind, titles in ((PROBES, _PROBE), (LENSES, _LENS)):
        for part in kind.of(folder):
            keep = part[part["item"].isin(list(items))] if len(part) else part
            by = ["item", "source_layer", *(["lens"] if kind == LENSES else [])]
            for of, lines in keep.groupby(by):
                item, layer, *lens = cast("tuple[Any, ...]", of)
                name = str(lens[0]) if lens else "probe"
                method = found.setdefault(name, _Method(name, titles, layers, folds))
                method.take(int(item), int(layer), lines)
    return list(found.values())
