"""What the parts of a sweep say together: accuracies, controls, oracles, and fixed cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lensscope.studies.folder import Folder
from lensscope.studies.tally import Tally, interval

CONDITIONS: Final = ("state", "shuffled", "mean", "random", "prior")
"""What was written: the item's state; the state of another item; the layer's mean state; a random
vector as long as a state; nothing."""
RESAMPLES: Final = 500
LEVEL: Final = 0.95
_CHOICE, _HELD = 0, 1

Score = Callable[[str, int], Sequence[float]]


@dataclass(frozen=True)
class Axes:
    """What the cells of a sweep are called.

    Attributes:
        metrics: what texts are scored by.
        items: how many.
        variants: ways in which an item is put.
        scopes: inspection prompts.
        sources: source layers.
        targets: target layers; ``None`` where it is the source layer.
        pooled: whether variants are samples of one kind, to be taken together.
    """

    metrics: tuple[str, ...]
    items: int
    variants: tuple[str, ...]
    scopes: tuple[str, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...] | None
    pooled: bool

    @property
    def n_targets(self) -> int:
        return 1 if self.targets is None else len(self.targets)


def axes_of(arguments: Mapping[str, Any], items: int) -> Axes:
    """The axes of a study with these arguments."""
    targets = arguments["target_layers"]
    return Axes(
        tuple(arguments["metrics"]),
        items,
        tuple(arguments["variants"]),
        tuple(scope["text"] for scope in arguments["inspection"]),
        tuple(arguments["source_layers"]),
        None if targets is None else tuple(targets),
        bool(arguments["pooled"]),
    )


class SweepTally:
    """The sums of a sweep: split x condition x metric x variant x scope x source x target.

    The last source layer stands for "some source layer", the last target layer for "some target
    layer": the best of an item's own cells.

    Args:
        axes: the cells.
        seed: of the halves and the draws.
    """

    def __init__(self, axes: Axes, seed: int) -> None:
        self.axes = axes
        outer = (2, len(CONDITIONS))
        inner = (len(axes.variants), len(axes.scopes))
        cells = (len(axes.sources) + 1, axes.n_targets + 1)
        self.tally = Tally(
            (*outer, len(axes.metrics), *inner, *cells), (*outer, 1, *inner, 1, 1), RESAMPLES, seed
        )
        order = np.random.default_rng(seed).permutation(axes.items)
        self.half = np.empty(axes.items, int)
        self.half[order] = np.arange(axes.items) * 2 // max(axes.items, 1)
        self.counted = np.zeros((axes.items, *inner), bool)

    def take(self, folder: Folder, score: Score) -> None:
        """Count all finished parts."""
        for frame in folder.read("cells-"):
            self._cells(frame)
        for frame in folder.read("control-"):
            for _, part in frame.groupby(["condition", "scope", "draw"]):
                self._control(part, score)

    def _cells(self, frame: pd.DataFrame) -> None:
        axes = self.axes
        states = frame[(frame["condition"] == "state") & (frame["place"] == 0)]
        for _, own in states.groupby(["item", "variant", "scope"]):
            item, variant = int(own["item"].iloc[0]), int(own["variant"].iloc[0])
            number = int(own["scope"].iloc[0])
            self.counted[item, variant, number] = True
            for n, ending in enumerate(("", "_shuffled")):
                names = [metric + ending for metric in axes.metrics]
                values = own[names].to_numpy().T
                self._add(item, variant, number, n, values)

    def _control(self, frame: pd.DataFrame, score: Score) -> None:
        """Count texts that are no item's for each item that counts."""
        condition, scope = str(frame["condition"].iloc[0]), int(frame["scope"].iloc[0])
        axes = self.axes
        texts = frame["text"].tolist()
        if condition == "prior":
            texts = texts * (len(axes.sources) * axes.n_targets)
        numbers = {text: n for n, text in enumerate(dict.fromkeys(texts))}
        at = [numbers[text] for text in texts]
        n = CONDITIONS.index(condition)
        for item in np.flatnonzero(self.counted[:, :, scope].any(1)).tolist():
            scores = np.array([score(text, item) for text in numbers], float).T
            for variant in np.flatnonzero(self.counted[item, :, scope]).tolist():
                self._add(item, variant, scope, n, scores[:, at])

    def _add(
        self, item: int, variant: int, scope: int, condition: int, values: NDArray[Any]
    ) -> None:
        """Count values ``[metric, cell]`` of an item."""
        axes = self.axes
        cells = values.reshape(len(axes.metrics), len(axes.sources), axes.n_targets)
        some = np.concatenate([cells, cells.max(-1, keepdims=True)], -1)
        some = np.concatenate([some, some.max(1, keepdims=True)], 1)
        split = int(self.half[item])
        self.tally.add(item, (split, condition, slice(None), variant, scope), some)
        self.tally.count(item, (split, condition, 0, variant, scope))

    def pooled_cells(self, scope: int) -> xr.Dataset:
        """Every cell of an inspection prompt by condition, variants together."""
        means = self.means(pooled=True)[:, :, :, 0, scope]
        return _dataset(self.axes, means, ["condition"])

    # ---------------------------------------------------------------- means

    def means(self, split: int | None = None, *, pooled: bool = False) -> NDArray[Any]:
        """``[1 + draws, condition, metric, variant, scope, source, target]``.

        Args:
            split: a half of the items; both by default.
            pooled: variants together.
        """
        over, under = self.tally.over, self.tally.under
        if split is None:
            over, under = over.sum(1), under.sum(1)
        else:
            over, under = over[:, split], under[:, split]
        if pooled:
            over, under = over.sum(3, keepdims=True), under.sum(3, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: NDArray[Any] = over / under
        # of one item there is no interval
        found[1:, np.broadcast_to(under[0] <= 1, found.shape[1:])] = np.nan
        return found

    def numbers(self, split: int | None = None) -> NDArray[Any]:
        """How many items count, ``[variant, scope]``."""
        keep = slice(None) if split is None else self.half == split
        found: NDArray[Any] = self.counted[keep].sum(0)
        return found


def lift(means: NDArray[Any]) -> NDArray[Any]:
    """The state's accuracy above the largest control's, in the axes of ``means`` without condition
    and metric; NaN unless all controls are known."""
    found: NDArray[Any] = means[:, 0, 0] - means[:, 1:, 0].max(1)
    return found


def dataset(tally: SweepTally) -> xr.Dataset:
    """Every cell by condition, with its interval, over all items; and the lift."""
    axes, means = tally.axes, tally.means()
    found = _dataset(axes, means, ["condition", "variant", "inspection"])
    lifts = _dataset(axes, lift(means)[:, None], ["variant", "inspection"], ("lift",))
    items = xr.DataArray(tally.numbers(), dims=("variant", "inspection"))
    coords = {"variant": list(axes.variants), "inspection": list(axes.scopes)}
    return xr.merge([found, lifts]).assign(items=items).assign_coords(coords)


def _dataset(
    axes: Axes, means: NDArray[Any], outer: list[str], metrics: tuple[str, ...] | None = None
) -> xr.Dataset:
    """Values by name, of means ``[1 + draws, condition if any, metric, …, source, target]``."""
    coords: dict[str, Any] = {"source_layer": list(axes.sources)}
    if outer[0] == "condition":
        coords["condition"] = list(CONDITIONS)
    if axes.targets is not None:
        coords["target_layer"] = list(axes.targets)
    variables: dict[str, Any] = {}
    metric_axis = 2 if outer[0] == "condition" else 1

    def put(name: str, of: NDArray[Any], *layers: str) -> None:
        low, high = interval(of, LEVEL)
        for ending, values in (("", of[0]), ("_low", low), ("_high", high)):
            variables[name + ending] = ((*outer, *layers), values)

    for n, metric in enumerate(metrics or axes.metrics):
        of = means.take(n, metric_axis)
        if axes.targets is None:
            put(metric, of[..., :-1, 0], "source_layer")
        else:
            put(metric, of[..., :-1, :-1], "source_layer", "target_layer")
            put(f"{metric}_some_target", of[..., :-1, -1], "source_layer")
        put(f"{metric}_some_layer", of[..., -1, -1])
    return xr.Dataset(variables, coords)


def fixed_targets(tally: SweepTally, scope: int) -> xr.Dataset:
    """For each source layer the target layer that is best on one half, scored on the other."""
    axes = tally.axes
    chosen = tally.means(_CHOICE, pooled=True)[0, 0, 0, 0, scope, :-1, :-1]
    best = np.nan_to_num(chosen, nan=-1.0).argmax(-1)
    held = tally.means(_HELD, pooled=True)[:, :, :, 0, scope]
    at = held[..., np.arange(len(best)), best]
    low, high = interval(at, LEVEL)
    variables = {
        metric + ending: (["condition", "source_layer"], values[:, n])
        for n, metric in enumerate(axes.metrics)
        for ending, values in (("", at[0]), ("_low", low), ("_high", high))
    }
    targets = best if axes.targets is None else np.array(axes.targets)[best]
    coords = {"condition": list(CONDITIONS), "source_layer": list(axes.sources)}
    return xr.Dataset(variables, coords).assign(chosen_target=("source_layer", targets))


def headline(tally: SweepTally) -> pd.DataFrame:
    """Fixed cells, chosen on one half of the items and scored on the other; and some cell.

    A line for each variant (one for all, where they are pooled) and way: the best fixed cell; the
    best fixed source layer with some target layer; some cell at all. All are scored on the half
    that the cell was not chosen on, with the controls at the same place.
    """
    axes = tally.axes
    chosen = tally.means(_CHOICE, pooled=axes.pooled)[0, 0, 0]
    held = tally.means(_HELD, pooled=axes.pooled)
    lifts = lift(held)
    counts = tally.numbers(_HELD)
    lines = []
    for v in range(chosen.shape[0]):
        known = np.nan_to_num(chosen[v], nan=-1.0)
        p, s, t = np.unravel_index(known[:, :-1, :-1].argmax(), known[:, :-1, :-1].shape)
        p_any, s_any = np.unravel_index(known[:, :-1, -1].argmax(), known[:, :-1, -1].shape)
        p_some = int(known[:, -1, -1].argmax())
        fixed = "best fixed layer" if axes.targets is None else "best fixed cell"
        ways = [(fixed, (int(p), int(s), int(t)))]
        if axes.targets is not None:
            ways.append(("best source layer, some target", (int(p_any), int(s_any), -1)))
        ways.append(("some layer" if axes.targets is None else "some cell", (p_some, -1, -1)))
        for way, at in ways:
            number = counts[:, at[0]].max() if axes.pooled else counts[v, at[0]]
            lines.append(
                {
                    "way": way,
                    **({} if axes.pooled else {"variant": axes.variants[v]}),
                    "inspection": axes.scopes[at[0]],
                    **_layers(axes, at),
                    "items": int(number),
                    **with_interval(held[:, :, 0, v, at[0], at[1], at[2]], CONDITIONS),
                    **with_interval(lifts[:, v, at[0], at[1], at[2], None], ("lift",)),
                }
            )
    return pd.DataFrame(lines)


def _layers(axes: Axes, at: tuple[int, int, int]) -> dict[str, Any]:
    _, s, t = at
    source = pd.NA if s < 0 else axes.sources[s]
    if axes.targets is None:
        return {"source_layer": source, "target_layer": source}
    return {"source_layer": source, "target_layer": pd.NA if t < 0 else axes.targets[t]}


def with_interval(drawn: NDArray[Any], names: Sequence[str]) -> Mapping[str, float]:
    """``[1 + draws, name]`` as columns."""
    low, high = interval(drawn, LEVEL)
    found: dict[str, float] = {}
    for n, name in enumerate(names):
        found |= {
            name: float(drawn[0, n]),
            f"{name}_low": float(low[n]),
            f"{name}_high": float(high[n]),
        }
    return found
