"""What was read and said, one by one, and as a data set with named axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Reading:
    """One state, or several that are written together, where it was read and is written, and what
    was said of it."""

    prompt: int
    text: str
    slot: int
    position: int | None
    token: str
    source_layer: int | None
    target_layer: int
    states: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    sample: int = 0
    text_out: str = ""
    first_token: str = ""
    first_token_probability: float = float("nan")


def dataset_of(
    readings: Sequence[Reading],
    lens: Mapping[tuple[int, int, int | None], tuple[str, float]],
    *,
    grid: bool,
) -> xr.Dataset:
    """Readings with the axes and variables of a `PatchscopeResult`.

    Args:
        readings: one for each cell.
        lens: the logit lens' token and probability by prompt, slot and source layer.
        grid: whether target layers are an axis of their own.
    """
    vectors = readings[0].source_layer is None
    prompts = list(dict.fromkeys(r.prompt for r in readings))
    slots = list(dict.fromkeys(r.slot for r in readings))
    sources = list(dict.fromkeys(r.source_layer for r in readings))
    targets = list(dict.fromkeys(r.target_layer for r in readings))
    dims = (
        ["prompt", "target_layer"]
        if vectors
        else ["prompt", "position", "source_layer"] + (["target_layer"] if grid else [])
    )
    samples = list(dict.fromkeys(r.sample for r in readings))
    dims += ["sample"] if len(samples) > 1 else []
    axes: dict[str, list[Any]] = {
        "prompt": prompts,
        "position": slots,
        "source_layer": sources,
        "target_layer": targets,
        "sample": samples,
    }
    sizes = tuple(len(axes[d]) for d in dims)
    where = {d: {value: n for n, value in enumerate(axes[d])} for d in dims}

    def cell(r: Reading) -> tuple[int, ...]:
        own = (r.prompt, r.slot, r.source_layer, r.target_layer, r.sample)
        values = dict(zip(axes, own, strict=True))
        return tuple(where[d][values[d]] for d in dims)

    texts = {n: np.full(sizes, "", dtype=object) for n in ("text", "first_token")}
    probability = np.full(sizes, np.nan)
    lens_token, lens_probability = np.full(sizes, "", dtype=object), np.full(sizes, np.nan)
    index = np.full((len(prompts), len(slots)), -1)
    token = np.full((len(prompts), len(slots)), "", dtype=object)
    for r in readings:
        at = cell(r)
        texts["text"][at], texts["first_token"][at] = r.text_out, r.first_token
        probability[at] = r.first_token_probability
        row, column = prompts.index(r.prompt), slots.index(r.slot)
        token[row, column] = r.token
        if r.position is not None:
            index[row, column] = r.position
        if lens:
            lens_token[at], lens_probability[at] = lens[r.prompt, r.slot, r.source_layer]
    variables: dict[str, Any] = {n: (dims, values) for n, values in texts.items()}
    variables["first_token_probability"] = (dims, probability)
    if lens:
        variables["logit_lens"] = (dims, lens_token)
        variables["logit_lens_probability"] = (dims, lens_probability)
    names = {r.prompt: r.text for r in readings}
    coords: dict[str, Any] = {
        "prompt": [names[p] for p in prompts],
        "prompt_index": ("prompt", prompts),
    }
    if "sample" in dims:
        coords["sample"] = samples
    if vectors:
        coords["target_layer"] = targets
    else:
        variables["token"] = (["prompt", "position"], token)
        variables["token_index"] = (["prompt", "position"], index)
        alone = len(prompts) == 1
        coords["position"] = index[0].tolist() if alone else slots
        coords["source_layer"] = sources
        if grid:
            coords["target_layer"] = targets
        else:
            own = {r.source_layer: r.target_layer for r in readings}
            coords["target_layer"] = ("source_layer", [own[s] for s in sources])
    return xr.Dataset(variables, coords)
