"""Faithfulness, completeness and minimality of a circuit (Wang et al. 2022, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from torch import Tensor

from lensscope import checks
from lensscope.circuits.ablation import Ablated, Kept
from lensscope.circuits.naming import named
from lensscope.errors import PatchError
from lensscope.lenses.checks import whole_number
from lensscope.stats.intervals import ratio_interval
from lensscope.values.sites import Site

if TYPE_CHECKING:
    from lensscope.circuits.circuit import Circuit


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What is left of a metric with everything outside a circuit ablated.

    Attributes:
        data: axis ``pair``: ``model``, ``circuit`` and ``empty``, the metric of the whole model, of
            the circuit alone, and with everything ablated.
        nodes: how many components are at work, of a circuit of edges how many edges.
        components: of how many.
        ablation: what the others do.
        metric: what was measured.
        counted: ``"components"`` or ``"edges"``.
    """

    data: xr.Dataset
    nodes: int
    components: int
    ablation: str
    metric: str
    counted: str = "components"

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

    @checks.door(PatchError)
    def interval(
        self, level: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """An interval of ``recovered`` over pairs; NaN for one pair, and where all are alike.

        Raises:
            PatchError: no such interval.
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


def faithfulness(circuit: Circuit, *arguments: Any) -> Faithfulness:
    """See `Circuit.faithfulness`."""
    ablated = Ablated.of(circuit, *arguments)
    found = ablated.measure([None, Kept([*circuit.nodes]), Kept([])]).double().numpy()
    data = xr.Dataset(
        {name: ("pair", found[:, n]) for n, name in enumerate(("model", "circuit", "empty"))},
        {"pair": np.arange(len(found))},
    )
    return Faithfulness(
        data,
        len({one for site in circuit.nodes for one in ablated.single(site)}),
        len(ablated.components),
        ablated.ablation,
        ablated.metric.name,
    )


def completeness(circuit: Circuit, *arguments: Any) -> pd.DataFrame:
    """See `Circuit.completeness`."""
    *rest, subsets, seed = arguments
    ablated = Ablated.of(circuit, *rest)
    drawn = _subsets([*circuit.nodes], subsets, seed)
    rows: list[Kept | None] = []
    for removed in drawn:
        rows.append(Kept([s for s in circuit.nodes if s not in removed]))
        rows.append(Kept(ablated.components, removed))
    found = ablated.measure(rows).mean(0).tolist()
    return pd.DataFrame(
        {
            "removed": [", ".join(map(named, removed)) for removed in drawn],
            "circuit": found[::2],
            "model": found[1::2],
            "difference": [abs(a - b) for a, b in zip(found[::2], found[1::2], strict=True)],
        }
    )


def minimality(circuit: Circuit, *arguments: Any) -> pd.DataFrame:
    """See `Circuit.minimality`."""
    *rest, subsets, seed = arguments
    whole_number(subsets, "subsets", 0, 5, PatchError)
    ablated = Ablated.of(circuit, *rest)
    nodes = [*circuit.nodes]
    tried: list[tuple[Site, list[Site]]] = []
    generator = np.random.default_rng(seed)
    for node in nodes:
        others = [s for s in nodes if s != node]
        tried.append((node, []))
        for _ in range(subsets if others else 0):
            size = int(generator.integers(1, len(others) + 1))
            chosen = generator.permutation(len(others))[:size]
            tried.append((node, [others[i] for i in sorted(chosen.tolist())]))
    rows: list[Kept | None] = [None, Kept([])]
    for node, removed in tried:
        rows.append(Kept([s for s in nodes if s not in removed]))
        rows.append(Kept([s for s in nodes if s not in removed and s != node]))
    found: Tensor = ablated.measure(rows).mean(0)
    gap = float(found[0] - found[1])
    changes = (found[2::2] - found[3::2]).abs().tolist()
    lines = []
    for node in nodes:
        own = [(c, removed) for c, (v, removed) in zip(changes, tried, strict=True) if v == node]
        change, removed = max(own, key=lambda pair: pair[0])
        share = change / abs(gap) if gap else float("nan")
        lines.append((named(node), change, share, ", ".join(map(named, removed))))
    return pd.DataFrame(lines, columns=["node", "change", "share", "removed"])


def _subsets(nodes: list[Site], subsets: int, seed: int) -> list[list[Site]]:
    """The empty subset, and some that are drawn, of every size."""
    whole_number(subsets, "subsets", 0, 20, PatchError)
    generator = np.random.default_rng(seed)
    drawn: list[list[Site]] = [[]]
    for _ in range(subsets if nodes else 0):
        size = int(generator.integers(1, len(nodes) + 1))
        chosen = sorted(generator.permutation(len(nodes))[:size].tolist())
        drawn.append([nodes[i] for i in chosen])
    return drawn
