"""Faithfulness as a circuit grows, beside that of random circuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pandas as pd
import xarray as xr

from lensscope import checks
from lensscope.checks import whole_number
from lensscope.checks.plain import goes_through
from lensscope.circuits.ablation import Ablated, Ablation, Kept
from lensscope.circuits.wiring import Wiring
from lensscope.errors import CircuitError
from lensscope.show.lines import Chart, Line, to_plotly, to_svg
from lensscope.show.pages import rendered
from lensscope.show.showing import Shown
from lensscope.show.terminal import table_of
from lensscope.stats.intervals import ratio_interval
from lensscope.store.json_text import json_text, records
from lensscope.store.lasting import Lasting
from lensscope.values.prompts import PromptsLike
from lensscope.values.provenance import Provenance
from lensscope.values.together import joined, known_provenance, of_one_kind

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from rich.table import Table
    from typing_extensions import Self

_OF_PAIRS: Final = ("whole", "moved", "random_moved")
"""What the metric moves by from nothing to the whole model, to a circuit, to each random one."""


@dataclass(frozen=True, eq=False)
class FaithfulnessCurve(Shown, Lasting):
    """How much of a metric circuits of growing size recover.

    Attributes:
        data: of each pair, ``whole``, ``moved`` and ``random_moved``, what the metric moves by from
            nothing to the whole model, to the circuit and to each random one. Axis ``size``:
            ``recovered`` by so many nodes of the largest effects, with ``_low`` and ``_high``, a
            95% interval by bootstrap over pairs; ``random``, the mean over random circuits, and
            ``random_low``, ``random_high``, the least and most of them. Axis ``draw``:
            ``each_random``.
        components: how many there are of the kinds that are drawn from.
        metric: what was measured.
        ablation: what everything outside does.
        pairs: how many.
        provenance: of the model; ``None`` in a file from before it was kept.
        settings: the nodes in their order, and the seed of the random circuits.

    Example:
        >>> circuit = ls.Circuit({ls.mlp_out(n): 1.0 for n in (0, 23)}, kinds=("mlp_out",))
        >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
        >>> metric = ls.logit_difference(" Tokyo", " Rome")
        >>> curve = circuit.curve(model, *pair, metric, sizes=[1, 2], random=2)
        >>> curve.frame()["size"].tolist()
        [1, 2]
    """

    made_of: ClassVar = (Provenance,)

    data: xr.Dataset
    components: int
    metric: str
    ablation: str
    pairs: int
    provenance: Provenance | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    @checks.door(CircuitError)
    def together(cls, results: Sequence[Self]) -> Self:
        """One curve of several of one circuit, over the pairs of all.

        Raises:
            CircuitError: another circuit, other sizes or random circuits, another ablation or
                metric, or a curve from a file of before pairs were kept.
            BasisError: other models.

        Example:
            >>> circuit = ls.Circuit({ls.mlp_out(n): 1.0 for n in (3, 9)}, kinds=("mlp_out",))
            >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
            >>> metric = ls.logit_difference(" Tokyo", " Rome")
            >>> curve = circuit.curve(model, *pair, metric, sizes=[2], random=1)
            >>> type(curve).together([curve, curve]).pairs
            2
        """
        same = ("settings", "components", "ablation", "metric")
        found = of_one_kind(results, cls, CircuitError, same)
        if not all("whole" in one.data for one in found):
            raise CircuitError(
                "A curve does not say what it found of each pair.",
                got="one from a file that an earlier version wrote",
                expected="curves with what each pair gave",
                instead="circuit.curve(…) again, which keeps it",
            )
        provenance = known_provenance([one.provenance for one in found])
        of_pairs = [one.data[list(_OF_PAIRS)] for one in found]
        data = _summed(joined(of_pairs, "pair", CircuitError))
        pairs = sum(one.pairs for one in found)
        return replace(found[0], data=data, pairs=pairs, provenance=provenance)

    @property
    def title(self) -> str:
        """What was measured."""
        return f"Faithfulness by size: {self.metric}"

    def frame(self) -> pd.DataFrame:
        """One line a size."""
        inner = [name for name, own in self.data.items() if own.dims == ("size",)]
        return self.data[inner].to_dataframe().reset_index()

    def _chart(self) -> Chart:
        def column(name: str) -> tuple[float, ...]:
            return tuple(self.data[name].values.tolist())

        def band(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
            low, high = column(f"{name}_low"), column(f"{name}_high")
            return ((), ()) if np.isnan(low).all() else (low, high)

        sizes = column("size")
        lines = (
            Line("largest effects", sizes, column("recovered"), *band("recovered")),
            Line("random components", sizes, column("random"), *band("random")),
        )
        return Chart("Faithfulness by size", "components kept", "share recovered", lines)

    def plot(self) -> go.Figure:
        """A plotly figure: the circuit, and random ones with their range as a band."""
        return to_plotly(self._chart())

    def table(self) -> Table:
        """What is recovered at each size."""
        return table_of(
            self.title,
            ["components", "recovered", "random"],
            [
                (
                    f"{int(row['size'])}",
                    f"{row['recovered']:.3f}",
                    f"{row['random']:.3f} ({row['random_low']:.3f} to {row['random_high']:.3f})",
                )
                for _, row in self.frame().iterrows()
            ],
            caption=f"{self.pairs} pair{'s' * (self.pairs > 1)}, {self.ablation} ablation, of "
            f"{self.components} components; random: mean, least and most",
            numbers=range(3),
            min_width=72,
        )

    def section(self) -> str:
        """What it says, as a piece of HTML."""
        return rendered("curve.html", curve=self, picture=self._svg())

    def _svg(self) -> str:
        return to_svg(self._chart())

    def _json(self) -> str:
        return json_text(
            {
                "metric": self.metric,
                "ablation": self.ablation,
                "pairs": self.pairs,
                "components": self.components,
                "sizes": records(self.frame()),
            },
        )

    def __repr__(self) -> str:
        return f"FaithfulnessCurve({self.title}; {self.data.sizes['size']} sizes)"


@checks.door(CircuitError, sizes=checks.whole_numbers, random=checks.whole(1, checks.REPEATS, 10))
def faithfulness_curve(
    circuit: Wiring,
    model: Any,
    clean: PromptsLike,
    corrupted: PromptsLike,
    metric: Any,
    *,
    sizes: Sequence[int] | None = None,
    random: int = 10,
    seed: int = 0,
    ablation: Ablation = "corrupted",
    reference: PromptsLike | None = None,
    prepend_bos: bool | None = None,
) -> FaithfulnessCurve:
    """Faithfulness of the first so many nodes, beside random circuits of the same size.

    Nodes are whole components, without positions.

    Args:
        model: the model.
        clean: as in `faithfulness`.
        corrupted: as there.
        metric: as there.
        sizes: how many nodes, in the order of the size of their effects; some up to all of
            them by default.
        random: so many circuits of components drawn from all of the same kinds.
        seed: of the draws.
        ablation: as there.
        reference: as there.
        prepend_bos: as there.
    """
    placed = [site for site in circuit.nodes if site.position is not None]
    if placed:
        raise CircuitError(
            "A curve is of whole components, as the random ones beside it are.",
            got=", ".join(map(repr, placed[:4])),
            expected="nodes without positions",
            instead="activation_patching(…, positions=ls.ALL).circuit(top=50).curve(…)",
        )
    ablated = Ablated.of(
        circuit, model, clean, corrupted, metric, ablation, reference, None, prepend_bos
    )
    order = sorted(circuit.nodes, key=lambda s: -abs(circuit.nodes[s]))
    chosen = _sizes(sizes, len(order))
    components = ablated.components
    generator = np.random.default_rng(seed)
    drawn = [[components[i] for i in generator.permutation(len(components))] for _ in range(random)]
    rows: list[Kept | None] = [None, Kept([])]
    rows += [Kept(order[:size]) for size in chosen]
    rows += [Kept(some[:size]) for size in chosen for some in drawn]
    found = ablated.measure(rows).double().numpy()
    moved = found[:, 2:] - found[:, 1:2]
    n, pairs = len(chosen), len(ablated.pairs)
    of_pairs = xr.Dataset(
        {
            "whole": ("pair", found[:, 0] - found[:, 1]),
            "moved": (("pair", "size"), moved[:, :n]),
            "random_moved": (("pair", "size", "draw"), moved[:, n:].reshape(pairs, n, random)),
        },
        {"size": chosen},
    )
    return FaithfulnessCurve(
        _summed(of_pairs),
        len(components),
        ablated.metric.name,
        ablated.ablation,
        pairs,
        ablated.backend.provenance(),
        {"nodes": list(map(repr, order)), "seed": seed},
    )


def _summed(of_pairs: xr.Dataset) -> xr.Dataset:
    """What each pair gave, and what they give together."""
    whole = of_pairs["whole"].values[:, None]
    moved, random = of_pairs["moved"].values, of_pairs["random_moved"].values
    low, high = ratio_interval(moved, whole)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, each = moved.sum(0) / whole.sum(0), random.sum(0) / whole.sum(0)
    return of_pairs.assign(
        {
            "recovered": ("size", share),
            "recovered_low": ("size", low),
            "recovered_high": ("size", high),
            "random": ("size", each.mean(1)),
            "random_low": ("size", each.min(1)),
            "random_high": ("size", each.max(1)),
            "each_random": (("size", "draw"), each),
        }
    )


def _sizes(sizes: Sequence[int] | None, nodes: int) -> list[int]:
    if sizes is None:
        steps = np.unique(np.round(np.linspace(0, nodes, min(nodes, 12) + 1)).astype(int))
        return [int(n) for n in steps]
    asked = list(sizes) if goes_through(sizes) else [sizes]
    found = sorted({whole_number(n, "sizes", 0, 5, CircuitError) for n in asked})
    if not found or found[-1] > nodes:
        raise CircuitError(
            "The circuit has not so many nodes.",
            got=f"sizes={asked}, {nodes} nodes",
            expected=f"some numbers up to {nodes}",
            instead="effect.circuit(top=50).curve(…) for more nodes",
        )
    return found
