"""Growing circuits by path patching, and finding the paths of one that is known."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lensscope.circuits.naming import ANYWAY, COMPONENTS, check_heads, named, order_of
from lensscope.effects.receivers import LOGITS, Receiver, precedes
from lensscope.engine.capture import as_sites
from lensscope.errors import PatchError
from lensscope.lenses.checks import number, whole_number
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.patching.paths import path_patching
from lensscope.values.sites import Site, head_out, mlp_out

if TYPE_CHECKING:
    from lensscope.circuits.circuit import Circuit


def ports(backend: Backend, node: Site) -> list[Receiver]:
    """Where a node takes in what others write."""
    if node.kind != "head_out":
        return [Site(node.kind, node.layer)]
    assert node.head is not None
    shared = node.head // (backend.n_heads // backend.n_kv_heads)
    heads = (("q", node.head), ("k", shared), ("v", shared))
    return [Site(kind, node.layer, head) for kind, head in heads]  # type: ignore[arg-type]


def path_effects(
    model: Any,
    clean: Any,
    corrupted: Any,
    metric: Any,
    senders: Sequence[Site],
    receivers: Sequence[Receiver],
    **options: Any,
) -> dict[tuple[Site, Receiver], float]:
    """The effect of each path from a sender straight to a receiver, over all pairs."""
    backend = backend_of(model)
    several = [r for r in receivers if any(precedes(backend, sender, r) for sender in senders)]
    if not several:
        return {}
    found = path_patching(model, clean, corrupted, senders, several, metric, **options)
    mean = found.mean()["effect"]
    effects: dict[tuple[Site, Receiver], float] = {}
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


def grown(
    model: Any,
    clean: Any,
    corrupted: Any,
    metric: Any,
    threshold: float,
    max_nodes: int,
    senders: Any,
    direction: str,
    mlps: str,
    prepend_bos: bool | None,
) -> Circuit:
    """See `Circuit.grow`."""
    from lensscope.circuits.circuit import Circuit

    backend = backend_of(model)
    least = number(threshold, "threshold", 0, 0.05, PatchError)
    most = whole_number(max_nodes, "max_nodes", 1, 30, PatchError)
    candidates = _components(backend, [head_out, mlp_out] if senders is None else senders)
    options = {"direction": direction, "mlps": mlps, "prepend_bos": prepend_bos}
    nodes: dict[Site, float] = {}
    edges: dict[tuple[Site, Receiver], float] = {}
    tried: set[Receiver] = set()
    front: list[Receiver] = [LOGITS]
    while front:
        tried |= set(front)
        with warnings.catch_warnings():
            if nodes:  # of clean runs that do not prefer their answers: said once
                warnings.simplefilter("ignore")
            found = path_effects(model, clean, corrupted, metric, candidates, front, **options)
        strong = sorted(found.items(), key=lambda item: -abs(item[1]))
        front = []
        for (sender, receiver), effect in strong:
            if abs(effect) < least or (sender not in nodes and len(nodes) >= most):
                continue
            edges[sender, receiver] = effect
            nodes[sender] = nodes.get(sender, 0.0) + effect
            front += [p for p in ports(backend, sender) if p not in tried and p not in front]
    if not nodes:
        raise PatchError(
            "Nothing reaches the logits with such an effect.",
            got=f"threshold={threshold}",
            expected="a smaller threshold, or a metric that tells the two runs apart",
            instead="threshold=0.01",
        )
    settings = {"grown": True, "threshold": least, "max_nodes": most, "direction": direction}
    kinds = tuple(k for k in COMPONENTS if any(site.kind == k for site in candidates))
    return Circuit(nodes, edges, kinds, backend.provenance(), {**settings, "mlps": mlps})


def connected(
    circuit: Circuit,
    model: Any,
    clean: Any,
    corrupted: Any,
    metric: Any,
    threshold: float,
    direction: str,
    mlps: str,
    prepend_bos: bool | None,
) -> Circuit:
    """See `Circuit.connected`."""
    from dataclasses import replace

    backend = backend_of(model)
    if circuit.provenance is not None:
        circuit.provenance.check_basis(backend.provenance(), "The circuit", ANYWAY)
    check_heads(circuit.nodes)
    number(threshold, "threshold", 0, 0.01, PatchError)
    nodes = sorted({Site(s.kind, s.layer, s.head) for s in circuit.nodes}, key=order_of)
    receivers: dict[Receiver, None] = {LOGITS: None}
    for node in nodes:
        receivers |= dict.fromkeys(ports(backend, node) if node.kind != "embed" else [])
    options = {"direction": direction, "mlps": mlps, "prepend_bos": prepend_bos}
    found: Mapping[tuple[Site, Receiver], float] = path_effects(
        model, clean, corrupted, metric, nodes, list(receivers), **options
    )
    edges = {edge: effect for edge, effect in found.items() if abs(effect) >= threshold}
    known = circuit.provenance or backend.provenance()
    return replace(circuit, edges=edges, provenance=known)


def _components(backend: Backend, senders: Any) -> list[Site]:
    """Each sender by itself.

    Raises:
        PatchError: no senders.
    """
    found: dict[Site, None] = {}
    for one in as_sites(senders):
        for site in backend.concrete(one):
            heads: Sequence[int | None] = [site.head]
            if site.kind == "head_out" and site.head is None:
                heads = range(backend.n_heads)
            found |= {Site(site.kind, site.layer, head): None for head in heads}
    if not found:
        raise PatchError(
            "There are no senders.",
            got="an empty list",
            expected="at least one site",
            instead="senders=[ls.head_out, ls.mlp_out]",
        )
    return list(found)
