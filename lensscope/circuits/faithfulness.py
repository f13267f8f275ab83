"""How faithful a circuit is: what is left of a metric with everything else ablated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float

from lensscope import checks
from lensscope.errors import CircuitError
from lensscope.stats.intervals import ratio_interval
from lensscope.store.lasting import Lasting
from lensscope.values.provenance import Provenance
from lensscope.values.together import joined, known_provenance, of_one_kind

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class Faithfulness(Lasting):
    """What is left of a metric with everything outside a circuit ablated.

    Attributes:
        data: axis ``pair``: ``model``, ``circuit`` and ``empty``, the metric of the whole model, of
            the circuit alone, and with everything ablated.
        nodes: how many components are at work, of a circuit of edges how many edges.
        components: of how many.
        ablation: what the others do.
        metric: what was measured.
        counted: ``"components"`` or ``"edges"``.
        provenance: of the model; ``None`` in a file from before it was kept.
        chosen: the nodes.

    Example:
        >>> circuit = ls.Circuit({ls.mlp_out(n): 1.0 for n in (0, 23)}, kinds=("mlp_out",))
        >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
        >>> found = circuit.faithfulness(model, *pair, ls.logit_difference(" Tokyo", " Rome"))
        >>> found.nodes, found.components, 0 < found.recovered < 1
        (2, 30, True)
    """

    made_of: ClassVar = (Provenance,)

    data: xr.Dataset
    nodes: int
    components: int
    ablation: str
    metric: str
    counted: str = "components"
    provenance: Provenance | None = None
    chosen: tuple[str, ...] = ()

    @classmethod
    @checks.door(CircuitError)
    def together(cls, results: Sequence[Self]) -> Self:
        """One result of several of one circuit, with the pairs of all.

        Raises:
            CircuitError: another circuit, ablation or metric.
            BasisError: other models.

        Example:
            >>> circuit = ls.Circuit({ls.mlp_out(n): 1.0 for n in (3, 9)}, kinds=("mlp_out",))
            >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
            >>> metric = ls.logit_difference(" Tokyo", " Rome")
            >>> found = circuit.faithfulness(model, *pair, metric)
            >>> type(found).together([found, found]).data.sizes["pair"]
            2
        """
        same = ("chosen", "components", "counted", "ablation", "metric")
        found = of_one_kind(results, cls, CircuitError, same)
        provenance = known_provenance([one.provenance for one in found])
        data = joined([one.data for one in found], "pair", CircuitError)
        return replace(found[0], data=data, provenance=provenance)

    @property
    def recovered(self) -> float:
        """``(F(C) - F(empty)) / (F(M) - F(empty))``, of means over pairs: 1 is the whole model."""
        mean = self.data.mean("pair")
        gap = (mean["model"] - mean["empty"]).item()
        return (mean["circuit"] - mean["empty"]).item() / gap if gap else float("nan")

    @property
    def difference(self) -> float:
        """``|F(M) - F(C)|``, of means over pairs: 0 is faithful."""
        mean = self.data.mean("pair")
        return abs((mean["model"] - mean["circuit"]).item())

    @checks.door(CircuitError)
    def interval(
        self, level: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """An interval of ``recovered`` over pairs; NaN for one pair, and where all are alike.

        Raises:
            CircuitError: no such interval.
        """
        return tuple(
            ratio_interval(
                self.data["circuit"].values - self.data["empty"].values,
                self.data["model"].values - self.data["empty"].values,
                level,
                resamples,
                seed,
            ).tolist()
        )

    def __float__(self) -> float:
        return self.recovered

    def __repr__(self) -> str:
        mean = self.data.mean("pair")
        low, high = self.interval()
        spread = "" if np.isnan(low) else f" ({low:.3f} to {high:.3f})"
        pairs = self.data.sizes["pair"]
        return (
            f"Faithfulness(recovered {self.recovered:.3f}{spread} by {self.nodes} of "
            f"{self.components} {self.counted}; {self.metric}: model {mean['model'].item():.4g}, "
            f"circuit {mean['circuit'].item():.4g}, nothing {mean['empty'].item():.4g}; "
            f"{pairs} pair{'s' * (pairs > 1)}, {self.ablation} ablation)"
        )


def faithfulness_of(
    values: Float[np.ndarray, "pair 3"],
    nodes: int,
    components: int,
    ablation: str,
    metric: str,
    provenance: Provenance,
    chosen: Sequence[object],
    counted: str = "components",
) -> Faithfulness:
    """Of the metric of the whole model, of the circuit alone and of nothing; see `Faithfulness`."""
    names = ("model", "circuit", "empty")
    data = xr.Dataset(
        {name: ("pair", values[:, n]) for n, name in enumerate(names)},
        {"pair": np.arange(len(values))},
    )
    names_of = tuple(sorted(map(str, chosen)))
    return Faithfulness(data, nodes, components, ablation, metric, counted, provenance, names_of)
