"""What the parts of a study across models say together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pandas as pd
import xarray as xr

from lensscope.studies.axes import Axes, axes_of, controls
from lensscope.studies.figures import heat_maps, layer_chart, shown, text_panel
from lensscope.studies.folder import Folder
from lensscope.studies.items import Score
from lensscope.studies.parts import IDENTITY
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import dataset, few, headline, places, unchosen, unscored
from lensscope.studies.tally import Tally, of_cells, of_sweep

_SHOWN: Final = 5
_TASKS: Final = ("next token, by token identity", "entity resolved")


def cross_model_result(folder: Folder, score: Score) -> StudyResult:
    """The result of a study across models, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    described = axes_of(arguments, len(arguments["entities"]))
    texts = len(arguments["texts"])
    layers = (described.sources, described.targets)
    read = Axes(("precision_at_1",), texts, ("",), ("",), *layers, False)
    words = of_cells(folder, IDENTITY, read, arguments["seed"])
    things = of_sweep(folder, described, arguments["seed"], score)
    proportional = described.targets is None
    data = _merged(words, things)
    if proportional:
        paired = [t for _, t in arguments["pairs"]]
        data = data.assign_coords(target_layer=("source_layer", paired))
    heads = []
    for task, tally in zip(_TASKS, (words, things), strict=True):
        found = headline(tally).drop(columns=["variant", "inspection"])
        if proportional:
            found["target_layer"] = [
                pd.NA if pd.isna(s) else dict(arguments["pairs"])[s] for s in found["source_layer"]
            ]
        found.insert(0, "task", task)
        heads.append(found)
    some = "" if proportional else "_some_target"
    over = "" if proportional else ", some target layer"
    charts = (
        layer_chart(f"Next token{over}", data, f"precision_at_1{some}", "precision@1 as text"),
        layer_chart(f"Entity resolved{over}", data, f"resolved{some}", "share resolved"),
        layer_chart(
            f"ROUGE-L with the reference{over}", data, f"rouge_reference{some}", "F-measure"
        ),
    )
    panels = []
    if not proportional:
        panels += heat_maps(data, "precision_at_1", "Next token")
        panels += heat_maps(data, "resolved", "Entity resolved")
    panels += text_panel(
        folder,
        [entity["name"] for entity in arguments["entities"]][:_SHOWN],
        "rouge_reference",
        "What the target says of the source's entities (colour: ROUGE-L with the reference)",
        replace(
            shown(things, headline(things).iloc[0].to_dict()), follows="the layer that is as deep"
        ),
    )
    models = manifest["models"]
    head = pd.concat(heads, ignore_index=True)
    notes = (
        *few(int(heads[0]["items"].max()), "texts"),
        *few(int(heads[1]["items"].max()), "entities"),
        *unscored(arguments["entities"]),
        f"States of {models['model']['model']} in the words of {models['target_model']['model']}, "
        f"over {len(arguments['pairs'])} pairs of layers, each with its own affine map.",
        f"The maps were fitted on other texts than the {texts} that are read; controls go through "
        "the same maps.",
        "Precision@1 is of the source's own next token, compared as text: spaces around it and "
        "upper or lower case do not count.",
        f"Fixed layers and cells of texts are {words.folds.said}; of entities, "
        f"{things.folds.said}. Where some layer or cell is enough, the controls have as many "
        "tries.",
        *places(arguments),
        *unchosen(head),
    )
    tables = {"controls": controls()}
    return StudyResult(data, head, tables, charts, tuple(panels), notes, manifest, folder)


def _merged(words: Tally, things: Tally) -> xr.Dataset:
    """Both tasks' cells; the lift of each under its own name."""
    found: list[Any] = []
    for tally, task, items in ((words, "precision", "texts"), (things, "resolved", "entities")):
        own = dataset(tally).isel(variant=0, inspection=0, drop=True)
        lifts = {n: str(n).replace("lift", f"{task}_lift") for n in own if "lift" in str(n)}
        found.append(own.rename({**lifts, "items": items}))
    return xr.merge(found)
