"""What the parts of an entity-resolution study say together."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from lensscope.studies.figures import heat_maps, layer_chart, text_panel
from lensscope.studies.folder import Folder
from lensscope.studies.result import StudyResult
from lensscope.studies.summary import LEVEL, Axes, Score, SweepTally, axes_of, dataset, headline
from lensscope.studies.tally import Tally, interval

_PLACES: Final = 6
_STAY: Final = 2
_SHOWN: Final = 3


def entity_result(folder: Folder, score: Score) -> StudyResult:
    """The result of an entity-resolution study, finished or not."""
    manifest = folder.manifest()
    arguments = manifest["arguments"]
    axes = axes_of(arguments, len(arguments["entities"]))
    tally = SweepTally(axes, arguments["seed"])
    tally.take(folder, score)
    data, head = dataset(tally), headline(tally)
    tables = {"resolution by variant": _by_variant(folder, arguments)}
    if arguments["all_tokens"]:
        tables["resolved by token"] = _by_token(folder, axes, arguments["seed"])
    charts, panels = [], []
    names = [entity["name"] for entity in arguments["entities"]]
    for row in head[head["way"].str.startswith("best fixed")].itertuples():
        own = data.sel(variant=row.variant, inspection=row.inspection)
        several = "" if len(axes.variants) == 1 else f" ({row.variant})"
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
    best = head.iloc[0]
    scope = axes.scopes.index(best["inspection"])
    panels += text_panel(
        folder,
        names[:_SHOWN],
        "rouge_reference",
        scope=scope,
        target=None if axes.targets is None else int(best["target_layer"]),
        title="What is generated, by layer (colour: ROUGE-L with the reference)",
    )
    notes = (
        "A cell is resolved where ROUGE-L with the reference is above ROUGE-L with what the last "
        "word of the name alone means.",
        "Fixed layers and cells are chosen on one half of the entities and scored on the other; "
        "'some layer' takes each entity's best, which the controls may do too.",
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
    for part in folder.read("cells-"):
        states = part[(part["condition"] == "state") & (part["place"] == 0)]
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


def _by_token(folder: Folder, axes: Axes, seed: int) -> pd.DataFrame:
    """From which tokens an entity is resolved at some layer, counted from the end of its name."""
    tally = Tally((2, _PLACES), (1, _PLACES), 500, seed)
    for part in folder.read("cells-"):
        states = part[part["condition"] == "state"]
        for _, own in states.groupby(["item", "variant", "place"]):
            item, place = int(own["item"].iloc[0]), int(own["place"].iloc[0])
            if place >= _PLACES:
                continue
            per_scope = own.groupby("scope")
            for n, column in enumerate(("resolved", "resolved_shuffled")):
                value = float(per_scope[column].max().mean())
                tally.add(item, (n, place), np.asarray(value))
            tally.count(item, (0, place))
    ratios = tally.ratios()
    low, high = interval(ratios, LEVEL)
    lines = []
    for place in range(_PLACES):
        if tally.under[0, 0, place]:
            line: dict[str, Any] = {"tokens before the last": place}
            for n, name in enumerate(("state", "shuffled")):
                line |= {
                    name: ratios[0, n, place],
                    f"{name}_low": low[n, place],
                    f"{name}_high": high[n, place],
                }
            lines.append(line | {"names": int(tally.under[0, 0, place])})
    return pd.DataFrame(lines)
