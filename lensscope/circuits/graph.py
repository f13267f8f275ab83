"""Circuits as graphs of networkx."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lensscope import checks
from lensscope.circuits.naming import named, owner
from lensscope.circuits.wiring import Wiring
from lensscope.effects.receivers import LOGITS
from lensscope.errors import CircuitError
from lensscope.show.showing import written
from lensscope.signs import without_control

if TYPE_CHECKING:
    import networkx as nx


_PORTS: Final = ("q", "k", "v", "in")


def to_networkx(circuit: Wiring) -> nx.DiGraph:
    """A directed graph: nodes by name with kind, layer, head, effect, words and whether
    the effect is ``estimated``; edges from
    writer to reader with effect and what is read (``q``, ``k``, ``v``, ``in``)."""
    import networkx as nx

    graph: nx.DiGraph = nx.DiGraph()
    by_whole: dict[str, list[str]] = {}
    estimated = circuit.estimated
    for site, effect in circuit.nodes.items():
        known: dict[str, Any] = {"kind": site.kind, "layer": site.layer, "head": site.head}
        known |= {"position": None if site.position is None else str(site.position)}
        known |= {"effect": effect, "words": circuit.words.get(site)}
        known |= {"estimated": True if site in estimated else None}
        graph.add_node(named(site), **{k: v for k, v in known.items() if v is not None})
        plain = named(site).split(".at(")[0]
        by_whole.setdefault(plain, []).append(named(site))
    for (sender, receiver), effect in circuit.edges.items():
        if receiver == LOGITS:
            graph.add_node(LOGITS, kind=LOGITS)
        port = "in" if isinstance(receiver, str) or receiver.kind == "mlp_out" else receiver.kind
        for end in owner(receiver, circuit.queries_a_key):
            for start in by_whole[named(sender)]:
                for stop in [LOGITS] if end == LOGITS else by_whole.get(named(end), []):
                    held = graph.get_edge_data(start, stop, {"effect": 0.0, "reads": ""})
                    ports = {*held["reads"].split(","), port}
                    reads = ",".join(one for one in _PORTS if one in ports)
                    sums = {name: held.get(name, 0.0) + effect for name in ("effect", port)}
                    graph.add_edge(start, stop, reads=reads, **sums)
    return graph


@checks.door(CircuitError)
def to_graphml(circuit: Wiring, path: str | Path | None = None) -> str:
    """The graph as GraphML; written to ``path`` if there is one."""
    import networkx as nx

    graph = to_networkx(circuit)
    for _, held in graph.nodes(data=True):
        held |= {k: without_control(v) for k, v in held.items() if isinstance(v, str)}
    return written("\n".join(nx.generate_graphml(graph)) + "\n", path)
