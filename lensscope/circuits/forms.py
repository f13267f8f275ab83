"""Circuits in other forms: a frame, a graph, JSON, TransformerLens' own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pandas as pd

from lensscope import checks
from lensscope.circuits.naming import named, site_named
from lensscope.errors import PatchError
from lensscope.show.showing import written
from lensscope.signs import without_control
from lensscope.store.json_text import SEAL, check_seal, conform, json_text, read_json, sealed
from lensscope.values.provenance import HEADER as PROVENANCE
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site

if TYPE_CHECKING:
    import networkx as nx

    from lensscope.circuits.circuit import Circuit

_HELD: Final = {
    "nodes": [{"node": str, "effect": (int, float), "words?": (str, None)}],
    "edges": [{"sender": str, "receiver": str, "effect": (int, float)}],
    "kinds": [str],
    "settings": dict,
    "provenance?": (dict, None),
}


class Formed:
    """What a circuit can become, and be made of."""

    @property
    def _circuit(self) -> Circuit:
        return cast("Circuit", self)

    def frame(self) -> pd.DataFrame:
        """One line a node or edge: ``sender``, ``receiver`` (of edges), ``effect``, ``words``."""
        rows: list[tuple[str, str | None, float, str | None]]
        rows = [
            (named(s), None, e, self._circuit.words.get(s)) for s, e in self._circuit.nodes.items()
        ]
        rows += [(named(s), named(r), e, None) for (s, r), e in self._circuit.edges.items()]
        return pd.DataFrame(rows, columns=["sender", "receiver", "effect", "words"])

    def to_networkx(self) -> nx.DiGraph:
        """A directed graph: nodes by name with kind, layer, head, effect and words; edges from
        writer to reader with effect and what is read (``q``, ``k``, ``v``, ``in``)."""
        from lensscope.circuits.graph import to_networkx

        return to_networkx(self._circuit)

    @checks.door(PatchError)
    def to_graphml(self, path: str | Path | None = None) -> str:
        """The graph as GraphML; written to ``path`` if there is one."""
        import networkx as nx

        graph = self.to_networkx()
        for _, held in graph.nodes(data=True):
            held |= {k: without_control(v) for k, v in held.items() if isinstance(v, str)}
        return written("\n".join(nx.generate_graphml(graph)) + "\n", path)

    @classmethod
    def from_json(cls, text: str | Path) -> Circuit:
        """A circuit from what `to_json` gave: the text, or the path of a file.

        Raises:
            PatchError: neither.
        """
        try:
            given = text.read_text(encoding="utf-8") if isinstance(text, Path) else text
            held = read_json(given)
            conform(held, _HELD, "the circuit")
            check_seal(held)
            nodes = {_site(row["node"]): row["effect"] for row in held["nodes"]}
            edges = {
                (_site(row["sender"]), site_named(row["receiver"])): row["effect"]
                for row in held["edges"]
            }
            words = {_site(r["node"]): r["words"] for r in held["nodes"] if r.get("words")}
            known = None
            if held.get("provenance") is not None:
                conform(held["provenance"], PROVENANCE, "the provenance")
                known = Provenance.from_header(held["provenance"])
            made: type[Circuit] = cast("Any", cls)
            return made(nodes, edges, tuple(held["kinds"]), known, held["settings"], words)
        except (TypeError, ValueError, ArithmeticError, OSError) as error:
            raise PatchError(
                "This is not a circuit.",
                got=f"{type(error).__name__}: {error}"[:400],
                expected="what circuit.to_json() gives, as it was given; of one that was changed "
                f"on purpose, without its {SEAL!r}",
                instead='ls.Circuit.from_json(Path("circuit.json"))',
            ) from error

    @checks.door(PatchError, n_positions=checks.whole(1, checks.LONGEST, 8))
    def to_transformer_lens(self, n_positions: int) -> tuple[list[Any], list[tuple[Any, Any]]]:
        """Nodes and edges of TransformerLens' ``attribution_patching``, for each of so many
        positions where a node has none of its own.

        Raises:
            ModelError: TransformerLens lacks them: it has edges from 4.0 on.
            PatchError: nodes that its graph does not have.
        """
        from lensscope.circuits.transformer_lens import to_transformer_lens

        return to_transformer_lens(self._circuit, n_positions)

    @classmethod
    def from_transformer_lens(cls, found: Any) -> Circuit:
        """A circuit of TransformerLens' nodes or edges with their scores: its
        ``AttributionResult``, or what ``top_nodes`` or ``top_edges`` of one gives.

        Edges at several positions become one, whose effect is their sum.

        Raises:
            ModelError: TransformerLens lacks them: it has edges from 4.0 on.
            PatchError: something else than its nodes or edges.
        """
        from lensscope.circuits.transformer_lens import from_transformer_lens

        return from_transformer_lens(found)

    def _json(self) -> str:
        known = None
        if self._circuit.provenance is not None:
            known = {**asdict(self._circuit.provenance), "tokens": []}
        return json_text(
            sealed(
                {
                    "nodes": [
                        {"node": named(s), "effect": e, "words": self._circuit.words.get(s)}
                        for s, e in self._circuit.nodes.items()
                    ],
                    "edges": [
                        {"sender": named(s), "receiver": named(r), "effect": e}
                        for (s, r), e in self._circuit.edges.items()
                    ],
                    "kinds": list(self._circuit.kinds),
                    "settings": dict(self._circuit.settings),
                    "provenance": known,
                }
            )
        )


def _site(name: str) -> Site:
    found = site_named(name)
    if not isinstance(found, Site):
        raise ValueError(f"{name[:80]!r} is not a site")
    return found
