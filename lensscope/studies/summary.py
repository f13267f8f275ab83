"""What the sums of a study say: numbers with their intervals, cells that are chosen, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lensscope.stats.intervals import Sums
from lensscope.studies.axes import CONDITIONS, Axes
from lensscope.studies.folds import FEW, Folds, best
from lensscope.studies.tally import Tally

LEVEL: Final = 0.95

# ---------------------------------------------------------------- every cell


_UNBOUNDED: Final = ("surprisal", "nats", "similarity_reference", "similarity_unresolved")
"""What is not between 0 and 1."""


def edges(sums: Sums, metric: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """The interval of means of a metric."""
    return sums.unbounded(LEVEL) if metric in _UNBOUNDED else sums.interval(LEVEL)


def numbers(sums: Sums, metric: str = "") -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The means of a metric, with the edges of their interval."""
    return (sums.means, *edges(sums, metric))


def named(name: str, of: Sequence[Any]) -> dict[str, Any]:
    """A value and its edges, as they are called everywhere."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), of, strict=True))


def dataset(tally: Tally) -> xr.Dataset:
    """Every cell by condition, with its interval, over all items; and the lift."""
    axes, sums = tally.axes, tally.whole
    found = _dataset(axes, sums, ["condition", "variant", "inspection"])
    lifts = _layers_of(axes, "lift", sums[:, 0].lift(0, LEVEL), ["variant", "inspection"])
    items = xr.DataArray(tally.numbers(), dims=("variant", "inspection"))
    coords = {"variant": list(axes.variants), "inspection": list(axes.scopes)}
    return found.assign(lifts).assign(items=items).assign_coords(coords)


def pooled_cells(tally: Tally, scope: int) -> xr.Dataset:
    """Every cell of an inspection prompt by condition, variants together."""
    return _dataset(tally.axes, tally.parts.sum(0)[:, :, 0, scope], ["condition"])


def _dataset(axes: Axes, sums: Sums, outer: list[str]) -> xr.Dataset:
    """Values by name, of sums ``[condition, metric, …, source, target]``."""
    coords: dict[str, Any] = {"source_layer": list(axes.sources), "condition": list(CONDITIONS)}
    if axes.targets is not None:
        coords["target_layer"] = list(axes.targets)
    variables: dict[str, Any] = {}
    for n, metric in enumerate(axes.metrics):
        own = sums[:, n]
        variables |= _layers_of(axes, metric, numbers(own, metric), outer)
    return xr.Dataset(variables, coords)


def _layers_of(
    axes: Axes, name: str, of: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], outer: list[str]
) -> dict[str, Any]:
    """A value with its edges, at each cell and at "some" of them."""
    found: dict[str, Any] = {}
    for ending, values in zip(("", "_low", "_high"), of, strict=True):
        if axes.targets is None:
            found[name + ending] = ((*outer, "source_layer"), values[..., :-1, 0])
        else:
            found[name + ending] = ((*outer, "source_layer", "target_layer"), values[..., :-1, :-1])
            found[f"{name}_some_target{ending}"] = ((*outer, "source_layer"), values[..., :-1, -1])
        found[f"{name}_some_layer{ending}"] = (tuple(outer), values[..., -1, -1])
    return found


# ---------------------------------------------------------------- cells that are chosen


def fixed_targets(tally: Tally, scope: int) -> xr.Dataset:
    """For each source layer the target layer that is best on some items, scored on others."""
    axes, folds = tally.axes, tally.folds
    sums = tally.parts[:, :, :, 0, scope]
    rows = []
    for source in range(len(axes.sources)):

        def first_best(own: Sums, source: int = source) -> tuple[Any, ...]:
            return (slice(None), source, int(own.hits[0, 0, source, :-1].argmax()))

        rows.append(folds.crossed(sums, first_best)[0])
    held = Sums(np.stack([row.of for row in rows], -1))
    variables: dict[str, Any] = {}
    for n, metric in enumerate(axes.metrics):
        for name, values in named(metric, numbers(held[:, n], metric)).items():
            variables[name] = (["condition", "source_layer"], values)
    coords = {"condition": list(CONDITIONS), "source_layer": list(axes.sources)}
    return xr.Dataset(variables, coords)


def headline(tally: Tally, metric: int = 0) -> pd.DataFrame:
    """Fixed cells, chosen on some items and scored on others; and some cell.

    A line for each variant (one for all, where they are pooled) and way: the best fixed cell; the
    best fixed source layer with some target layer; some cell at all. All are scored where they
    were not chosen (`Folds`), with the controls at the same place. Inspection prompts are chosen
    by how many items they get right, of all that count for any of them. Where no cell gets
    anything right, none is chosen.
    """
    axes = tally.axes
    fixed = "best fixed layer" if axes.targets is None else "best fixed cell"
    ways = {fixed: _fixed}
    if axes.targets is not None:
        ways["best source layer, some target"] = _some_target
    ways["some layer" if axes.targets is None else "some cell"] = _some_cell
    lines = []
    for v in range(tally.parts.of.shape[4]):
        sums = tally.parts[:, :, metric, v]
        for way, choose in ways.items():
            held, at = tally.folds.crossed(sums, choose)
            if at is None:
                held = Sums.empty((len(CONDITIONS),))
            lines.append(
                {
                    "way": way,
                    **({} if axes.pooled else {"variant": axes.variants[v]}),
                    "inspection": pd.NA if at is None else axes.scopes[at[0]],
                    **_layers(axes, at),
                    "chosen": chosen(at is not None, tally.folds),
                    "items": int(held.items[0]),
                    **with_interval(held, CONDITIONS, axes.metrics[metric]),
                    **with_lift(held),
                }
            )
    return pd.DataFrame(lines)


NONE: Final = "no cell chosen"
"""What is said where no cell gets anything right, or no item counts."""


def chosen(some: bool, folds: Folds) -> str:
    """How a cell was chosen."""
    if not some:
        return NONE
    return "on the other half" if folds.halves else f"on the other items, {folds.number} times"


def _fixed(own: Sums) -> tuple[int, ...] | None:
    return best(own.hits[0, :, :-1, :-1], own.known[0, :, :-1, :-1])


def _some_target(own: Sums) -> tuple[int, ...] | None:
    found = best(own.hits[0, :, :-1, -1], own.known[0, :, :-1, -1])
    return None if found is None else (*found, -1)


def _some_cell(own: Sums) -> tuple[int, ...] | None:
    """Only the inspection prompt is chosen; of equal ones, the first."""
    hits, known = own.hits[0, :, -1, -1], own.known[0, :, -1, -1]
    return (int(np.where(known, hits, -1).argmax()), -1, -1) if known.any() else None


def _layers(axes: Axes, at: tuple[int, ...] | None) -> dict[str, Any]:
    _, s, t = (0, -1, -1) if at is None else at
    source = pd.NA if s < 0 else axes.sources[s]
    if axes.targets is None:
        return {"source_layer": source, "target_layer": source}
    return {"source_layer": source, "target_layer": pd.NA if t < 0 else axes.targets[t]}


def with_interval(sums: Sums, names: Sequence[str], metric: str = "") -> dict[str, float]:
    """Means ``[name]`` as columns, each with its interval."""
    return _columns(names, numbers(sums, metric))


def with_lift(sums: Sums) -> dict[str, float]:
    """How far the first of some means is above the largest of the others, as columns."""
    return _columns(("lift",), tuple(np.asarray(a)[None] for a in sums.lift(0, LEVEL)))


def _columns(names: Sequence[str], of: Sequence[Any]) -> dict[str, float]:
    each = [named(name, [float(values[n]) for values in of]) for n, name in enumerate(names)]
    return {name: value for own in each for name, value in own.items()}


def few(number: int, what: str = "items") -> tuple[str, ...]:
    """A warning, where so few are scored that a number says little."""
    if number >= FEW:
        return ()
    return (f"WARNING: only {number} {what} are scored where cells were not chosen on them.",)


def unscored(entities: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A sentence, where some entities have no reference."""
    names = [entity["name"] for entity in entities if not entity["reference"]]
    if not names:
        return ()
    shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    return (
        f"{len(names)} of {len(entities)} entities have no reference, so that what is said of them "
        f"is shown and not scored: {shown}.",
    )


def unchosen(head: pd.DataFrame) -> tuple[str, ...]:
    """A sentence, where a line of a headline has no cell."""
    if not (head["chosen"] == NONE).any():
        return ()
    return ("No cell is chosen where none gets anything right, or where no item counts.",)


def places(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences on where names were read and states were written, where there is something to
    say."""
    found = []
    led, inside = arguments["samples_with_lead_in"], arguments["names_inside_words"]
    if led:
        found.append(
            f"{led} source texts would have been read at their first token, which is an attention "
            f"sink where the tokenizer adds no BOS; they begin with {arguments['lead_in']!r}."
        )
    if inside:
        found.append(
            "Names that stand in a source text only within another word, and may be read there as "
            f"something else: {', '.join(inside[:5])}{' …' if len(inside) > 5 else ''}."
        )
    if number := arguments["placeholders_at_the_first_token"]:
        found.append(
            f"WARNING: {number} inspection prompts begin with their placeholder, so states are "
            "written over an attention sink."
        )
    return tuple(found)
