"""Circuits from what patching found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lensscope.circuits.circuit import Circuit
from lensscope.circuits.naming import COMPONENTS, NODES, named, owner, site_named
from lensscope.circuits.wiring import ESTIMATED
from lensscope.effects.grid import NONE
from lensscope.effects.receivers import Receiver
from lensscope.errors import CircuitError
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site


def circuit_of(
    effects: pd.DataFrame,
    settings: Mapping[str, Any],
    provenance: Provenance,
    top: int | None,
    threshold: float | None,
) -> Circuit:
    """The components, or paths, of the largest effects.

    Args:
        effects: one line a cell, the largest first: ``site`` and ``effect``, and of ``layer``,
            ``head``, ``position`` and ``receiver`` what the cells have; with ``estimated``, whether
            an effect is an estimate.
        settings: how they were measured.
        provenance: of the model.
        top: so many of them.
        threshold: or all of at least this size.

    Raises:
        CircuitError: both or neither, or nothing that is left.
    """
    if (top is None) == (threshold is None):
        raise CircuitError(
            "A circuit is of so many components, or of all above a threshold.",
            got=f"top={top}, threshold={threshold}",
            expected="one of the two",
            instead="effect.circuit(top=10)",
        )
    if settings.get("window", 1) > 1:
        raise CircuitError(
            "Layers that were patched together are not told apart.",
            got=f"window={settings['window']}",
            expected="an effect for each layer",
            instead="window=1",
        )
    found = effects.head(top) if top is not None else effects[effects["effect"].abs() >= threshold]
    if not len(found):
        raise CircuitError(
            "No effect is that large.",
            got=f"threshold={threshold}, {len(effects)} effects",
            expected="a smaller threshold, or a metric that tells the two runs apart",
            instead="effect.circuit(top=10)",
        )
    nodes: dict[Site, float] = {}
    edges: dict[tuple[Site, Receiver], float] = {}
    estimated: list[str] = []
    for row in found.to_dict("records"):
        site = _site(row)
        if "receiver" not in row:
            nodes[site] = row["effect"]
            estimated += [named(site)] if row.get(ESTIMATED) else []
            continue
        receiver = _receiver(settings, str(row["receiver"]))
        nodes[site] = nodes.get(site, 0.0) + row["effect"]
        edges[site, receiver] = row["effect"]
        for end in owner(receiver, provenance.n_heads // provenance.n_kv_heads):
            if isinstance(end, Site):
                nodes.setdefault(end, 0.0)
    looked_at = {*settings["sites"], *(site.kind for site in nodes)}
    kinds = tuple(kind for kind in COMPONENTS if kind in looked_at)
    told = {**settings, "top": top, "threshold": threshold}
    told |= {ESTIMATED: estimated} if ESTIMATED in effects else {}
    return Circuit(nodes, edges, kinds, provenance, told)


def _site(row: dict[Any, Any]) -> Site:
    kind = row["site"]
    numbers = [row.get(name, NONE) for name in ("layer", "head")]
    site = Site(kind, *(None if n == NONE else int(n) for n in numbers))
    if kind not in NODES:
        raise CircuitError(
            "Only what writes into the residual stream is a node of a circuit.",
            got=kind,
            expected="one of " + ", ".join(NODES),
            instead="sites=[ls.head_out, ls.mlp_out], or ls.path_patching for what a head reads",
        )
    position = row.get("position")
    return site if position is None else site.at(position)


def _receiver(settings: Mapping[str, Any], label: str) -> Receiver:
    """The one receiver of a label.

    Raises:
        CircuitError: several, which saw the sender together.
    """
    names = settings["receivers"][label]
    if len(names) > 1:
        raise CircuitError(
            "Receivers that saw a sender together are not told apart.",
            got=f"{label!r}: {', '.join(names[:4])}",
            expected="an effect for each receiver",
            instead=f"receivers=[{', '.join(f'ls.{name}' for name in names[:2])}, …]",
        )
    return site_named(names[0])
