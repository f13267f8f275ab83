"""Circuits from what patching found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lensscope.circuits.circuit import Circuit
from lensscope.circuits.naming import COMPONENTS, NODES, owner, site_named
from lensscope.effects.grid import NONE
from lensscope.effects.receivers import Receiver
from lensscope.errors import PatchError
from lensscope.lenses.checks import number, whole_number
from lensscope.values.sites import Site

if TYPE_CHECKING:
    from lensscope.patching.result import PatchingResult


def circuit_of(result: PatchingResult, top: int | None, threshold: float | None) -> Circuit:
    """See `PatchingResult.circuit`."""
    if (top is None) == (threshold is None):
        raise PatchError(
            "A circuit is of so many components, or of all above a threshold.",
            got=f"top={top}, threshold={threshold}",
            expected="one of the two",
            instead="effect.circuit(top=10)",
        )
    if result.settings.get("window", 1) > 1:
        raise PatchError(
            "Layers that were patched together are not told apart.",
            got=f"window={result.settings['window']}",
            expected="an effect for each layer",
            instead="window=1",
        )
    found = result.mean()["effect"].to_dataframe()[["effect"]].reset_index().dropna()
    found = found.reindex(found["effect"].abs().sort_values(ascending=False, kind="stable").index)
    if top is not None:
        top = whole_number(top, "top", 1, 10, PatchError)
        found = found.head(top)
    else:
        threshold = number(threshold, "threshold", 0, 0.05, PatchError)
        found = found[found["effect"].abs() >= threshold]
    if not len(found):
        raise PatchError(
            "No effect is that large.",
            got=f"threshold={threshold}, {int(result.data['effect'].notnull().sum())} effects",
            expected="a smaller threshold, or a metric that tells the two runs apart",
            instead="effect.circuit(top=10)",
        )
    nodes: dict[Site, float] = {}
    edges: dict[tuple[Site, Receiver], float] = {}
    known = result.provenance
    for row in found.to_dict("records"):
        site = _site(result, row)
        if "receiver" not in row:
            nodes[site] = row["effect"]
            continue
        receiver = _receiver(result, str(row["receiver"]))
        nodes[site] = nodes.get(site, 0.0) + row["effect"]
        edges[site, receiver] = row["effect"]
        for end in owner(receiver, known.n_heads // known.n_kv_heads):
            if isinstance(end, Site):
                nodes.setdefault(end, 0.0)
    looked_at = {*result.settings["sites"], *(site.kind for site in nodes)}
    kinds = tuple(kind for kind in COMPONENTS if kind in looked_at)
    settings = {**result.settings, "top": top, "threshold": threshold}
    return Circuit(nodes, edges, kinds, known, settings)


def _site(result: PatchingResult, row: dict[Any, Any]) -> Site:
    kind = row["site"] if "site" in row else result.data.coords["site"].item()
    numbers = [row.get(name, NONE) for name in ("layer", "head")]
    site = Site(kind, *(None if n == NONE else int(n) for n in numbers))
    if kind not in NODES:
        raise PatchError(
            "Only what writes into the residual stream is a node of a circuit.",
            got=kind,
            expected="one of " + ", ".join(NODES),
            instead="sites=[ls.head_out, ls.mlp_out], or ls.path_patching for what a head reads",
        )
    position = row.get("position")
    return site if position is None else site.at(position)


def _receiver(result: PatchingResult, label: str) -> Receiver:
    """The one receiver of a label.

    Raises:
        PatchError: several, which saw the sender together.
    """
    names = result.settings["receivers"][label]
    if len(names) > 1:
        raise PatchError(
            "Receivers that saw a sender together are not told apart.",
            got=f"{label!r}: {', '.join(names[:4])}",
            expected="an effect for each receiver",
            instead=f"receivers=[{', '.join(f'ls.{name}' for name in names[:2])}, …]",
        )
    return site_named(names[0])
