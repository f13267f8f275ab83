"""To and from the nodes and edges of TransformerLens' own attribution patching (4.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lensscope.backends import backend_of
from lensscope.circuits.scores import Faithfulness
from lensscope.errors import ModelError, PatchError
from lensscope.metrics import Subject, as_metric, checked
from lensscope.patching.pairing import pairs_of
from lensscope.patching.paths import LOGITS, Receiver
from lensscope.sites import Site

if TYPE_CHECKING:
    from lensscope.circuits.circuit import Circuit

_WRITERS: Final = {"embed": "embed", "head_out": "attn_head_out", "mlp_out": "mlp_out"}
_READERS: Final = {"q": "q_input", "k": "k_input", "v": "v_input", "mlp_out": "mlp_in"}


def _theirs() -> Any:
    try:
        from transformer_lens.tools.analysis import attribution_patching
    except ImportError as error:
        raise ModelError(
            "This TransformerLens has no attribution patching of its own.",
            got=str(error),
            expected="TransformerLens 4.x",
            instead="pip install 'transformer-lens>=4'",
        ) from error
    return attribution_patching


def to_transformer_lens(
    circuit: Circuit, n_positions: int
) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """See `Circuit.to_transformer_lens`."""
    theirs = _theirs()
    wrong = [s for s in circuit.nodes if s.kind not in _WRITERS]
    if wrong:
        raise PatchError(
            "TransformerLens' graph has no such nodes.",
            got=", ".join(map(repr, wrong[:4])),
            expected="head_out, mlp_out and embed",
            instead="a circuit of heads and MLPs",
        )

    def node(kind: str, site: Site, position: int) -> Any:
        return theirs.Node(kind=kind, position=position, layer=site.layer, head=site.head)

    def places(site: Site) -> list[int]:
        if site.position is None:
            return list(range(n_positions))
        if not isinstance(site.position, int):
            raise PatchError(
                "TransformerLens' nodes have positions by number.",
                got=repr(site),
                expected="a number, or no position for all of them",
                instead=f"{Site(site.kind, site.layer, site.head)!r}.at(3)",
            )
        return [site.position % n_positions]

    nodes = [node(_WRITERS[s.kind], s, p) for s in circuit.nodes for p in places(s)]
    edges = []
    n_layers = circuit.provenance.n_layers if circuit.provenance is not None else None
    for sender, receiver in circuit.edges:
        for p in range(n_positions):
            if isinstance(receiver, str):
                if n_layers is None:
                    raise PatchError(
                        "The layer of the logits is not known.",
                        got="a circuit without provenance",
                        expected="one that was made from a result",
                        instead="effect.circuit(top=10)",
                    )
                end = theirs.Node(kind="logits", position=p, layer=n_layers - 1)
            else:
                end = node(_READERS[receiver.kind], receiver, p)
            edges.append((node(_WRITERS[sender.kind], sender, p), end))
    return nodes, edges


def from_transformer_lens(found: Any) -> Circuit:
    """See `Circuit.from_transformer_lens`."""
    from lensscope.circuits.circuit import Circuit

    theirs = _theirs()
    if isinstance(found, theirs.AttributionResult):
        given: list[Any] = [(*pair, score) for pair, score in found.edge_scores.items()]
        given = given or list(found.node_scores.items())
    else:
        given = list(found.items()) if isinstance(found, dict) else list(found)
    writers = {theirs: ours for ours, theirs in _WRITERS.items()}
    readers = {theirs: ours for ours, theirs in _READERS.items()}
    nodes: dict[Site, float] = {}
    edges: dict[tuple[Site, Receiver], float] = {}
    for entry in given:
        *ends, score = entry
        if ends and isinstance(ends[0], tuple):
            ends = list(ends[0])
        if not ends or not all(isinstance(end, theirs.Node) for end in ends):
            raise PatchError(
                "These are not nodes or edges of TransformerLens with their scores.",
                got=repr(entry)[:200],
                expected="(node, score) or (writer, reader, score)",
                instead="Circuit.from_transformer_lens(result.top_edges(20))",
            )
        writer = Site(writers[ends[0].kind], ends[0].layer, ends[0].head)  # type: ignore[arg-type]
        at = writer if len(ends) > 1 else writer.at(ends[0].position)
        nodes[at] = nodes.get(at, 0.0) + score
        if len(ends) > 1:
            reader: Receiver = LOGITS
            if ends[1].kind != LOGITS:
                reader = Site(readers[ends[1].kind], ends[1].layer, ends[1].head)  # type: ignore[arg-type]
                end = Site("mlp_out", reader.layer)
                if reader.kind != "mlp_out":
                    end = Site("head_out", reader.layer, reader.head)
                nodes.setdefault(end, 0.0)
            edges[writer, reader] = edges.get((writer, reader), 0.0) + score
    return Circuit(nodes, edges, settings={"from": "TransformerLens"})


def edge_faithfulness(
    circuit: Circuit,
    model: Any,
    clean: Any,
    corrupted: Any,
    metric: Any,
    ablation: str,
    reference: Any,
    prepend_bos: bool | None,
) -> Faithfulness:
    """TransformerLens' faithfulness of the edges, pair by pair.

    Raises:
        ModelError: TransformerLens' measure does not fit this model, with its reason.
        PatchError: another ablation than that of the corrupted run.
    """
    theirs, backend = _theirs(), backend_of(model)
    if ablation != "corrupted" or reference is not None:
        raise PatchError(
            "Edges are ablated to the corrupted run.",
            got=f"edges=True, ablation={ablation!r}",
            expected='ablation="corrupted"',
            instead="circuit.faithfulness(…, edges=True)",
        )
    pairs = pairs_of(backend, clean, corrupted, prepend_bos)
    measured = as_metric(metric)
    rows = []
    total = 0
    for n, pair in enumerate(pairs):
        ids = [torch.tensor([p.ids], device=backend.device) for p in (pair.clean, pair.corrupted)]
        with torch.no_grad():
            logits = model(ids[0], return_type="logits")[0, -1]
        own = checked(measured.bind(Subject(backend, pair.clean, n, len(pairs), logits)), "")

        def scalar(logits: Tensor, own: Any = own) -> Tensor:
            return own(logits[:, -1:])[0]

        _, edges = to_transformer_lens(circuit, len(pair.clean))
        try:
            found = theirs.faithfulness(model, *ids, scalar, edges)
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                "TransformerLens cannot ablate edges here.",
                got=str(error),
                expected="a TransformerBridge without grouped queries, whose heads add up",
                instead="circuit.faithfulness(…) without edges=True, which ablates nodes",
            ) from error
        gap = found.full_metric - found.corrupt_metric
        middle = found.corrupt_metric + found.recovered * gap
        rows.append((found.full_metric, middle, found.corrupt_metric))
        total = found.total_edges
    values = np.array(rows)
    data = xr.Dataset(
        {name: ("pair", values[:, n]) for n, name in enumerate(("model", "circuit", "empty"))},
        {"pair": np.arange(len(values))},
    )
    _, edges = to_transformer_lens(circuit, len(pairs[0].clean))
    return Faithfulness(data, len(edges), total, "corrupted (edges)", measured.name)
