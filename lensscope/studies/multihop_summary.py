"""What the parts of a study of questions in two steps say together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd

from lensscope.studies.cells import CellTally
from lensscope.studies.figures import heat_maps, layer_chart
from lensscope.studies.folder import Folder
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import CONDITIONS, LEVEL, RESAMPLES, Axes, dataset, headline
from lensscope.studies.tally import Tally, interval

WAYS: Final = ("chain of thought", "back-patching")
_HELD: Final = 1
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
    everything, failed = (CellTally(axes, seed, possible) for _ in range(2))
    alone = Tally((2,), (2,), RESAMPLES, seed)
    known = np.full(number, np.nan)
    for part in folder.read("cells-"):
        item = int(part["item"].iloc[0])
        known[item] = float(part.loc[part["condition"] == "alone", "answered"].iloc[0])
        half = (int(everything.half[item]),)
        alone.add(item, half, np.asarray(known[item]))
        alone.count(item, half)
        everything.take_part(part)
        if not known[item]:
            failed.take_part(part)
    data = dataset(everything).isel(inspection=0, drop=True).rename(variant="way")
    head = pd.concat([_alone(alone), _lines(everything)], ignore_index=True)
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
    tables["texts at the best fixed cell"] = _texts(folder, head)
    right, wrong = int((known == 1).sum()), int((known == 0).sum())
    notes = (
        f"Of {right + wrong} questions the model answers {right} alone and fails {wrong}.",
        "Fixed cells are chosen on one half of the questions and scored on the other. 'Some cell' "
        "is right where one of all cells is; the controls there have as many tries, and say what "
        "so many give by chance.",
        "The prior of back-patching is the question alone, so its lift counts what is repaired "
        "beyond what is broken.",
    )
    return StudyResult(data, head, tables, tuple(charts), tuple(panels), notes, manifest, folder)


def _lines(tally: CellTally) -> pd.DataFrame:
    """The headline in the words of this study."""
    found = headline(tally).drop(columns="inspection")
    found = found.rename(columns={"way": "cells", "variant": "way", "items": "questions"})
    found.insert(0, "way", found.pop("way"))
    return found


def _alone(alone: Tally) -> pd.DataFrame:
    """The line of the questions as they are, on the half that fixed cells are scored on."""
    means = alone.ratios()[:, _HELD]
    low, high = interval(means[:, None], LEVEL)
    empty = {
        f"{name}{end}": np.nan for name in (*CONDITIONS, "lift") for end in ("", "_low", "_high")
    }
    line: dict[str, Any] = {
        "way": "alone",
        "cells": "nothing written",
        "source_layer": pd.NA,
        "target_layer": pd.NA,
        "questions": int(alone.under[0, _HELD]),
        **empty,
        "state": float(means[0]),
        "state_low": float(low[0]),
        "state_high": float(high[0]),
    }
    return pd.DataFrame([line])


def _texts(folder: Folder, head: pd.DataFrame) -> pd.DataFrame:
    """What some questions give, at each way's fixed cell, beside another question's state."""
    fixed = head[head["cells"] == "best fixed cell"]
    return pd.DataFrame(list(_each_text(folder, fixed)))


def _each_text(folder: Folder, fixed: pd.DataFrame) -> Iterator[dict[str, str]]:
    for key in sorted(folder.done())[:_SHOWN]:
        part = folder.part(key)
        line = {
            "question": str(part["name"].iloc[0]),
            "alone": str(part.loc[part["condition"] == "alone", "text"].iloc[0]),
        }
        for row in fixed.itertuples():
            at = (part["source_layer"] == row.source_layer) & (
                part["target_layer"] == row.target_layer
            )
            own = part[at & (part["variant"] == WAYS.index(str(row.way)))]
            for condition, title in (("state", ""), ("shuffled", ", another question's state")):
                texts = own.loc[own["condition"] == condition, "text"]
                line[f"{row.way}{title}"] = str(texts.iloc[0])
        yield line
