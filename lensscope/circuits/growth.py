"""Growing circuits by path patching, and finding the paths of one that is known."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lensscope.circuits.naming import COMPONENTS, check_heads, named, order_of
from lensscope.circuits.wiring import Edge, Wiring
from lensscope.effects.measuring import Direction
from lensscope.effects.numbers import mean_effect
from lensscope.effects.paths import measured_paths
from lensscope.effects.receivers import LOGITS, Receiver, precedes
from lensscope.effects.sweeping import How
from lensscope.engine.capture import as_sites
from lensscope.errors import CircuitError
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.values.positions import ALL
from lensscope.values.prompts import PromptsLike
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site, head_out, mlp_out


def ports(backend: Backend, node: Site) -> list[Receiver]:
    """Where a node takes in what others write."""
    if node.kind != "head_out":
        return [Site(node.kind, node.layer)]
    assert node.head is not None
    shared = node.head // (backend.n_heads // backend.n_kv_heads)
    heads = (("q", node.head), ("k", shared), ("v", shared))
    return [Site(kind, node.layer, head) for kind, head in heads]


@dataclass(frozen=True, eq=False)
class Asked:
    """Pairs, and how paths are measured on them; see `Circuit.grow`."""

    model: Any
    clean: PromptsLike
    corrupted: PromptsLike
    metric: Any
    direction: Direction
    mlps: Literal["frozen", "live"]
    prepend_bos: bool | None


def path_effects(
    asked: Asked, senders: Sequence[Site], receivers: Sequence[Receiver]
) -> dict[Edge, float]:
    """The effect of each path from a sender straight to a receiver, over all pairs."""
    backend = backend_of(asked.model)
    several = [r for r in receivers if any(precedes(backend, sender, r) for sender in senders)]
    if not several:
        return {}
    how = How(asked.direction, ALL, prepend_bos=asked.prepend_bos)
    given = (asked.model, asked.clean, asked.corrupted)
    found = measured_paths(*given, senders, several, asked.metric, how, asked.mlps)
    mean = mean_effect(found.data, asked.direction)
    effects: dict[Edge, float] = {}
    for sender in senders:
        where: dict[str, Any] = {
            "site": sender.kind,
            "layer": -1 if sender.layer is None else sender.layer,
            "head": -1 if sender.head is None else sender.head,
        }
        own = mean.sel({name: value for name, value in where.items() if name in mean.dims})
        for receiver in several:
            value = own.sel(receiver=named(receiver)).item()
            if np.isfinite(value):
                effects[sender, receiver] = value
    return effects


def grown(asked: Asked, threshold: float, max_nodes: int, senders: Any) -> Wiring:
    """See `Circuit.grow`."""
    backend = backend_of(asked.model)
    candidates = _components(backend, [head_out, mlp_out] if senders is None else senders)
    nodes: dict[Site, float] = {}
    edges: dict[Edge, float] = {}
    tried: set[Receiver] = set()
    front: list[Receiver] = [LOGITS]
    while front:
        tried |= set(front)
        with warnings.catch_warnings():
            if nodes:  # of clean runs that do not prefer their answers: said once
                warnings.simplefilter("ignore")
            found = path_effects(asked, candidates, front)
        strong = sorted(found.items(), key=lambda item: -abs(item[1]))
        front = []
        for (sender, receiver), effect in strong:
            if abs(effect) < threshold or (sender not in nodes and len(nodes) >= max_nodes):
                continue
            edges[sender, receiver] = effect
            nodes[sender] = nodes.get(sender, 0.0) + effect
            front += [p for p in ports(backend, sender) if p not in tried and p not in front]
    if not nodes:
        raise CircuitError(
            "Nothing reaches the logits with such an effect.",
            got=f"threshold={threshold}",
            expected="a smaller threshold, or a metric that tells the two runs apart",
            instead="threshold=0.01",
        )
    settings = {"grown": True, "threshold": threshold, "max_nodes": max_nodes}
    told = {"direction": asked.direction, "mlps": asked.mlps}
    kinds = tuple(k for k in COMPONENTS if any(site.kind == k for site in candidates))
    return Wiring(nodes, edges, kinds, backend.provenance(), {**settings, **told})


def paths_between(
    circuit: Wiring, asked: Asked, threshold: float
) -> tuple[dict[Edge, float], Provenance]:
    """The paths between the nodes, and the model that they are of; see `Circuit.connected`."""
    backend = backend_of(asked.model)
    circuit.check_basis(backend.provenance())
    check_heads(circuit.nodes)
    nodes = sorted({Site(s.kind, s.layer, s.head) for s in circuit.nodes}, key=order_of)
    receivers: dict[Receiver, None] = {LOGITS: None}
    for node in nodes:
        receivers |= dict.fromkeys(ports(backend, node) if node.kind != "embed" else [])
    found = path_effects(asked, nodes, list(receivers))
    edges = {edge: effect for edge, effect in found.items() if abs(effect) >= threshold}
    return edges, circuit.provenance or backend.provenance()


def _components(backend: Backend, senders: Any) -> list[Site]:
    """Each sender by itself.

    Raises:
        CircuitError: no senders.
    """
    found: dict[Site, None] = {}
    for one in as_sites(senders, backend.n_layers):
        for site in backend.concrete(one):
            each = backend.each_head(site) if site.kind == "head_out" else [site]
            found |= {Site(own.kind, own.layer, own.head): None for own in each}
    if not found:
        raise CircuitError(
            "There are no senders.",
            got="an empty list",
            expected="at least one site",
            instead="senders=[ls.head_out, ls.mlp_out]",
        )
    return list(found)
