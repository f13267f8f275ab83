"""Circuits as frames, and as JSON and back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import pandas as pd

from lensscope.circuits.naming import named, site_named
from lensscope.circuits.wiring import ESTIMATED, Wiring
from lensscope.errors import CircuitError
from lensscope.store.json_text import SEAL, check_seal, conform, json_text, read_json, sealed
from lensscope.values.provenance import HEADER as PROVENANCE
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site

_HELD: Final = {
    "nodes": [{"node": str, "effect": (int, float), "words?": (str, None)}],
    "edges": [{"sender": str, "receiver": str, "effect": (int, float)}],
    "kinds": [str],
    "settings": {f"{ESTIMATED}?": [str]},
    "provenance?": (dict, None),
}


def frame(circuit: Wiring) -> pd.DataFrame:
    """One line a node or edge: ``sender``, ``receiver`` (of edges), ``effect``, ``words``; and of a
    circuit of estimates whether the effect is ``estimated``, or was run."""
    rows: list[tuple[str, str | None, float, str | None]]
    rows = [(named(s), None, e, circuit.words.get(s)) for s, e in circuit.nodes.items()]
    rows += [(named(s), named(r), e, None) for (s, r), e in circuit.edges.items()]
    found = pd.DataFrame(rows, columns=["sender", "receiver", "effect", "words"])
    if ESTIMATED not in circuit.settings:
        return found
    names = circuit.settings[ESTIMATED]
    return found.assign(estimated=found["receiver"].isna() & found["sender"].isin(names))


def to_json(circuit: Wiring) -> str:
    """All of it, sealed; what `from_json` reads."""
    known = circuit.provenance
    return json_text(
        sealed(
            {
                "nodes": [
                    {"node": named(s), "effect": e, "words": circuit.words.get(s)}
                    for s, e in circuit.nodes.items()
                ],
                "edges": [
                    {"sender": named(s), "receiver": named(r), "effect": e}
                    for (s, r), e in circuit.edges.items()
                ],
                "kinds": list(circuit.kinds),
                "settings": dict(circuit.settings),
                "provenance": None if known is None else {**asdict(known), "tokens": []},
            }
        )
    )


def from_json(text: str | Path) -> Wiring:
    """See `Circuit.from_json`."""
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
        return Wiring(nodes, edges, tuple(held["kinds"]), known, held["settings"], words)
    except (TypeError, ValueError, ArithmeticError, OSError) as error:
        raise CircuitError(
            "This is not a circuit.",
            got=f"{type(error).__name__}: {error}"[:400],
            expected="what circuit.to_json() gives, as it was given; of one that was changed "
            f"on purpose, without its {SEAL!r}",
            instead='ls.Circuit.from_json(Path("circuit.json"))',
        ) from error


def _site(name: str) -> Site:
    found = site_named(name)
    if not isinstance(found, Site):
        raise ValueError(f"{name[:80]!r} is not a site")
    return found
