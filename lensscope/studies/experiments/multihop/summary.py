"""What the parts of a study of questions in two steps say together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import numpy as np
import pandas as pd

from lensscope.stats.intervals import Sums
from lensscope.studies.axes import CONDITIONS, Axes, controls
from lensscope.studies.experiments.multihop.prompts import WAYS
from lensscope.studies.figures import heat_maps, layer_chart
from lensscope.studies.folder import Folder
from lensscope.studies.folds import Folds
from lensscope.studies.parts import QUESTIONS
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import dataset, few, headline, named, unchosen, with_interval
from lensscope.studies.tally import Tally, of_cells

_SHOWN: Final = 12


def multihop_result(folder: Folder) -> StudyResult:
    """The result of a multihop study, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    sources, targets = arguments["source_layers"], arguments["target_layers"]
    number = len(arguments["questions"])
    axes = Axes(("answered",), number, WAYS, ("",), tuple(sources), tuple(targets), False)
    below = np.array([[t < s for t in targets] for s in sources])
    possible = np.stack([np.ones_like(below), below])
    seed = arguments["seed"]
    known = np.full(number, np.nan)
    for part in QUESTIONS.of(folder, ["item", "condition", "answered"]):
        alone = part[part["condition"] == "alone"]
        known[alone["item"].to_numpy(int)] = alone["answered"]
    everything, failed = (
        of_cells(folder, QUESTIONS, axes, seed, items, possible)
        for items in (None, np.flatnonzero(known == 0).tolist())
    )
    data = dataset(everything).isel(inspection=0, drop=True).rename(variant="way")
    head = pd.concat([_alone(known, everything.folds), _lines(everything)], ignore_index=True)
    tables = {"repaired: only questions that the model fails alone": _lines(failed)}
    if not failed.counted.any():
        tables = {}
    charts, panels = [], []
    for way in WAYS:
        own = data.sel(way=way)
        some = own.dropna("source_layer", how="all", subset=["answered_some_target"])
        charts.append(
            layer_chart(
                f"{way.capitalize()}, some target layer", some, "answered_some_target", "answered"
            )
        )
        panels += heat_maps(own, "answered", way.capitalize())
    tables |= {"texts at the best fixed cell": _texts(folder, head), "controls": controls()}
    right, wrong = int((known == 1).sum()), int((known == 0).sum())
    notes = (
        *few(int(head["questions"].max()), "questions"),
        f"Of {right + wrong} questions the model answers {right} alone and fails {wrong}.",
        f"Fixed cells are {everything.folds.said}. 'Some cell' is right where one of all cells is; "
        "the controls there have as many tries, and say what so many give by chance.",
        "Right is what has the answer in it as whole words, upper or lower case.",
        *unchosen(head[1:]),
        "The prior of back-patching is the question alone, so its lift counts what is repaired "
        "beyond what is broken.",
    )
    return StudyResult(data, head, tables, tuple(charts), tuple(panels), notes, manifest, folder)


def _lines(tally: Tally) -> pd.DataFrame:
    """The headline in the words of this study."""
    found = headline(tally).drop(columns="inspection")
    found = found.rename(columns={"way": "cells", "variant": "way", "items": "questions"})
    found.insert(0, "way", found.pop("way"))
    return found


def _alone(known: Any, folds: Folds) -> pd.DataFrame:
    """The line of the questions as they are, of those that fixed cells are scored on."""
    scored = [folds.scored(item) for item in range(len(known))]
    held = Sums.each(known[scored, None], 1.0)
    empty: dict[str, float] = {}
    for name in (*CONDITIONS, "lift"):
        empty |= named(name, [np.nan] * 3)
    line: dict[str, Any] = {
        "way": "alone",
        "cells": "nothing written",
        "source_layer": pd.NA,
        "target_layer": pd.NA,
        "chosen": "",
        "questions": int(held.items[0]),
        **empty,
        **with_interval(held, ("state",)),
    }
    return pd.DataFrame([line])


def _texts(folder: Folder, head: pd.DataFrame) -> pd.DataFrame:
    """What some questions give, at each way's fixed cell, beside another question's state."""
    fixed = head[(head["cells"] == "best fixed cell") & head["source_layer"].notna()]
    return pd.DataFrame(list(_each_text(folder, fixed)))


def _each_text(folder: Folder, fixed: pd.DataFrame) -> Iterator[dict[str, str]]:
    for part in islice(QUESTIONS.of(folder), _SHOWN):
        line = {
            "question": str(part["name"].iloc[0]),
            "alone": str(part.loc[part["condition"] == "alone", "text"].iloc[0]),
        }
        for row in fixed.itertuples():
            at = (part["source_layer"] == row.source_layer) & (
                part["target_layer"] == row.target_layer
            )
            own = part[at & (part["variant"] == WAYS.index(str(row.way)))]
            cell = f"{row.way}, {row.source_layer} to {row.target_layer}"
            for condition, title in (("state", ""), ("shuffled", ", another question's state")):
                texts = own.loc[own["condition"] == condition, "text"]
                line[f"{cell}{title}"] = str(texts.iloc[0])
        yield line
