"""What the parts of an entity-resolution study say together."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensscope.stats.intervals import Sums
from lensscope.studies.axes import axes_of, controls
from lensscope.studies.figures import heat_maps, layer_chart, shown, text_panel
from lensscope.studies.folder import Folder
from lensscope.studies.items import Score
from lensscope.studies.parts import CELLS
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import (
    dataset,
    few,
    headline,
    places,
    unchosen,
    unscored,
    with_interval,
)
from lensscope.studies.tally import of_sweep

_PLACES: Final = 6
_STAY: Final = 2
_SHOWN: Final = 3


def entity_result(folder: Folder, score: Score) -> StudyResult:
    """The result of an entity-resolution study, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    axes = axes_of(arguments, len(arguments["entities"]))
    tally = of_sweep(folder, axes, arguments["seed"], score)
    data, head = dataset(tally), headline(tally)
    tables = {"resolution by variant": _by_variant(folder, arguments), "controls": controls()}
    if arguments["all_tokens"]:
        tables["resolved by token"] = _by_token(folder)
    charts, panels = [], []
    names = [entity["name"] for entity in arguments["entities"]]
    scored = sum(bool(entity["reference"]) for entity in arguments["entities"])
    for row in head[head["way"].str.startswith("best fixed")].to_dict("records"):
        cells = shown(tally, row)
        own = data.sel(variant=row["variant"], inspection=axes.scopes[cells.scope])
        several = "" if len(axes.variants) == 1 else f" ({row['variant']})"
        some = "" if axes.targets is None else "_some_target"
        over = "" if axes.targets is None else ", some target layer"
        charts.append(
            layer_chart(f"Resolved{several}", own, f"resolved{some}", f"share resolved{over}")
        )
        charts.append(
            layer_chart(
                f"ROUGE-L with the reference{several}", own, f"rouge_reference{some}", "F-measure"
            )
        )
        if axes.targets is not None:
            panels += heat_maps(own, "resolved", f"Resolved{several}")
        panels += text_panel(
            folder,
            names[:_SHOWN],
            "rouge_reference",
            "What is generated (colour: ROUGE-L with the reference)",
            cells,
        )
    notes = (
        *few(int(head["items"].max()), "entities"),
        *unscored(arguments["entities"]),
        "A cell is resolved where ROUGE-L with the entity's reference is above ROUGE-L with the "
        f"reference of every other of the {scored} entities, and above ROUGE-L with what the "
        "last word of its name alone means; a tie is none.",
        f"Fixed layers and cells are {tally.folds.said}; 'some layer' takes each entity's best, "
        "which the controls may do too.",
        *places(arguments),
        *unchosen(head),
        f"The layer of resolution of an entity is the first of {_STAY} layers in a row that "
        "resolve it.",
    )
    return StudyResult(data, head, tables, tuple(charts), tuple(panels), notes, manifest, folder)


def resolution_layer(resolved: Any) -> int | None:
    """The place of the first of two layers in a row that resolve an entity.

    Args:
        resolved: for each layer, whether it does.
    """
    found = np.asarray(resolved, bool)
    both = found[:-1] & found[1:]
    return int(both.argmax()) if both.any() else None


def _by_variant(folder: Folder, arguments: dict[str, Any]) -> pd.DataFrame:
    """How tokenization moves the layer of resolution: by variant, and by one token or several."""
    sums: dict[tuple[str, str], list[float]] = {}
    for part in CELLS.of(folder):
        states = part[(part["condition"] == "state") & (part["place"] == 0)]
        states = states[states["resolved"].notna()]
        for _, own in states.groupby(["item", "variant", "scope"]):
            variant = arguments["variants"][int(own["variant"].iloc[0])]
            cut = _cut(int(own["name_tokens"].iloc[0]))
            for offset, column in ((0, "resolved"), (3, "resolved_shuffled")):
                by_layer = own.groupby("source_layer")[column].max()
                at = resolution_layer(by_layer.to_numpy())
                for group in ((variant, "any"), (variant, cut)):
                    held = sums.setdefault(group, [0.0] * 6)
                    held[offset] += 1
                    held[offset + 1] += at is not None
                    held[offset + 2] += 0 if at is None else int(by_layer.index[at])
    lines = []
    for (variant, cut), (n, some, layers, m, by_chance, chance_layers) in sorted(sums.items()):
        lines.append(
            {
                "variant": variant,
                "tokens of the name": cut,
                "names x prompts": int(n),
                "resolved": some / n,
                "mean layer of resolution": layers / some if some else float("nan"),
                "resolved, another entity's state": by_chance / m,
                "mean layer, another entity's state": chance_layers / by_chance
                if by_chance
                else float("nan"),
            }
        )
    return pd.DataFrame(lines)


def _cut(tokens: int) -> str:
    return "one" if tokens == 1 else "2 or 3" if tokens <= 3 else "4 or more"


def _by_token(folder: Folder) -> pd.DataFrame:
    """From which tokens an entity is resolved at some layer, counted from the end of its name."""
    names = ("resolved", "resolved_shuffled")
    found: dict[int, NDArray[Any]] = {}
    for part in CELLS.of(folder, ["item", "variant", "condition", "place", "scope", *names]):
        states = part[(part["condition"] == "state") & (part["place"] < _PLACES)]
        states = states[states["resolved"].notna()]
        for (item, _, place), own in states.groupby(["item", "variant", "place"]):
            best = own.groupby("scope")[list(names)].max().mean().to_numpy()
            # hits of the state and of another entity's, and of how many ways to put the name
            sums = found.setdefault(int(item), np.zeros((3, _PLACES)))
            sums[:, int(place)] += [*best, 1]
    lines = []
    for place in range(_PLACES):
        own_sums = np.array([one[:, place] for one in found.values()]).reshape(-1, 3)
        held = Sums.each(own_sums[:, :2], own_sums[:, 2:])
        if held.items.any():
            numbers = with_interval(held, ("state", "shuffled"))
            lines.append({"tokens before the last": place, **numbers, "names": int(held.items[0])})
    return pd.DataFrame(lines)
