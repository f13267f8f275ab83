"""Faithfulness, completeness and minimality of a circuit (Wang et al. 2022, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from lensscope import checks
from lensscope.circuits.ablation import Ablated, Ablation, Kept
from lensscope.circuits.faithfulness import Faithfulness, faithfulness_of
from lensscope.circuits.naming import named
from lensscope.circuits.transformer_lens import edge_faithfulness
from lensscope.circuits.wiring import Wiring
from lensscope.errors import CircuitError
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Site


@checks.door(CircuitError, positions=checks.named)
def faithfulness(
    circuit: Wiring,
    model: Any,
    clean: PromptsLike,
    corrupted: PromptsLike,
    metric: Any,
    *,
    ablation: Ablation = "corrupted",
    reference: PromptsLike | None = None,
    positions: Mapping[str, Any] | None = None,
    edges: bool = False,
    prepend_bos: bool | None = None,
) -> Faithfulness:
    """How much of the clean run's metric is left with everything outside the circuit ablated.

    ``F(M)`` is the metric of the whole model on clean prompts, ``F(C)`` with everything outside
    ablated. ``difference`` is ``|F(M) - F(C)|`` (Wang et al. 2022, section 4); ``recovered``,
    its share of what ablating everything takes, is not theirs. They ablate by means over other
    prompts, ``ablation="mean"``; the default takes the corrupted run.

    Args:
        model: the model.
        clean: a prompt, or a list of them.
        corrupted: as many, each as long as its partner.
        metric: as in `activation_patching`.
        ablation: what is outside becomes what it is in the ``"corrupted"`` run, or its
            ``"mean"`` over prompts, token by token.
        reference: the prompts of that mean; the corrupted ones by default, all equally long.
        positions: named tokens, if nodes have such names.
        edges: ablate every edge outside, not every node, with TransformerLens' own measure
            (4.x, without grouped queries), at all tokens; only the ``"corrupted"`` run.
        prepend_bos: ``None`` follows the model's own default.

    Raises:
        SiteError: nodes that cannot be ablated (only heads, attentions and MLPs can).
        PositionError: names of tokens that ``positions`` does not give.
        BasisError: a circuit of another model.
        PromptError, PlanError, ModelError: see `activation_patching`.

    Example:
        >>> circuit = ls.Circuit({ls.mlp_out(n): 1.0 for n in range(30)}, kinds=("mlp_out",))
        >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
        >>> metric = ls.logit_difference(" Tokyo", " Rome")
        >>> circuit.faithfulness(model, *pair, metric).recovered
        1.0
    """
    if edges:
        if positions is not None:
            raise CircuitError(
                "Edges are kept or ablated at all tokens.",
                got="edges=True with positions=",
                expected="one without the other",
                instead="circuit.faithfulness(…, edges=True)",
            )
        return edge_faithfulness(
            circuit, model, clean, corrupted, metric, ablation, reference, prepend_bos
        )
    ablated = Ablated.of(
        circuit, model, clean, corrupted, metric, ablation, reference, positions, prepend_bos
    )
    found = ablated.measure([None, Kept([*circuit.nodes]), Kept([])]).double().numpy()
    return faithfulness_of(
        found,
        len({one for site in circuit.nodes for one in ablated.single(site)}),
        len(ablated.components),
        ablated.ablation,
        ablated.metric.name,
        ablated.backend.provenance(),
        list(circuit.nodes),
    )


@checks.door(CircuitError, positions=checks.named)
def completeness(
    circuit: Wiring,
    model: Any,
    clean: PromptsLike,
    corrupted: PromptsLike,
    metric: Any,
    *,
    subsets: int = 20,
    seed: int = 0,
    ablation: Ablation = "corrupted",
    reference: PromptsLike | None = None,
    positions: Mapping[str, Any] | None = None,
    prepend_bos: bool | None = None,
) -> pd.DataFrame:
    """Whether the circuit without some nodes does what the model without them does.

    For subsets ``K`` of the circuit, ``|F(C \\ K) - F(M \\ K)|`` is small if nothing outside
    stands in for ``K`` (Wang et al. 2022, section 4.1, who also search for the worst ``K`` and
    ablate by means; these are drawn, and the default ablation is the corrupted run).

    Args:
        model: the model.
        clean: as in `faithfulness`.
        corrupted: as there.
        metric: as there.
        subsets: so many are drawn, of every size; the empty one comes first.
        seed: of the draws.
        ablation: as there.
        reference: as there.
        positions: as there.
        prepend_bos: as there.

    Returns:
        One line a subset: ``removed`` (its nodes), ``circuit``, ``model`` (the metric of each
        without them, averaged over pairs) and ``difference``.
    """
    ablated = Ablated.of(
        circuit, model, clean, corrupted, metric, ablation, reference, positions, prepend_bos
    )
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


@checks.door(CircuitError, positions=checks.named)
def minimality(
    circuit: Wiring,
    model: Any,
    clean: PromptsLike,
    corrupted: PromptsLike,
    metric: Any,
    *,
    subsets: int = 5,
    seed: int = 0,
    ablation: Ablation = "corrupted",
    reference: PromptsLike | None = None,
    positions: Mapping[str, Any] | None = None,
    prepend_bos: bool | None = None,
) -> pd.DataFrame:
    """Whether each node makes a difference.

    For each node ``v``, ``|F(C \\ (K ∪ {v})) - F(C \\ K)|`` is large for some subset ``K``
    (Wang et al. 2022, section 4.2, who choose ``K`` by hand and ablate by means). The largest
    over the empty subset and some that are drawn is given: a lower bound. The default ablation
    is the corrupted run.

    Args:
        model: the model.
        clean: as in `faithfulness`.
        corrupted: as there.
        metric: as there.
        subsets: so many are drawn for each node, besides the empty one.
        seed: of the draws.
        ablation: as there.
        reference: as there.
        positions: as there.
        prepend_bos: as there.

    Returns:
        One line a node: ``node``, ``change``, its ``share`` of ``F(M) - F(empty)``, and
        ``removed``, the subset that it was largest for.
    """
    ablated = Ablated.of(
        circuit, model, clean, corrupted, metric, ablation, reference, positions, prepend_bos
    )
    nodes = [*circuit.nodes]
    tried: list[tuple[Site, list[Site]]] = []
    generator = np.random.default_rng(seed)
    for node in nodes:
        others = [s for s in nodes if s != node]
        tried.append((node, []))
        for _ in range(subsets if others else 0):
            tried.append((node, _some(others, generator)))
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
    generator = np.random.default_rng(seed)
    drawn: list[list[Site]] = [[]]
    return drawn + [_some(nodes, generator) for _ in range(subsets if nodes else 0)]


def _some(nodes: list[Site], generator: np.random.Generator) -> list[Site]:
    size = int(generator.integers(1, len(nodes) + 1))
    return [nodes[i] for i in sorted(generator.permutation(len(nodes))[:size].tolist())]
