"""To and from the nodes and edges of TransformerLens' own attribution patching (4.x)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from lensscope import checks
from lensscope.checks import several
from lensscope.circuits.faithfulness import Faithfulness, faithfulness_of
from lensscope.circuits.wiring import Wiring
from lensscope.effects.answers import Case
from lensscope.effects.metrics import as_metric, checked
from lensscope.effects.pairing import check_pairs, groups_of, pairs_of
from lensscope.effects.receivers import LOGITS, Receiver
from lensscope.errors import CircuitError, LensscopeError, ModelError
from lensscope.model.classes import backend_of
from lensscope.values.sites import Site

_WRITERS: Final = {"embed": "embed", "head_out": "attn_head_out", "mlp_out": "mlp_out"}
_READERS: Final = {"q": "q_input", "k": "k_input", "v": "v_input", "mlp_out": "mlp_in"}
_INSTEAD: Final = "Circuit.from_transformer_lens(result.top_edges(20))"


def _theirs(edges: bool = False) -> Any:
    """TransformerLens' attribution patching; before 4.0 it has no edges.

    Raises:
        ModelError: TransformerLens lacks it.
    """
    lacking = "no edges in transformer_lens.tools.analysis.attribution_patching"
    try:
        from transformer_lens.tools.analysis import attribution_patching
    except ImportError as error:
        lacking = str(error)
    else:
        if not edges or hasattr(attribution_patching, "faithfulness"):
            return attribution_patching
    raise ModelError(
        "This TransformerLens has no attribution patching of its own that does this.",
        got=lacking,
        expected="TransformerLens 4.x",
        instead="pip install 'transformer-lens>=4'",
    )


@checks.door(CircuitError, n_positions=checks.whole(1, checks.LONGEST, 8))
def to_transformer_lens(
    circuit: Wiring, n_positions: int
) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """Nodes and edges of TransformerLens' ``attribution_patching``, for each of so many
    positions where a node has none of its own.

    Raises:
        ModelError: TransformerLens lacks them: it has edges from 4.0 on.
        CircuitError: nodes that its graph does not have.
    """
    return _to_theirs(circuit, n_positions)


def _to_theirs(
    circuit: Wiring, n_positions: int, n_layers: int | None = None
) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """The same; ``n_layers``, if the circuit does not know."""
    theirs = _theirs(edges=bool(circuit.edges))
    wrong = [s for s in circuit.nodes if s.kind not in _WRITERS]
    if wrong:
        raise CircuitError(
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
        where = site.position
        if not isinstance(where, int) or not -n_positions <= where < n_positions:
            raise CircuitError(
                "TransformerLens' nodes have positions by number.",
                got=f"{site!r} of {n_positions} positions",
                expected=f"{-n_positions} to {n_positions - 1}, or no position for all of them",
                instead=f"{Site(site.kind, site.layer, site.head)!r}.at(-1)",
            )
        return [where % n_positions]

    nodes = [node(_WRITERS[s.kind], s, p) for s in circuit.nodes for p in places(s)]
    edges = []
    if circuit.provenance is not None:
        n_layers = circuit.provenance.n_layers
    n_layers = n_layers or circuit.settings.get("n_layers")
    for sender, receiver in circuit.edges:
        for p in range(n_positions):
            if isinstance(receiver, str):
                if not n_layers:
                    raise CircuitError(
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


def from_transformer_lens(found: Any) -> Wiring:
    """See `Circuit.from_transformer_lens`."""
    theirs = _theirs()
    if isinstance(found, theirs.AttributionResult):
        given: list[Any] = [(*pair, score) for pair, score in found.edge_scores.items()]
        given = given or list(found.node_scores.items())
    else:
        held = list(found.items()) if isinstance(found, dict) else found
        given = several(held, "nodes or edges with scores", _INSTEAD, CircuitError)
    writers = {theirs: ours for ours, theirs in _WRITERS.items()}
    readers = {theirs: ours for ours, theirs in _READERS.items()}
    nodes: dict[Site, float] = {}
    edges: dict[tuple[Site, Receiver], float] = {}
    settings: dict[str, Any] = {"from": "TransformerLens"}
    for entry in given:
        *ends, score = entry if isinstance(entry, tuple) else (entry,)
        if ends and isinstance(ends[0], tuple):
            ends = list(ends[0])
        kinds = [end.kind if isinstance(end, theirs.Node) else None for end in ends]
        known = [writers, {**readers, LOGITS: LOGITS}][: len(kinds)]
        if not 1 <= len(kinds) <= 2 or any(k not in of for k, of in zip(kinds, known, strict=True)):
            raise CircuitError(
                "These are not nodes or edges of TransformerLens with their scores.",
                got=repr(entry)[:200],
                expected="(node, score) or (writer, reader, score)",
                instead=_INSTEAD,
            )
        writer = Site(writers[ends[0].kind], ends[0].layer, ends[0].head)
        at = writer if len(ends) > 1 else writer.at(ends[0].position)
        nodes[at] = nodes.get(at, 0.0) + score
        if len(ends) > 1:
            reader: Receiver = LOGITS
            if ends[1].kind == LOGITS:
                settings["n_layers"] = ends[1].layer + 1
            else:
                reader = Site(readers[ends[1].kind], ends[1].layer, ends[1].head)
                end = Site("mlp_out", reader.layer)
                if reader.kind != "mlp_out":
                    end = Site("head_out", reader.layer, reader.head)
                nodes.setdefault(end, 0.0)
            edges[writer, reader] = edges.get((writer, reader), 0.0) + score
    return Wiring(nodes, edges, settings=settings)


def edge_faithfulness(
    circuit: Wiring,
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
        CircuitError: another ablation than that of the corrupted run, or no edges.
        BasisError: a circuit of another model.
    """
    backend = backend_of(model)
    circuit.check_basis(backend.provenance())
    if not circuit.edges:
        raise CircuitError(
            "This circuit has no edges to keep.",
            got=circuit.title,
            expected="edges from Circuit.grow, ls.path_patching or connected",
            instead="circuit.connected(…).faithfulness(…, edges=True)",
        )
    if ablation != "corrupted" or reference is not None:
        raise CircuitError(
            "Edges are ablated to the corrupted run.",
            got=f"edges=True, ablation={ablation!r}",
            expected='ablation="corrupted"',
            instead="circuit.faithfulness(…, edges=True)",
        )
    theirs = _theirs(edges=True)
    pairs = pairs_of(backend, clean, corrupted, prepend_bos)
    check_pairs(pairs)
    groups_of(pairs, None)  # refused unless they are aligned
    measured = as_metric(metric)
    rows = []
    kept = total = 0
    for n, pair in enumerate(pairs):
        ids = [torch.tensor([p.ids], device=backend.device) for p in (pair.clean, pair.corrupted)]
        with torch.no_grad():
            logits = model(ids[0], return_type="logits")[0, -1]
        own = checked(
            measured.bind(Case(backend, pair.clean, n, len(pairs), logits)), measured.name
        )

        def scalar(logits: Tensor, own: Any = own) -> Tensor:
            return own(logits[:, -1:])[0]

        _, edges = _to_theirs(circuit, len(pair.clean), backend.n_layers)
        try:
            found = theirs.faithfulness(model, *ids, scalar, edges)
        except LensscopeError:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                "TransformerLens cannot ablate edges here.",
                got=str(error),
                expected="a TransformerBridge without grouped queries, whose heads add up, and "
                "pairs whose two runs differ",
                instead="circuit.faithfulness(…) without edges=True, which ablates nodes",
            ) from error
        gap = found.full_metric - found.corrupt_metric
        middle = found.corrupt_metric + found.recovered * gap
        rows.append((found.full_metric, middle, found.corrupt_metric))
        kept, total = found.circuit_size, found.total_edges
    return faithfulness_of(
        np.array(rows),
        kept,
        total,
        ablation,
        measured.name,
        backend.provenance(),
        list(circuit.edges),
        "edges",
    )
